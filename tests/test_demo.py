from __future__ import annotations

import asyncio
import contextlib
import shlex
import shutil
import signal
import socket
from collections.abc import Iterator, Sequence
from urllib.parse import urlsplit

import grpc
import pytest
from grpc import aio
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

from idtoken_proxy import demo
from idtoken_proxy.emulator import BREAKS, Emulator
from idtoken_proxy.emulator.keys import Keys
from tests.cases import and_thoroughly, for_each
from tests.demo_process import demo as demo_process
from tests.emulator.grpc_client import Client
from tests.engine.http2_peers import http2_app


@pytest.fixture
def port_is_taken() -> Iterator[None]:
    """By this test, or by who had it before."""
    with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", demo.PORT)):
        yield
        return
    yield


async def pasted(line: str) -> str:
    shell = await asyncio.create_subprocess_shell(
        line, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    told, errors = await shell.communicate()
    assert shell.returncode == 0, errors
    return told.decode()


async def health_by(line: str) -> object:
    """The status that grpcurl would tell, by another client; the method is looked up by server reflection first, as there."""
    words = shlex.split(line)
    target, method = words[-2:]
    assert words == ["grpcurl", "-plaintext", "-authority", words[3], target, "grpc.health.v1.Health/Check"]
    options = (("grpc.default_authority", words[3]), ("grpc.enable_http_proxy", 0))
    async with aio.insecure_channel(target, options) as channel:
        answer = await Client(channel).health(method.partition("/")[2], "")
    await asyncio.to_thread(_look_up, target, options, method.partition("/")[0])
    return answer["status"]


def _look_up(target: str, options: Sequence[tuple[str, object]], service: str) -> None:
    with grpc.insecure_channel(target, options) as channel:
        known = ProtoReflectionDescriptorDatabase(channel)
        assert service in known.get_services()
        assert known.FindFileContainingSymbol(service).service[0].name == "Health"


@pytest.mark.usefixtures("port_is_taken")
@pytest.mark.parametrize("number", and_thoroughly(signal.SIGTERM, signal.SIGINT))
async def test_its_lines_do_what_they_say_and_it_ends_cleanly(number: signal.Signals) -> None:
    async with demo_process("idtoken_proxy.demo") as running:
        said, client = running.said, running.client
        direct, through, refused, let_in, events, websocket, by_http2 = (
            next(word for word in shlex.split(line) if word.startswith("http"))
            for line in running.commands("curl")
        )
        # Whoever else had the port may have given it back meanwhile.
        assert ("# Port 8080 is taken; the proxy listens on " in said) == (
            urlsplit(through).port != demo.PORT
        )
        assert (await client.get(direct)).status == 403

        response = await client.get(through)
        assert response.status == 200
        told = await response.json()
        assert told["service"] == "user-profiles"
        assert told["caller"] == "login@demo-project.iam.gserviceaccount.com"
        assert told["path"] == "/42"

        response = await client.get(refused)
        assert response.status == 403
        assert response.content_type == "text/html"  # the service's own answer, not the proxy's

        assert "curl -X POST " + let_in in said
        response = await client.post(let_in)
        said_of_it = "serviceAccount:login@demo-project.iam.gserviceaccount.com may invoke search now\n"
        assert (response.status, await response.text()) == (200, said_of_it)
        response = await client.get(refused)
        assert (response.status, (await response.json())["service"]) == (200, "search")

        async with client.get(events) as stream:
            assert await stream.content.readline() == b"id: 1\n"
        async with client.ws_connect(websocket) as socket_:
            await socket_.send_str("hello")
            assert await socket_.receive_str() == "hello"

        assert by_http2 == through
        [http2_line, grpc_line] = (
            line
            for line in running.commands("curl", "grpcurl")
            if "--http2-prior-knowledge" in line or line.startswith("grpcurl ")
        )
        peer = await http2_app(int(urlsplit(by_http2).port or 0))
        assert (await peer.request(path=urlsplit(by_http2).path).done()).status == 200
        peer.close()
        assert await health_by(grpc_line) == 1  # SERVING
        # And as they stand, where there is what they name.
        for line, answer in ((http2_line, "HTTP/2 200"), (grpc_line, '"SERVING"')):
            if shutil.which(line.partition(" ")[0]):
                assert answer in await pasted(line)

        if number is signal.SIGINT:  # once is enough
            tools = next(line for line in said.splitlines() if " --tools " in line)
            assert "echo: Says the text again.\n" in await pasted(tools)

        page = next(line for line in said.splitlines() if "in a browser" in line).rpartition(" ")[2]
        async with client.get(page) as response:
            assert (response.status, response.content_type) == (200, "text/html")
        async with client.get(f"{page}api/status") as response:
            assert [route["name"] for route in (await response.json())["routes"]][:1] == ["user-profiles"]

        errors = await running.ended_by(number)
    # The refused call is explained, once, in the first terminal; and nothing else is said there.
    (line,) = errors.splitlines()
    assert "roles/run.invoker" in line
    assert "login@demo-project.iam.gserviceaccount.com" in line


@pytest.mark.usefixtures("port_is_taken")
@pytest.mark.parametrize(
    ("kind", "status", "cause", "doctor"),
    [
        ("permission-denied", 503, "iam_permission_denied", "roles/iam.serviceAccountOpenIdTokenCreator"),
        *(
            pytest.param(*one, marks=pytest.mark.thorough)
            for one in (
                ("perimeter", 503, "vpc_service_controls", None),
                ("login-expired", 503, "login_expired", "gcloud auth application-default login"),
                ("invoker-lost", 403, None, None),
            )
        ),
    ],
)
async def test_it_breaks_on_purpose(kind: str, status: int, cause: str | None, doctor: str | None) -> None:
    """`doctor`: what its remedy holds, where the printed command is pasted."""
    async with demo_process("idtoken_proxy.demo", repr(kind)) as running:
        said, client = running.said, running.client
        assert f"# Broken on purpose ({kind}): {BREAKS[kind]}. What an app sees of it:" in said
        [command] = running.commands("curl", "grpcurl")
        [examination] = (line for line in said.splitlines() if " doctor -c " in line)
        response = await client.get(command.removeprefix("curl -i "))
        assert response.status == status
        if cause:
            assert (await response.json(content_type="application/problem+json"))["cause"] == cause
        if doctor:
            pasted = await asyncio.create_subprocess_shell(
                examination, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
            )
            told, errors = await pasted.communicate()
            assert (pasted.returncode, errors) == (1, b"")
            assert doctor in told.decode()
            assert "user-profiles" in told.decode()
        await running.ended_by(signal.SIGINT)


@for_each("kind", [None, *BREAKS])
async def test_each_failure_meets_a_caller_whom_it_hits(kind: str | None, keys: Keys) -> None:
    async with Emulator(keys=keys) as emulator:
        caller = demo.caller_for(emulator, kind)
        settings = demo.settings_for(emulator, 0, 0, caller)
    by_iam = (
        "api-disabled",
        "permission-denied",
        "perimeter",
        "quota-project",
        "org-policy",
        "project-suspended",
    )
    types: dict[str | None, str] = {None: "metadata", **dict.fromkeys(by_iam, "impersonated")}
    files = {
        "clock-ahead": "service_account",
        "clock-behind": "service_account",
        "login-expired": "authorized_user",
        "login-again": "authorized_user",
        "pool-gone": "external_account",
    }
    assert {route.identity for route in settings.routes} == {caller.identity}
    assert caller.identity.type == types.get(kind, "auto" if kind in files else "metadata")
    assert (caller.file["type"] if caller.file else None) == files.get(str(kind))


async def test_a_taken_port_is_said(keys: Keys) -> None:
    async with Emulator(keys=keys) as emulator:
        lines = list(demo.lines_to_paste(emulator, 1234, 9090))
        assert lines[0] == "# Port 8080 is taken; the proxy listens on 1234."
        assert "curl -i http://localhost:1234/user-profiles/42" in lines
        assert not any("taken" in line for line in demo.lines_to_paste(emulator, 8080, 9090))


@for_each(
    ("environ", "level", "form"),
    [
        ({}, "warning", "auto"),
        ({"IDTOKEN_PROXY_LOG_FORMAT": "text"}, "warning", "text"),
        ({"IDTOKEN_PROXY_LOG_LEVEL": "debug", "IDTOKEN_PROXY_LOG_FORMAT": ""}, "debug", "auto"),
        ({"IDTOKEN_PROXY_LOG_LEVEL": "loud", "IDTOKEN_PROXY_LOG_FORMAT": "xml"}, "warning", "auto"),
    ],
)
def test_the_log_s_variables_count_for_the_demo_too(environ: dict[str, str], level: str, form: str) -> None:
    found = demo.log_settings(environ)
    assert (found.level, found.format) == (level, form)
