"""What doctor does with many routes, with time, and with the odd case. What it says of each: tests/test_troubles.py."""

from __future__ import annotations

import asyncio
import base64
import json
import ssl
import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace
from email.utils import formatdate
from pathlib import Path
from time import time
from typing import Any

import pytest
import trustme
from blockbuster import BlockBuster

from idtoken_proxy.admin import doctor
from idtoken_proxy.admin.doctor import AT_ONCE, examine
from idtoken_proxy.admin.probe import Probe
from idtoken_proxy.admin.report import RouteReport, Verdict
from idtoken_proxy.engine.connect_errors import NO_HTTP2
from idtoken_proxy.errors import (
    ConfigError,
    ConnectFailed,
    MalformedResponse,
    TlsFailed,
    UpstreamError,
    UpstreamTimeout,
)
from idtoken_proxy.identity.error_causes import REMEDIES
from idtoken_proxy.settings.identities import (
    CommandIdentity,
    FileIdentity,
    GcloudIdentity,
    ImpersonatedIdentity,
    NoIdentity,
    UserIdentity,
)
from idtoken_proxy.settings.model import (
    EgressProxy,
    MetadataSettings,
    Route,
    Settings,
    Timeouts,
    Upstream,
    UpstreamProtocol,
)
from tests.blocking import none_by
from tests.engine.egress import relaying
from tests.engine.http2_peers import fixed, http2_receiver
from tests.engine.proxied import AUDIENCE, make_token
from tests.engine.test_http2_pool import server_tls
from tests.engine.wire import Receiver, Wire, answering, ok


@pytest.fixture(autouse=True)
def blockbuster() -> Iterator[BlockBuster]:
    with none_by("idtoken_proxy.admin") as buster:
        yield buster


@pytest.fixture
def token_file(tmp_path: Path) -> str:
    path = tmp_path / "token"
    path.write_text(make_token())
    return str(path)


def route(port: int, name: str = "shop", **changes: Any) -> Route:
    usual = {
        "upstream": Upstream("http", "127.0.0.1", port),
        "audience": AUDIENCE,
        "timeouts": Timeouts(connect=1.0, response=1.0),
    }
    return Route(**{"name": name, **usual, **changes})


async def test_all_is_well(token_file: str) -> None:
    async with Receiver(answering(ok())) as receiver:
        report = await examine(Settings((route(receiver.port, identity=FileIdentity(token_file)),)), {})
    [found] = report.routes
    assert report.all_ok
    assert found.verdict is Verdict.OK
    assert (found.name, found.upstream, found.audience) == (
        "shop",
        f"http://127.0.0.1:{receiver.port}",
        AUDIENCE,
    )
    assert (found.identity_type, found.identity) == ("file", f"token file {token_file}")
    assert (found.email, found.token_audience) == ("caller@example.com", AUDIENCE)
    assert found.expires_in is not None
    assert 3500 < found.expires_in <= 3600
    assert (found.status, found.by_app) == (200, True)


async def test_fifty_routes_are_examined_a_few_at_a_time_and_told_in_their_order(token_file: str) -> None:
    open_now, most = 0, 0

    async def script(wire: Wire) -> None:
        nonlocal open_now, most
        await wire.request()
        open_now += 1
        most = max(most, open_now)
        await asyncio.sleep(0.02)
        open_now -= 1
        wire.send(ok())

    async with Receiver(script) as receiver:
        routes = tuple(route(receiver.port, f"r{i}", identity=FileIdentity(token_file)) for i in range(50))
        report = await examine(Settings(routes), {})
    assert [found.name for found in report.routes] == [f"r{i}" for i in range(50)]
    assert report.all_ok
    assert 1 < most <= AT_ONCE


async def test_a_token_is_fetched_once_for_all_routes_that_share_it(tmp_path: Path) -> None:
    log = tmp_path / "log"
    script = f"echo x >> {log}; echo {make_token()}"
    identity = CommandIdentity(("sh", "-c", script))
    async with Receiver(answering(ok())) as receiver:
        routes = tuple(route(receiver.port, f"r{i}", identity=identity) for i in range(3))
        report = await examine(Settings(routes), {"PATH": "/usr/bin:/bin"})
    assert report.all_ok
    assert log.read_text() == "x\n"


