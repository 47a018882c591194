"""`doctor` and `token` as a shell sees them."""

from __future__ import annotations

import json
import os
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from tests.engine.proxied import AUDIENCE, make_token
from tests.test_cli import run

OWN = ("IDTOKEN_", "GOOGLE_", "CLOUDSDK_", "GCE_")


@pytest.fixture(autouse=True)
def _nothing_of_the_machines_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in os.environ:
        if name.startswith(OWN):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("GCE_METADATA_HOST", "127.0.0.1:1")
    monkeypatch.chdir(tmp_path)


class Hello(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *_: object) -> None:  # noqa: A002 -- its name
        """Nothing."""


@pytest.fixture
def receiver() -> Iterator[str]:
    with HTTPServer(("127.0.0.1", 0), Hello) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture
def config(tmp_path: Path, receiver: str) -> Path:
    (tmp_path / "token").write_text(make_token())
    (tmp_path / "token").chmod(0o600)
    file = tmp_path / "proxy.yaml"
    file.write_text(
        f"identity: {{type: file, path: token}}\n"
        f"routes:\n"
        f"  - {{name: shop, match: {{path: /shop}}, upstream: '{receiver}', audience: '{AUDIENCE}'}}\n"
        f"  - {{name: public, upstream: '{receiver}', identity: none}}\n"
    )
    return file


# -- doctor --------------------------------------------------------------------


def test_doctor_tells_that_all_is_well(capsys: pytest.CaptureFixture[str], config: Path) -> None:
    code, out, err = run(capsys, "doctor", "-c", config)
    assert (code, err) == (0, "")
    assert out.splitlines()[-1] == "OK: 2 routes"
    assert "\x1b" not in out
    assert make_token().split(".")[0] not in out


def test_doctor_tells_what_is_wrong_and_fails(
    capsys: pytest.CaptureFixture[str], config: Path, tmp_path: Path
) -> None:
    (tmp_path / "token").unlink()
    code, out, err = run(capsys, "doctor", "-c", config)
    assert (code, err) == (1, "")
    assert "fail: shop: file_missing" in out
    assert out.splitlines()[-1] == "1 of 2 routes needs mending"


def test_doctor_for_programs(capsys: pytest.CaptureFixture[str], config: Path) -> None:
    code, out, _ = run(capsys, "doctor", "-c", config, "--json")
    assert code == 0
    assert [route["name"] for route in json.loads(out)["routes"]] == ["shop", "public"]


def test_doctor_of_one_receiver(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        code, out, _ = run(capsys, "doctor", "--upstream", url, "--audience", "https://a.example")
    assert code == 1
    assert "fail: default: metadata_unreachable" in out
    assert "audience: https://a.example" in out


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (
            ["doctor", "--upstream", "https://a.run.app", "-c", "x.yaml"],
            "--upstream makes a configuration of its own",
        ),
        (["doctor", "--audience", "a"], "--audience goes with --upstream"),
        (["doctor", "-c", "gone.yaml"], "gone.yaml: cannot be read"),
        (["doctor"], "no configuration found"),
        (["token"], "name an audience with --audience"),
        (["token", "--route", "shop"], 'there is no route "shop"'),
        (["token", "--audience", "a", "-c", "gone.yaml"], "gone.yaml: cannot be read"),
    ],
)
def test_bad_usage_is_exit_code_2(capsys: pytest.CaptureFixture[str], argv: list[str], said: str) -> None:
    code, out, err = run(capsys, *argv)
    assert (code, out) == (2, "")
    assert said in err


# -- token ---------------------------------------------------------------------


def test_token_prints_one_and_nothing_else(
    capsys: pytest.CaptureFixture[str], config: Path, tmp_path: Path
) -> None:
    value = (tmp_path / "token").read_text()
    for argv in (["--audience", AUDIENCE], ["--route", "shop"]):
        assert run(capsys, "token", "-c", config, *argv) == (0, f"{value}\n", "")


def test_token_can_keep_the_token_back(
    capsys: pytest.CaptureFixture[str], config: Path, tmp_path: Path
) -> None:
    code, out, _ = run(capsys, "token", "-c", config, "--audience", AUDIENCE, "--claims")
    assert code == 0
    claims = json.loads(out)
    assert (claims["aud"], claims["email"]) == (AUDIENCE, "caller@example.com")
    assert (tmp_path / "token").read_text().split(".")[2] not in out


def test_token_for_another_audience_says_so(capsys: pytest.CaptureFixture[str], config: Path) -> None:
    code, out, err = run(capsys, "token", "-c", config, "--route", "shop", "--audience", "https://x")
    assert (code, err) == (0, f"The token is for '{AUDIENCE}', not for https://x\n")
    assert out.count("\n") == 1


def test_token_takes_the_default_configuration(
    capsys: pytest.CaptureFixture[str], config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IDTOKEN_PROXY_CONFIG", str(config))
    assert run(capsys, "token", "--route", "shop")[0] == 0


def test_token_without_a_configuration_is_whoever_is_found(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, "token", "--audience", "https://x")
    assert (code, out) == (1, "")
    assert err.startswith("No ID token: no credentials found: GOOGLE_APPLICATION_CREDENTIALS is not set")


@pytest.mark.parametrize("command", ["doctor", "token"])
def test_help_teaches_by_example(capsys: pytest.CaptureFixture[str], command: str) -> None:
    code, out, _ = run(capsys, command, "--help")
    assert code == 0
    assert f"idtoken-proxy {command} " in out
    if command == "token":
        assert "Nothing else ever prints one" in " ".join(out.split())
