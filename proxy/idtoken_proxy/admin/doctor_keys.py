"""Of each issuer whose tokens are received: can its keys be fetched? As a listener before an app would (receive/)."""

from __future__ import annotations

import asyncio
import functools

from idtoken_proxy.admin.report import Finding, KeysReport, Verdict
from idtoken_proxy.errors import TokenError
from idtoken_proxy.identity.error_causes import TRANSIENT
from idtoken_proxy.identity.threads import Threads
from idtoken_proxy.settings.model import Settings

_PATIENCE = 20.0  # seconds for one issuer


async def examine_keys(settings: Settings) -> tuple[KeysReport, ...]:
    """Of each issuer once, however many listeners take its tokens."""
    if not settings.receive:
        return ()
    from idtoken_proxy.receive.composition import issuers_of  # noqa: PLC0415 -- brings cryptography along
    from idtoken_proxy.receive.issuers import Issuer  # noqa: PLC0415
    from idtoken_proxy.receive.key_fetch import fetch_keys  # noqa: PLC0415

    listeners: dict[Issuer, list[str]] = {}
    for inbound in settings.receive:
        for issuer in issuers_of(inbound, settings):
            listeners.setdefault(issuer, []).append(str(inbound.listen))

    async def one(issuer: Issuer, names: list[str]) -> KeysReport:
        try:
            fetch = functools.partial(fetch_keys, issuer)
            found = await Threads(f"doctor: keys of {issuer.name}").run(fetch, _PATIENCE)
        except TokenError as error:
            finding = Finding(Verdict.FAIL, error.cause, error.detail, error.remedy or TRANSIENT)
        except TimeoutError:
            told = f"the keys did not come within {_PATIENCE:g} s"
            finding = Finding(Verdict.FAIL, "endpoint_timeout", told, TRANSIENT)
        else:
            return KeysReport(issuer.name, issuer.keys_url, tuple(names), len(found.keys), found.max_age)
        return KeysReport(issuer.name, issuer.keys_url, tuple(names), 0, 0.0, finding)

    return tuple(await asyncio.gather(*(one(issuer, names) for issuer, names in listeners.items())))