async def test_what_takes_too_long_is_given_up_and_the_rest_is_told(token_file: str) -> None:
    async def silent(wire: Wire) -> None:
        await wire.gone()

    before = threading.active_count()
    async with Receiver(silent) as slow, Receiver(answering(ok())) as quick:
        patient = Timeouts(connect=5.0, response=60.0)
        routes = (
            route(slow.port, "slow", identity=FileIdentity(token_file), timeouts=patient),
            route(quick.port, "quick", identity=FileIdentity(token_file)),
        )
        report = await examine(Settings(routes), {}, limit=0.3)
        await (await slow.connection()).gone()
    slow_one, quick_one = report.routes
    assert quick_one.verdict is Verdict.OK
    [finding] = slow_one.findings
    assert (finding.verdict, finding.cause) == (Verdict.FAIL, "timeout")
    assert "within 0.3 s" in finding.detail
    assert slow_one.email == "caller@example.com"  # what was found before is told
    assert threading.active_count() <= before + 1


async def test_a_route_that_never_got_its_turn(token_file: str) -> None:
    async def silent(wire: Wire) -> None:
        await wire.gone()

    async with Receiver(silent) as slow:
        patient = Timeouts(connect=5.0, response=60.0)
        one = route(slow.port, identity=FileIdentity(token_file), timeouts=patient)
        report = await examine(Settings((one, replace(one, name="second"))), {}, limit=0.2, at_once=1)
    assert [found.findings[0].cause for found in report.routes] == ["timeout", "timeout"]
    assert report.routes[1].identity == "file"
    assert report.routes[1].steps == ()


async def test_what_the_metadata_server_s_face_hands_out_is_tried_too(token_file: str) -> None:
    known, missing = FileIdentity(token_file), FileIdentity(f"{token_file}-that-is-missing")
    async with Receiver(answering(ok())) as receiver:
        shop = route(receiver.port, identity=known)
        shown = MetadataSettings(identity=known, audiences=(AUDIENCE,))
        assert len((await examine(Settings((shop,), metadata=shown), {})).routes) == 1
        other = MetadataSettings(identity=missing, audiences=(AUDIENCE,))
        of_route, of_face = (await examine(Settings((shop,), metadata=other), {})).routes
    assert of_route.verdict is Verdict.OK
    assert (of_face.name, of_face.audience, of_face.steps) == ("(metadata)", AUDIENCE, ())
    assert [finding.cause for finding in of_face.findings] == ["file_missing"]


async def test_a_public_route() -> None:
    async with Receiver(answering(ok())) as receiver:
        report = await examine(Settings((route(receiver.port, identity=NoIdentity(), audience=None),)), {})
        assert receiver.requests[0].one("authorization") is None
    [found] = report.routes
    assert report.all_ok
    assert (found.identity, found.email, found.expires_in) == ("none, a public route", None, None)


async def test_an_identity_that_cannot_be(token_file: str) -> None:
    """As source of an impersonation: nothing that the metadata server or anyone is asked for."""
    identity = ImpersonatedIdentity("a@b.iam.gserviceaccount.com", source=FileIdentity(token_file))
    async with Receiver(answering(ok())) as receiver:
        report = await examine(Settings((route(receiver.port, identity=identity),)), {})
        assert b"GET" not in receiver.received
    [found] = report.routes
    [finding] = found.findings
    assert finding.cause == "source_without_access_token"
    assert found.identity == "impersonated"


async def test_an_objection_that_takes_too_long_is_for_the_fetch_to_say(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor, "_OBJECTING", 0.05)
    gcloud = tmp_path / "gcloud"
    gcloud.write_text("#!/bin/sh\ncase $1 in config) sleep 0.5; echo '{}';; *) exit 3;; esac\n")
    gcloud.chmod(0o755)
    one = route(1, identity=GcloudIdentity(), audience="https://iap.apps.googleusercontent.com")
    report = await examine(Settings((one,)), {"PATH": f"{tmp_path}:/usr/bin:/bin"})
    assert [finding.cause for finding in report.routes[0].findings] == ["gcloud_failed", "connection_refused"]


