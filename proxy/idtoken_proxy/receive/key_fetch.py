"""Keys by HTTPS: the JWK set itself, or by way of the issuer's discovery document (OpenID Connect Discovery 1.0, section 4)."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping
from typing import Any, Final

from idtoken_proxy.errors import Fault, TokenError
from idtoken_proxy.identity.sources.transport import EndpointRefused, Transport, host_of
from idtoken_proxy.receive.issuers import Issuer
from idtoken_proxy.receive.key_set import Fetched
from idtoken_proxy.receive.verification_keys import keys_of
from idtoken_proxy.settings.urls import endpoint

# Seconds. Google says some hours; an issuer that says nothing, or that nothing may be kept, is not asked for each request.
SHORTEST: Final = 300.0
LONGEST: Final = 24 * 3600.0
_VISIBLE: Final = re.compile(r"[!-~]{1,2048}").fullmatch
_MAX_AGE: Final = re.compile(r"(?:^|[,\s])max-age=\"?([0-9]{1,9})(?:[^0-9]|$)", re.IGNORECASE).search
_AGE: Final = re.compile(r"[0-9]{1,9}").fullmatch


def fetch_keys(issuer: Issuer) -> Fetched:
    """Blocks. Raises TokenError."""
    with Transport() as transport:
        url = _discovered(transport, issuer) if issuer.discovers else issuer.keys_url
        content, headers = _get(transport, url)
    try:
        keys = keys_of(content)
    except ValueError:
        raise _garbage(url, "no JWK set") from None
    usable = {kid: key for kid, key in keys.items() if key.algorithm in issuer.algorithms}
    if not usable:
        raise _garbage(url, f"no key for {' or '.join(sorted(issuer.algorithms))}")
    return Fetched(usable, fresh_for(headers))


def fresh_for(headers: Mapping[str, str]) -> float:
    """Seconds, of Cache-Control's max-age less Age (RFC 9111 section 4.2), within bounds."""
    found = _MAX_AGE(headers.get("Cache-Control") or "")
    if found is None:
        return SHORTEST
    age = headers.get("Age") or "0"
    return min(max(float(found[1]) - (float(age) if _AGE(age) else 0.0), SHORTEST), LONGEST)


def _discovered(transport: Transport, issuer: Issuer) -> str:
    content, _ = _get(transport, issuer.keys_url)
    try:
        document: Any = json.loads(content)
        said, keys_url = document["issuer"], document["jwks_uri"]
    except (ValueError, KeyError, TypeError, RecursionError):
        raise _garbage(issuer.keys_url, "no discovery document, with an issuer and a jwks_uri") from None
    if said != issuer.name:  # section 4.3: "MUST be identical"
        raise _garbage(issuer.keys_url, f"the discovery document of another issuer, {str(said)[:200]!a}")
    try:
        found = endpoint(str(keys_url).partition("?")[0])  # https, or http on loopback; no metadata server
    except ValueError:
        raise _garbage(issuer.keys_url, "a jwks_uri that is no https URL") from None
    if _VISIBLE(str(keys_url)) is None:
        raise _garbage(issuer.keys_url, "a jwks_uri that is no URL")
    # An issuer elsewhere has no business on this machine, where some services believe whoever comes by loopback.
    if issuer.keys_url.startswith("https:") and not found.startswith("https:"):
        raise _garbage(issuer.keys_url, "a jwks_uri that is no https URL")
    return str(keys_url)


def _get(transport: Transport, url: str) -> tuple[bytes, Mapping[str, str]]:
    try:
        response = transport(url, headers={"Accept": "application/json"})
    except EndpointRefused as error:
        raise TokenError(
            f"{host_of(url)} answers {error.status} to the request for its keys",
            cause="endpoint_refused",
            fault=Fault.OPERATOR,
            remedy=f"See that the issuer is written as it writes itself: curl -sv {shlex.quote(url)}",
        ) from None
    return response.data, response.headers


def _garbage(url: str, what: str) -> TokenError:
    return TokenError(
        f"{host_of(url)} answers with {what}",
        cause="garbage",
        fault=Fault.OPERATOR,
        remedy=f"See what it says: curl -s {shlex.quote(url)}",  # which an issuer's document may name, and somebody pastes
    )
