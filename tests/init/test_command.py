"""`init` as a shell sees it; and against the local Google: what it writes is checked, and doctor finds nothing but what it said."""

from __future__ import annotations

import asyncio
import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from idtoken_proxy.admin.doctor import examine
from idtoken_proxy.emulator import DEMO, Emulator, Service, World
from idtoken_proxy.emulator.world import ANYONE, Iap
from idtoken_proxy.errors import ConfigError
from idtoken_proxy.init import command
from idtoken_proxy.init.command import InitOptions
from idtoken_proxy.settings.load import load_settings
from idtoken_proxy.settings.model import GoogleEndpoints
from tests.init.recorded import FUNCTIONS, SERVICES
from tests.test_cli import run

CALLER = DEMO.accounts[0].email
LETS_IN = frozenset({f"serviceAccount:{CALLER}"})
PROJECT = World(
    "demo-project",
    DEMO.accounts,
    (
        Service("orders", LETS_IN, audiences=("https://orders.example.com", "orders")),
        Service("next", LETS_IN, audiences=("https://orders.example.com", "orders")),
        Service("admin", LETS_IN, iap=Iap()),
        Service("ledger", LETS_IN),
        Service("website", frozenset({ANYONE})),
        Service("tally", LETS_IN),
        Service("resize_Image", LETS_IN, is_function=True),
    ),
)
_URLS = {
    "https://next---orders-x7f3kq-uc.a.run.app": "next",
    "https://us-central1-my-project.cloudfunctions.net/resize_Image": "resize_Image",
} | {
    f"https://{name}-x7f3kq-uc.a.run.app": name for name in ("orders", "admin", "ledger", "website", "tally")
}


