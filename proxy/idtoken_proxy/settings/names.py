"""Names of routes, methods, headers, accounts and audiences. Each ends up in a header, a log or an environment."""

from __future__ import annotations

import re
from typing import Final

from idtoken_proxy.settings.plausible import hidden, project_objection, shown
from idtoken_proxy.settings.values import text

ROUTE_NAME: Final = "[A-Za-z0-9][A-Za-z0-9_-]*"
METHOD: Final = r"[A-Z0-9!#$%&'*+.^_`|~-]+"  # RFC 9110 section 5.6.2, without lower case
ACCOUNT: Final = r"[A-Za-z0-9._%+-]+@[A-Za-z0-9.-]+"
IAP_CLIENT: Final = ".apps.googleusercontent.com"
HEADER: Final = r"[A-Za-z0-9!#$%&'*+.^_`|~-]+"  # RFC 9110 section 5.6.2

# Headers that the proxy itself acts on, so they never reach the guard (policy/fields.py).
RESERVED_HEADERS: Final = frozenset(
    {
        "authorization", "connection", "content-length", "expect", "host", "http2-settings", "keep-alive",
        "metadata-flavor", "origin", "proxy-authorization", "proxy-connection", "referer", "sec-fetch-dest",
        "sec-fetch-mode", "sec-fetch-site", "te", "trailer", "transfer-encoding", "upgrade", "via", "x-forwarded-for",
        "x-forwarded-host", "x-forwarded-prefix", "x-forwarded-proto", "x-google-metadata-request", "x-serverless-authorization",
    }
)  # fmt: skip

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
    """The variable in which `idtoken-proxy run` gives an app a route's URL."""
    return name.upper().replace("-", "_") + "_URL"


def method(value: object) -> str:
    string = text(value)
    if string.upper() in _REFUSED_METHODS:
        raise ValueError(
            f"{string.upper()} {_REFUSED_METHODS[string.upper()]}, so it is always refused; remove it"
        )
    if re.fullmatch(METHOD, string) is None:
        upper = string.upper()
        hint = (
            f'write "{upper}"'
            if re.fullmatch(METHOD, upper, re.ASCII) and hidden(string) is None
            else "write one such as GET"
        )
        raise ValueError(f"{shown(string)} is no method name in upper case; {hint}")
    return string


def header(value: object) -> str:
    """A header that a client may send, and that neither HTTP nor the proxy uses."""
    string = text(value)
    if len(string) > 64 or re.fullmatch(HEADER, string) is None:
        raise ValueError(
            f'must be a header\'s name: letters, digits and "-", 64 at most, such as X-Caller-Token, not {shown(string)}'
        )
    if re.sub("[^a-z0-9]", "-", string.lower()) in RESERVED_HEADERS:
        raise ValueError(
            f"{string} has a meaning of its own to the proxy; write another name, such as X-Caller-Token"
        )
    return string


def audience(value: object) -> str:
    """Printable ASCII without blanks: it goes into a token request as it is."""
    string = text(value)
    if not string or len(string) > 2048 or re.search(r"[^\x21-\x7e]", string):
        raise ValueError(f"must be printable ASCII without blanks, and not empty, not {shown(string)}")
    return string


SCOPE: Final = (
    r"https://[!#-+.-\[\]-~-]+|openid|email|profile"  # RFC 6749 section 3.3, without the separators of lists
)


def scope(value: object) -> str:
    """An OAuth scope: a URL, or one of OpenID Connect's three. It goes into token requests as it is."""
    string = text(value)
    if len(string) > 256 or re.fullmatch(SCOPE, string) is None:
        short = re.fullmatch(r"[a-z][a-z0-9._-]{1,60}", string) is not None and hidden(string) is None
        hint = f"write https://www.googleapis.com/auth/{string}" if short else "write one for each item"
        raise ValueError(
            f"must be a scope such as https://www.googleapis.com/auth/cloud-platform, not {shown(string)}; {hint}"
        )
    return string


def project(value: object) -> str:
    """A project's ID or number. It goes into a header as it is."""
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    string = text(value)
    refused = project_objection(string)
    if refused is not None:
        raise ValueError(f"{refused}; write one such as my-project-123")
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


def email(value: object) -> str:
    """A service account's email, for where its numeric ID will not do."""
    string = text(value)
    if re.fullmatch(ACCOUNT, string, re.ASCII) is None:
        raise ValueError(
            f"must be an email such as NAME@PROJECT.iam.gserviceaccount.com, not {shown(string)}"
        )
    return string


def metadata_account(value: object) -> str:
    return "default" if value == "default" else account(value)
