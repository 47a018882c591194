"""The way out by CONNECT: what the egress proxy is told, what is taken from it, and what is said where it fails."""

from __future__ import annotations

import base64
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import trustme

from idtoken_proxy.engine.connect import MAX_ANSWER, Answer, request_head
from idtoken_proxy.settings.model import EgressProxy, Timeouts, Upstream
from tests.cases import for_each
from tests.engine.conftest import Receive, Start
from tests.engine.egress import ESTABLISHED, relaying, saying
from tests.engine.proxied import Proxied, route_to, settings_for
from tests.engine.test_downstream import problem
from tests.engine.test_pool import blackhole, unused_port
from tests.engine.test_tls import certified
from tests.engine.test_tunnel import HANDSHAKE, SWITCHING
from tests.engine.wire import Message, Receiver, Wire, answering, eventually, get, ok, post, turns

__all__ = ["blackhole", "unused_port"]  # fixtures

HOST = "receiver.invalid"  # which nobody here can resolve
PASSWORD = "sentinel-of-the-egress-proxy"
CREDENTIALS = f"me:{PASSWORD}".encode()
ENCODED = base64.b64encode(CREDENTIALS).decode()


@for_each(
    ("egress", "upstream", "head"),
    [
        (
            EgressProxy("proxy", 3128),
            Upstream("https", "a.run.app", 443, "/base"),
            b"CONNECT a.run.app:443 HTTP/1.1\r\nHost: a.run.app:443\r\n\r\n",
        ),
        (
            EgressProxy("proxy", 3128, b"Aladdin:open sesame"),  # RFC 7617 section 2
            Upstream("https", "fd00::1", 8443),
            (
                b"CONNECT [fd00::1]:8443 HTTP/1.1\r\nHost: [fd00::1]:8443\r\n"
                b"Proxy-Authorization: Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==\r\n\r\n"
            ),
        ),
        (
            EgressProxy("proxy", 3128, b"test:123\xc2\xa3"),  # RFC 7617 section 2.1
            Upstream("https", "a.run.app", 443),
            (
                b"CONNECT a.run.app:443 HTTP/1.1\r\nHost: a.run.app:443\r\n"
                b"Proxy-Authorization: Basic dGVzdDoxMjPCow==\r\n\r\n"
            ),
        ),
    ],
)
def test_what_it_is_told(egress: EgressProxy, upstream: Upstream, head: bytes) -> None:
    assert request_head(egress, upstream) == head


# -- its answer, whole and in pieces --------------------------------------------------

