"""What a token whose signature holds says: for whom it is, how long, and who calls. Pure; every answer to the octet."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Final

from idtoken_proxy.errors import Unauthenticated
from idtoken_proxy.receive.issuers import Issuer

LEEWAY: Final = 30.0  # seconds that two machines' clocks may be apart
_SERVICE_ACCOUNT: Final = ".gserviceaccount.com"
# Of what goes into a header, a log and a comparison: no blank, no control character, no letter that looks like another.
_VISIBLE: Final = re.compile(r"[!-~]{1,512}").fullmatch
_EMAIL: Final = re.compile(r"[!-?A-~]{1,256}@[A-Za-z0-9.-]{1,253}").fullmatch
_SHOWN: Final = 200


@dataclass(frozen=True, slots=True)
class Principal:
    """Who calls. `members`: all that an invoker may be listed as to mean it (settings/invokers.py). `subject`: with its
    issuer's name before it. `email`: of a Google account. `expires_at`: Unix seconds, leeway included.
    """

    subject: str
    email: str | None
    members: frozenset[str]
    expires_at: float

    def __str__(self) -> str:
        if self.email is None:
            return f"the subject {self.subject}"
        return f"{'serviceAccount' if self.email.endswith(_SERVICE_ACCOUNT) else 'user'}:{self.email}"


def member_of(issuer: str, subject: str) -> str:
    """As `{principal: ..., issuer: ...}` is compared: neither holds a blank."""
    return f"principal:{issuer} {subject}"


def principal_of(
    claims: Mapping[str, Any], issuer: Issuer, audiences: Collection[str], now: float
) -> Principal:
    """`claims`: of a token that `issuer` has signed. `audiences`: ours. `now`: Unix seconds. Raises Unauthenticated."""
    _check_audience(claims.get("aud"), audiences)
    expires_at = _check_times(claims, now)
    subject = claims.get("sub")
    if not isinstance(subject, str) or _VISIBLE(subject) is None:
        raise _wrong("subject", "the token names no subject (sub)")
    members = {member_of(issuer.name, subject)}
    email = _email_of(claims, issuer) if subject.startswith(issuer.of_google) else None
    if email is not None:
        members.add(f"serviceAccount:{email}" if email.endswith(_SERVICE_ACCOUNT) else f"user:{email}")
        # Of a Workspace or Cloud Identity account. The part behind the @ would not do: anybody may open an account with an
        # address elsewhere, and keeps it when the mailbox is another's
        # (https://developers.google.com/identity/openid-connect/openid-connect#an-id-tokens-payload).
        domain = claims.get("hd")
        if isinstance(domain, str) and _VISIBLE(domain) is not None and not email.endswith(_SERVICE_ACCOUNT):
            members.add(f"domain:{domain.lower()}")
    return Principal(issuer.namespace + subject, email, frozenset(members), expires_at)


def _check_audience(said: object, audiences: Collection[str]) -> None:
    """RFC 7519 section 4.1.3: one string, or a list of them of which any may be ours."""
    listed = said if isinstance(said, list) else [said]
    if not all(isinstance(one, str) for one in listed):
        raise _wrong("audience", "the token's aud is no string, nor a list of strings")
    if not any(one in audiences for one in listed):
        shown = ", ".join(map(ascii, listed))[:_SHOWN] or "nobody"
        raise Unauthenticated(
            f"the token is for {shown}, and not for this service",
            cause="audience",
            remedy=f"have the caller ask for a token with the audience {min(audiences)}, or list the one it has in audiences",
        )


def _check_times(claims: Mapping[str, Any], now: float) -> float:
    """The end of its life, leeway included."""
    expires, issued, begins = (_time(claims, name) for name in ("exp", "iat", "nbf"))
    if expires is None:
        raise _wrong("expiry", "the token has no end (exp)")
    if now >= expires + LEEWAY:
        raise Unauthenticated(
            f"the token expired {_ago(now - expires)} ago",
            cause="expired",
            remedy="have the caller fetch another one; if it just did, set the clocks of both machines right",
        )
    for name, moment in (("issued (iat)", issued), ("good (nbf)", begins)):
        if moment is not None and moment > now + LEEWAY:
            raise Unauthenticated(
                f"the token is {name} only in {_ago(moment - now)}",
                cause="not_yet",
                remedy="set this machine's clock right, or that of the issuer",
            )
    return expires + LEEWAY


def _ago(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 1e9 else "more than 30 years"


def _time(claims: Mapping[str, Any], name: str) -> float | None:
    """A NumericDate (RFC 7519 section 2)."""
    said = claims.get(name)
    if said is None and name not in claims:
        return None
    if isinstance(said, bool) or not isinstance(said, int | float):
        raise _wrong("times", f"the token's {name} is no number")
    try:
        moment = float(said)
    except OverflowError:
        moment = math.inf
    if not math.isfinite(moment):
        raise _wrong("times", f"the token's {name} is no date")
    return moment


def _email_of(claims: Mapping[str, Any], issuer: Issuer) -> str | None:
    """In lower case, as settings have it. What an issuer other than Google calls an email is nobody's account."""
    said = claims.get("email")
    if not issuer.names_emails or said is None:
        return None
    if not isinstance(said, str) or _EMAIL(said) is None:
        raise _wrong("email", "the token's email is none")
    if claims.get("email_verified", not issuer.says_verified) is not True:
        raise _wrong("email_unverified", f"{said} is not verified to be the caller's (email_verified)")
    return said.lower()


def _wrong(cause: str, detail: str) -> Unauthenticated:
    return Unauthenticated(
        detail, cause=cause, remedy="have the caller send an ID token as its issuer makes them"
    )
