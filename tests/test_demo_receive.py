"""Both ends of a call, as `demo --receive` shows them: its lines do what they say."""

from __future__ import annotations

import json
import signal
from urllib.parse import urlsplit

from tests.demo_process import demo

LOGIN = "login@demo-project.iam.gserviceaccount.com"


async def test_its_lines_do_what_they_say_and_it_ends_cleanly() -> None:
    async with demo("idtoken_proxy.demo_receive") as running:
        bare, asserted, public, through, wrong = (line.split(" ")[-1] for line in running.commands("curl"))
        for url, headers, status in (
            (bare, {}, 403),
            (asserted, {"X-Goog-Authenticated-User-Email": "accounts.google.com:root@example.com"}, 403),
            (public, {"X-Goog-Authenticated-User-Id": "0"}, 200),
            (through, {"X-Goog-Authenticated-User-Id": "0"}, 200),
            (wrong, {}, 401),
        ):
            async with running.client.get(url, headers=headers) as answer:
                told = json.loads(await answer.read())
                assert answer.status == status, (url, told)
            if url == public:
                assert told == {"app": "orders", "path": "/healthz", "Authorization ends in": ""}
            if url == through:
                assert told["path"] == "/42"
                assert told["X-Goog-Authenticated-User-Email"] == f"accounts.google.com:{LOGIN}"
                assert told["X-Goog-Authenticated-User-Id"] not in ("", "0")
                assert told["Authorization ends in"] == "SIGNATURE_REMOVED_BY_GOOGLE"
        assert urlsplit(through).hostname == "localhost"
        log = await running.ended_by(signal.SIGTERM)
    assert "search.example.com" in log  # why it was 401
    assert "Traceback" not in log