@pytest.fixture(autouse=True)
def _nothing_of_the_machines_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in os.environ:
        if name.startswith(("IDTOKEN_", "GOOGLE_", "CLOUDSDK_", "GCE_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("GCE_METADATA_HOST", "127.0.0.1:1")
    monkeypatch.chdir(tmp_path)


def recorded_at(emulator: Emulator, recorded: Path, to: Path) -> str:
    text = recorded.read_text()
    for url, name in _URLS.items():
        text = text.replace(url, emulator.urls[name])
    to.write_text(text)
    return str(to)


async def test_a_project_s_configuration_is_checked_and_examined(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    async with Emulator(PROJECT) as emulator:
        environ = {"HOME": str(tmp_path), "PATH": "", "GCE_METADATA_HOST": emulator.metadata_host}
        files = (
            recorded_at(emulator, SERVICES, tmp_path / "services.json"),
            recorded_at(emulator, FUNCTIONS, tmp_path / "functions.json"),
        )
        assert await asyncio.to_thread(command.run, InitOptions(files, "proxy.yaml"), environ) == 0
        out = capsys.readouterr().out
        google = GoogleEndpoints(iam_endpoint=emulator.iam_endpoint)
        settings = replace(load_settings("proxy.yaml", environ), google=google)
        report = await examine(settings, environ)
    assert [(route.name, route.audience) for route in settings.routes] == [
        ("orders", "https://orders.example.com"),
        ("orders-next", "https://orders.example.com"),
        ("admin", f"{emulator.urls['admin']}/*"),
        ("ledger", emulator.urls["ledger"]),
        ("website", None),
        ("resize_Image", emulator.urls["resize_Image"]),
        ("tally", emulator.urls["tally"]),
    ]
    # The one thing that needs a right more, over the account itself, which init has said.
    assert {one.name: [f.cause for f in one.findings] for one in report.routes if one.findings} == {
        "admin": ["iam_permission_denied"]
    }
    assert "ingress is internal" in out
    assert "it has no URL: an event starts it" in out
    assert "roles/iam.serviceAccountTokenCreator" in out
    assert out.splitlines()[-1] == "idtoken-proxy doctor -c proxy.yaml && idtoken-proxy serve -c proxy.yaml"


def test_what_it_writes_passes_check(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    argv: list[str | Path] = [
        "init",
        "--from",
        SERVICES,
        "--from",
        FUNCTIONS,
        "--service-account",
        "a@p.iam.gserviceaccount.com",
    ]
    code, out, err = run(capsys, *argv, "-o", "mine.yaml")
    assert (code, err) == (0, "")
    assert "no token yet" in out
    code, out, err = run(capsys, "check", "-c", "mine.yaml")
    assert (code, err) == (0, "")
    assert out.splitlines()[-1] == "OK: 7 routes"
    code, out, err = run(capsys, *argv, "-o", "-")
    assert code == 0
    assert out == Path("mine.yaml").read_text()
    assert "Next:" in err


def test_it_never_writes_over_a_file(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    Path("proxy.yaml").symlink_to("elsewhere")  # a link that leads nowhere yet is one, too
    code, out, err = run(capsys, "init", "--from", SERVICES)
    assert (code, out) == (2, "")
    assert "proxy.yaml: is there already, and is never overwritten" in err
    with pytest.raises(ConfigError, match="is there already"):
        command._write("proxy.yaml", "x")
    assert not Path("elsewhere").exists()
    assert run(capsys, "init", "--from", SERVICES, "-o", "gone/x")[0] == 2


@pytest.mark.parametrize(
    ("argv", "code", "said"),
    [
        (["--from", "gone.json"], 2, "gone.json: cannot be read"),
        (["--from", "bad\x1b.json"], 2, "--from: holds control characters"),
        (["--project", "my-project", "--from", "y"], 2, "--project is for gcloud"),
        (["--project", "no project"], 2, "--project is no project's ID"),
        (["--service-account", "me"], 2, "--service-account must be an email"),
        ([], 1, "there is no gcloud on PATH, and no file was passed"),
    ],
)
def test_refusals_say_what_to_pass(
    capsys: pytest.CaptureFixture[str], argv: list[str], code: int, said: str
) -> None:
    found, out, err = run(capsys, "init", *argv)
    assert (found, out) == (code, "")
    assert said in err
    assert "\x1b" not in err
    assert not Path("proxy.yaml").exists()


def test_where_nothing_can_be_a_route_there_is_no_file(capsys: pytest.CaptureFixture[str]) -> None:
    iap = [one for one in json.loads(SERVICES.read_text()) if one["metadata"]["name"] == "admin"]
    Path("iap.json").write_text(json.dumps(iap))
    Path("none.json").write_text("[]")
    code, _, err = run(capsys, "init", "--from", "iap.json")
    assert code == 1
    assert "--service-account EMAIL" in err
    code, _, err = run(capsys, "init", "--from", "none.json")
    assert code == 1
    assert "there is no service and no function in none.json" in err
    assert not Path("proxy.yaml").exists()


def test_gcloud_is_asked_where_it_is_there(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    gcloud = tmp_path / "gcloud"
    gcloud.write_text(f"#!/bin/sh\n[ $1 = run ] && exec /bin/cat {SERVICES}\nexit 1\n")
    gcloud.chmod(0o755)
    code, out, err = run(capsys, "init", "--service-account", "a@p.iam.gserviceaccount.com")
    assert code == 0
    assert "proxy.yaml: 5 routes" in out
    assert "gcloud functions list --format=json: exit code 1" in err


def test_on_a_terminal_it_asks(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    lines = ["https://orders-x7f3kq-uc.a.run.app\n", "\n", "\n"]

    class Terminal:
        def isatty(self) -> bool:
            return True

        def readline(self, _limit: int) -> str:
            return lines.pop(0) if lines else ""

    monkeypatch.setattr("sys.stdin", Terminal())
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    code, out, err = run(capsys, "init")
    assert code == 0
    assert "1/3" in err
    assert "orders: http://localhost:8080/ -> https://orders-x7f3kq-uc.a.run.app" in out
    code, _, err = run(capsys, "init", "-o", "other.yaml")
    assert code == 1
    assert "the questions were not answered" in err
