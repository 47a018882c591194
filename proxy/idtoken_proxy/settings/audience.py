"""The audience of a route that names none: what the receiver accepts, if its URL shows that.

https://cloud.google.com/run/docs/authenticating/service-to-service#acquire-token
https://cloud.google.com/functions/docs/securing/authenticating#generate_tokens_programmatically
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from typing import Final

from idtoken_proxy.settings.addresses import is_loopback
from idtoken_proxy.settings.model import Upstream

_RUN: Final = ".run.app"
_TAG: Final = "---"


# Google's hosts that take access tokens and no ID tokens: its APIs, and Artifact Registry's repositories.
_APIS: Final = ".googleapis.com"
_REGISTRIES: Final = ".pkg.dev"


def takes_access_tokens(host: str, universe_domain: str = "googleapis.com") -> bool:
    """Whether `host` is one of Google's that take only access tokens."""
    return host.endswith((_APIS, _REGISTRIES, f".{universe_domain}"))


def may_have_access_tokens(host: str, universe_domain: str, stated: Collection[str]) -> bool:
    """Whether an access token may be sent to `host`. Whoever holds an access token can call any of Google's APIs as the
    identity, while an ID token is good only at its own receiver. So hosts that are not Google's get one only if the
    configuration names them.
    """
    return takes_access_tokens(host, universe_domain) or is_loopback(host) or host in stated


def is_function(upstream: Upstream) -> bool:
    return upstream.host.endswith(".cloudfunctions.net")


def signed_jwt_audience(upstream: Upstream) -> str:
    """The audience that IAP expects in a JWT signed by a service account: the protected URL, or all under it.
    https://cloud.google.com/iap/docs/authentication-howto#authenticate_with_a_self-signed_jwt
    """
    return f"{upstream.origin}/*"


def is_mtls(host: str) -> bool:
    """Cloud Run's mutual TLS endpoints, for certificate-bound tokens."""
    return host.endswith(".mtls.run.app")


def run_domain(universe_domain: str) -> str:
    """The universe's name for `run.app`: `s3nsapis.fr` has `s3nsrun.fr`."""
    return _RUN[1:] if universe_domain == "googleapis.com" else universe_domain.replace("apis", "run", 1)


def untagged(host: str, run: str = _RUN) -> str:
    """`TAG---SERVICE-...run.app` -> `SERVICE-...run.app`; other hosts stay as they are. Raises ValueError if it is
    unclear which part is the tag. https://cloud.google.com/run/docs/rollouts-rollbacks-traffic-migration#tags: a tag's
    URL names the service, but is no audience.
    """
    label, dot, domain = host.partition(".")
    if _TAG not in label or not host.endswith(run):
        return host
    tag, _, service = label.partition(_TAG)
    if not tag or not service or _TAG in service:
        raise ValueError(
            f"cannot be derived from {host}, whose tag and service cannot be told apart; write the service's own URL, "
            "without the tag"
        )
    return service + dot + domain


def derived_audience(upstream: Upstream, universe_domain: str = "googleapis.com") -> str:
    """Raises ValueError if the URL does not show it."""
    for run in (_RUN, f".{run_domain(universe_domain)}"):
        if upstream.host.endswith(run) and not is_mtls(upstream.host):
            return replace(upstream, host=untagged(upstream.host, run)).origin
    if is_mtls(upstream.host):
        raise ValueError(
            f"cannot be derived from {upstream.host}, which is another name than the service's; write the service's "
            "run.app URL, or a custom audience that is registered with it"
        )
    if is_loopback(upstream.host):
        return upstream.origin
    if is_function(upstream):
        name = upstream.base_path.split("/")[1:2]
        if not name:
            raise ValueError(
                "cannot be derived: a function's audience is its whole URL; add the function's name to upstream, "
                f"such as {upstream.origin}/FUNCTION, or say the audience"
            )
        return f"{upstream.origin}/{name[0]}"
    raise ValueError(
        f"cannot be derived from {upstream.host}: a custom domain needs the service's run.app URL or a registered "
        "custom audience; IAP needs its OAuth client ID"
    )