HEAD = len(ESTABLISHED)
LARGEST = b"HTTP/1.1 200 OK\r\nX: " + b"x" * (MAX_ANSWER - 24) + b"\r\n\r\n"
EARLY = b"HTTP/1.1 103 Early Hints\r\n\r\n"
FINAL = {
    "the usual one": (ESTABLISHED, 200),
    "of HTTP/1.0, as Squid's": (b"HTTP/1.0 200 Connection established\r\n\r\n", 200),
    "without a reason": (b"HTTP/1.1 200\r\n\r\n", 200),
    "any 2xx": (b"HTTP/1.1 204 No Content\r\nVia: 1.1 proxy\r\n\r\n", 204),
    "lengths, which mean nothing here": (
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: x\r\nTransfer-Encoding: gzip\r\n\r\n",
        200,
    ),
    "after interim answers": (b"HTTP/1.1 100 Continue\r\n\r\n" + EARLY + ESTABLISHED, 200),
    "the largest": (LARGEST, 200),
    "a refusal": (b"HTTP/1.1 407 No\r\nProxy-Authenticate: Basic\r\n\r\n", 407),
    "a refusal with a page": (b"HTTP/1.1 403 No\r\nContent-Length: 9\r\n\r\n<p>No</p>", 403),
    "a redirect": (b"HTTP/1.1 302 Found\r\nLocation: http://login/\r\n\r\n", 302),
}
NO_HTTP = "does not speak HTTP/1.1"
MALFORMED = "answers with a malformed head"
TOO_LARGE = "answers with a head of more than 16 KiB"
BEHIND = "sends octets behind its answer, before anything was said to the receiver"
BROKEN = {
    "SSH": (b"SSH-2.0-OpenSSH_9.2\r\n", NO_HTTP),
    "a TLS alert": (b"\x15\x03\x01\x00\x02\x02\x28", NO_HTTP),
    "HTTP/2": (b"\x00\x00\x12\x04\x00\x00\x00\x00\x00", NO_HTTP),
    "lower case": (b"http/1.1 200 OK\r\n\r\n", NO_HTTP),
    "an empty line first": (b"\r\n" + ESTABLISHED, NO_HTTP),
    "a version that is none": (b"HTTP/1.2 200 OK\r\n\r\n", MALFORMED),
    "a status that is none": (b"HTTP/1.1 20 OK\r\n\r\n", MALFORMED),
    "a status of four digits": (b"HTTP/1.1 2000 OK\r\n\r\n", MALFORMED),
    "a bare LF": (b"HTTP/1.1 200 OK\nX: y\r\n\r\n", MALFORMED),
    "a bare CR": (b"HTTP/1.1 200 OK\r\nX: y\rz\r\n\r\n", MALFORMED),
    "a NUL": (b"HTTP/1.1 200 OK\r\nX: \x00\r\n\r\n", MALFORMED),
    "a blank before the colon": (b"HTTP/1.1 200 OK\r\nX : y\r\n\r\n", MALFORMED),
    "a folded line": (b"HTTP/1.1 200 OK\r\nX: y\r\n z\r\n\r\n", MALFORMED),
    "a line without a colon": (b"HTTP/1.1 200 OK\r\nX\r\n\r\n", MALFORMED),
    "a malformed interim answer": (b"HTTP/1.1 103 Early\r\nX\r\n\r\n" + ESTABLISHED, MALFORMED),
    "nonsense after an interim answer": (EARLY + b"x" + ESTABLISHED, NO_HTTP),
    "a protocol that nobody asked for": (
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n",
        "switches to a protocol that nobody asked for",
    ),
    "one octet too large": (LARGEST.replace(b"X: ", b"X:  "), TOO_LARGE),
    "endless": (b"HTTP/1.1 200 OK\r\nX: " + b"x" * MAX_ANSWER, TOO_LARGE),
    "interim answers without end": (EARLY * (MAX_ANSWER // len(EARLY) + 1), TOO_LARGE),
    "an octet behind it": (ESTABLISHED + b"x", BEHIND),
    "TLS behind it": (ESTABLISHED + b"\x16\x03\x03\x00\x7a\x02", BEHIND),
    "a page behind it": (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n<p>No</p>", BEHIND),
    "a second answer behind it": (ESTABLISHED + ESTABLISHED, BEHIND),
}


def outcome(*pieces: bytes) -> int | str | None:
    """As open_tunnel reads: no further than to the final head."""
    answer = Answer()
    try:
        for piece in pieces:
            if answer.status is not None:
                break
            answer.feed(piece)
    except ValueError as error:
        return str(error)
    return answer.status


def octets(data: bytes) -> list[bytes]:
    return [data[at : at + 1] for at in range(len(data))]


@for_each("name", FINAL)
def test_its_answer_is_read_however_it_is_cut(name: str) -> None:
    raw, status = FINAL[name]
    assert outcome(raw) == outcome(*octets(raw)) == status
    for at in range(1, len(raw), 1 if len(raw) < 500 else 997):
        assert outcome(raw[:at], raw[at:]) == status, at


@for_each("name", BROKEN)
def test_what_is_no_answer_is_none_however_it_is_cut(name: str) -> None:
    raw, told = BROKEN[name]
    assert outcome(raw) == told
    end = raw.index(b"\r\n\r\n") + 4 if told == BEHIND else len(raw)
    for at in range(1, len(raw), 1 if len(raw) < 500 else 997):
        # What comes in a piece of its own is TLS's to refuse: see below.
        assert outcome(raw[:at], raw[at:]) == (200 if at == end else told), at
    assert outcome(*octets(raw)) == (200 if told == BEHIND else told)


def test_what_is_not_there_yet_is_waited_for() -> None:
    assert outcome(ESTABLISHED[:-1]) is None
    assert outcome(b"") is None
    assert outcome(LARGEST[:-1]) is None


# -- through a proxy, to a receiver -----------------------------------------------------


@pytest.fixture(scope="module")
def ca() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def ca_file(ca: trustme.CA, tmp_path: Path) -> str:
    path = tmp_path / "ca.pem"
    ca.cert_pem.write_to_path(path)
    return str(path)


Out = Callable[..., Awaitable[Proxied]]


@pytest.fixture
def out(start: Start, ca_file: str) -> Out:
    """Starts a proxy whose one route leads through the egress proxy on that port."""

    async def begin(
        egress: Receiver | int, credentials: bytes | None = CREDENTIALS, **options: Any
    ) -> Proxied:
        port = egress if isinstance(egress, int) else egress.port
        route = {
            "upstream": Upstream("https", HOST, 443),
            "egress_proxy": EgressProxy("127.0.0.1", port, credentials),
        }
        return await start(1, route=route, ca_file=ca_file, **options)

    return begin


@pytest.fixture
async def receiver(receive: Receive, ca: trustme.CA) -> Receiver:
    return await receive(answering(ok()), tls=certified(ca, HOST))


def saw_nothing_secret(egress: Receiver, token: str) -> None:
    for wire in egress.connections:
        head, _, tls = bytes(wire.received).partition(b"\r\n\r\n")
        assert head.startswith(b"CONNECT receiver.invalid:443 HTTP/1.1\r\n")
        assert not tls or tls[0] == 0x16  # a TLS handshake
        assert token.encode() not in wire.received
        assert token.split(".")[1].encode() not in wire.received
        assert b"Authorization: Bearer" not in wire.received
        assert b"HTTP/1.1" not in tls


@pytest.mark.parametrize("drip", [False, True])
async def test_a_receiver_is_reached_through_it(
    receive: Receive, out: Out, receiver: Receiver, *, drip: bool
) -> None:
    egress = await receive(relaying(receiver, EARLY + ESTABLISHED, drip=drip))
    proxied = await out(egress)
    app = await proxied.connect()
    for _ in range(3):
        app.send(get("/x"))
        assert (await app.response()).body == b"hello"
    app.send(post(bytes(1_000_000)))
    assert (await app.response()).status == 200
    assert len(receiver.requests[-1].body) == 1_000_000
    assert receiver.requests[0].one("authorization") == f"Bearer {proxied.token}"
    assert receiver.requests[0].one("host") == HOST
    assert receiver.requests[0].one("proxy-authorization") is None
    (tunnel,) = egress.connections  # used again
    head = bytes(tunnel.received).partition(b"\r\n\r\n")[0].decode()
    assert head.split("\r\n")[1:] == [f"Host: {HOST}:443", f"Proxy-Authorization: Basic {ENCODED}"]
    saw_nothing_secret(egress, proxied.token)
    await proxied.settled(idle=1)


async def test_without_credentials_none_are_sent(receive: Receive, out: Out, receiver: Receiver) -> None:
    egress = await receive(relaying(receiver))
    proxied = await out(egress, None)
    assert (await proxied.ask(get("/"))).status == 200
    assert b"Proxy-Authorization" not in egress.received
    saw_nothing_secret(egress, proxied.token)


async def test_a_websocket_goes_through_it(receive: Receive, out: Out, ca: trustme.CA) -> None:
    async def script(wire: Wire) -> None:
        await wire.request()
        wire.send(SWITCHING)
        wire.send(await wire.exactly(4))

    egress = await receive(relaying(await receive(script, tls=certified(ca, HOST))))
    proxied = await out(egress)
    app = await proxied.connect()
    app.send(HANDSHAKE)
    assert (await app.response()).status == 101
    app.send(b"ping")
    assert await app.exactly(4) == b"ping"
    saw_nothing_secret(egress, proxied.token)


async def failed(proxied: Proxied, status: int = 502) -> Message:
    """Neither a GET nor a POST gets through, and nothing is left over."""
    answer = None
    for request in (get("/"), post(b"hello")):
        answer = await proxied.ask(request)
        assert answer.status == status
        told = json.dumps(problem(answer)) + str(answer.fields)
        assert PASSWORD not in told
        assert ENCODED not in told
        assert "egress proxy 127.0.0.1:" in str(problem(answer)["detail"])
    assert answer is not None
    await proxied.settled(idle=0)
    assert proxied.pool.counts.connecting == 0
    return answer


async def test_it_refuses(out: Out, unused_port: int) -> None:
    answer = await failed(await out(unused_port))
    assert problem(answer)["detail"] == f"the egress proxy 127.0.0.1:{unused_port} refuses connections"
    assert problem(answer)["fault"] == "operator"
    assert "curl -sv -x" in str(problem(answer)["remedy"])
    assert "error=connection_refused" in str(answer.one("proxy-status"))


async def test_it_does_not_accept(out: Out, blackhole: int) -> None:
    answer = await failed(await out(blackhole, timeouts=Timeouts(connect=0.1)), 504)
    told = f"the egress proxy 127.0.0.1:{blackhole} did not open a way to {HOST} within 0.1 s"
    assert problem(answer)["detail"] == told
    assert "error=connection_timeout" in str(answer.one("proxy-status"))


@pytest.mark.parametrize("said", [b"", b"HTTP/1.1 200 OK\r\n", EARLY], ids=["silent", "midway", "interim"])
async def test_it_hangs(receive: Receive, out: Out, said: bytes) -> None:
    egress = await receive(saying(said))
    answer = await failed(await out(egress, timeouts=Timeouts(connect=0.1)), 504)
    assert str(problem(answer)["detail"]).endswith(f"did not open a way to {HOST} within 0.1 s")
    for wire in egress.connections:
        await wire.gone()


async def test_its_name_is_unknown(start: Start, ca_file: str) -> None:
    egress = EgressProxy("egress.invalid", 3128, CREDENTIALS)
    proxied = await start(
        1, route={"upstream": Upstream("https", HOST, 443), "egress_proxy": egress}, ca_file=ca_file
    )
    answer = await proxied.ask(get("/"))
    assert answer.status == 502
    assert "the name egress.invalid of the egress proxy cannot be resolved" in str(problem(answer)["detail"])
    assert "error=dns_error" in str(answer.one("proxy-status"))


UNAVAILABLE = "destination_unavailable"
REFUSALS = [
    (407, CREDENTIALS, "it does not take the user name and password", "correct them in egress_proxy"),
    (407, None, "it wants a user name and a password", "add them in egress_proxy: http://${USER}"),
    (401, CREDENTIALS, "it does not let this machine through", f"have CONNECT to {HOST}:443 allowed"),
    (403, CREDENTIALS, "it does not let this machine through", f"have CONNECT to {HOST}:443 allowed"),
    (502, CREDENTIALS, f"it cannot reach {HOST}:443", f"that it can resolve {HOST}"),
    (503, CREDENTIALS, f"it cannot reach {HOST}:443", "see in its log why"),
    (504, CREDENTIALS, f"it cannot reach {HOST}:443", "see in its log why"),
    (405, CREDENTIALS, "it opens no tunnel", "takes CONNECT to port 443"),
    (302, CREDENTIALS, "it opens no tunnel", "names an HTTP proxy"),
]


@for_each(("status", "credentials", "why", "remedy"), REFUSALS)
async def test_it_answers_no(
    receive: Receive, out: Out, status: int, credentials: bytes | None, why: str, remedy: str
) -> None:
    page = b"HTTP/1.1 %d No\r\nContent-Length: 7\r\n\r\n<p>page" % status
    egress = await receive(saying(page))
    proxied = await out(egress, credentials)
    answer = await failed(proxied)
    told = problem(answer)
    assert told["detail"] == f"the egress proxy 127.0.0.1:{egress.port} answered {status}: {why}"
    assert remedy in str(told["remedy"])
    expected = "proxy_configuration_error" if status == 407 else UNAVAILABLE
    assert f"error={expected};" in str(answer.one("proxy-status"))
    saw_nothing_secret(egress, proxied.token)
    for wire in egress.connections:
        await wire.gone()


NONSENSE = ["SSH", "a bare LF", "a protocol that nobody asked for"]


@for_each(
    ("name", "drip"),
    [(name, drip) for name in NONSENSE for drip in (False, True)]
    + [("endless", False), ("TLS behind it", False)],
)
async def test_it_answers_nonsense(receive: Receive, out: Out, name: str, *, drip: bool) -> None:
    raw, told = BROKEN[name]
    egress = await receive(saying(raw, drip=drip))
    proxied = await out(egress)
    answer = await failed(proxied)
    assert problem(answer)["detail"] == f"the egress proxy 127.0.0.1:{egress.port} {told}"
    assert "error=http_protocol_error" in str(answer.one("proxy-status"))
    saw_nothing_secret(egress, proxied.token)


async def test_octets_that_come_in_place_of_the_receivers_hello(receive: Receive, out: Out) -> None:
    async def script(wire: Wire) -> None:
        await wire.until(b"\r\n\r\n")
        wire.send(ESTABLISHED)
        await wire.exactly(100)
        wire.send(ok())
        await wire.gone()

    egress = await receive(script)
    proxied = await out(egress)
    answer = await failed(proxied)
    assert str(problem(answer)["detail"]).startswith(f"TLS with {HOST} (through the egress proxy 127.0.0.1:")
    assert "error=tls_protocol_error" in str(answer.one("proxy-status"))
    saw_nothing_secret(egress, proxied.token)


@pytest.mark.parametrize("at", [0, 1, 20, HEAD - 1])
async def test_it_closes_midway(receive: Receive, out: Out, at: int) -> None:
    egress = await receive(saying(ESTABLISHED[:at], close=True))
    answer = await failed(await out(egress))
    assert str(problem(answer)["detail"]).endswith(" closed the connection before its answer")
    assert "error=connection_terminated" in str(answer.one("proxy-status"))


async def test_it_resets(receive: Receive, out: Out) -> None:
    async def script(wire: Wire) -> None:
        await wire.until(b"\r\n\r\n")
        wire.reset()

    answer = await failed(await out(await receive(script)))
    assert "cannot be reached: Connection reset by peer" in str(problem(answer)["detail"])


async def test_it_closes_with_the_tunnel_open(receive: Receive, out: Out) -> None:
    answer = await failed(await out(await receive(saying(ESTABLISHED, close=True))))
    assert f"{HOST} (through the egress proxy " in str(problem(answer)["detail"])


async def test_a_certificate_of_its_own_is_not_taken_for_the_receivers(receive: Receive, out: Out) -> None:
    opener = await receive(answering(ok()), tls=certified(trustme.CA(), HOST))
    egress = await receive(relaying(opener))
    proxied = await out(egress)
    answer = await failed(proxied)
    assert "error=tls_certificate_error" in str(answer.one("proxy-status"))
    assert "would read the ID tokens" in str(problem(answer)["remedy"])
    assert opener.received.strip(b"|") == b""
    saw_nothing_secret(egress, proxied.token)


async def test_a_certificate_of_another_name(receive: Receive, out: Out, ca: trustme.CA) -> None:
    """The egress proxy's own name, for one, and its address."""
    other = await receive(answering(ok()), tls=certified(ca, "127.0.0.1", "localhost"))
    answer = await failed(await out(await receive(relaying(other))))
    assert "error=tls_certificate_error" in str(answer.one("proxy-status"))


async def test_apps_that_go_at_every_moment_leave_no_tunnel_without_an_owner(
    receive: Receive, out: Out, receiver: Receiver
) -> None:
    egress = await receive(relaying(receiver, EARLY + ESTABLISHED, drip=True))
    proxied = await out(egress)
    for number in range(60):
        app = await proxied.connect()
        app.send(get("/"))
        await turns(number * 4)
        app.reset()
    await eventually(lambda: proxied.server.context.busy == 0, "connections are left")
    await proxied.settled()
    await eventually(
        lambda: sum(not wire.ended for wire in egress.connections) == proxied.pool.idle,
        "the egress proxy has connections that no pool knows",
    )


async def test_another_way_out_takes_effect_with_a_reload(
    receive: Receive, out: Out, receiver: Receiver, token_file: Path, ca_file: str, unused_port: int
) -> None:
    one, other = await receive(relaying(receiver)), await receive(relaying(receiver))
    proxied = await out(one)
    assert (await proxied.ask(get("/"))).status == 200
    for port, status in ((other.port, 200), (unused_port, 502)):
        route = route_to(
            1,
            token_file,
            upstream=Upstream("https", HOST, 443),
            egress_proxy=EgressProxy("127.0.0.1", port),
        )
        await proxied.server.reload(settings_for(route, ca_file=ca_file))
        assert (await proxied.ask(get("/"))).status == status
    assert (len(one.connections), len(other.connections)) == (1, 1)
    for wire in (*one.connections, *other.connections):
        await wire.gone()  # idle ones went with their settings
