"""The audience of a route that names none: what the receiver accepts, where its URL tells.

https://cloud.google.com/run/docs/authenticating/service-to-service#acquire-token
https://cloud.google.com/functions/docs/securing/authenticating#generate_tokens_programmatically
"""

from __future__ import annotations

from idtoken_proxy.settings.addresses import is_loopback
from idtoken_proxy.settings.model import Upstream


def is_function(upstream: Upstream) -> bool:
    return upstream.host.endswith(".cloudfunctions.net")


def signed_jwt_audience(upstream: Upstream) -> str:
    """What IAP looks for in a JWT that a service account has signed: the protected URL, or all under it.
    https://cloud.google.com/iap/docs/authentication-howto#authenticate_with_a_self-signed_jwt
    """
    return f"{upstream.origin}/*"


def derived_audience(upstream: Upstream) -> str:
    """ValueError where it cannot be told."""
    if upstream.host.endswith(".run.app") or is_loopback(upstream.host):
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
