"""Who may come in, by one rule of one listener: an engine's Admission (engine/route_entry.py)."""

from __future__ import annotations

import json
from collections.abc import Coroutine
from hashlib import sha256
from typing import Any, Final

from idtoken_proxy.engine.receipts import ReceivedCounts
from idtoken_proxy.engine.stats import cause_of
from idtoken_proxy.errors import NotInvoker, ProxyError
from idtoken_proxy.policy.headers import NO_TOKEN, TokenLines
from idtoken_proxy.policy.request import Request
from idtoken_proxy.receive.judge import Credential, Judge, Unverified
from idtoken_proxy.receive.verified_tokens import VerifiedToken

_SHOWN: Final = 5


class Admission:
    """`invokers`: members of whom one is the caller (claims.py); None: everybody, and nobody is asked for a token."""

    __slots__ = ("_counts", "_invokers", "_judge")

    def __init__(self, judge: Judge, invokers: frozenset[str] | None, counts: ReceivedCounts) -> None:
        self._judge = judge
        self._invokers = invokers
        self._counts = counts

    def lines_for(self, request: Request) -> TokenLines | Coroutine[Any, Any, TokenLines]:
        judge, counts, invokers = self._judge, self._counts, self._invokers
        if request.asserted:
            strip_asserted(request)
        elif invokers is not None and len(request.authorization) == 1 and not request.serverless:
            # As nearly all come: by one token in Authorization, which has been checked already.
            known = judge.known(sha256(request.authorization[0]).digest())
            if known is not None and known.admitted_by is invokers:
                counts.admitted += 1
                return known.lines
        if invokers is None:
            counts.public += 1
            return NO_TOKEN
        try:
            credential = judge.credential_of(request)
            known = judge.known(credential.digest)
            if known is not None:
                self._check(known)
                counts.admitted += 1
                return known.lines
            unverified = judge.read(credential)
            key = unverified.keys.find(unverified.token.kid)
            if key is None and unverified.keys.may_ask():
                return self._after_asking(unverified, request)
            if key is None:
                unverified.keys.demand()
            return self._admit(credential, judge.verify(unverified, key))
        except ProxyError as error:
            counts.refuse(cause_of(error))
            raise

    async def _after_asking(self, unverified: Unverified, request: Request) -> TokenLines:
        try:
            key = await unverified.keys.ask(unverified.token.kid)
            if self._judge.today is not None:
                return await self._judge.today(request)
            return self._admit(unverified.credential, self._judge.verify(unverified, key))
        except ProxyError as error:
            self._counts.refuse(cause_of(error))
            raise

    def _admit(self, credential: Credential, verified: VerifiedToken) -> TokenLines:
        self._check(verified)
        self._judge.remember(credential, verified)
        self._counts.admitted += 1
        return verified.lines

    def _check(self, verified: VerifiedToken) -> None:
        """At each request anew: who is remembered may have been taken off the list, or want to go by another path."""
        principal, invokers = verified.principal, self._invokers
        if verified.admitted_by is invokers:
            return
        if invokers is not None and invokers.isdisjoint(principal.members):
            listed = ", ".join(sorted(invokers)[:_SHOWN])
            raise NotInvoker(
                f"{principal} is no invoker",
                cause="not_invoker",
                remedy=f"if it is to be one, list it: invokers: [{_as_listed(principal.members)}]; now there are {listed}",
            )
        verified.admitted_by = invokers


def _as_listed(members: frozenset[str]) -> str:
    """The narrowest way to list it."""
    named = sorted(one for one in members if one.startswith(("serviceAccount:", "user:")))
    if named:
        return named[0]
    issuer, _, subject = min(members).removeprefix("principal:").partition(" ")
    # A subject may hold quotes, and this is to be pasted into YAML, of which JSON's strings are a part.
    return f'{{principal: {json.dumps(subject)}, issuer: "{issuer}"}}'


def strip_asserted(request: Request) -> None:
    """Takes from what goes on whatever came of who the caller is, in any spelling: that is ours to say. Twice is once."""
    asserted = {one.wire for one in request.asserted}
    request.passing = [line for line in request.passing if line not in asserted]
    # A head that HTTP/2 remembers has them among its shape's lines, which go upstream too.
    request.shape = None
