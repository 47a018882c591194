"""What a test sees of what a private service got."""

from __future__ import annotations

from idtoken_proxy.emulator import Seen
from idtoken_proxy.testing.private_service import PrivateService, Received, received
from tests.engine.proxied import make_token


def seen(*headers: tuple[str, str], refused: int | None = None) -> Seen:
    return Seen("a", "GET", "/x", headers, refused)


def test_whose_token_was_let_in() -> None:
    own, apps = f"Bearer {make_token()}", "Bearer of-the-app"
    of = received(seen(("X-Serverless-Authorization", own), ("Authorization", apps)))
    assert (of.caller, of.headers["authorization"]) == ("caller@example.com", apps)
    assert received(seen(("Authorization", "Bearer ya29.opaque"))).caller is None
    assert received(seen()).claims == {}


def test_what_was_refused_is_nobody_s() -> None:
    of = received(seen(("Authorization", f"Bearer {make_token()}"), refused=403))
    assert (of.refused, of.caller) == (403, None)
    let_in = Received("GET", "/y", {}, None, {})
    service = PrivateService("a", "http://127.0.0.1:1", lambda: [of, let_in])
    assert service.let_in == [let_in]
    assert service.requests == [of, let_in]