async def test_both_a_token_and_a_receiver_may_be_missing(tmp_path: Path) -> None:
    report = await examine(Settings((route(1, identity=FileIdentity(str(tmp_path / "gone"))),)), {})
    [found] = report.routes
    assert [finding.cause for finding in found.findings] == ["file_missing", "connection_refused"]
    assert found.identity == f"token file {tmp_path}/gone"


async def test_a_clock_that_is_off_where_nothing_is_refused_yet(token_file: str) -> None:
    late = formatdate(time() - 3600, usegmt=True)
    async with Receiver(answering(ok(b"", f"Date: {late}"))) as receiver:
        report = await examine(Settings((route(receiver.port, identity=FileIdentity(token_file)),)), {})
    [finding] = report.routes[0].findings
    assert (finding.verdict, finding.cause) == (Verdict.WARN, "clock_skew")
    assert "60 min ahead of the receiver's" in finding.detail


async def test_an_apps_own_trouble_is_a_warning_of_its_own_and_does_not_hide_others(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text(make_token("https://registered.example"))
    async with Receiver(answering(b"HTTP/1.1 502 Bad\r\nContent-Length: 0\r\n\r\n")) as receiver:
        report = await examine(Settings((route(receiver.port, identity=FileIdentity(str(path))),)), {})
    assert [(finding.verdict, finding.cause) for finding in report.routes[0].findings] == [
        (Verdict.WARN, "receiver_error"),
        (Verdict.WARN, "token_audience"),
    ]


async def test_a_persons_token_is_for_the_logins_client_and_that_is_as_it_should_be(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text(make_token("32555940559.apps.googleusercontent.com"))
    async with Receiver(answering(ok())) as receiver:
        report = await examine(Settings((route(receiver.port, identity=FileIdentity(str(path))),)), {})
    assert report.all_ok


async def test_a_token_with_little_life_left(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text(make_token(lifetime=45))
    async with Receiver(answering(ok())) as receiver:
        report = await examine(Settings((route(receiver.port, identity=FileIdentity(str(path))),)), {})
    [finding] = report.routes[0].findings
    assert (finding.verdict, finding.cause) == (Verdict.WARN, "short_lived")
    assert finding.remedy == REMEDIES["short_lived"]


async def test_a_refusal_of_the_front_end_is_diagnosed(token_file: str) -> None:
    page = b"<h1>Error: Forbidden</h1>"
    head = (
        "HTTP/1.1 {} No\r\nServer: Google Frontend\r\nContent-Type: text/html\r\nContent-Length: 25\r\n\r\n"
    )
    for status, cause, verdict in (
        (403, "no_invoker", Verdict.FAIL),
        (429, "no_instance", Verdict.WARN),
        (503, "receiver_down", Verdict.WARN),
    ):
        async with Receiver(answering(head.format(status).encode() + page)) as receiver:
            report = await examine(Settings((route(receiver.port, identity=FileIdentity(token_file)),)), {})
        [finding] = report.routes[0].findings
        assert (finding.verdict, finding.cause) == (verdict, cause)


async def test_a_token_from_the_future(tmp_path: Path) -> None:
    """Its maker's clock is ahead: this machine's is behind."""
    path = tmp_path / "token"
    now = int(time())
    payload = json.dumps({"aud": AUDIENCE, "iat": now + 600, "exp": now + 4200}).encode()
    path.write_text(f"e30.{base64.urlsafe_b64encode(payload).decode().rstrip('=')}.c2ln")
    async with Receiver(answering(ok())) as receiver:
        report = await examine(Settings((route(receiver.port, identity=FileIdentity(str(path))),)), {})
    [finding] = report.routes[0].findings
    assert finding.cause == "clock_skew"
    assert "10 min behind Google's" in finding.detail


async def test_a_login_that_the_receiver_would_not_take(tmp_path: Path) -> None:
    (tmp_path / "adc.json").write_text('{"type": "authorized_user"}')
    one = route(1, identity=UserIdentity(), audience="https://iap.apps.googleusercontent.com")
    report = await examine(Settings((one,)), {"GOOGLE_APPLICATION_CREDENTIALS": str(tmp_path / "adc.json")})
    assert report.routes[0].findings[0].cause == "audience_unsupported"


async def test_a_certificate_that_is_not_trusted() -> None:
    theirs = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(theirs)
    async with Receiver(answering(ok()), tls=theirs) as receiver:
        upstream = Upstream("https", "127.0.0.1", receiver.port)
        one = route(1, upstream=upstream, identity=NoIdentity(), audience=None)
        report = await examine(Settings((one,)), {})
    [finding] = report.routes[0].findings
    assert finding.cause == "tls_certificate_error"
    assert "tls: {ca_file: ...}" in finding.remedy


async def test_a_ca_file_that_cannot_be_read(tmp_path: Path) -> None:
    one = route(1, upstream=Upstream("https", "127.0.0.1", 1), identity=NoIdentity(), audience=None)
    with pytest.raises(ConfigError, match=r"tls\.ca_file"):
        await examine(Settings((one,), ca_file=str(tmp_path / "gone.pem")), {})
    with pytest.raises(ConfigError, match=r"tls\.ca_file"):
        await examine(Settings((one,), ca_file=str(tmp_path)), {})


async def test_a_bug_in_it_is_not_passed_off_as_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(*_: Any, **__: Any) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(doctor, "probe", broken)
    with pytest.raises(ZeroDivisionError):
        await examine(Settings((route(1, identity=NoIdentity(), audience=None),)), {})


@pytest.mark.parametrize(
    ("error", "remedy"),
    [
        (ConnectFailed("x"), "curl -sv -x http://proxy:3128 https://a.run.app/"),
        (TlsFailed("x", remedy="its own"), "its own"),
        (TlsFailed("x"), "openssl s_client -proxy proxy:3128 -connect a.run.app:443"),
    ],
)
async def test_commands_go_the_same_way(
    monkeypatch: pytest.MonkeyPatch, error: UpstreamError, remedy: str
) -> None:
    if isinstance(error, TlsFailed):
        error.proxy_status = "tls_protocol_error"

    async def probe(*_: Any, **__: Any) -> Probe:
        return Probe((), error=error)

    async def speaks_http2(*_: Any) -> None: ...

    monkeypatch.setattr(doctor, "probe", probe)
    monkeypatch.setattr(doctor, "speaks_http2", speaks_http2)
    egress = EgressProxy("proxy", 3128, b"me:hunter2")
    upstream = Upstream("https", "a.run.app", 443)
    one = route(1, upstream=upstream, identity=NoIdentity(), audience=None, egress_proxy=egress)
    report = await examine(Settings((one,)), {})
    [found] = report.routes
    assert remedy in found.findings[0].remedy
    assert found.egress_proxy == "proxy:3128"
    assert "hunter2" not in repr(report)


async def test_a_login_that_the_receiver_may_take(tmp_path: Path) -> None:
    path = tmp_path / "adc.json"
    path.write_text('{"type": "authorized_user"}')
    one = route(1, identity=UserIdentity(), audience="http://127.0.0.1:1")
    report = await examine(Settings((one,)), {"GOOGLE_APPLICATION_CREDENTIALS": str(path)})
    assert report.routes[0].findings[0].cause == "credential_file_invalid"


@pytest.mark.parametrize(
    ("error", "remedy"),
    [
        (ConnectFailed("x", proxy_status="dns_error"), "getent hosts 127.0.0.1"),
        (ConnectFailed("x", proxy_status="connection_refused"), "127.0.0.1:1"),
        (ConnectFailed("x"), "curl -sv http://127.0.0.1:1/"),
        (ConnectFailed("x", remedy="its own"), "its own"),
        (UpstreamTimeout("x"), "--min-instances=1"),
        (MalformedResponse("x"), "speaks HTTP at http://127.0.0.1:1"),
    ],
)
async def test_each_way_of_not_getting_there_has_its_remedy(
    monkeypatch: pytest.MonkeyPatch, error: UpstreamError, remedy: str
) -> None:
    async def probe(*_: Any, **__: Any) -> Probe:
        return Probe((), error=error)

    async def speaks_http2(*_: Any) -> None: ...

    monkeypatch.setattr(doctor, "probe", probe)
    monkeypatch.setattr(doctor, "speaks_http2", speaks_http2)
    report = await examine(Settings((route(1, identity=NoIdentity(), audience=None),)), {})
    [finding] = report.routes[0].findings
    assert (finding.verdict, finding.cause, finding.detail) == (Verdict.FAIL, error.proxy_status, "x")
    assert remedy in finding.remedy
    assert "{" not in finding.remedy


# -- HTTP/2 ---------------------------------------------------------------------


@dataclass(frozen=True)
class Place:
    """Where a receiver is: `ca` and `ca_file` where it has TLS."""

    token_file: str
    ca: trustme.CA | None = None
    ca_file: str | None = None

    def context(self, *protocols: str) -> ssl.SSLContext | None:
        return None if self.ca is None else server_tls(self.ca, *protocols)

    async def examined(self, port: int, protocol: UpstreamProtocol, **changes: Any) -> RouteReport:
        upstream = Upstream("http" if self.ca is None else "https", "127.0.0.1", port)
        to = route(1, upstream=upstream, identity=FileIdentity(self.token_file), protocol=protocol, **changes)
        [found] = (await examine(Settings((to,), ca_file=self.ca_file), {})).routes
        return found


@pytest.fixture
def behind_tls(token_file: str, tmp_path: Path) -> Place:
    ca = trustme.CA()
    ca.cert_pem.write_to_path(tmp_path / "ca.pem")
    return Place(token_file, ca, str(tmp_path / "ca.pem"))


@pytest.fixture(params=["clear text", "tls"])
def place(request: pytest.FixtureRequest, token_file: str, behind_tls: Place) -> Place:
    return behind_tls if request.param == "tls" else Place(token_file)


async def test_a_route_that_wants_http2_is_asked_by_it(place: Place) -> None:
    async with http2_receiver(fixed(body=b"hello"), place.context("h2")) as receiver:
        found = await place.examined(receiver.port, UpstreamProtocol.HTTP2)
        [stream] = receiver.streams
    assert (found.verdict, found.http2, found.status, found.by_app) == (Verdict.OK, True, 200, True)
    assert stream.one("authorization") == f"Bearer {Path(place.token_file).read_text()}"
    assert (stream.one(":method"), stream.one(":path"), stream.one("connection")) == ("GET", "/", None)
    assert (stream.one("via"), stream.one("x-forwarded-for")) == (None, None)
    tls = ["tls"] if place.ca else []
    assert [step.name for step in found.steps] == ["dns", "tcp", *tls, "http2", "answer"]


async def test_a_route_that_wants_http2_where_there_is_none_fails(place: Place) -> None:
    async with Receiver(answering(ok()), tls=place.context("http/1.1")) as receiver:
        found = await place.examined(receiver.port, UpstreamProtocol.HTTP2)
        assert b"authorization" not in receiver.received.lower()
    [finding] = found.findings
    assert (finding.verdict, finding.remedy) == (Verdict.FAIL, NO_HTTP2)
    assert "does not speak HTTP/2" in finding.detail
    assert found.http2 is False
    *_, before, last = found.steps
    assert (before.name, before.error) == ("tls" if place.ca else "tcp", None)
    assert (last.name, last.error) == ("http2", finding.detail)


async def test_a_grpc_server_resets_what_is_no_grpc_and_is_there(place: Place) -> None:
    async with http2_receiver(lambda stream: stream.cancel(2), place.context("h2")) as receiver:
        found = await place.examined(receiver.port, UpstreamProtocol.HTTP2)
    assert (found.verdict, found.http2, found.status) == (Verdict.OK, True, None)


async def test_without_http2_a_route_that_may_do_without_is_well(place: Place) -> None:
    async with Receiver(answering(ok()), tls=place.context("http/1.1")) as receiver:
        found = await place.examined(receiver.port, UpstreamProtocol.AUTO)
    assert (found.verdict, found.http2, found.status) == (Verdict.OK, False, 200)


async def test_a_receiver_of_both_is_told_as_such(place: Place) -> None:
    async def script(wire: Wire) -> None:
        """In TLS by ALPN, which has been seen to before; the connection is another than that of the question."""
        if len(receiver.connections) == 1:
            await wire.request()
            wire.send(ok())
        else:
            wire.send(SETTINGS)

    async with Receiver(script, tls=place.context("h2", "http/1.1")) as receiver:
        found = await place.examined(receiver.port, UpstreamProtocol.AUTO)
    assert (found.verdict, found.http2, found.status) == (Verdict.OK, True, 200)


async def test_a_receiver_of_http1_never_hears_of_http2(place: Place) -> None:
    async with Receiver(answering(ok()), tls=place.context("h2", "http/1.1")) as receiver:
        found = await place.examined(receiver.port, UpstreamProtocol.HTTP1)
        assert len(receiver.connections) == 1
    assert (found.verdict, found.http2, found.status) == (Verdict.OK, None, 200)


SETTINGS = b"\0\0\0\4\0\0\0\0\0"


async def http2_alone(wire: Wire) -> None:
    """As gRPC servers begin, whatever was said to them; what is no HTTP/2 they end."""
    wire.send(SETTINGS)
    await wire.until(b"\r\n\r\n")
    if not wire.received.startswith(b"PRI"):
        wire.close()


async def test_a_receiver_of_http2_alone_is_for_grpc_as_it_is(place: Place) -> None:
    async with Receiver(http2_alone, tls=place.context("h2")) as receiver:
        found = await place.examined(receiver.port, UpstreamProtocol.AUTO)
    [finding] = found.findings
    assert (finding.verdict, finding.cause) == (Verdict.WARN, "http2_alone")
    assert "protocol: http2" in finding.remedy
    assert found.http2 is True


async def test_what_is_only_an_information_is_no_failure_where_time_runs_out(token_file: str) -> None:
    async def script(wire: Wire) -> None:
        if (await wire.request()).start.startswith("PRI"):
            await wire.gone()
        wire.send(ok())

    async with Receiver(script) as receiver:
        to = route(receiver.port, identity=FileIdentity(token_file))
        report = await examine(Settings((to,)), {}, limit=0.5)
        await (await receiver.connection(1)).gone()
        [patiently] = (await examine(Settings((to,)), {})).routes
    [found] = report.routes
    assert (found.verdict, found.status, found.http2) == (Verdict.OK, 200, None)
    assert (patiently.verdict, patiently.http2) == (Verdict.OK, None)


@pytest.mark.parametrize(
    ("protocol", "steps"),
    [(UpstreamProtocol.AUTO, ["tls"]), (UpstreamProtocol.HTTP2, ["tls", "http2"])],
)
async def test_http2_is_looked_for_through_an_egress_proxy(
    behind_tls: Place, protocol: UpstreamProtocol, steps: list[str]
) -> None:
    async with (
        Receiver(http2_alone, tls=behind_tls.context("h2")) as receiver,
        Receiver(relaying(receiver)) as egress,
    ):
        found = await behind_tls.examined(
            receiver.port,
            protocol,
            egress_proxy=EgressProxy("127.0.0.1", egress.port),
            timeouts=Timeouts(connect=1.0, response=0.2),
        )
    assert found.http2 is True
    assert [step.name for step in found.steps] == ["dns", "tcp", "connect", *steps, "answer"]


async def test_tls_of_one_receiver_is_not_spoken_with_another_in_clear_text(behind_tls: Place) -> None:
    async with (
        http2_receiver(fixed()) as plain,
        http2_receiver(fixed(), behind_tls.context("h2")) as secret,
    ):
        usual = {"protocol": UpstreamProtocol.HTTP2, "identity": NoIdentity(), "audience": None}
        routes = (
            route(plain.port, "plain", **usual),
            route(1, "secret", upstream=Upstream("https", "127.0.0.1", secret.port), **usual),
        )
        report = await examine(Settings(routes, ca_file=behind_tls.ca_file), {})
    assert [(one.verdict, one.http2) for one in report.routes] == [(Verdict.OK, True)] * 2
