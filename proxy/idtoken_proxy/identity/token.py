"""ID tokens and access tokens: what is known of each read once; the value shows only where `value` is asked for by name."""

from __future__ import annotations

import base64
import json
import math
import re
from dataclasses import dataclass, field
from typing import TypeAlias

from idtoken_proxy.errors import Fault, TokenError
from idtoken_proxy.identity.redaction import redacted
from idtoken_proxy.terminal import printable

# The compact form of RFC 7515 section 7.1. Matched whole, since the value becomes a header line: a line end
# inside it would be header injection. Google's tokens are about 1 KiB; 16 is what receivers take in one header.
_COMPACT = re.compile(r"[A-Za-z0-9_-]+\.([A-Za-z0-9_-]+)\.[A-Za-z0-9_-]+")
# The syntax of a bearer token (RFC 6750 section 2.1), for the same reason.
_BEARER = re.compile(r"[A-Za-z0-9._~+/-]+=*")
_MAX_LENGTH = 16 * 1024
_LONGEST_CLAIM = 1024


@dataclass(frozen=True, slots=True)
class IdToken:
    """`expires_at`, `issued_at`: Unix seconds. `audience`: the token's own `aud`; where that is a list (RFC 7519 section
    4.1.3), the one that was asked for, or else the first, and `others` the rest.
    """

    value: str = field(repr=False)
    audience: str
    expires_at: float
    issued_at: float | None = None
    email: str | None = None
    subject: str | None = None
    others: tuple[str, ...] = ()

    @property
    def bearer(self) -> str | None:
        """Whose it is, for people: agents and workloads have no email, and are told by their subject."""
        return self.email or self.subject

    def is_for(self, audience: str | None) -> bool:
        return audience == self.audience or audience in self.others

    @property
    def audiences(self) -> str:
        """All of them, for people."""
        return ", ".join((self.audience, *self.others))

    def __str__(self) -> str:
        return f"IdToken(for {self.audience}, redacted)"

    @classmethod
    def parse(
        cls, value: str, *, origin: str, audience: str | None = None, fault: Fault = Fault.GOOGLE
    ) -> IdToken:
        """Read a JWT's claims without checking its signature: the receiver does that (RFC 7519 section 7.2).

        `origin` names who handed it out and `fault` whose mistake it is, for the errors: TokenError with cause
        `garbage`, or `wrong_audience` where `audience` is given and the token is for another.
        """
        try:
            token = cls._read(value.strip(), audience)
        except (ValueError, TypeError, KeyError, ArithmeticError, RecursionError):
            # `from None`: the text that failed to parse may be most of a credential.
            raise TokenError(
                f"{origin} handed out something that is no ID token",
                cause="garbage",
                fault=fault,
            ) from None
        if audience is not None and token.audience != audience:
            # What came is the key to who answers there; a claim may hold anything, and comes out fit for a terminal.
            raise TokenError(
                f"{origin} handed out a token for another audience than the one asked for: it is for "
                f"{redacted(token.audiences)}, and {audience} was asked for",
                cause="wrong_audience",
                fault=fault,
                log_detail=f"asked for {audience!r}, got {token.audiences!r}",
            )
        return token

    @classmethod
    def _read(cls, value: str, wanted: str | None) -> IdToken:
        compact = _COMPACT.fullmatch(value)
        if compact is None or len(value) > _MAX_LENGTH:
            raise ValueError
        payload = compact[1]
        claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
        audiences = _audiences(claims["aud"])
        audience = wanted if wanted is not None and wanted in audiences else _cleaned(audiences[0])
        return cls(
            value=value,
            audience=audience,
            expires_at=_numeric_date(claims["exp"]),
            issued_at=_numeric_date(claims["iat"]) if "iat" in claims else None,
            email=_text(claims.get("email")),
            subject=_text(claims.get("sub")),
            others=tuple(_cleaned(one) for one in audiences if one != audience),
        )


# Of an access token whose life nobody tells: another is asked for so soon that it matters little.
UNTOLD_LIFE = 300.0  # seconds


@dataclass(frozen=True, slots=True)
class AccessToken:
    """An OAuth access token: opaque, so that all that is known of it is what came with it.

    `expires_at`, `issued_at`: Unix seconds; it was issued when it was asked for, at the earliest. `email`: whose it is, and
    `subject` where that is no account (`principal://...`), as far as the source knows. `quota_project`: whom Google is to
    charge, where the credential says.
    """

    value: str = field(repr=False)
    expires_at: float
    issued_at: float | None = None
    email: str | None = None
    subject: str | None = None
    quota_project: str | None = None

    @property
    def bearer(self) -> str | None:
        """Whose it is, for people."""
        return self.email or self.subject

    def __str__(self) -> str:
        return "AccessToken(redacted)"

    @classmethod
    def of(
        cls,
        value: object,
        *,
        origin: str,
        asked: float,
        life: float = UNTOLD_LIFE,
        email: str | None = None,
        subject: str | None = None,
        quota_project: str | None = None,
        fault: Fault = Fault.GOOGLE,
    ) -> AccessToken:
        """`asked`: Unix seconds, when the request for it was sent, from which its `life` is counted. TokenError with cause
        `garbage` for what is none.
        """
        if (
            not isinstance(value, str)
            or len(value) > _MAX_LENGTH
            or _BEARER.fullmatch(value) is None
            or not math.isfinite(life)
        ):
            raise TokenError(
                f"{origin} handed out something that is no access token", cause="garbage", fault=fault
            )
        return cls(value, asked + life, asked, email, subject, quota_project)


Token: TypeAlias = IdToken | AccessToken


def _numeric_date(claim: object) -> float:
    """RFC 7519 section 2. Python's JSON also reads NaN and Infinity, which no clock would ever pass."""
    if isinstance(claim, bool) or not isinstance(claim, int | float) or not math.isfinite(claim):
        raise TypeError
    return float(claim)


def _audiences(claim: object) -> list[str]:
    found = [one for one in (claim if isinstance(claim, list) else [claim]) if isinstance(one, str)]
    if not found or (isinstance(claim, list) and len(found) < len(claim)):
        raise TypeError
    return found


def _text(claim: object) -> str | None:
    return _cleaned(claim) if isinstance(claim, str) else None


def _cleaned(claim: str) -> str:
    """A claim may hold anything, and is shown on terminals and pages, in logs and in commands to paste."""
    return printable(claim[:_LONGEST_CLAIM])
