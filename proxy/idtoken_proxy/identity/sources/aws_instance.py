"""An EC2 instance's metadata service, with its session (IMDSv2) where the credential file names that.

https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instancedata-data-retrieval.html
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from idtoken_proxy.errors import TokenError
from idtoken_proxy.identity.sources.aws_credentials import HOP_LIMIT, AwsCredentials, asked, no_credentials
from idtoken_proxy.identity.sources.transport import EndpointRefused, Response, Transport, host_of

_NOT_THERE: Final = (
    "Where this is no EC2 instance, or its metadata service is off: on ECS, Fargate and EKS give the task or pod a role (which "
    "sets AWS_CONTAINER_CREDENTIALS_RELATIVE_URI, AWS_CONTAINER_CREDENTIALS_FULL_URI or AWS_WEB_IDENTITY_TOKEN_FILE: none "
    "of them is set here); elsewhere set AWS_REGION, AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
)
_NO_ROLE: Final = "Attach a role: aws ec2 associate-iam-instance-profile --instance-id INSTANCE --iam-instance-profile Name=PROFILE"
_SESSION_SECONDS: Final = "300"


class Instance:
    """Of one fetch."""

    def __init__(self, urls: Mapping[str, str], transport: Transport) -> None:
        self._urls = urls
        self._transport = transport
        self._session: dict[str, str] | None = None

    def zone(self) -> str | None:
        """None: the credential file does not say where to ask."""
        url = self._urls.get("region_url")
        if url is None:
            return None
        return self._asked(url, _NOT_THERE).decode("latin-1").strip()

    def credentials(self) -> AwsCredentials:
        """Of the role that is attached. TokenError."""
        url = self._urls.get("url")
        if url is None:
            raise no_credentials(
                "neither a variable of AWS nor the credential file's url says where they are", _NOT_THERE
            )
        role = self._asked(url, _NOT_THERE, _NO_ROLE).decode("latin-1").strip().partition("\n")[0].strip()
        if not role or "/" in role or not role.isascii() or not role.isprintable():
            raise no_credentials(f"the instance ({host_of(url)}) has no role attached", _NO_ROLE)
        found = AwsCredentials.of_json(self._asked(f"{url.rstrip('/')}/{role}", _NO_ROLE))
        if found is None:
            raise no_credentials(f"the instance ({host_of(url)}) has none of its role {role}", _NO_ROLE)
        return found

    def _asked(self, url: str, remedy: str, absent: str | None = None) -> bytes:
        """`absent`: the remedy of a 404."""
        headers = self._session_headers()

        def ask() -> Response:
            try:
                return self._transport(url, headers=headers)
            except EndpointRefused as refused:
                if refused.status == 404 and absent is not None:
                    raise no_credentials(
                        f"the instance ({host_of(url)}) has no role attached", absent
                    ) from None
                raise

        return asked(ask, f"asked the instance's metadata service ({host_of(url)})", remedy)

    def _session_headers(self) -> dict[str, str]:
        if self._session is None:
            url = self._urls.get("imdsv2_session_token_url")
            self._session = {} if url is None else {"X-aws-ec2-metadata-token": self._new_session(url)}
        return self._session

    def _new_session(self, url: str) -> str:
        headers = {"X-aws-ec2-metadata-token-ttl-seconds": _SESSION_SECONDS}

        def ask() -> Response:
            try:
                return self._transport(url, "PUT", headers=headers)
            except TokenError as error:
                if error.cause == "endpoint_timeout":
                    # The answer to PUT has a time to live of 1 by default, which ends at a container's bridge.
                    raise no_credentials(
                        f"the instance's metadata service ({host_of(url)}) took the request for a session (IMDSv2) and no "
                        "answer came: in a container, its hop limit of 1 keeps the answer away",
                        "aws ec2 modify-instance-metadata-options --instance-id INSTANCE --http-put-response-hop-limit 2; "
                        "or give the container a role of its own (ECS task role, EKS Pod Identity, IRSA)",
                        cause=HOP_LIMIT,
                    ) from None
                raise

        session = asked(ask, f"asked the instance for a session (IMDSv2, {host_of(url)})", _NOT_THERE)
        text = session.decode("latin-1").strip()
        if not text or not text.isascii() or not text.isprintable():
            raise no_credentials(f"what {host_of(url)} gave for a session (IMDSv2) is none", _NOT_THERE)
        return text
