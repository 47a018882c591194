"""Is this request's token good, and whose is it? One listener's answer, in the order of the table in docs/receive.md.

The order is the security property: size, form, issuer, key, signature; only then what the token says is believed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Coroutine, Iterable
from hashlib import sha256
from typing import Any, Final

from idtoken_proxy.errors import NotInvoker, Unauthenticated
from idtoken_proxy.identity.clock import Clock
from idtoken_proxy.policy.fields import IAP_ASSERTION
from idtoken_proxy.policy.headers import TokenLines
from idtoken_proxy.policy.request import Request
from idtoken_proxy.receive.claims import Principal, principal_of
from idtoken_proxy.receive.compact_token import CompactToken, read_token
from idtoken_proxy.receive.issuers import IAP, Issuer
from idtoken_proxy.receive.key_set import KeySet
from idtoken_proxy.receive.verification_keys import VerificationKey
from idtoken_proxy.receive.verified_tokens import VerifiedToken, VerifiedTokens

SERVERLESS: Final = "X-Serverless-Authorization"
AUTHORIZATION: Final = "Authorization"
ASSERTION: Final = "X-Goog-IAP-JWT-Assertion"
_BEARER: Final = re.compile(rb"[Bb][Ee][Aa][Rr][Ee][Rr] +([^ ]*)").fullmatch
_SHOWN: Final = 200


class Credential:
    """What came as a token, and in which header; its digest is of both."""

    __slots__ = ("digest", "header", "value")

    def __init__(self, header: str, value: bytes, line: bytes | None = None) -> None:
        """`line`: all of it, where that is at hand."""
        self.header = header
        self.value = value
        self.digest = sha256(line or header.encode("ascii") + b"\0" + value).digest()


class Judge:
    """`issuers`: each with its keys. `keep_signature`: of tokens that go on to the app; IAP's assertion always keeps it, as
    behind IAP itself, whose apps are told to check it.
    """

    def __init__(
        self,
        issuers: Iterable[tuple[Issuer, KeySet]],
        audiences: Collection[str],
        clock: Clock,
        *,
        keep_signature: bool = False,
    ) -> None:
        self._keep_signature = keep_signature
        # After a reload: what the settings of today let go on. Who waited for keys meanwhile is held against these.
        self.today: Callable[[Request], Coroutine[Any, Any, TokenLines]] | None = None
        self.verified = VerifiedTokens()
        self._audiences = frozenset(audiences)
        self._clock = clock
        listed = list(issuers)
        self._asserting = _by_spelling(pair for pair in listed if pair[0].name == IAP)
        self._bearing = _by_spelling(pair for pair in listed if pair[0].name != IAP)

    def credential_of(self, request: Request) -> Credential:
        """X-Serverless-Authorization, else Authorization, as Cloud Run reads them; before them IAP's assertion, where IAP is
        listed. Raises Unauthenticated, and NotInvoker where there is none.
        """
        if self._asserting:
            said = [one.value for one in request.asserted if one.name == IAP_ASSERTION]
            if said:
                return Credential(ASSERTION, _only(said, ASSERTION))
        if self._bearing:
            if request.serverless:
                return Credential(SERVERLESS, _token_in(_only(request.serverless, SERVERLESS), SERVERLESS))
            if request.authorization:
                line = _only(request.authorization, AUTHORIZATION)
                return Credential(
                    AUTHORIZATION, _token_in(line.partition(b":")[2].strip(), AUTHORIZATION), line
                )
        raise _nothing()

    def known(self, digest: bytes) -> VerifiedToken | None:
        return self.verified.find(digest, self._clock.wall())

    def read(self, credential: Credential) -> Unverified:
        """Raises Unauthenticated."""
        token = read_token(credential.value)
        issuers = self._asserting if credential.header == ASSERTION else self._bearing
        said = token.claims.get("iss")
        found = issuers.get(said) if isinstance(said, str) else None
        if found is None:
            raise Unauthenticated(
                f"the token is of the issuer {ascii(said)[:_SHOWN]}, whose tokens are not taken in {credential.header}",
                cause="issuer",
                remedy=f"if it is one of yours, list it in issuers, beside {', '.join(sorted(issuers))}",
            )
        return Unverified(credential, token, *found)

    def verify(self, unverified: Unverified, key: VerificationKey | None) -> VerifiedToken:
        """`key`: the one of the token's kid, None where there is none of that name. Raises Unauthenticated."""
        token, issuer = unverified.token, unverified.issuer
        if key is None:
            raise Unauthenticated(
                f"{issuer.name} has no key of the name that the token says",
                cause="unknown_key",
                remedy="if the token is new, its issuer's keys cannot be fetched: see the log, or idtoken-proxy doctor",
            )
        if token.algorithm != key.algorithm or not key.verifies(token.signature, token.signed):
            raise Unauthenticated(
                f"the token's signature is not of {issuer.name}",
                cause="signature",
                remedy="somebody made it up, or changed it on its way",
            )
        principal = principal_of(token.claims, issuer, self._audiences, self._clock.wall())
        credential = unverified.credential
        whole = self._keep_signature or credential.header == ASSERTION
        lines = _lines(credential.header, credential.value if whole else token.unsigned, principal)
        return VerifiedToken(principal, unverified.keys, lines)

    def remember(self, credential: Credential, verified: VerifiedToken) -> None:
        self.verified.keep(credential.digest, verified)


class Unverified:
    """A token of which nothing is believed yet but where to find the key that it is to be checked with."""

    __slots__ = ("credential", "issuer", "keys", "token")

    def __init__(self, credential: Credential, token: CompactToken, issuer: Issuer, keys: KeySet) -> None:
        self.credential = credential
        self.token = token
        self.issuer = issuer
        self.keys = keys


def _by_spelling(issuers: Iterable[tuple[Issuer, KeySet]]) -> dict[str, tuple[Issuer, KeySet]]:
    return {spelling: pair for pair in issuers for spelling in pair[0].spellings}


def _only(said: Collection[bytes], header: str) -> bytes:
    if len(said) != 1:
        raise Unauthenticated(
            f"{header} came {len(said)} times",
            cause="two_tokens",
            remedy="have whoever is before this proxy send it once",
        )
    (value,) = said
    return value


def _token_in(value: bytes, header: str) -> bytes:
    match = _BEARER(value)
    if match is not None:
        return match[1]
    if header == SERVERLESS:  # which has no other use
        raise Unauthenticated(
            f"{SERVERLESS} does not say Bearer", cause="malformed", remedy=f"write {SERVERLESS}: Bearer TOKEN"
        )
    raise _nothing()


def _nothing() -> NotInvoker:
    return NotInvoker(
        "the request says nothing of who calls: there is no token in it",
        cause="no_token",
        remedy="have the caller send an ID token in Authorization (a route of this proxy attaches one); or, for whoever is to get in "
        "without, say paths: {/PATH: public}",
    )


def _lines(header: str, token: bytes, principal: Principal) -> TokenLines:
    """As Cloud Run and IAP tell the app (https://cloud.google.com/iap/docs/identity-howto#getting_the_users_identity_with_signed_headers)."""
    scheme = b"" if header == ASSERTION else b"Bearer "
    lines = header.encode("ascii") + b": " + scheme + token + b"\r\n"
    if principal.email is not None:
        lines += f"X-Goog-Authenticated-User-Email: accounts.google.com:{principal.email}\r\n".encode("ascii")
    lines += f"X-Goog-Authenticated-User-Id: {principal.subject}\r\n".encode("ascii")
    return TokenLines(lines, lines, keeps_authorization=header != AUTHORIZATION)
