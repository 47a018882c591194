"""A container's own credentials: ECS and Fargate, EKS Pod Identity.

https://docs.aws.amazon.com/sdkref/latest/guide/feature-container-credentials.html
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final
from urllib.parse import urlsplit

from idtoken_proxy.identity.sources.aws_credentials import AwsCredentials, asked, no_credentials
from idtoken_proxy.identity.sources.transport import Transport
from idtoken_proxy.plain_file import read_plain
from idtoken_proxy.settings.addresses import is_loopback
from idtoken_proxy.settings.plausible import path_objection, shown_path

RELATIVE: Final = "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"
FULL: Final = "AWS_CONTAINER_CREDENTIALS_FULL_URI"
TOKEN_FILE: Final = "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"  # noqa: S105 -- a variable's name
TOKEN: Final = "AWS_CONTAINER_AUTHORIZATION_TOKEN"  # noqa: S105 -- a variable's name
ECS: Final = "http://169.254.170.2"
# The only ones that may be asked in cleartext, besides loopback: the token goes along.
_CLEARTEXT: Final = frozenset({"169.254.170.2", "169.254.170.23", "fd00:ec2::23"})
_MAX_TOKEN: Final = 16 * 1024  # octets


def asks_container(environ: Mapping[str, str]) -> bool:
    return bool(environ.get(RELATIVE) or environ.get(FULL))


def container_credentials(environ: Mapping[str, str], transport: Transport, ecs: str = ECS) -> AwsCredentials:
    """`ecs`: where a relative URI leads. TokenError."""
    seen, url, remedy = _endpoint(environ, ecs)
    token = _authorization(environ)
    headers = {"Accept": "application/json"} | ({"Authorization": token} if token else {})
    found = AwsCredentials.of_json(asked(lambda: transport(url, headers=headers), seen, remedy))
    if found is None:
        raise no_credentials(f"{seen}, and what it answered holds none", remedy)
    return found


def _endpoint(environ: Mapping[str, str], ecs: str) -> tuple[str, str, str]:
    """(what was seen, the URL, what mends it)."""
    relative = environ.get(RELATIVE)
    if relative:
        if not relative.startswith("/"):
            raise no_credentials(
                f"{RELATIVE} is set and begins with no /", f"Leave {RELATIVE} as ECS sets it"
            )
        seen = f"{RELATIVE} is set (ECS, Fargate): asked {urlsplit(ecs).netloc}"
        return (
            seen,
            ecs + relative,
            (
                "See that the task definition has a task role (taskRoleArn, not the execution role): aws ecs "
                "describe-task-definition --task-definition TASK --query taskDefinition.taskRoleArn"
            ),
        )
    url = environ[FULL]
    try:
        parts = urlsplit(url)
        scheme, host = parts.scheme, parts.hostname or ""
    except ValueError:
        scheme, host = "", ""
    if scheme not in ("http", "https") or not host or "@" in parts.netloc:
        raise no_credentials(f"{FULL} is set and is no URL", f"Leave {FULL} as EKS sets it")
    if scheme == "http" and host not in _CLEARTEXT and not is_loopback(host):
        raise no_credentials(
            f"{FULL} is set to an http:// URL elsewhere than on this machine, ECS or EKS: the token that goes with it would "
            "be read on the way",
            f"Use https:// in {FULL}, or leave it as EKS sets it",
        )
    return (
        f"{FULL} is set (EKS Pod Identity): asked {parts.netloc}",
        url,
        (
            "See that the pod's service account has an association: aws eks list-pod-identity-associations --cluster-name "
            "CLUSTER --namespace NAMESPACE --service-account NAME; and that the agent runs: kubectl -n kube-system get pods -l "
            "app.kubernetes.io/name=eks-pod-identity-agent"
        ),
    )


def _authorization(environ: Mapping[str, str]) -> str | None:
    path = environ.get(TOKEN_FILE)
    token = read_token(TOKEN_FILE, path) if path else environ.get(TOKEN)
    if token is not None and ("\r" in token or "\n" in token):
        raise no_credentials(
            f"{TOKEN_FILE if path else TOKEN} holds a token with a line break in it",
            f"Leave {TOKEN_FILE if path else TOKEN} as AWS sets it",
        )
    return token or None


def read_token(variable: str, path: str) -> str:
    """Of the file that the variable names; read anew each time, since the kubelet renews it. TokenError."""
    objection = path_objection(path)
    if objection is not None:
        raise no_credentials(f"{variable} {objection}", f"Set {variable} to the path of the token's file")
    try:
        text = read_plain(path, _MAX_TOKEN).content.decode("ascii").strip()
    except (OSError, ValueError):
        raise no_credentials(
            f"{variable} is set, and the file {shown_path(path)} cannot be read",
            f"See that the pod has its projected volume, and that this user may read it; {variable} must name its file",
        ) from None
    if not text:
        raise no_credentials(
            f"{variable} is set, and the file {shown_path(path)} is empty",
            f"See that whoever writes the file that {variable} names does so",
        )
    return text
