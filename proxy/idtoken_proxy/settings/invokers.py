"""Who may call, as `receive:` lists them: in IAM's words (https://cloud.google.com/iam/docs/principal-identifiers) for
the kinds that a token can prove, and by subject for principals of any other issuer.

An invoker is a string. The caller that a token proves (receive/claims.py) is compared with it.
"""

from __future__ import annotations

import re
from typing import Final

from idtoken_proxy.settings.names import ACCOUNT
from idtoken_proxy.settings.plausible import objection, shown
from idtoken_proxy.settings.urls import path as url_path
from idtoken_proxy.settings.urls import upstream
from idtoken_proxy.settings.values import text

ALL_USERS: Final = "allUsers"
PUBLIC: Final = "public"
WORDS: Final = ("google", "iap")
SERVICE_ACCOUNT: Final = ".gserviceaccount.com"
INVOKER: Final = rf"allUsers|(serviceAccount|user):{ACCOUNT}|domain:[A-Za-z0-9.-]+"
_MEMBER: Final = re.compile(r"(serviceAccount|user|domain):(.*)", re.DOTALL)
_DOMAIN: Final = re.compile(r"[a-z0-9-]+(\.[a-z0-9-]+)+")
_SUBJECT: Final = re.compile(r"[!-~]{1,512}")
_INSTEAD: Final = {
    "allAuthenticatedUsers": "is anybody with an account of Google's, which is anybody; write allUsers, or list who is meant",
    "group": "is in no token; list its members, or the domain",
    "principal": 'is written as its two parts: {principal: "SUBJECT", issuer: "https://..."}',
    "principalSet": 'is no single principal; list them: {principal: "SUBJECT", issuer: "https://..."}',
}


def invoker_objection(member: str) -> str | None:
    """Checks the part after the kind alone, because `user:NAME@HOST` looks like a URL's user and password."""
    match = _MEMBER.fullmatch(member)
    return objection(member if match is None else match[2])


def invoker(value: object) -> str:
    """Raises ValueError."""
    if isinstance(value, dict):
        return _principal(value)
    member = text(value)
    if member == ALL_USERS:
        return member
    known = next(
        (message for word, message in _INSTEAD.items() if member == word or member.startswith(f"{word}:")),
        None,
    )
    if known is not None:
        raise ValueError(f"{shown(member)} {known}")
    match = _MEMBER.fullmatch(member)
    if match is None:
        if re.fullmatch(ACCOUNT, member, re.ASCII):
            kind = "serviceAccount" if member.endswith(SERVICE_ACCOUNT) else "user"
            raise ValueError(f"does not say what it is; write {kind}:{member}")
        raise ValueError(
            "must be serviceAccount:EMAIL, user:EMAIL, domain:DOMAIN, allUsers, or {principal: SUBJECT, issuer: URL}, not "
            + shown(member)
        )
    kind, name = match[1], match[2].lower()
    if kind == "domain":
        if _DOMAIN.fullmatch(name) is None:
            raise ValueError(f"must name a domain such as domain:example.com, not {shown(member)}")
    elif re.fullmatch(ACCOUNT, name, re.ASCII) is None:
        raise ValueError(
            f"must name an account by its email, such as {kind}:NAME@example.com, not {shown(member)}"
        )
    elif (kind == "serviceAccount") is not name.endswith(SERVICE_ACCOUNT):
        right = "user" if kind == "serviceAccount" else "serviceAccount"
        raise ValueError(f"is an account of the other kind; write {right}:{name}")
    return f"{kind}:{name}"


def _principal(principal: dict[object, object]) -> str:
    if set(principal) != {"principal", "issuer"}:
        raise ValueError("a mapping among invokers has two keys: {principal: SUBJECT, issuer: URL}")
    subject = principal["principal"]
    if isinstance(subject, int) and not isinstance(subject, bool):  # Google's subjects are numbers
        subject = str(subject)
    if not isinstance(subject, str) or _SUBJECT.fullmatch(subject) is None:
        raise ValueError(
            f"principal must be a token's subject, printable ASCII without blanks, not {shown(subject)}"
        )
    return f"principal:{issuer(principal['issuer'])} {subject}"


def issuer_named_by(member: str) -> str | None:
    """The issuer of an invoker that is a principal."""
    return member.removeprefix("principal:").partition(" ")[0] if member.startswith("principal:") else None


def issuer(value: object) -> str:
    """google, iap, or an OIDC issuer's URL, to the letter because tokens are compared with it. Raises ValueError."""
    url = text(value)
    if url in WORDS:
        return url
    if url in ("https://accounts.google.com", "accounts.google.com"):
        raise ValueError("is Google itself; write google")
    if url == "https://cloud.google.com/iap":
        raise ValueError("is IAP; write iap")
    upstream(url.removesuffix("/"))  # https, or http on loopback, without a query
    return url


def path_rules(value: object) -> dict[str, frozenset[str] | None]:
    """The rules of paths below /, by prefix. Raises ValueError, which names the path."""
    if not isinstance(value, dict):
        raise ValueError(f"must be a mapping of paths, such as {{/healthz: public}}, not {shown(value)}")  # noqa: TRY004
    rules: dict[str, frozenset[str] | None] = {}
    for key, rule in value.items():
        try:
            prefix, invokers = url_path(key), path_rule(rule)
        except ValueError as error:
            raise ValueError(f"path {shown(key)}: {error}") from None
        if prefix == "/":
            raise ValueError("path /: is every path, whose rule is invokers; remove it")
        if prefix in rules:
            raise ValueError(f"path {prefix}: is there twice; a slash at the end makes no other path")
        rules[prefix] = invokers
    return rules


def path_rule(value: object) -> frozenset[str] | None:
    """`public`, or a path's own invokers; None for everybody. Raises ValueError."""
    if value == PUBLIC:
        return None
    if not isinstance(value, list) or not value:
        raise ValueError("must be public, or a list of invokers of its own")
    return who([invoker(one) for one in value])


def who(listed: list[str]) -> frozenset[str] | None:
    """None for everybody. Raises ValueError."""
    if ALL_USERS not in listed:
        return frozenset(listed)
    if len(listed) > 1:
        raise ValueError("lists allUsers, and others beside everybody; remove one or the others")
    return None
