"""TLS to a receiver that is not the one, or not as it should be: nothing of a request leaves, and the app is told why."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import socket
import ssl
import struct
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, Final, Self

import pytest

from idtoken_proxy.engine.dialer import Dialer
from idtoken_proxy.engine.upstream import UpstreamConnection
from idtoken_proxy.errors import ConfigError
from idtoken_proxy.settings.load import load_settings
from idtoken_proxy.settings.model import EgressProxy, Timeouts, Upstream
from idtoken_proxy.tls_trust import tls_context
from tests.cases import for_each
from tests.engine.conftest import Receive, Start, receive, start, token, token_file, unhandled
from tests.engine.egress import relaying
from tests.engine.proxied import Proxied
from tests.engine.test_downstream import problem
from tests.engine.wire import Receiver, Wire, answering, eventually, get, ok, post, turns
from tests.hostile.certificates import DAY, NOW, Issuer, Leaf, dns, ip

__all__ = ["receive", "start", "token", "token_file", "unhandled"]  # fixtures

HERE: Final = "127.0.0.1"


@pytest.fixture(scope="session")
def ca() -> Issuer:
    return Issuer()


@pytest.fixture(scope="session")
def ca_file(ca: Issuer, tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("ca") / "ca.pem"
    path.write_bytes(ca.pem)
    return str(path)


async def refused(proxied: Proxied, receiver: Receiver, status: int = 502) -> dict[str, Any]:
    """A GET and a POST get the same answer, and what came to the receiver is nothing of theirs. What the app is told."""
    told: dict[str, Any] = {}
    for request in (get("/secret"), post(b"secret")):
        answer = await proxied.ask(request)
        told = problem(answer) | {"error": str(answer.one("proxy-status"))}
        assert answer.status == status, told
        assert proxied.token not in str(answer.fields) + answer.body.decode()
    for octets in (b"secret", b"HTTP/1.1", b"uthorization", proxied.token.encode()):
        assert octets not in receiver.received
    await proxied.settled(idle=0)
    return told


# -- certificates ------------------------------------------------------------------

Issue = Callable[[Issuer], Leaf]
NAME, TIME, CHAIN = (
    "among its subjectAltNames",
    "is this machine's clock right",
    "name it: tls: {ca_file: ...}",
)
ISSUER = "unable to get local issuer certificate"


def stranger(_: Issuer) -> Leaf:
    return Issuer(name="Stranger").issues(ip(HERE))


def stranger_with_chain(_: Issuer) -> Leaf:
    other = Issuer(name="Stranger")
    return other.issues(ip(HERE)).beside([other])


def namesake(_: Issuer) -> Leaf:
    """A CA of the same name, with another key."""
    return Issuer().issues(ip(HERE))


def issued_by_a_leaf(ca: Issuer) -> Leaf:
    """Its issuer is good, and no CA."""
    between = Issuer(ca, "Leaf", ca=False)
    return between.issues(ip(HERE)).beside([between])


CERTIFICATES: Final[dict[str, tuple[str, Issue, str, str]]] = {
    # (the receiver's host, its certificate, what is said, remedy)
    "another name": (HERE, lambda ca: ca.issues(dns("other.example")), "IP address mismatch", NAME),
    "an address as a name": (HERE, lambda ca: ca.issues(dns(HERE)), "IP address mismatch", NAME),
    "another address": (HERE, lambda ca: ca.issues(ip("127.0.0.2")), "IP address mismatch", NAME),
    "an address in IPv6": (HERE, lambda ca: ca.issues(ip("::ffff:127.0.0.1")), "IP address mismatch", NAME),
    "an address for a name": ("a.example", lambda ca: ca.issues(ip(HERE)), "Hostname mismatch", NAME),
    "a common name alone": ("a.example", lambda ca: ca.issues(common_name="a.example"), "mismatch", NAME),
    "a common name besides": (
        "a.example",
        lambda ca: ca.issues(dns("b.example"), common_name="a.example"),
        "Hostname mismatch, certificate is not valid for 'a.example'",
        NAME,
    ),
    "a wildcard for two labels": ("a.b.example", lambda ca: ca.issues(dns("*.example")), "mismatch", NAME),
    "a wildcard within": ("a.b.example", lambda ca: ca.issues(dns("a.*.example")), "mismatch", NAME),
    "a wildcard in a label": ("abc.example", lambda ca: ca.issues(dns("a*.example")), "mismatch", NAME),
    "a wildcard and its bare name": ("b.example", lambda ca: ca.issues(dns("*.b.example")), "mismatch", NAME),
    "wildcards alone": ("a.example", lambda ca: ca.issues(dns("*.*"), dns("*")), "mismatch", NAME),
    "a wildcard for an address": (HERE, lambda ca: ca.issues(dns("*.0.0.1")), "mismatch", NAME),
    "a NUL within": ("a.example", lambda ca: ca.issues(dns("a.example\0.b.example")), "mismatch", NAME),
    "a name behind it": ("a.example", lambda ca: ca.issues(dns("a.example.b.example")), "mismatch", NAME),
    "expired": (HERE, lambda ca: ca.issues(ip(HERE), until=NOW - DAY / 2), "certificate has expired", TIME),
    "not yet valid": (HERE, lambda ca: ca.issues(ip(HERE), since=NOW + DAY / 2), "is not yet valid", TIME),
    "valid at no time": (
        HERE,
        lambda ca: ca.issues(ip(HERE), since=NOW - 3 * DAY, until=NOW - 2 * DAY),
        "has expired",
        TIME,
    ),
    "self-signed": (HERE, lambda ca: ca.issues(ip(HERE), self_signed=True), "self-signed certificate", CHAIN),
    "another CA": (HERE, stranger, ISSUER, CHAIN),
    "another CA, shown": (HERE, stranger_with_chain, "self-signed certificate in certificate chain", CHAIN),
    "another CA of that name": (HERE, namesake, "was not accepted", CHAIN),
    "no intermediate": (
        HERE,
        lambda ca: Issuer(ca, "Between").issues(ip(HERE)),
        ISSUER,
        "does not send its intermediate certificates",
    ),
    "an issuer that is none": (HERE, issued_by_a_leaf, "invalid CA certificate", CHAIN),
}


@for_each("case", CERTIFICATES)
async def test_a_certificate_that_is_not_good_gets_nothing(
    receive: Receive, start: Start, ca: Issuer, ca_file: str, case: str
) -> None:
    host, issue, said, remedy = CERTIFICATES[case]
    receiver = await receive(answering(ok()), tls=issue(ca).serves())
    route: dict[str, Any] = {"upstream": Upstream("https", host, receiver.port)}
    if host != HERE:  # which nobody here can resolve
        route["egress_proxy"] = EgressProxy(HERE, (await receive(relaying(receiver))).port)
    told = await refused(await start(receiver, route=route, ca_file=ca_file), receiver)
    assert said in told["detail"]
    assert remedy in told["remedy"]
    assert told["fault"] == "receiver"
    assert "error=tls_certificate_error" in told["error"]


GOOD: Final[dict[str, tuple[str, Issue]]] = {
    "its address": (HERE, lambda ca: ca.issues(ip(HERE))),
    "its address among others": (HERE, lambda ca: ca.issues(dns("a.example"), ip("127.0.0.2"), ip(HERE))),
    "its name": ("a.example", lambda ca: ca.issues(dns("a.example"))),
    "a wildcard in its place": ("a.b.example", lambda ca: ca.issues(dns("*.b.example"))),
    "with its intermediate": (
        HERE,
        lambda ca: (between := Issuer(ca, "Between")).issues(ip(HERE)).beside([between]),
    ),
}


@for_each("case", GOOD)
async def test_one_that_is_good_gets_the_request(
    receive: Receive, start: Start, ca: Issuer, ca_file: str, case: str
) -> None:
    host, issue = GOOD[case]
    receiver = await receive(answering(ok()), tls=issue(ca).serves())
    route: dict[str, Any] = {"upstream": Upstream("https", host, receiver.port)}
    if host != HERE:
        route["egress_proxy"] = EgressProxy(HERE, (await receive(relaying(receiver))).port)
    proxied = await start(receiver, route=route, ca_file=ca_file)
    assert (await proxied.ask(get("/"))).status == 200
    assert receiver.requests[0].one("authorization") == f"Bearer {proxied.token}"


# -- what is no TLS, or not ours -----------------------------------------------------


def straight(receiver: Receiver) -> dict[str, Any]:
    return {"upstream": Upstream("https", HERE, receiver.port)}


def server_hello(version: bytes = b"\x03\x03", extensions: bytes = b"") -> bytes:
    """One of TLS 1.2 and before (RFC 5246 section 7.4.1.3), in a record: TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256."""
    extensions = b"\xff\x01\x00\x01\x00" + extensions  # renegotiation_info (RFC 5746)
    body = version + bytes(32) + b"\0" + b"\xc0\x2f" + b"\0" + struct.pack(">H", len(extensions)) + extensions
    message = b"\x02" + struct.pack(">I", len(body))[1:] + body
    return b"\x16" + version + struct.pack(">H", len(message)) + message


HELLO_DONE: Final = b"\x16\x03\x03\x00\x04\x0e\x00\x00\x00"
CERTIFICATE_OF_16_MIB: Final = b"\x16\x03\x03\x40\x00\x0b\xff\xff\xff" + bytes(0x4000 - 4)
H2: Final = b"\x00\x10\x00\x05\x00\x03\x02h2"  # application_layer_protocol_negotiation (RFC 7301)
PLAIN: Final = "it answers in something else than TLS"
BROKEN: Final = "broke off the TLS handshake"
OLD: Final = "it speaks no TLS of version 1.2 or later"

HANDSHAKES: Final[dict[str, tuple[bytes, str]]] = {
    "an answer in plain HTTP": (ok(b"no TLS here"), PLAIN),
    "a refusal in plain HTTP": (b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n", PLAIN),
    "a redirect in plain HTTP": (
        b"HTTP/1.0 301 Moved\r\nLocation: https://elsewhere.example/\r\n\r\n",
        PLAIN,
    ),
    "another protocol": (b"SSH-2.0-OpenSSH_9.2\r\n", PLAIN),
    "nothing, and a close": (b"", BROKEN),
    "the half of a record": (server_hello()[:20], BROKEN),
    "a hello, and a close": (server_hello(), BROKEN),
    "TLS 1.1": (server_hello(b"\x03\x02"), OLD),
    "TLS 1.0": (server_hello(b"\x03\x01"), OLD),
    "SSL 3": (server_hello(b"\x03\x00"), "TLS with"),
    "an alert for the version": (b"\x15\x03\x01\x00\x02\x02\x46", OLD),
    "an alert for the name": (b"\x15\x03\x03\x00\x02\x02\x70", "it knows no receiver of that name"),
    "an alert of who speaks HTTP/2 alone": (b"\x15\x03\x03\x00\x02\x02\x78", "it does not speak HTTP/1.1"),
    "an alert without a reason": (b"\x15\x03\x03\x00\x02\x02\x28", "or asks for a client certificate"),
    "a goodbye": (b"\x15\x03\x03\x00\x02\x01\x00", BROKEN),
    "an extension twice": (server_hello(extensions=b"\xff\x01\x00\x01\x00"), "TLS with"),
    "h2 at once": (server_hello(extensions=H2) + HELLO_DONE, "TLS with"),
    "no certificate at all": (server_hello() + HELLO_DONE, "TLS with"),
    "a certificate of 16 MiB": (server_hello() + CERTIFICATE_OF_16_MIB, "TLS with"),
    "application data first": (b"\x17\x03\x03\x00\x05hello", "TLS with"),
}


@for_each("case", HANDSHAKES)
async def test_a_handshake_that_is_none_gets_nothing(
    receive: Receive, start: Start, ca_file: str, case: str
) -> None:
    said, why = HANDSHAKES[case]

    async def script(wire: Wire) -> None:
        await wire.exactly(100)
        wire.send(said)
        await turns(3)
        wire.close()

    receiver = await receive(script)
    told = await refused(await start(receiver, route=straight(receiver), ca_file=ca_file), receiver)
    assert why in told["detail"]
    assert (told["fault"], told["title"]) == ("receiver", "TLS with the receiver failed")
    assert "tls_certificate_error" not in told["error"]
    if why in (PLAIN, BROKEN):
        assert "upstream has the port at which https is spoken" in told["remedy"]


async def test_a_reset_in_the_handshake(receive: Receive, start: Start, ca_file: str) -> None:
    async def script(wire: Wire) -> None:
        await wire.exactly(100)
        wire.reset()

    receiver = await receive(script)
    told = await refused(await start(receiver, route=straight(receiver), ca_file=ca_file), receiver)
    assert BROKEN in told["detail"]
    assert "error=connection_terminated" in told["error"]


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_a_connection_that_ends_as_it_comes_about(
    receive: Receive, start: Start, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    """Between the pool and the exchange, where the loop may turn once or twice."""
    dial = Dialer.dial

    async def late(dialer: Dialer, make: Any, **options: Any) -> UpstreamConnection:
        connection: UpstreamConnection = await dial(dialer, make, **options)
        await eventually(lambda: connection.lost, "it is still there")
        return connection

    async def script(wire: Wire) -> None:
        wire.close()

    monkeypatch.setattr(Dialer, "dial", late)
    answer = await (await start(await receive(script))).ask(get("/", method=method))
    assert (answer.status, problem(answer)["fault"]) == (502, "receiver")
    assert "before anything was said" in str(problem(answer)["detail"])


@pytest.mark.parametrize(
    "flood", [b"", b"\x16\x03\x03\x00\x04\x00\x00\x00\x00"], ids=["silence", "hello requests"]
)
async def test_a_handshake_without_an_end_ends_in_time(
    receive: Receive, start: Start, ca_file: str, flood: bytes
) -> None:
    async def script(wire: Wire) -> None:
        await wire.exactly(100)
        while flood and not wire.ended:
            wire.send(flood * 100)
            await asyncio.sleep(0.01)

    receiver = await receive(script)
    proxied = await start(receiver, route=straight(receiver), ca_file=ca_file, timeouts=Timeouts(connect=0.3))
    answer = await proxied.ask(get("/secret"))
    assert answer.status in (502, 504)
    assert b"secret" not in receiver.received
    for wire in receiver.connections:
        await wire.gone()
        assert wire.sent < 100_000  # and it has not been listened to for long
    await proxied.settled(idle=0)


async def test_h2_where_it_was_not_offered_is_not_spoken(
    receive: Receive, start: Start, ca: Issuer, ca_file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """OpenSSL's servers do not choose what was not offered; so here it is, behind the back of what checks it."""
    context = ca.issues(ip(HERE)).serves()
    context.set_alpn_protocols(["h2"])
    receiver = await receive(answering(ok()), tls=context)
    offering = tls_context(ca_file)
    offering.set_alpn_protocols(["h2", "http/1.1"])
    proxied = await start(receiver, route=straight(receiver), ca_file=ca_file)
    monkeypatch.setattr(proxied.pool, "_tls", offering)
    told = await refused(proxied, receiver)
    assert "it chose another protocol than HTTP/1.1" in told["detail"]
    assert receiver.received.strip(b"|") == b""


