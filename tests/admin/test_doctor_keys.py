"""What `doctor` says of issuers whose tokens are received."""

from __future__ import annotations

import json

from idtoken_proxy.admin.doctor import examine
from idtoken_proxy.admin.report import Report, as_json, as_text
from idtoken_proxy.settings.load import settings_from_text
from tests.engine.wire import Receiver
from tests.receive.inbound import Published, settings_text


async def report_of(**changes: str) -> Report:
    published = Published()
    async with Receiver(published.serve) as issuer:
        text = settings_text(3000, issuer.port, **changes)
        return await examine(settings_from_text(text, "proxy.yaml", {}), {})


async def test_keys_that_can_be_fetched() -> None:
    report = await report_of()
    assert report.all_ok
    assert list(as_text(report, colors=False)) == [
        "ISSUER google: 1 keys, fresh for 60 min (receive: 127.0.0.1:0)",
        "ISSUER iap: 1 keys, fresh for 60 min (receive: 127.0.0.1:0)",
        "",
        "OK: 0 routes, 2 issuers",
    ]
    assert [one["keys"] for one in json.loads(as_json(report))["issuers"]] == [1, 1]


async def test_an_issuer_that_cannot_be_reached_is_told_with_a_remedy() -> None:
    report = await report_of(issuers="[google, 'http://127.0.0.1:1']")
    assert not report.all_ok
    lines = list(as_text(report, colors=False))
    assert (
        "ISSUER http://127.0.0.1:1: no keys, so that its tokens are refused (receive: 127.0.0.1:0)" in lines
    )
    assert "fail: http://127.0.0.1:1: endpoint_unreachable" in lines
    assert "  keys:     http://127.0.0.1:1/.well-known/openid-configuration" in lines
    assert any(line.startswith("  to mend:  See that it runs") for line in lines)
    assert lines[-1] == "1 of 0 routes, 2 issuers needs mending"
