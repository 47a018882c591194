"""What one from outside shows for itself, and whether it holds: a signed JWT, or a request signed for AWS.

Sources: https://cloud.google.com/iam/docs/reference/sts/rest/v1/TopLevel/token (subject_token),
https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html (the signature).

AWS itself is not asked who signed, as Google does it: the emulator gave out the only keys there are.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import hmac
import json
import re
import urllib.parse
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from google.auth import exceptions, jwt

from idtoken_proxy.emulator.federation import Aws, Federated, Oidc, Provider
from idtoken_proxy.emulator.keys import Keys
from idtoken_proxy.emulator.refusals import OAuthRefusal
from idtoken_proxy.emulator.token_endpoint import ANY_TIME

SKEW = 300  # seconds that the clocks may differ
LONGEST = 24 * 3600  # seconds between a subject token's iat and exp; Google's limit
TARGET = "x-goog-cloud-target-resource"
_AWS_URL = re.compile(
    r"https://sts\.(?:[a-z0-9-]+\.)?amazonaws\.com/?\?Action=GetCallerIdentity&Version=2011-06-15"
)
_AUTHORIZATION = re.compile(
    r"AWS4-HMAC-SHA256 Credential=(?P<key>[^/]+)/(?P<scope>(?P<day>\d{8})/(?P<region>[a-z0-9-]+)/sts/aws4_request),"
    r" *SignedHeaders=(?P<headers>[a-z0-9;-]+), *Signature=(?P<signature>[0-9a-f]{64})"
)


@dataclass(frozen=True, slots=True)
class Exchange:
    """One token exchange: the provider that it names, and the moment."""

    provider: Provider
    project_number: str
    now: float

    @property
    def audience(self) -> str:
        return self.provider.audience(self.project_number)


def holder_of_jwt(token: str, oidc: Oidc, exchange: Exchange, keys: Keys) -> Federated:
    """Who shows an issuer's ID token. OAuthRefusal."""
    try:
        claims: Mapping[str, Any] = jwt.decode(token, verify=False)  # type: ignore[no-untyped-call]
    except (ValueError, exceptions.GoogleAuthError):
        raise OAuthRefusal("invalid_request", "Unable to parse the ID Token.") from None
    if claims.get("iss") != oidc.issuer:
        raise OAuthRefusal(
            "invalid_grant",
            f"The issuer in ID Token {claims.get('iss')} does not match the expected ones: {oidc.issuer}",
        )
    allowed = oidc.audiences or (exchange.audience, f"https:{exchange.audience}")
    if claims.get("aud") not in allowed:
        raise OAuthRefusal(
            "invalid_grant",
            f"The audience in ID Token [{claims.get('aud')}] does not match the expected audience"
            f" {', '.join(allowed[-1:])}.",
        )
    try:
        published = dict(oidc.keys) or keys.certificate_of(oidc.issuer)
        jwt.decode(token, published, clock_skew_in_seconds=ANY_TIME)  # type: ignore[no-untyped-call]
    except (ValueError, TypeError, exceptions.GoogleAuthError):
        raise OAuthRefusal(
            "invalid_grant", "The ID Token's signature could not be verified with the issuer's keys."
        ) from None
    issued, expires = claims["iat"], claims["exp"]
    if not exchange.now < expires + SKEW:
        raise OAuthRefusal("invalid_grant", f"ID Token issued at {issued} is stale to sign-in.")
    if not (issued - SKEW <= exchange.now and expires - issued <= LONGEST):
        raise OAuthRefusal("invalid_grant", "ID Token's iat and exp are not in a reasonable timeframe.")
    if not claims.get("sub"):
        raise OAuthRefusal(
            "invalid_grant", "The mapped attribute 'google.subject' must be a non-empty string."
        )
    return exchange.provider.principal(exchange.project_number, claims)


def holder_of_aws_keys(token: str, aws: Aws, exchange: Exchange) -> Federated:
    """Who signed a GetCallerIdentity request, serialized as JSON and percent-encoded. OAuthRefusal."""
    url, headers = _aws_request(token)
    if not _AWS_URL.fullmatch(url):
        raise OAuthRefusal("invalid_request", "The AWS request's URL is not a GetCallerIdentity request's.")
    if headers.get(TARGET, "").removeprefix("https:") != exchange.audience:
        raise OAuthRefusal(
            "invalid_grant", f"The AWS request's header {TARGET} does not name the requested audience."
        )
    signed = _AUTHORIZATION.fullmatch(headers.get("authorization", ""))
    if signed is None or not {"host", "x-amz-date"} <= set(signed["headers"].split(";")):
        raise OAuthRefusal("invalid_request", "The AWS request is not signed with Signature Version 4.")
    if signed["key"] != aws.access_key_id or headers.get("x-amz-security-token") != aws.session_token:
        raise _of_aws("InvalidClientTokenId", "The security token included in the request is invalid.")
    if not _is_recent(headers.get("x-amz-date", ""), exchange.now):
        raise _of_aws("SignatureDoesNotMatch", "Signature expired or not yet current.")
    if not hmac.compare_digest(_aws_signature(url, headers, signed, aws), signed["signature"]):
        raise _of_aws(
            "SignatureDoesNotMatch",
            "The request signature we calculated does not match the signature you provided.",
        )
    return exchange.provider.aws_principal(exchange.project_number, aws)


def _aws_request(token: str) -> tuple[str, dict[str, str]]:
    """Its URL, and its headers by lower-case name."""
    try:
        request = json.loads(urllib.parse.unquote(token))
        headers = {str(header["key"]).lower(): str(header["value"]) for header in request["headers"]}
        url, method = str(request["url"]), request["method"]
    except (ValueError, TypeError, KeyError):
        raise OAuthRefusal("invalid_request", "Invalid format of AWS credentials.") from None
    if method != "POST":
        raise OAuthRefusal("invalid_request", "The AWS request's method is not POST.")
    return url, headers


def _is_recent(amz_date: str, now: float) -> bool:
    try:
        moment = dt.datetime.strptime(amz_date, "%Y%m%dT%H%M%SZ").replace(tzinfo=dt.UTC)
    except ValueError:
        return False
    return abs(now - moment.timestamp()) <= 3 * SKEW


def _aws_signature(url: str, headers: Mapping[str, str], signed: re.Match[str], aws: Aws) -> str:
    """As its receiver computes it, the body being empty."""
    parts = urllib.parse.urlsplit(url)
    named = signed["headers"].split(";")
    canonical = "\n".join(
        [
            *("POST", parts.path or "/", parts.query),
            *(f"{name}:{headers.get(name, '')}" for name in named),
            "",
            signed["headers"],
            hashlib.sha256(b"").hexdigest(),
        ]
    )
    to_sign = "\n".join(
        [
            "AWS4-HMAC-SHA256",
            headers["x-amz-date"],
            signed["scope"],
            hashlib.sha256(canonical.encode()).hexdigest(),
        ]
    )
    key = f"AWS4{aws.secret_access_key}".encode()
    for part in (*signed["scope"].split("/"), to_sign):
        key = hmac.digest(key, part.encode(), "sha256")
    return key.hex()


def _of_aws(kind: str, message: str) -> OAuthRefusal:
    return OAuthRefusal(
        "invalid_grant", f"Received invalid AWS response of type {kind} with error message: {message}"
    )
