"""An ID token, its claims read once; the value shows only where `value` is asked for by name."""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import dataclass, field

from proxy.errors import Fault, TokenError


@dataclass(frozen=True, slots=True)
class IdToken:
    """`expires_at`, `issued_at`: Unix seconds. `audience`: the token's own `aud`, not the one asked for."""

    value: str = field(repr=False)
    audience: str
    expires_at: float
    issued_at: float | None = None
    email: str | None = None
    subject: str | None = None

    def __str__(self) -> str:
        return f"IdToken(for {self.audience}, redacted)"

    @classmethod
    def parse(cls, value: str, *, origin: str) -> IdToken:
        """Read a JWT's claims without checking its signature: the receiver does that (RFC 7519 section 7.2).

        `origin` names who handed it out, for the error: TokenError with cause `garbage`.
        """
        value = value.strip()
        parts = value.split(".")
        try:
            if len(parts) != 3 or not value.isascii():
                raise ValueError
            padded = parts[1] + "=" * (-len(parts[1]) % 4)
            claims = json.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
            audience = claims["aud"]
            expires_at = float(claims["exp"])
            if not isinstance(audience, str):
                raise TypeError
            issued_at = float(claims["iat"]) if "iat" in claims else None
        except (ValueError, TypeError, KeyError, binascii.Error):
            # `from None`: the text that failed to parse may be most of a credential.
            raise TokenError(
                f"{origin} handed out something that is no ID token",
                cause="garbage",
                fault=Fault.GOOGLE,
            ) from None
        return cls(
            value=value,
            audience=audience,
            expires_at=expires_at,
            issued_at=issued_at,
            email=claims.get("email"),
            subject=claims.get("sub"),
        )
