"""Names of routes, methods, accounts and audiences: each ends up in a header, a log or an environment."""

from __future__ import annotations

import re
from typing import Final

from proxy.settings.values import shown, text

ROUTE_NAME: Final = "[A-Za-z0-9][A-Za-z0-9_-]*"
METHOD: Final = r"[A-Z0-9!#$%&'*+.^_`|~-]+"  # RFC 9110 section 5.6.2, without lower case
ACCOUNT: Final = r"[A-Za-z0-9._%+-]+@[A-Za-z0-9.-]+"
IAP_CLIENT: Final = ".apps.googleusercontent.com"

_REFUSED_METHODS: Final = {
    "CONNECT": "would open a tunnel to any host",
    "TRACE": "would echo the token back to the caller",
}


def route_name(value: object) -> str:
    string = text(value)
    if len(string) > 63 or re.fullmatch(ROUTE_NAME, string) is None:
        raise ValueError(
            f'must be letters, digits, "-" and "_", a letter or digit first, 63 at most, not {shown(string)}'
        )
    return string


def url_variable(name: str) -> str:
    """The variable in which `idtoken-proxy run` tells an app a route's URL."""
    return name.upper().replace("-", "_") + "_URL"


def method(value: object) -> str:
    string = text(value)
    if string.upper() in _REFUSED_METHODS:
        raise ValueError(
            f"{string.upper()} {_REFUSED_METHODS[string.upper()]}, so it is always refused; remove it"
        )
    if re.fullmatch(METHOD, string) is None:
        upper = string.upper()
        hint = f'write "{upper}"' if re.fullmatch(METHOD, upper, re.ASCII) else "write one such as GET"
        raise ValueError(f"{shown(string)} is no method name in upper case; {hint}")
    return string


def audience(value: object) -> str:
    """Printable ASCII without blanks: it goes into a token request as it stands."""
    string = text(value)
    if not string or len(string) > 2048 or re.search(r"[^\x21-\x7e]", string):
        raise ValueError(f"must be printable ASCII without blanks, and not empty, not {shown(string)}")
    return string


def is_iap_client(value: str) -> bool:
    return value.endswith(IAP_CLIENT)


def account(value: object) -> str:
    """An email, or a service account's numeric ID."""
    string = text(value)
    if re.fullmatch(rf"{ACCOUNT}|[0-9]+", string, re.ASCII) is None:
        raise ValueError(
            f"must be an email such as NAME@PROJECT.iam.gserviceaccount.com, not {shown(string)}"
        )
    return string


def metadata_account(value: object) -> str:
    return "default" if value == "default" else account(value)
