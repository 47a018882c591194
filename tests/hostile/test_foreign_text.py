"""Text that somebody else wrote, through each of its sources, and all that commands print: nothing of it is obeyed by a
terminal, taken for a line of ours, or a traceback.
"""

from __future__ import annotations

import base64
import json
import os
import re
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from idtoken_proxy.settings.identities import FileIdentity
from idtoken_proxy.terminal import UNPRINTABLE
from tests.engine.conftest import Receive, Start, receive, start, token, token_file
from tests.engine.proxied import AUDIENCE
from tests.engine.wire import Receiver, Wire, answering, connect, get, ok
from tests.hostile.process import serving
from tests.test_cli import run

__all__ = ["receive", "start", "token", "token_file"]  # fixtures

OBEYED: Final = re.compile(f"(?!\n){UNPRINTABLE.pattern}")
WORDS: Final = (
    "a", " ", "\x1b[2J", "\x1b]0;title\x07", "\x1b]52;c;eA==\x07", "\x9b31m", "\x08", "\r", "\n", "\t", "\x00", "\x7f", "\x85",
    "\u202e", "\u2066", "\u200b", "\u2028", "\ufeff", "\ud800", "\udc9b", "<script>", '"', "'", "&", "$(id)", "`id`", "\\", "%s",
    "{0}", "\U000e0041", "\xe9", "日", "[bold]", "OK: 1 route", "${HOME}", ": ", "#",
)  # fmt: skip
TEXTS: Final = st.lists(st.sampled_from(WORDS), min_size=1, max_size=6).map("".join)


