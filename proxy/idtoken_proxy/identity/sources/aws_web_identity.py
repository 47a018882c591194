"""A pod's AWS role by its Kubernetes token: IRSA, and whatever else sets AWS_WEB_IDENTITY_TOKEN_FILE.

https://docs.aws.amazon.com/eks/latest/userguide/iam-roles-for-service-accounts.html,
https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRoleWithWebIdentity.html (the one call that is not signed).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from html import unescape
from typing import Final
from urllib.parse import urlencode, urlsplit

from idtoken_proxy.identity.sources.aws_container import read_token
from idtoken_proxy.identity.sources.aws_credentials import AwsCredentials, asked, no_credentials
from idtoken_proxy.identity.sources.transport import Transport
from idtoken_proxy.settings.addresses import is_loopback

TOKEN_FILE: Final = "AWS_WEB_IDENTITY_TOKEN_FILE"  # noqa: S105 -- a variable's name
ROLE: Final = "AWS_ROLE_ARN"
SESSION_NAME: Final = "AWS_ROLE_SESSION_NAME"
STS_URL: Final = "AWS_ENDPOINT_URL_STS"
ANY_URL: Final = "AWS_ENDPOINT_URL"
_ARN: Final = re.compile(r"arn:aws[a-z-]*:iam::\d{12}:role/[\w+=,.@/-]{1,576}", re.ASCII)
_NAME: Final = re.compile(r"[\w+=,.@-]{2,64}", re.ASCII)
_FIELD: Final = re.compile(r"<(AccessKeyId|SecretAccessKey|SessionToken)>\s*([^<\s]+)\s*</\1>")


def asks_web_identity(environ: Mapping[str, str]) -> bool:
    return bool(environ.get(TOKEN_FILE))


def web_identity_credentials(environ: Mapping[str, str], region: str, transport: Transport) -> AwsCredentials:
    """TokenError."""
    role = environ.get(ROLE)
    if not role:
        raise no_credentials(
            f"{TOKEN_FILE} is set (EKS: IRSA) and {ROLE} is not",
            "kubectl annotate serviceaccount NAME --namespace NAMESPACE eks.amazonaws.com/role-arn=ARN, and start the "
            f"pod anew; or set {ROLE}",
        )
    if _ARN.fullmatch(role) is None:
        raise no_credentials(
            f"{ROLE} holds what is no role's ARN",
            f"Set {ROLE} to one such as arn:aws:iam::123456789012:role/NAME",
        )
    token = read_token(TOKEN_FILE, environ[TOKEN_FILE])
    name = environ.get(SESSION_NAME) or ""
    body = urlencode(
        {
            "Action": "AssumeRoleWithWebIdentity",
            "Version": "2011-06-15",
            "RoleArn": role,
            "RoleSessionName": name if _NAME.fullmatch(name) else "idtoken-proxy",
            "WebIdentityToken": token,
        }
    ).encode("ascii")
    url = sts_endpoint(environ, region)
    seen = f"{TOKEN_FILE} and {ROLE} are set (EKS: IRSA): asked {urlsplit(url).netloc} for {role}"
    remedy = (
        "See that the role trusts the cluster's OIDC provider and this service account: aws iam get-role --role-name "
        f"{role.rpartition('/')[2]} --query Role.AssumeRolePolicyDocument"
    )
    headers = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "text/xml"}
    answer = asked(lambda: transport(url, "POST", body, headers), seen, remedy)
    found = {key: unescape(value) for key, value in _FIELD.findall(answer.decode("utf-8", "replace"))}
    if "AccessKeyId" not in found or "SecretAccessKey" not in found:
        raise no_credentials(f"{seen}, and what it answered holds none", remedy)
    return AwsCredentials(found["AccessKeyId"], found["SecretAccessKey"], found.get("SessionToken"))


def sts_endpoint(environ: Mapping[str, str], region: str) -> str:
    for variable, said in ((STS_URL, environ.get(STS_URL)), (ANY_URL, environ.get(ANY_URL))):
        if not said:
            continue
        try:
            parts = urlsplit(said)
            host = parts.hostname or ""
        except ValueError:
            host = ""
        if not host or "@" in parts.netloc or not (parts.scheme == "https" or is_loopback(host)):
            raise no_credentials(
                f"{variable} is set and is no https:// URL", f"Correct {variable}, or unset it"
            )
        return said
    # https://docs.aws.amazon.com/general/latest/gr/sts.html
    return f"https://sts.{region}.amazonaws.com{'.cn' if region.startswith('cn-') else ''}/"
