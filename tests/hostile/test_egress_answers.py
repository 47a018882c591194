"""An egress proxy that answers CONNECT with anything but what it should: the token stays here, the password stays there."""

from __future__ import annotations

import asyncio
import base64
from typing import Any, Final

import pytest

from idtoken_proxy.settings.model import EgressProxy, Timeouts, TokenHeader, Upstream
from tests.cases import for_each
from tests.engine.conftest import Receive, Start, receive, start, token, token_file, unhandled
from tests.engine.egress import ESTABLISHED, relaying, saying
from tests.engine.proxied import Proxied
from tests.engine.test_downstream import problem
from tests.engine.wire import Message, Receiver, Wire, answering, get, ok, post, turns
from tests.hostile.certificates import Issuer, dns
from tests.hostile.test_receiver_tls import ca, ca_file

__all__ = ["ca", "ca_file", "receive", "start", "token", "token_file", "unhandled"]  # fixtures

HOST: Final = "receiver.example"  # which nobody here resolves
PASSWORD: Final = "sentinel-of-the-egress-proxy"
CREDENTIALS: Final = f"me:{PASSWORD}".encode()
ENCODED: Final = base64.b64encode(CREDENTIALS)
EARLY: Final = b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"


class Out:
    """A proxy whose one route leads through this egress proxy."""

    def __init__(self, start: Start, ca_file: str) -> None:
        self._start, self._ca_file = start, ca_file

    async def __call__(self, egress: Receiver, connect: float = 5.0, **route: Any) -> Proxied:
        route |= {
            "upstream": Upstream("https", HOST, 443),
            "egress_proxy": EgressProxy("127.0.0.1", egress.port, CREDENTIALS),
        }
        return await self._start(1, route=route, ca_file=self._ca_file, timeouts=Timeouts(connect=connect))


@pytest.fixture
def out(start: Start, ca_file: str) -> Out:
    return Out(start, ca_file)


def saw_a_connect_alone(egress: Receiver, proxied: Proxied) -> None:
    """And TLS at most: no octet of a request, and no token in any form."""
    assert egress.connections
    for wire in egress.connections:
        head, _, behind = bytes(wire.received).partition(b"\r\n\r\n")
        assert head.startswith(b"CONNECT receiver.example:443 HTTP/1.1\r\n")
        assert head.count(ENCODED) == 1
        assert not behind or behind[0] == 0x16
        for secret in (b"secret", b"HTTP/1.", proxied.token.encode(), proxied.token.split(".")[1].encode()):
            assert secret not in behind
        assert proxied.token.encode() not in head


async def refused(proxied: Proxied, egress: Receiver, *statuses: int) -> str:
    """Both a GET and a POST; what the app is told, with nothing of the egress proxy's words or secrets in it."""
    told = ""
    for request in (get("/secret"), post(b"secret")):
        answer: Message = await proxied.ask(request)
        assert answer.status in (statuses or (502,))
        told = str(problem(answer))
        for secret in (PASSWORD, ENCODED.decode(), proxied.token, "its own words"):
            assert secret not in f"{answer.fields}{answer.body!r}"
        assert f"the egress proxy 127.0.0.1:{egress.port}" in told
    await proxied.settled(idle=0)
    assert proxied.pool.counts.connecting == 0
    saw_a_connect_alone(egress, proxied)
    return told


def page(status: str, *fields: str, body: bytes = b"<p>its own words") -> bytes:
    lines = "".join(f"{line}\r\n" for line in (*fields, f"Content-Length: {len(body)}"))
    return f"HTTP/1.1 {status}\r\n{lines}\r\n".encode() + body