def octets(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


class Said:
    """What somebody who listens on a port of this machine answers to anything."""

    def __init__(self) -> None:
        self.answer = b""
        self.asked = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                accepted, _ = self._listener.accept()
            except OSError:
                return
            with accepted:
                accepted.settimeout(5)
                try:
                    if accepted.recv(65536):
                        self.asked += 1
                        accepted.sendall(self.answer)
                except OSError:
                    pass

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()


@pytest.fixture
def stranger() -> Iterator[Said]:
    said = Said()
    yield said
    said.close()


@pytest.fixture(autouse=True)
def _nothing_of_the_machines_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in os.environ:
        if name.startswith(("IDTOKEN_", "GOOGLE_", "CLOUDSDK_", "GCE_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("GCE_METADATA_HOST", "127.0.0.1:1")
    monkeypatch.chdir(tmp_path)


def few(count: int) -> settings:
    return settings(
        max_examples=count, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
    )


def told(capsys: pytest.CaptureFixture[str], *argv: str | Path) -> str:
    """All that this command says; looked at."""
    _, out, err = run(capsys, *argv)
    for said in (out, err):
        assert OBEYED.search(said) is None, (argv, said)
        assert "Traceback" not in said, (argv, said)
        said.encode("utf-8")
    return out


def token_with(text: str) -> str:
    claims = {
        "aud": AUDIENCE,
        "exp": int(time.time()) + 3600,
        "email": text,
        "sub": text,
        "iss": text,
        text: text,
    }

    def part(content: object) -> str:
        return base64.urlsafe_b64encode(json.dumps(content).encode()).rstrip(b"=").decode()

    return f"{part({'alg': 'RS256', 'kid': text})}.{part(claims)}.c2ln"


@given(text=TEXTS)
@few(8)
def test_of_a_token_s_claims_and_of_a_receiver_s_answer(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, stranger: Said, text: str
) -> None:
    (tmp_path / "token").write_text(token_with(text))
    (tmp_path / "token").chmod(0o600)
    line = octets(text).replace(b"\r", b"").replace(b"\n", b"")
    stranger.answer = b"HTTP/1.1 403 %b\r\nServer: %b\r\nX-Powered-By: %b\r\nConnection: close\r\n\r\n%b" % (
        line, line, line, octets(text) * 3,
    )  # fmt: skip
    config = tmp_path / "proxy.yaml"
    config.write_text(
        "identity: {type: file, path: token}\n"
        f"routes: [{{name: shop, upstream: 'http://127.0.0.1:{stranger.port}', audience: '{AUDIENCE}'}}]\n"
    )
    told(capsys, "doctor", "-c", config)
    json.loads(told(capsys, "doctor", "-c", config, "--json"))
    json.loads(told(capsys, "token", "-c", config, "--route", "shop", "--claims"))
    told(capsys, "token", "-c", config, "--route", "shop")


@given(text=TEXTS)
@few(8)
def test_of_a_token_endpoint_s_answer(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, stranger: Said, text: str
) -> None:
    """Whoever answers there says why it refuses, or gives what it calls a token."""
    login = {"type": "authorized_user", "client_id": "c", "client_secret": "s", "refresh_token": "r"}
    (tmp_path / "login.json").write_text(json.dumps(login))
    (tmp_path / "login.json").chmod(0o600)
    os.environ["GOOGLE_APPLICATION_CREDENTIALS"] = str(tmp_path / "login.json")
    config = tmp_path / "proxy.yaml"
    config.write_text(
        f"google: {{token_endpoint: 'http://127.0.0.1:{stranger.port}/token'}}\n"
        f"routes: [{{name: shop, upstream: 'http://127.0.0.1:1', audience: '{AUDIENCE}'}}]\n"
    )
    refused = {"error": text, "error_description": text, "error_uri": text, text: text}
    googles = {
        "error": {"message": text, "status": text, "details": [{"reason": text, "metadata": {text: text}}]}
    }
    try:
        for status, body in (
            (400, json.dumps(refused).encode()),
            (403, json.dumps(googles).encode()),
            (200, json.dumps({"id_token": token_with(text), "access_token": text}).encode()),
            (200, json.dumps({"id_token": text}).encode()),
            (502, octets(text)),
        ):
            head = b"HTTP/1.1 %d No\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
            stranger.answer = head % (status, len(body)) + body
            json.loads(told(capsys, "doctor", "-c", config, "--json"))
            told(capsys, "token", "-c", config, "--route", "shop", "--claims")
        assert stranger.asked >= 10
    finally:
        del os.environ["GOOGLE_APPLICATION_CREDENTIALS"]


@given(text=TEXTS)
@few(8)
def test_of_whoever_answers_in_the_admin_listener_s_place(
    capsys: pytest.CaptureFixture[str], stranger: Said, text: str
) -> None:
    for body in (
        octets(text),
        json.dumps({"state": text, "routes": [{"name": text, "error": {"detail": text}}]}).encode(),
    ):
        for head in (
            b"HTTP/1.1 503 No\r\nContent-Length: %d\r\n\r\n" % len(body),
            b"HTTP/1.1 200 OK\r\n\r\n",
            b"",
        ):
            stranger.answer = head + body
            told(capsys, "probe", "readiness", "--admin", f"127.0.0.1:{stranger.port}")
    told(capsys, "wait", "--max", "1ms", "--admin", f"127.0.0.1:{stranger.port}")


@given(text=TEXTS)
@few(25)
def test_of_files_variables_and_arguments(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, text: str
) -> None:
    config, key = tmp_path / "proxy.yaml", tmp_path / "key.json"
    for content in (
        octets(text),
        octets(
            f"routes: [{{name: {json.dumps(text)}, upstream: {json.dumps(text)}}}]\n{json.dumps(text)}: 1\n"
        ),
        b"routes: [{name: a, upstream: 'https://a.example', audience: %b, identity: {type: service_account, key_file: key.json}}]"
        % octets(json.dumps(text)),
    ):
        config.write_bytes(content)
        for written in (octets(text), json.dumps({"type": text, text: text}).encode()):
            key.write_bytes(written)
            key.chmod(0o600)
            told(capsys, "check", "-c", config)
    for argv in (
        ("check", "-c", text),
        ("probe", text),
        ("wait", "--admin", text),
        ("wait", "--max", text),
        ("token", "--audience", text, "--route", text),
        ("serve", "--upstream", text, "--listen", text),
        ("serve", f"--{text}"),
        (text,),
    ):
        told(capsys, *argv)
    value = os.fsencode(text.replace("\0", "").encode("utf-8", "replace").decode())
    for name in (
        "IDTOKEN_PROXY_LISTEN",
        "IDTOKEN_PROXY_CONFIG",
        "IDTOKEN_PROXY_LOG_LEVEL",
        "IDTOKEN_PROXY_ADMIN",
    ):
        os.environb[name.encode()] = value
        try:
            told(capsys, "check")
            told(capsys, "probe", "readiness", "--admin", "127.0.0.1:x")
        finally:
            del os.environb[name.encode()]


ALL: Final = "".join(WORDS).replace("\r", "").replace("\n", "")


async def asked(port: int, request: bytes) -> tuple[bytes, str]:
    """(the head, the body) of the answer; the connection is closed behind it."""
    wire = await connect(port)
    wire.send(request)
    head, _, body = (await wire.to_end()).partition(b"\r\n\r\n")
    wire.close()
    return head, body.decode("utf-8")


async def test_of_a_running_proxy_s_pages_answers_and_log(tmp_path: Path) -> None:
    """What apps, receivers and tokens say: in problem documents, on the status page, in metrics, in the log."""
    line = octets(ALL).replace(b"\0", b"")

    async def script(wire: Wire) -> None:
        await wire.until(b"\r\n\r\n")
        wire.send(b"HTTP/1.1 200 %b\r\nX-Odd: %b\r\n\r\n" % (line, line))
        wire.close()

    (tmp_path / "named").write_text(token_with(ALL))
    async with Receiver(script) as receiver:
        upstream = f"http://127.0.0.1:{receiver.port}"
        routes = [
            {
                "name": "named",
                "match": {"path": "/named"},
                "upstream": upstream,
                "audience": AUDIENCE,
                "identity": {"type": "file", "path": str(tmp_path / "named")},
            }
        ]
        async with serving(tmp_path, receiver.port, routes=routes, timeouts={"drain": "100ms"}) as process:
            for path in (b"/named", b"/nowhere/" + line, b"/named?" + line):
                for fields in (
                    b"User-Agent: " + line,
                    b"Origin: " + line,
                    b"X-Request-Id: " + line,
                    line + b": x",
                ):
                    said = b"GET %b HTTP/1.1\r\nHost: localhost\r\n%b\r\nConnection: close\r\n\r\n" % (
                        path,
                        fields,
                    )
                    head, body = await asked(process.port, said)
                    assert OBEYED.search(body) is None
                    if b"application/problem+json" in head:
                        json.loads(body)
            await asked(process.port, b"GET / HTTP/1.1\r\nHost: %b\r\n\r\n" % line)
            for path in (b"/api/status", b"/metrics", b"/", b"/" + line.replace(b" ", b"")):
                ask = b"GET %b HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n" % path
                head, body = await asked(process.admin, ask)
                assert OBEYED.search(body) is None
                assert b"text/html" not in head or '<script>"' not in body  # as it stands in WORDS
        lines = process.said.decode().splitlines()
        assert len(lines) > 10
        for one in lines:
            json.loads(one)
            assert OBEYED.search(one) is None


@pytest.mark.parametrize("written", [token_with(ALL)[:-4], ALL, token_with(ALL).replace(".c2ln", ".\x1b[2J")])
async def test_of_a_token_that_cannot_be_had(
    receive: Receive, start: Start, tmp_path: Path, written: str
) -> None:
    (tmp_path / "odd").write_bytes(octets(written))
    proxied = await start(
        await receive(answering(ok())), route={"identity": FileIdentity(str(tmp_path / "odd"))}
    )
    answer = await proxied.ask(get("/"))
    assert answer.status == 503
    assert OBEYED.search(answer.raw.decode().replace("\r", "") + answer.body.decode()) is None
