"""A running listener before an app: over real sockets, in both versions of HTTP."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import aiohttp
import pytest
from structlog.testing import capture_logs

from idtoken_proxy.admin.metrics import ProxyCollector
from idtoken_proxy.engine.listeners import ListenFailed
from idtoken_proxy.engine.local_responses import NOT_VERIFIED
from idtoken_proxy.settings.load import settings_from_text
from idtoken_proxy.settings.model import GuardSettings, TracingSettings
from idtoken_proxy.tracing.pipeline import Pipeline
from tests.cases import and_thoroughly
from tests.engine.http2.peer import headers
from tests.engine.wire import Message, Wire, connect, eventually, get, ok, post
from tests.hostile.raw_http2 import Raw, Seen, answer_to
from tests.receive.forged import ATTACKER, FORGED, GOOGLE, IAP, Fields, bearer
from tests.receive.inbound import Inbound, echo, inbound, now, settings_text
from tests.receive.signing import AUDIENCE, LOGIN, STRANGER, claims_of, rsa_signer
from tests.tracing.conftest import Kept


def good() -> Fields:
    return bearer(GOOGLE.token(claims_of(now())))


def pairs_of(fields: Iterable[str]) -> list[tuple[bytes, bytes]]:
    split = (field.partition(":") for field in fields)
    return [(name.lower().encode(), value.strip().encode("latin-1")) for name, _, value in split]


async def by_http2(running: Inbound, *fields: str, path: str = "/orders/7", grpc: bool = False) -> Seen:
    """On a connection of its own."""
    raw = await Raw.app(running.port)
    running.wires.append(raw.wire)
    head = [(b":method", b"POST" if grpc else b"GET"), (b":scheme", b"http"), (b":authority", b"localhost")]
    head += [(b":path", path.encode()), *pairs_of(fields)]
    if grpc:
        head += [(b"content-type", b"application/grpc"), (b"te", b"trailers")]
    raw.send(headers(1, head, end=True))
    seen = await raw.done(1)
    raw.close()
    return seen


def tells_nothing(answer: Message) -> None:
    """A stranger: neither what is wrong, nor what would be right, nor what is behind."""
    said = json.loads(answer.body)
    assert set(said) == {"type", "title", "status"}
    whole = answer.raw + answer.body
    for word in (AUDIENCE, LOGIN, "127.0.0.1", "invoker", "google-1"):
        assert word.encode() not in whole, word


# Every eighth; and all of them.
SOME, ALL = list(FORGED)[::8], list(FORGED)


@pytest.mark.parametrize("cases", and_thoroughly(SOME, ALL), ids=["some", "all"])
async def test_no_forged_or_foreign_token_reaches_the_app_in_either_version_of_http(cases: list[str]) -> None:
    async with inbound(issuers="[google, iap]") as running:
        for case in cases:
            make, status = FORGED[case]
            fields = make(now())
            answer = await running.ask(*fields)
            assert answer.status in ({status, 401} if "another issuer" in case else {status, 431}), case
            tells_nothing(answer) if answer.status != 431 else None
            assert (answer.one("www-authenticate") is not None) is (answer.status == 401), case
            if sum(map(len, fields)) < 16_000:  # a frame's
                seen = await by_http2(running, *fields)
                assert seen.status == answer.status, case
        assert running.sent_on == []
        assert (await running.ask(*good())).status == 200
        assert (await by_http2(running, *good())).status == 200
        assert len(running.sent_on) == 2


async def test_refusals_are_cloud_run_s_and_a_caller_knows_that_another_token_may_help() -> None:
    async with inbound() as running:
        expired = await running.ask(*bearer(GOOGLE.token(claims_of(now() - 9000))))
        assert expired.one("www-authenticate") == (
            f'Bearer error="invalid_token" error_description="{NOT_VERIFIED}"'
        )
        stranger = await running.ask(*bearer(GOOGLE.token(claims_of(now(), email=STRANGER))))
        assert (stranger.status, stranger.one("www-authenticate")) == (403, None)
        counts = running.server.context.stats.received["receive 127.0.0.1:0"]
        assert counts.refused == {"expired": 1, "not_invoker": 1}


async def test_the_log_alone_has_cause_and_remedy() -> None:
    async with inbound() as running:
        with capture_logs() as logs:
            answer = await running.ask(
                *bearer(GOOGLE.token(claims_of(now(), aud="https://search.example.com")))
            )
            tells_nothing(answer)
            await eventually(lambda: any(one["event"] == "request" for one in logs), "no line")
        (line,) = [one for one in logs if one["event"] == "request"]
        assert line["reason"] == "the token is for 'https://search.example.com', and not for this service"
        assert AUDIENCE in line["remedy"]
        assert line["route"] == "receive 127.0.0.1:0"


async def test_grpc_refusals_are_statuses() -> None:
    async with inbound() as running:
        bad = await by_http2(running, "Authorization: Bearer a.b.c", grpc=True)
        none = await by_http2(running, grpc=True)
        assert (bad.grpc, bad.all(b"grpc-message")) == (16, [b"Unauthorized"])
        assert (none.grpc, none.all(b"grpc-message")) == (7, [b"Forbidden"])
        assert running.sent_on == []


async def test_grpc_comes_through_whole_and_the_app_is_told_who_calls() -> None:
    asked: list[Seen] = []

    async def script(wire: Wire) -> None:
        raw = await Raw.receiver(wire)
        seen = await raw.done(1)
        asked.append(seen)
        raw.send(*answer_to(1, seen))
        await wire.gone()

    async with inbound(script=script) as running:
        seen = await by_http2(running, *good(), *ASSERTED, grpc=True)
        assert (seen.status, seen.grpc) == (200, 0)
        assert asked[0].all(b"x-goog-authenticated-user-email") == [f"accounts.google.com:{LOGIN}".encode()]
        (authorization,) = asked[0].all(b"authorization")
        assert authorization.endswith(b".SIGNATURE_REMOVED_BY_GOOGLE")
        assert not [
            name for head in asked[0].heads for name, _ in head if b"_goog" in name or b"groups" in name
        ]


ASSERTED = (
    "X-Goog-Authenticated-User-Email: accounts.google.com:root@example.com",
    "x-goog-authenticated-user-id: accounts.google.com:0",
    "X_Goog_Authenticated_User_Email: accounts.google.com:root@example.com",
    "X-GOOG.AUTHENTICATED-USER_ID: 0",
    "X-Goog-Authenticated-User-Groups: admins",
    "X_Goog_IAP_JWT_Assertion: x",
    "Metadata-Flavor: Google",
    "X_Serverless_Authorization: Bearer x",
)


@pytest.mark.parametrize("path", ["/orders/7", "/healthz"])
async def test_nobody_else_says_who_calls(path: str) -> None:
    async with inbound(paths="{/healthz: public}", issuers="[google]") as running:
        for _ in range(2):  # a head that HTTP/2 remembers
            assert (await running.ask(*good(), *ASSERTED, target=path)).status == 200
            assert (await by_http2(running, *good(), *ASSERTED, path=path)).status == 200
        for request in running.sent_on:
            said = {
                name: value
                for name, value in request.fields
                if "goog" in name.lower() or "serverless" in name
            }
            if path == "/healthz":
                assert said == {}
            else:
                assert said == {
                    "x-goog-authenticated-user-email": f"accounts.google.com:{LOGIN}",
                    "x-goog-authenticated-user-id": "accounts.google.com:112233445566778899",
                }
            assert len([name for name, _ in request.fields if name == "authorization"]) == 1


async def test_a_remembered_head_of_http2_has_nothing_of_it_either() -> None:
    async with inbound(paths="{/healthz: public}") as running:
        raw = await Raw.app(running.port)
        running.wires.append(raw.wire)
        head = [
            (b":method", b"GET"),
            (b":scheme", b"http"),
            (b":authority", b"localhost"),
            (b":path", b"/healthz"),
        ]
        for number in range(6):
            raw.send(headers(2 * number + 1, [*head, *pairs_of(ASSERTED)], end=True))
            assert (await raw.done(2 * number + 1)).status == 200
        raw.close()
        for request in running.sent_on:
            assert not [name for name, _ in request.fields if "goog" in name.lower()]


async def test_trailers_bring_no_token_and_no_identity() -> None:
    async with inbound() as running:
        token = GOOGLE.token(claims_of(now())).decode()
        trailers = f"Authorization: Bearer {token}\r\nX-Goog-Authenticated-User-Email: root\r\n"
        body = b"2\r\nhi\r\n0\r\n" + trailers.encode() + b"\r\n"
        head = b"POST /orders HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n"
        refused = await running.ask(octets=head + b"\r\n" + body)
        assert refused.status == 403
        sent = await running.ask(octets=head + good()[0].encode() + b"\r\n\r\n" + body)
        assert sent.status == 200
        (request,) = running.sent_on
        assert request.trailers == []
        assert request.one("x-goog-authenticated-user-email") == f"accounts.google.com:{LOGIN}"


async def test_what_connection_names_is_no_token() -> None:
    async with inbound(issuers="[google, iap]") as running:
        assertion = IAP.token(
            claims_of(now(), iss="https://cloud.google.com/iap", sub="accounts.google.com:7")
        )
        for name, value in (
            ("Authorization", good()[0].partition(": ")[2]),
            ("X-Serverless-Authorization", good()[0].partition(": ")[2]),
            ("X-Goog-IAP-JWT-Assertion", assertion.decode()),
        ):
            answer = await running.ask(f"{name}: {value}", f"Connection: {name}")
            assert answer.status == 403, name
        assert running.sent_on == []


async def test_a_path_has_its_own_rule_and_no_other_spelling_of_it() -> None:
    rules = "{/healthz: public, /admin: ['user:boss@example.com'], /admin/status: public}"
    boss = bearer(GOOGLE.token(claims_of(now(), email="boss@example.com", sub="1")))
    async with inbound(paths=rules) as running:
        for path, fields, status in (
            ("/healthz", [], 200),
            ("/healthz/deep", [], 200),
            ("/healthzz", [], 403),
            ("/admin", good(), 403),
            ("/admin/users", good(), 403),
            ("/admin/users", boss, 200),
            ("/admin/status", [], 200),
            ("/orders", boss, 403),
            ("/orders", good(), 200),
            # Read in two ways: by the letter, and as many apps do.
            ("/%61dmin", good(), 400),
            ("/ADMIN", good(), 400),
            ("//admin", good(), 400),
            ("/orders/../admin", good(), 400),
            ("/healthz/../orders", [], 400),
            ("/healthz/%2e%2e/orders", [], 400),
            ("/healthz/..%2forders", [], 400),
            ("/healthz/..;/orders", [], 400),
            ("/healthz\\..\\orders", [], 400),
        ):
            answer = await running.ask(*fields, target=path)
            assert answer.status == status, (path, status, answer.status)
            if status >= 400:
                tells_nothing(answer)


async def test_no_header_says_another_path_than_the_one_that_was_judged() -> None:
    async with inbound(paths="{/healthz: public}") as running:
        fields = (
            "X-Original-URL: /admin",
            "x-rewrite-url: /admin",
            "X_Original_URL: /admin",
            "X-Original: kept",
        )
        assert (await running.ask(*fields, target="/healthz")).status == 200
        assert (await running.ask(*good(), *fields)).status == 200
        assert (await by_http2(running, *fields, path="/healthz")).status == 200
        assert len(running.sent_on) == 3
        for request in running.sent_on:
            assert [
                value for name, value in request.fields if name.startswith("x-r") or "riginal" in name
            ] == ["kept"]


async def test_a_token_is_checked_once_and_its_caller_at_each_request() -> None:
    async with inbound() as running:
        listeners = running.server._inbound
        assert listeners is not None
        (listener,) = listeners
        verified = listener.reception.judge.verified
        fields = good()  # of one second
        for _ in range(3):
            await running.ask(*fields)
        assert len(verified) == 1
        await running.ask(*bearer(GOOGLE.token(claims_of(now(), email=STRANGER))))
        assert len(verified) == 1  # of invokers alone


async def test_a_reload_takes_an_invoker_away_at_once() -> None:
    async with inbound() as running:
        fields = good()
        wire = await running.connect()
        wire.send(get("/", *fields))
        assert (await wire.response()).status == 200
        text = settings_text(running.app.port, 1, invokers="['user:boss@example.com']").replace(
            "127.0.0.1:1/", f"127.0.0.1:{keys_port(running)}/"
        )
        await running.server.reload(settings_from_text(text, "proxy.yaml", {}))
        wire.send(get("/", *fields))  # on the same connection
        assert (await wire.response()).status == 403
        assert (await running.ask(*fields)).status == 403


async def test_who_waits_for_keys_while_a_reload_strikes_him_off_is_not_let_in() -> None:
    fresh = rsa_signer("google-2")
    token = bearer(fresh.token(claims_of(now())))
    for left, status in (("user:boss@example.com", 403), (f"serviceAccount:{LOGIN}", 200)):
        async with inbound(issuers="[google]") as running:
            running.published.google = [GOOGLE, fresh]
            running.published.answering.clear()
            asked = running.published.asked
            wire = await running.connect()
            wire.send(get("/", *token))
            await eventually(lambda: running.published.asked > asked, "no question for keys")  # noqa: B023
            text = settings_text(
                running.app.port, keys_port(running), issuers="[google]", invokers=f"['{left}']"
            )
            await running.server.reload(settings_from_text(text, "proxy.yaml", {}))
            running.published.answering.set()
            assert (await wire.response()).status == status
            assert len(running.sent_on) == (status == 200)


def keys_port(running: Inbound) -> int:
    endpoint = running.server.settings.google.keys_endpoint
    assert endpoint is not None
    return int(endpoint.rpartition(":")[2].partition("/")[0])


async def test_the_body_of_who_is_refused_goes_nowhere() -> None:
    async with inbound() as running:
        answer = await running.ask(octets=post(b"x" * 1000))
        assert answer.status == 403
        assert answer.one("connection") == "close" or running.sent_on == []
        assert running.sent_on == []


async def test_connect_and_trace_are_refused() -> None:
    async with inbound() as running:
        for octets in (
            b"CONNECT app:80 HTTP/1.1\r\nHost: app:80\r\n\r\n",
            b"TRACE / HTTP/1.1\r\nHost: x\r\n\r\n",
        ):
            assert (await running.ask(octets=octets)).status == 405
        assert running.sent_on == []


async def test_key_rotation_under_load_refuses_no_good_token_and_lets_none_in_by_a_key_that_is_gone() -> None:
    fresh = rsa_signer("google-2")
    async with inbound() as running:
        old, new = good(), bearer(fresh.token(claims_of(now())))
        wires = [await running.connect() for _ in range(8)]

        async def ask_all(fields: Fields) -> set[int]:
            for wire in wires:
                wire.send(get("/", *fields))
            return {(await wire.response()).status for wire in wires}

        for _ in range(5):
            assert await ask_all(old) == {200}
        running.published.google = [GOOGLE, fresh]  # as Google does: both, for a while
        asked = running.published.asked
        for _ in range(5):
            assert await ask_all(new) == {200}
            assert await ask_all(old) == {200}
        assert running.published.asked == asked + 1
        running.published.google = [fresh]
        await _refetch(running)
        for _ in range(5):
            assert await ask_all(new) == {200}
            assert await ask_all(old) == {401}


async def _refetch(running: Inbound) -> None:
    """As when max-age is over."""
    keys = running.server._generation.issuer_keys
    assert keys is not None
    for one in keys:
        before = one.fetches["fetched"]
        one.expire()
        await eventually(lambda one=one, before=before: one.fetches["fetched"] > before, "no keys")  # type: ignore[misc]


async def test_without_keys_it_is_503_and_not_ready() -> None:
    async with inbound(issuers="[google]") as running:
        text = settings_text(running.app.port, 1, issuers="[google, 'http://127.0.0.1:1']")
        text = text.replace("127.0.0.1:1/", f"127.0.0.1:{keys_port(running)}/")
        await running.server.reload(settings_from_text(text, "proxy.yaml", {}))
        assert not running.server.ready
        token = GOOGLE.token(claims_of(now(), iss="http://127.0.0.1:1"))
        answer = await running.ask(*bearer(token))
        assert answer.status == 503
        tells_nothing(answer)
        assert (await running.ask(*good())).status == 200  # the other issuer's
        assert [len(one) > 0 for one in running.server.key_sets()] == [True, False]


async def test_interim_answers_and_errors_of_the_app_pass_as_they_are() -> None:
    async def script(wire: Wire) -> None:
        await wire.request()
        wire.send(b"HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Basic\r\nContent-Length: 3\r\n\r\nown")
        await echo(wire)

    async with inbound(script=script) as running:
        answer = await running.ask(*good())
        assert (answer.status, answer.body) == (401, b"own")
        assert len(running.sent_on) == 1  # and was not sent again, as on the way out


async def test_an_app_that_is_away_is_502_and_nobody_learns_where_it_is() -> None:
    async with inbound(upstream="http://127.0.0.1:1") as running:
        answer = await running.ask(*good())
        assert answer.status == 502
        tells_nothing(answer)


async def test_the_status_says_why_an_issuer_has_no_keys() -> None:
    async with inbound(issuers="[google]") as running:
        running.published.away = True
        await _refused_fetch(running)
        (told,) = running.server.status()["receive"]
        (google,) = told["issuers"]
        assert (google["keys"], google["fresh_for"], google["failed"]) == (1, 0.0, 1)
        assert google["error"]["cause"] == "endpoint_unavailable"


async def _refused_fetch(running: Inbound) -> None:
    keys = running.server._generation.issuer_keys
    assert keys is not None
    (google,) = keys
    google.expire()
    await eventually(lambda: google.fetches["failed"] == 1, "no failure")


async def test_status_and_metrics_know_it() -> None:
    async with inbound() as running:
        await running.ask(*good())
        await running.ask()
        (told,) = running.server.status()["receive"]
        assert [(one["issuer"], one["keys"], one["error"]) for one in told["issuers"]] == [
            ("google", 1, None),
            ("iap", 1, None),
        ]
        assert 3500 < told["issuers"][0]["fresh_for"] <= 3600
        assert told["rules"] == [{"path": "/", "invokers": 2}]
        assert (told["verified"], told["admitted"], told["public"]) == (1, 1, 0)
        assert told["refused"] == {"no_token": 1}
        assert LOGIN not in json.dumps(told)
        assert [one["name"] for one in running.server.route_statuses()] == ["receive 127.0.0.1:0"]
        samples = {
            (sample.name, *sorted(sample.labels.items())): sample.value
            for family in ProxyCollector(running.server, now).collect()
            for sample in family.samples
        }

        def received(outcome: str, cause: str = "") -> float:
            labels = {"route": "receive 127.0.0.1:0", "outcome": outcome, "cause": cause}
            return samples["idtoken_proxy_received_total", *sorted(labels.items())]

        assert (received("admitted"), received("public"), received("refused", "no_token")) == (1, 0, 1)
        assert samples["idtoken_proxy_issuer_keys", ("issuer", "google")] == 1
        requests = (("route", "receive 127.0.0.1:0"), ("status", "4xx"))
        assert samples["idtoken_proxy_requests_total", *requests] == 1


HANDSHAKE = (
    "Connection: Upgrade",
    "Upgrade: websocket",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: AAAA",
)


async def switching(wire: Wire) -> None:
    await wire.request()
    wire.send(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
    await wire.until(b"bye")


async def test_a_reload_ends_the_websockets_of_who_is_no_invoker_any_more() -> None:
    async with inbound(script=switching) as running:
        wire = await running.connect()
        wire.send(get("/", *good(), *HANDSHAKE))
        assert (await wire.response()).status == 101
        text = settings_text(
            running.app.port, keys_port(running), invokers=f"['serviceAccount:{LOGIN}', 'user:a@b.example']"
        )
        await running.server.reload(settings_from_text(text, "proxy.yaml", {}))
        assert not wire.ended  # still an invoker
        text = settings_text(running.app.port, keys_port(running), invokers="['user:a@b.example']")
        await running.server.reload(settings_from_text(text, "proxy.yaml", {}))
        await wire.gone()


@pytest.fixture
def socket_path() -> Iterator[Path]:
    """A unix socket's path has 107 octets at the most, and pytest's directories are deep."""
    with TemporaryDirectory(dir="/tmp") as made:
        yield Path(made) / "run" / "orders.sock"


async def asked_by_socket(path: Path, *fields: str) -> int:
    async with (
        aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(path))) as client,
        client.get(
            "http://orders/7", headers=[(name, value) for name, _, value in map(_split, fields)]
        ) as answer,
    ):
        return answer.status


def _split(field: str) -> tuple[str, str, str]:
    return field.partition(": ")


async def test_a_unix_socket_asks_for_tokens_too_and_is_its_user_s_alone(socket_path: Path) -> None:
    async with inbound(listen=f"unix:{socket_path}") as running:
        assert socket_path.stat().st_mode & 0o777 == 0o600
        assert await asked_by_socket(socket_path) == 403
        assert await asked_by_socket(socket_path, *bearer(ATTACKER.token(claims_of(now())))) == 401
        assert await asked_by_socket(socket_path, *good()) == 200
        (request,) = running.sent_on
        assert request.one("x-goog-authenticated-user-email") == f"accounts.google.com:{LOGIN}"
        assert request.one("x-forwarded-host") == "orders"
        assert request.one("x-forwarded-for") is None  # a socket has no address
        (told,) = running.server.status()["receive"]
        assert (told["listen"], told["tls"]) == ([f"unix:{socket_path}"], False)


async def test_on_a_unix_socket_a_listed_user_still_needs_a_token_and_any_other_has_no_use_for_one(
    socket_path: Path,
) -> None:
    def guard(*uids: int) -> dict[str, Any]:
        return {"guard": GuardSettings(allowed_uids=frozenset(uids))}

    async with inbound(listen=f"unix:{socket_path}", listed=guard(os.getuid())) as running:
        assert socket_path.stat().st_mode & 0o777 == 0o666
        assert await asked_by_socket(socket_path) == 403
        assert await asked_by_socket(socket_path, *good()) == 200
        assert len(running.sent_on) == 1
        await running.server.reload(replace(running.server.settings, **guard(64_999)))
        assert await asked_by_socket(socket_path, *good()) == 403
        assert len(running.sent_on) == 1


async def test_a_traced_request_is_traced_on_to_the_app_and_its_token_is_in_no_span() -> None:
    trace_id = "0af7651916cd43dd8448eb211c80319c"
    parent = f"traceparent: 00-{trace_id}-b7ad6b7169203331-01"
    async with inbound() as running:
        kept = Kept()
        running.server._spans.use(Pipeline(TracingSettings(), kept), running.server._contexts)
        fields = good()
        assert (await running.ask(*fields, parent)).status == 200
        server, client = kept.exchanges
        assert (server.kind, client.kind) == ("server", "client")
        assert f"{server.trace_id:032x}" == trace_id
        assert server.attributes["http.route"] == "receive 127.0.0.1:0"
        assert client.attributes["url.full"] == f"http://127.0.0.1:{running.app.port}/orders/7"
        (request,) = running.sent_on
        assert request.one("traceparent") == f"00-{trace_id}-{client.span_id:016x}-01"

        kept.spans.clear()
        assert (await running.ask(parent)).status == 403
        (refused,) = kept.exchanges  # nothing went to the app
        assert refused.attributes["http.response.status_code"] == 403
        assert len(running.sent_on) == 1
        token = fields[0].rpartition(" ")[2]
        for word in (token, token.rpartition(".")[0], LOGIN):
            assert word not in repr(kept.spans)


async def test_a_listener_that_is_not_asked_for_any_more_is_gone_and_a_new_one_is_there() -> None:
    async with inbound() as running:
        wire = await running.connect()
        wire.send(get("/", *good()))
        assert (await wire.response()).status == 200
        before = running.port
        text = settings_text(running.app.port, keys_port(running), listen="'[::1]:0'")
        await running.server.reload(settings_from_text(text, "proxy.yaml", {}))
        await wire.gone()
        assert running.port != before
        with pytest.raises(ConnectionRefusedError):
            await connect(before)
        again = await connect(running.port, "::1")
        again.send(get("/", *good()))
        assert (await again.response()).status == 200
        again.close()


async def test_a_reload_that_is_refused_leaves_all_as_it_was() -> None:
    async with inbound() as running:
        taken = running.app.listeners[0].getsockname()[1]
        text = settings_text(1, keys_port(running), listen=f"127.0.0.1:{taken}")
        with pytest.raises(ListenFailed):
            await running.server.reload(settings_from_text(text, "proxy.yaml", {}))
        assert (await running.ask(*good())).status == 200


async def test_it_drains_with_the_proxy() -> None:
    arrived = asyncio.Event()

    async def slow(wire: Wire) -> None:
        await wire.request()
        arrived.set()
        await let.wait()
        wire.send(ok(b"late"))

    let = asyncio.Event()
    async with inbound(script=slow) as running:
        wire = await running.connect()
        wire.send(get("/", *good()))
        await arrived.wait()
        stopping = asyncio.ensure_future(running.server.stop(drain=5.0))
        await eventually(lambda: running.server.context.draining, "not draining")
        let.set()
        answer = await wire.response()
        assert (answer.status, answer.one("connection")) == (200, "close")
        await stopping
