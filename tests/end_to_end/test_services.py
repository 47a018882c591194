"""A project without a list: whichever service of it is named gets its own token, by every way in, and nothing else is reached."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import trustme
from aiohttp import web

from idtoken_proxy.admin.doctor import examine
from idtoken_proxy.admin.report import as_text
from idtoken_proxy.admin.status import connections_of
from idtoken_proxy.emulator import DEMO, Emulator
from idtoken_proxy.server import Server
from idtoken_proxy.settings.load import settings_from_text
from tests.end_to_end.test_connect import asks, opened, within
from tests.engine.egress import relaying
from tests.engine.http2_peers import http2_app
from tests.engine.test_http2_pool import server_tls
from tests.engine.wire import Message, Receiver, answering, connect, get, ok

DOMAIN = "us-central1.run.app"
CONFIG = """\
listen: localhost:0
admin: off
identity: metadata
routes:
  - {{name: project, match: {{host: '*.run.localhost'}}, upstream: 'https://*-123456789012.us-central1.run.app'}}
  - {{name: listed, match: {{host: listed.run.localhost}}, upstream: 'https://listed-x7f3kq-uc.a.run.app', audience: by-list}}
limits: {{services: 3}}
tls: {{ca_file: '{ca_file}'}}
google: {{metadata_host: '{metadata_host}'}}
egress_proxy: http://127.0.0.1:{egress}
"""


@dataclass
class Project:
    server: Server
    receiver: Receiver
    egress: Receiver
    fetches: list[str]

    @property
    def port(self) -> int:
        return int(self.server.addresses[0].port)

    async def ask(self, host: str, target: str = "/", *fields: str, method: str = "GET") -> Message:
        app = await connect(self.port)
        app.send(get(target, *fields, method=method).replace(b"Host: localhost", f"Host: {host}".encode()))
        try:
            return await app.response(to=method)
        finally:
            app.close()

    @property
    def asked(self) -> list[tuple[str | None, str, str]]:
        """(Host, target, the token's audience) of what has come to the receiver."""
        return [
            (one.one("host"), one.target, audience_of(one.one("authorization")))
            for one in self.receiver.requests
        ]

    @property
    def tunnels(self) -> set[str]:
        return {bytes(one.received).split(b" ")[1].decode() for one in self.egress.connections}

    @property
    def known(self) -> list[str]:
        return [service.label for service, _ in self.server.context.router.services]


def audience_of(authorization: str | None) -> str:
    payload = (authorization or "").split(".")[1]
    claims: dict[str, Any] = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    return str(claims["aud"])


def name(service: str) -> str:
    return f"{service}-123456789012.{DOMAIN}"


@pytest.fixture
async def project(tmp_path: Path) -> AsyncIterator[Project]:
    ca = trustme.CA()
    ca.cert_pem.write_to_path(tmp_path / "ca.pem")
    tls = server_tls(ca, "http/1.1")
    ca.issue_cert(f"*.{DOMAIN}", "*.a.run.app").configure_cert(tls)
    fetches: list[str] = []

    async def count(request: web.Request) -> None:
        if "audience" in request.query:
            fetches.append(request.query["audience"])

    async with (
        Emulator(DEMO) as emulator,
        Receiver(answering(ok()), tls=tls) as receiver,
        Receiver(relaying(receiver)) as egress,
    ):
        emulator.trouble = count
        text = CONFIG.format(
            ca_file=tmp_path / "ca.pem", metadata_host=emulator.metadata_host, egress=egress.port
        )
        server = Server(settings_from_text(text, str(tmp_path / "proxy.yaml"), {}), {})
        await server.start()
        try:
            async with asyncio.timeout(5):
                while not server.ready:
                    await asyncio.sleep(0.005)
            fetches.clear()
            yield Project(server, receiver, egress, fetches)
        finally:
            await server.stop(drain=0.05)


async def test_a_service_by_its_name_under_localhost(project: Project) -> None:
    assert (await project.ask("orders.run.localhost:8080", "/v1?x=1")).status == 200
    assert (await project.ask("ORDERS.run.localhost", "/v2")).status == 200
    origin = f"https://{name('orders')}"
    assert project.asked == [(name("orders"), "/v1?x=1", origin), (name("orders"), "/v2", origin)]
    assert project.tunnels == {f"{name('orders')}:443"}
    assert project.fetches == [origin]


async def test_a_route_of_that_very_name_comes_first(project: Project) -> None:
    assert (await project.ask("listed.run.localhost")).status == 200
    assert project.asked == [("listed-x7f3kq-uc.a.run.app", "/", "by-list")]
    assert project.known == []


async def test_a_tag_has_its_service_s_token(project: Project) -> None:
    for service in ("orders", "next---orders"):
        assert (await project.ask(f"{service}.run.localhost")).status == 200
    assert [audience for _, _, audience in project.asked] == [f"https://{name('orders')}"] * 2
    assert project.asked[1][0] == name("next---orders")
    assert len(project.fetches) == 1


async def test_by_its_real_name_as_http_proxy_and_connect_have_it(project: Project) -> None:
    real = name("orders")
    assert (await project.ask(real, f"http://{real}/by-proxy")).status == 200
    app = await opened(project.port, f"{real}:80")
    app.send(within("/within", real))
    assert (await app.response()).status == 200
    app.close()
    assert project.asked == [(real, path, f"https://{real}") for path in ("/by-proxy", "/within")]
    app = await connect(project.port)
    app.send(asks(f"{real}:443"))
    answer = await app.response()
    app.close()
    assert (answer.status, b"write http://" in answer.body) == (405, True)


async def test_by_http2_the_authority_names_it(project: Project) -> None:
    app = await http2_app(project.port)
    statuses = []
    for authority in ("orders.run.localhost:8080", "orders.run.localhost:8080", "a_b.run.localhost"):
        stream = app.request(authority=authority.encode(), path="/h2")
        await stream.done()
        statuses.append(stream.status)
    app.close()
    await app.until_lost()
    assert statuses == [200, 200, 404]
    assert project.asked == [(name("orders"), "/h2", f"https://{name('orders')}")] * 2
    assert project.known == ["orders"]


ELSEWHERE = [
    ("a.b.run.localhost", "/", 404),
    ("-a.run.localhost", "/", 403),
    ("a-.run.localhost", "/", 404),
    ("1a.run.localhost", "/", 404),
    ("a---b---c.run.localhost", "/", 404),
    (f"{'a' * 50}.run.localhost", "/", 404),
    ("a.run.localhost.", "/", 403),
    ("a.run.localhost.evil.example", "/", 403),
    ("*.run.localhost", "/", 400),
    (name("*"), f"http://{name('*')}/", 400),
    (name("orders"), "/", 403),
    ("orders-999999999999.us-central1.run.app", "http://orders-999999999999.us-central1.run.app/", 403),
    ("orders-123456789012.us-east1.run.app", "http://orders-123456789012.us-east1.run.app/", 403),
    (f"{name('orders')}:8443", f"http://{name('orders')}:8443/", 403),
    (f"evil.{name('orders')}", f"http://evil.{name('orders')}/", 403),
]


async def test_nothing_but_that_project_and_region_can_be_named(project: Project) -> None:
    for host, target, status in ELSEWHERE:
        answer = await project.ask(host, target)
        assert answer.status == status, (host, target, answer)
    assert (project.asked, project.tunnels, project.known, project.fetches) == ([], set(), [], [])


async def test_no_page_reaches_one(project: Project) -> None:
    answer = await project.ask("orders.run.localhost", "/", "Origin: http://evil.example")
    assert answer.status == 403
    answer = await project.ask("orders.run.localhost", "/", "Origin: http://billing.run.localhost")
    assert (answer.status, project.fetches) == (403, [])


async def test_made_up_names_cost_a_few_tokens_a_second_and_no_more_are_kept(project: Project) -> None:
    answers = await asyncio.gather(*(project.ask(f"a{number}.run.localhost") for number in range(40)))
    statuses = [answer.status for answer in answers]
    assert set(statuses) == {200, 429}
    assert statuses.count(200) == len(project.fetches) <= 6  # four, and what a slow machine's clock adds
    refused = next(answer for answer in answers if answer.status == 429)
    assert refused.one("retry-after") == "1"
    assert b"too many services" in refused.body
    assert project.server.context.stats.limits["services"] == statuses.count(429)
    assert len(project.known) == 3
    [status, _] = project.server.route_statuses()
    assert (status["services"], "token" in status) == (project.known, False)
    audiences = {slot.wanted for slot in project.server._cache.slots}
    assert audiences == {"by-list"} | {f"https://{name(service)}" for service in project.known}


async def test_no_metric_has_a_name_that_a_caller_chose(project: Project) -> None:
    assert (await project.ask("orders.run.localhost")).status == 200
    stats = project.server._stats
    assert set(stats.upstreams) == {f"https://{name('*')}", "https://listed-x7f3kq-uc.a.run.app"}
    assert stats.upstreams[f"https://{name('*')}"].opened == 1
    assert set(stats.routes) == {"project", "listed"}
    found: dict[str, tuple[int, int]] = {}
    for _ in connections_of([project.server.context.router], found):
        pass
    assert found == {f"https://{name('*')}": (0, 1), "https://listed-x7f3kq-uc.a.run.app": (0, 0)}


async def test_a_reload_keeps_what_is_known(project: Project) -> None:
    for service in ("a", "b"):
        assert (await project.ask(f"{service}.run.localhost")).status == 200
    settings = project.server.settings
    await project.server.reload(replace(settings, forward_proxy=False))
    assert project.known == ["a", "b"]
    assert (await project.ask("a.run.localhost")).status == 200
    assert len(project.fetches) == 2
    real = name("a")
    assert (await project.ask(real, f"http://{real}/")).status == 403


async def test_doctor_tries_its_identity_alone(project: Project) -> None:
    settings = project.server.settings
    report = await examine(replace(settings, routes=settings.routes[:1]), {})
    [found] = report.routes
    assert (found.findings, found.steps, found.status) == ((), (), None)
    assert found.email == "login@demo-project.iam.gserviceaccount.com"
    assert found.upstream == f"https://{name('*')}"
    assert any(line.endswith("each service's own") for line in as_text(report, colors=False))
