"""A workload on AWS: a signed GetCallerIdentity, which Google's STS takes for a subject token.

https://cloud.google.com/iam/docs/workload-identity-federation-with-other-clouds#aws and, for where the workload's
credentials are, https://docs.aws.amazon.com/sdkref/latest/guide/standardized-credentials.html, in the order of AWS's own SDKs:
the environment, a web identity (EKS: IRSA), a container's endpoint (ECS, Fargate, EKS Pod Identity), the instance.
google-auth knows the first and the last alone; in a container the last is the node's role, or hangs.
"""

from __future__ import annotations

import json
import re
import urllib.parse
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from idtoken_proxy.errors import Fault, TokenError
from idtoken_proxy.identity.sources.aws_container import asks_container, container_credentials
from idtoken_proxy.identity.sources.aws_credentials import AwsCredentials, no_credentials
from idtoken_proxy.identity.sources.aws_instance import Instance
from idtoken_proxy.identity.sources.aws_web_identity import asks_web_identity, web_identity_credentials
from idtoken_proxy.identity.sources.credential_file import Document
from idtoken_proxy.identity.sources.transport import Transport

REGION: Final = "AWS_REGION"
DEFAULT_REGION: Final = "AWS_DEFAULT_REGION"
KEY: Final = "AWS_ACCESS_KEY_ID"
SECRET: Final = "AWS_SECRET_ACCESS_KEY"  # noqa: S105 -- a variable's name
SESSION: Final = "AWS_SESSION_TOKEN"
_REGION_FORM: Final = re.compile(r"[a-z]{2}(?:-[a-z]+){1,3}-[0-9]{1,2}")


@dataclass(frozen=True, slots=True)
class AwsWorkload:
    """`urls`: of the credential file, by their keys."""

    audience: str
    verification_url: str
    urls: Mapping[str, str] = field(repr=False)
    environ: Mapping[str, str] = field(repr=False)

    @classmethod
    def of(cls, document: Document, info: Mapping[str, Any], environ: Mapping[str, str]) -> AwsWorkload:
        """TokenError where the file describes none."""
        source = info["credential_source"]
        if source.get("environment_id") != "aws1":
            raise document.invalid("has a credential_source whose environment_id is not aws1")
        verification = source.get("regional_cred_verification_url")
        if not isinstance(verification, str) or not verification:
            raise document.invalid("has a credential_source without regional_cred_verification_url")
        urls = {}
        for key in ("region_url", "url", "imdsv2_session_token_url"):
            value = source.get(key)
            if value is not None and not isinstance(value, str):
                raise document.invalid(f"has a credential_source whose {key} is no text")
            if value:
                urls[key] = value
        return cls(info["audience"], verification, urls, environ)

    def subject_token(self, transport: Transport) -> str:
        """Signed anew each time: the signature is good for 15 minutes. TokenError."""
        from google.auth import aws  # noqa: PLC0415

        instance = Instance(self.urls, transport)
        region = self._region(instance)
        found = self._credentials(region, instance, transport)
        new: Any = aws.RequestSigner  # untyped in google-auth
        credentials: Any = aws.AwsSecurityCredentials
        signed = new(region).get_request_options(
            credentials(found.access_key_id, found.secret_access_key, found.session_token),
            self.verification_url.replace("{region}", region),
            "POST",
        )
        headers = signed["headers"] | {"x-goog-cloud-target-resource": self.audience}
        request = {
            "url": signed["url"],
            "method": signed["method"],
            "headers": [{"key": key, "value": value} for key, value in headers.items()],
        }
        return urllib.parse.quote(json.dumps(request, separators=(",", ":"), sort_keys=True))

    def _region(self, instance: Instance) -> str:
        for name, said in (
            (REGION, self.environ.get(REGION)),
            (DEFAULT_REGION, self.environ.get(DEFAULT_REGION)),
        ):
            if not said:
                continue
            if _REGION_FORM.fullmatch(said) is None:
                raise TokenError(
                    f"{name} holds what is no region of AWS",
                    cause="aws_region",
                    fault=Fault.OPERATOR,
                    remedy=f"Set {name} to a region such as eu-central-1",
                )
            return said
        try:
            zone = instance.zone()
        except TokenError as error:
            if not self._has_credentials:
                raise
            # All that is lacking is the region: a task or a pod need not reach the instance.
            raise _no_region(error.detail) from None
        # us-east-2b, of which us-east-2 is the region; a local zone has a name behind it: us-west-2-lax-1a.
        found = re.match(_REGION_FORM.pattern, zone or "")
        if found is None:
            raise _no_region(
                "the credential file has no region_url" if zone is None else "the instance names none"
            )
        return found[0]

    @property
    def _has_credentials(self) -> bool:
        """Whether it gets along without the instance's."""
        by_key = bool(self.environ.get(KEY) and self.environ.get(SECRET))
        return by_key or asks_web_identity(self.environ) or asks_container(self.environ)

    def _credentials(self, region: str, instance: Instance, transport: Transport) -> AwsCredentials:
        key, secret = self.environ.get(KEY), self.environ.get(SECRET)
        if key and secret:
            return AwsCredentials(key, secret, self.environ.get(SESSION) or None)
        if key or secret:
            present, absent = (KEY, SECRET) if key else (SECRET, KEY)
            raise no_credentials(
                f"{present} is set and {absent} is not", f"Set {absent} too, or unset {present}"
            )
        if asks_web_identity(self.environ):
            return web_identity_credentials(self.environ, region, transport)
        if asks_container(self.environ):
            return container_credentials(self.environ, transport)
        return instance.credentials()


def _no_region(why: str) -> TokenError:
    return TokenError(
        f"the AWS region is not known: neither {REGION} nor {DEFAULT_REGION} is set, and {why}",
        cause="aws_region",
        fault=Fault.OPERATOR,
        remedy=f"Set {REGION} to the region that the workload runs in",
    )