ANSWERS: Final[dict[str, tuple[bytes, str]]] = {
    "407": (page("407 No", 'Proxy-Authenticate: Basic realm="its own words"'), "does not take the user name"),
    "407 for another scheme": (page("407 No", "Proxy-Authenticate: Digest nonce=x"), "does not take the user name"),
    "407 that closes": (page("407 No", "Connection: close", "Proxy-Authenticate: NTLM"), "answered 407"),
    "403": (page("403 Forbidden"), "does not let this machine through"),
    "403 without an end": (b"HTTP/1.1 403 No\r\nTransfer-Encoding: chunked\r\n\r\nffffff\r\nx", "answered 403"),
    "302 to a login": (page("302 Found", "Location: http://127.0.0.1:1/its-own-words"), "opens no tunnel"),
    "511 for a login": (page("511 Network Authentication Required"), "opens no tunnel"),
    "200 with a body": (page("200 OK"), "sends octets behind its answer"),
    "200 with octets": (ESTABLISHED + b"\x16\x03\x03", "sends octets behind its answer"),
    "200 after 103, with octets": (EARLY + ESTABLISHED + b"x", "sends octets behind its answer"),
    "101": (b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: tls\r\n\r\n", "switches to a protocol"),
    "an endless head": (b"HTTP/1.1 200 OK\r\n" + b"X: its own words\r\n" * 5000, "a head of more than 16 KiB"),
    "an endless line": (b"HTTP/1.1 200 " + b"x" * 100_000, "a head of more than 16 KiB"),
    "endless interim answers": (EARLY * 2000, "a head of more than 16 KiB"),
    "a status of two digits": (b"HTTP/1.1 20 OK\r\n\r\n", "malformed head"),
    "a status with a sign": (b"HTTP/1.1 +200 OK\r\n\r\n", "malformed head"),
    "a status of other digits": ("HTTP/1.1 \uff12\uff10\uff10 OK\r\n\r\n".encode(), "malformed head"),
    "a status without a version": (b"200 OK\r\n\r\n", "does not speak HTTP/1.1"),
    "HTTP/2 in words": (b"HTTP/2 200\r\n\r\n", "does not speak HTTP/1.1"),
    "bare LF": (b"HTTP/1.1 200 OK\n\n" + b"x" * 20_000, "a head of more than 16 KiB"),
    "our own words": (b"CONNECT receiver.example:443 HTTP/1.1\r\n\r\n", "does not speak HTTP/1.1"),
}  # fmt: skip


@for_each("case", ANSWERS)
async def test_it_answers_something_else(receive: Receive, out: Out, case: str) -> None:
    said, why = ANSWERS[case]
    egress = await receive(saying(said))
    told = await refused(await out(egress), egress)
    assert why in told
    assert len(egress.connections) == 2  # each is asked once, whatever it answers
    for wire in egress.connections:
        await wire.gone()


@pytest.mark.parametrize(
    "said", [b"", b"HTTP/1.1 2", ESTABLISHED[:-1], EARLY], ids=["none", "line", "head", "103"]
)
async def test_it_closes_before_its_answer_ends(receive: Receive, out: Out, said: bytes) -> None:
    egress = await receive(saying(said, close=True))
    assert "closed the connection before its answer" in await refused(await out(egress), egress)


@pytest.mark.parametrize("endless", [b"X: y\r\n", EARLY], ids=["fields", "interim answers"])
async def test_a_drip_is_waited_for_no_longer_than_the_rest(
    receive: Receive, out: Out, endless: bytes
) -> None:
    async def script(wire: Wire) -> None:
        await wire.until(b"\r\n\r\n")
        if endless != EARLY:
            wire.send(b"HTTP/1.1 200 OK\r\n")
        while not wire.ended:
            for octet in endless:
                if not wire.ended:
                    wire.send(bytes([octet]))
                await asyncio.sleep(0.01)

    egress = await receive(script)
    assert "did not open a way" in await refused(await out(egress, 0.25), egress, 504)


async def late(wire: Wire, behind: bytes) -> None:
    """`behind` comes when the proxy believes itself in the tunnel."""
    await wire.until(b"\r\n\r\n")
    wire.send(page("200 OK", body=b"x" * len(behind))[: -len(behind)])
    await wire.exactly(100)  # its hello
    wire.send(behind)
    await turns(5)
    wire.close()


@for_each(
    "behind",
    [b"<p>its own words", ok(b"its own words"), ESTABLISHED, b"\x15\x03\x03\x00\x02\x02\x28", b"\x17\x03\x03\x00\x01x"],
    ids=["a page", "an answer", "another 200", "an alert", "data"],
)  # fmt: skip
async def test_its_body_comes_in_the_receiver_s_place(receive: Receive, out: Out, behind: bytes) -> None:
    egress = await receive(lambda wire: late(wire, behind))
    assert "TLS" in await refused(await out(egress), egress)


async def test_it_says_our_own_octets_back(receive: Receive, out: Out) -> None:
    async def script(wire: Wire) -> None:
        await wire.until(b"\r\n\r\n")
        wire.send(ESTABLISHED)
        while not wire.ended:
            wire.send(await wire.exactly(1))

    egress = await receive(script)
    assert "TLS with" in await refused(await out(egress), egress)


async def test_it_leads_to_another_receiver(receive: Receive, out: Out, ca: Issuer) -> None:
    other = await receive(answering(ok()), tls=ca.issues(dns("other.example")).serves())
    egress = await receive(relaying(other))
    assert "was not accepted" in await refused(await out(egress), egress)
    assert other.received.strip(b"|") == b""


async def test_it_leads_to_one_that_speaks_no_tls(receive: Receive, out: Out) -> None:
    other = await receive(lambda wire: wire.drip(ok()))
    egress = await receive(relaying(other))
    assert "it answers in something else than TLS" in await refused(await out(egress), egress)
    assert b"secret" not in other.received


@pytest.mark.parametrize("header", ["auto", "Authorization", "Proxy-Authorization"])
async def test_each_of_the_two_has_its_own_secret_alone(
    receive: Receive, out: Out, ca: Issuer, header: str
) -> None:
    """Of its own, and never of the app's: what that says of a proxy is for neither."""
    receiver = await receive(answering(ok()), tls=ca.issues(dns(HOST)).serves())
    egress = await receive(relaying(receiver, EARLY + ESTABLISHED))
    proxied = await out(egress, token_header=TokenHeader(header))
    app = await proxied.connect()
    for _ in range(2):
        app.send(get("/secret", "Proxy-Authorization: Basic YXBw", "Proxy-Connection: keep-alive"))
        assert (await app.response()).status == 200
    saw_a_connect_alone(egress, proxied)
    assert PASSWORD.encode() not in receiver.received
    assert ENCODED not in receiver.received
    assert b"YXBw" not in receiver.received + egress.received
    for request in receiver.requests:
        assert [value for name, value in request.fields if "authorization" in name] == [
            f"Bearer {proxied.token}"
        ]


async def test_each_tunnel_is_asked_for_afresh(receive: Receive, out: Out, ca: Issuer) -> None:
    """One refusal is not remembered, and one yes is no yes for the next."""
    receiver = await receive(answering(ok()), tls=ca.issues(dns(HOST)).serves())
    scripts = [saying(page("403 No")), relaying(receiver), saying(page("407 No"))]

    async def script(wire: Wire) -> None:
        await scripts.pop(0)(wire)

    egress = await receive(script)
    proxied = await out(egress)
    statuses = []
    for _ in range(3):
        app = await proxied.connect()
        app.send(get("/secret", "Connection: close"))
        statuses.append((await app.response()).status)
        await proxied.settled()
        for idle in proxied.pool.connections:
            idle.abort()
    assert statuses == [502, 200, 502]
    saw_a_connect_alone(egress, proxied)