# -- client certificates, and what comes behind a handshake ------------------------------


class Blocking:
    """A receiver in a thread: unlike asyncio's, OpenSSL's alerts leave it. `read`: of all connections, in plain text."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self.read = b""
        self._context = context
        self._listener = socket.create_server((HERE, 0))
        self.port = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(10)

    def _serve(self) -> None:
        while True:
            try:
                accepted, _ = self._listener.accept()
            except OSError:
                return
            accepted.settimeout(10)
            tls = self._context.wrap_socket(accepted, server_side=True, do_handshake_on_connect=False)
            with tls, contextlib.suppress(OSError):
                try:
                    tls.do_handshake()
                    self.read += tls.recv(65536)
                except ssl.SSLError:
                    tls.settimeout(None)
                    tls.shutdown(socket.SHUT_WR)
                    while os.read(tls.fileno(), 65536):  # or the kernel's reset overtakes the alert
                        pass


@pytest.mark.parametrize("version", ["TLSv1_2", "TLSv1_3"])
async def test_a_receiver_that_demands_a_client_certificate(
    start: Start, ca: Issuer, ca_file: str, version: str
) -> None:
    """In TLS 1.3 it says so behind the handshake: what is under way to it then is sealed for it, and it reads none of it."""
    context = ca.issues(ip(HERE)).serves()
    context.minimum_version = context.maximum_version = ssl.TLSVersion[version]
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(ca_file)
    with Blocking(context) as receiver:
        proxied = await start(
            receiver.port, route={"upstream": Upstream("https", HERE, receiver.port)}, ca_file=ca_file
        )
        for request in (get("/secret"), post(b"secret")):
            told = problem(await proxied.ask(request))
            assert "client certificate" in str(told["detail"])
            assert ("ID token" if version == "TLSv1_3" else "log") in str(told["remedy"])
            assert (told["status"], told["fault"]) == (502, "receiver")
        await proxied.settled(idle=0)
    assert receiver.read == b""


async def test_a_receiver_that_would_take_a_client_certificate_and_needs_none(
    receive: Receive, start: Start, ca: Issuer, ca_file: str
) -> None:
    context = ca.issues(ip(HERE)).serves()
    context.verify_mode = ssl.CERT_OPTIONAL
    context.load_verify_locations(ca_file)
    receiver = await receive(answering(ok()), tls=context)
    proxied = await start(receiver, route=straight(receiver), ca_file=ca_file)
    assert (await proxied.ask(get("/"))).status == 200


@contextlib.asynccontextmanager
async def s_server(
    certificate: Leaf, directory: Path
) -> AsyncIterator[tuple[int, asyncio.subprocess.Process]]:
    """OpenSSL's own, which renegotiates where it is told to: nothing in Python can."""
    pem = directory / "server.pem"
    pem.write_bytes(certificate.key_pem + certificate.pem)
    process = await asyncio.create_subprocess_exec(
        *("openssl", "s_server", "-accept", "127.0.0.1:0", "-cert", str(pem), "-tls1_2"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    assert process.stdout is not None
    try:
        line = b""
        while not line.startswith(b"ACCEPT "):
            line = await process.stdout.readline()
        yield int(line.rpartition(b":")[2]), process
    finally:
        process.kill()
        await process.communicate()


@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs its command")
async def test_a_receiver_that_renegotiates_is_not_followed(
    start: Start, ca: Issuer, ca_file: str, tmp_path: Path
) -> None:
    """It might come back as another (RFC 5746), or for a client certificate. In the middle of an exchange, too."""
    async with s_server(ca.issues(ip(HERE)), tmp_path) as (port, process):
        assert process.stdin is not None
        assert process.stdout is not None
        proxied = await start(port, route={"upstream": Upstream("https", HERE, port)}, ca_file=ca_file)
        app = await proxied.connect()
        app.send(post(b"first"))
        seen = b""
        while b"first" not in seen:
            seen += await process.stdout.read(4096)
        process.stdin.write(b"R\n")  # a HelloRequest
        told = problem(await app.response())
        assert "the receiver " in str(told["detail"])
        process.stdin.write(b"late\n")
        await proxied.settled(idle=0)
        assert seen.count(b"Bearer") == 1


# -- the CA file -------------------------------------------------------------------------

GARBAGE: Final = b"-----BEGIN CERTIFICATE-----\nbm8gY2VydGlmaWNhdGU=\n-----END CERTIFICATE-----\n"


BROKEN_OFF: Final = b"-----BEGIN CERTIFICATE-----\nMII"
NONE, BAD = "holds no certificate", "holds a certificate that is broken"


@for_each(
    ("before", "behind", "said"),
    [
        (b"", None, NONE),
        (b"no certificate", None, NONE),
        (b"\0" * 1000, None, NONE),
        (GARBAGE, None, BAD),
        (BROKEN_OFF, None, BAD),
        (GARBAGE, b"", BAD),
        (b"", GARBAGE, BAD),
        (b"", BROKEN_OFF, BAD),
        (BROKEN_OFF + b"\n", b"", BAD),
        (b"# our own\n", b"and no more\n", None),
    ],
)
async def test_a_ca_file_with_garbage_in_it_is_a_mistake(
    tmp_path: Path, ca: Issuer, before: bytes, behind: bytes | None, said: str | None
) -> None:
    """None of its certificates is taken, rather than the first ones. Words between them are comments."""
    (tmp_path / "ca.pem").write_bytes(before + (b"" if behind is None else ca.pem + behind))
    told = mistake(tmp_path)
    assert (said is None and told == "") or (f"tls.ca_file: {tmp_path / 'ca.pem'} {said}" in told)


def mistake(directory: Path) -> str:
    path = directory / "proxy.yaml"
    path.write_text(
        "routes: [{name: a, upstream: 'https://a.example', audience: x}]\ntls: {ca_file: ca.pem}\n"
    )
    try:
        load_settings(str(path), {})
    except ConfigError as error:
        return str(error)
    return ""
