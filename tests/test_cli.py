"""The commands as a shell sees them: what they print where, and their exit codes."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import click
import pytest

from idtoken_proxy import __version__
from idtoken_proxy.build import BUILD
from idtoken_proxy.cli import commands, main
from idtoken_proxy.emulator import BREAKS
from idtoken_proxy.errors import ConfigError, Problem, ProxyError
from idtoken_proxy.identity.error_causes import HOST
from idtoken_proxy.server import Server
from idtoken_proxy.settings.load import load_settings
from tests.cases import and_thoroughly, for_each

GOOD = """\
routes:
  - name: profiles
    match: {path: /profiles, host: api.localhost}
    upstream: https://user-profiles-x7f3kq-uc.a.run.app
    identity: {type: service_account, key_file: key.json}
  - name: weather
    upstream: https://api.weather.gov
    identity: none
"""


def run(capsys: pytest.CaptureFixture[str], *argv: str | Path) -> tuple[int, str, str]:
    """Exit code, standard output, standard error."""
    with pytest.raises(SystemExit) as ended:
        main([str(part) for part in argv])
    captured = capsys.readouterr()
    assert isinstance(ended.value.code, int)
    return ended.value.code, captured.out, captured.err


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.startswith("IDTOKEN_PROXY_"):
            monkeypatch.delenv(name)


@pytest.fixture
def good(tmp_path: Path) -> Path:
    file = tmp_path / "proxy.yaml"
    file.write_text(GOOD)
    (tmp_path / "key.json").write_text("{}")
    (tmp_path / "key.json").chmod(0o600)
    return file


# -- check --------------------------------------------------------------------


@pytest.mark.parametrize("command", ["check", "doctor"])
def test_a_secret_that_others_may_read_is_warned_of(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, command: str
) -> None:
    file, secret = tmp_path / "proxy.yaml", tmp_path / "secret"
    secret.write_text("x" * 20)
    secret.chmod(0o644)
    file.write_text(
        "routes: [{name: a, upstream: 'http://127.0.0.1:9', identity: none}]\nguard: {caller_token_file: secret}\n"
    )
    _, _, err = run(capsys, command, "-c", file)
    assert err.startswith(f"warning: {file}:2: guard.caller_token_file: {secret} may be read by every user")


def test_check_prints_one_line_a_route(capsys: pytest.CaptureFixture[str], good: Path) -> None:
    code, out, err = run(capsys, "check", "-c", good)
    assert (code, err) == (0, "")
    assert out.splitlines() == [
        (
            "profiles: api.localhost/profiles -> https://user-profiles-x7f3kq-uc.a.run.app, audience "
            "https://user-profiles-x7f3kq-uc.a.run.app, identity service_account"
        ),
        "weather: / -> https://api.weather.gov, audience none, identity none",
        "OK: 2 routes",
    ]


def test_check_takes_what_serve_takes_in_place_of_a_file(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "check", "--upstream", "https://tag---svc-x7f3kq2abc-uc.a.run.app")
    assert code == 0
    assert out.endswith("audience https://svc-x7f3kq2abc-uc.a.run.app, identity auto\nOK: 1 route\n")
    code, _, err = run(capsys, "check", "--upstream", "svc-x7f3kq2abc-uc.a.run.app")
    assert code == 2
    assert "write https://svc-x7f3kq2abc-uc.a.run.app" in err


def test_check_counts_one_route_as_one(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    file = tmp_path / "proxy.yaml"
    file.write_text("routes: [{name: a, upstream: 'https://a.a.run.app'}]")
    assert run(capsys, "check", "-c", file)[1].splitlines()[-1] == "OK: 1 route"


def test_check_warns_of_what_is_no_mistake(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    file = tmp_path / "proxy.yaml"
    tagged = "https://canary---a-x7f3kq-uc.a.run.app"
    file.write_text(f"routes:\n- name: a\n  upstream: {tagged}\n  audience: {tagged}\n")
    code, out, err = run(capsys, "check", "-c", file)
    assert (code, out.splitlines()[-1]) == (0, "OK: 1 route")
    assert err == (
        f"warning: {file}:4: routes[0].audience: {tagged} is a traffic tag's URL, for which Cloud Run takes no token; write "
        "https://a-x7f3kq-uc.a.run.app, the service's own, or leave it out\n"
    )


def test_check_prints_every_mistake_to_standard_error(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    file = tmp_path / "proxy.yaml"
    file.write_text("lisen: localhost:1\nroutes:\n  - name: a\n    upstrem: https://a.a.run.app\n")
    assert run(capsys, "check", "-c", file) == (
        2,
        "",
        (
            f'{file}:1: lisen: unknown key; did you mean "listen"?\n'
            f'{file}:4: routes[0].upstrem: unknown key; did you mean "upstream"?\n'
        ),
    )


def test_the_variable_names_the_default_configuration(
    capsys: pytest.CaptureFixture[str], good: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IDTOKEN_PROXY_CONFIG", str(good))
    assert run(capsys, "check")[0] == 0


def test_without_any_configuration_it_says_what_was_tried(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for command, instead in (
        (("check",), "or one receiver with --upstream URL"),
        (("serve",), "or one receiver with --upstream URL"),
        (("doctor",), "or one receiver with --upstream URL"),
        (("run", "--", "true"), "or one receiver with --upstream URL"),
    ):
        assert run(capsys, *command)[2].rstrip().endswith(instead)
    code, out, err = run(capsys, "check")
    assert (code, out) == (2, "")
    assert "there is no config/proxy.yaml and no proxy.yaml and no /etc/idtoken-proxy/proxy.yaml" in err


# -- usage --------------------------------------------------------------------


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, "--version") == (0, f"idtoken-proxy, version {__version__} ({BUILD})\n", "")


def test_help_teaches_by_example(capsys: pytest.CaptureFixture[str]) -> None:
    for command in ([], *([name] for name in commands.commands)):
        code, out, _ = run(capsys, *command, "--help")
        assert code == 0
        assert f"idtoken-proxy {' '.join(command)}".rstrip() in out


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (
            ["serve", "--upstream", "https://a.run.app", "-c", "x.yaml"],
            "--upstream makes a configuration of its own",
        ),
        (["serve", "--audience", "a"], "goes with --upstream; with a file, say it there"),
        (["serve", "--listen", "localhost:1"], "goes with --upstream; with a file, say it there"),
        (
            ["run", "--upstream", "https://a.run.app", "-c", "x.yaml", "true"],
            "--upstream makes a configuration",
        ),
        (["run", "--listen", "localhost:1", "true"], "goes with --upstream; with a file, say it there"),
        (["run", "--http-prxy", "true"], "No such option"),
        (["run"], "Missing argument 'COMMAND"),
        (["run", "--max", "soon", "true"], "must be a time such as 5s"),
        (["wait", "--max", "0"], "must be longer than 0"),
        (["wait", "--admin", "9090"], "--admin: says no host; write localhost:9090"),
        (["probe", "readyness"], "'readyness' is not one of"),
        (["probe", "liveness", "--admin", "off"], "there is nobody to ask"),
        ([], "Usage: idtoken-proxy"),
        (["serv"], "No such command"),
        (["emulate", "--port", "65536"], "65536"),
        (["emulate", "--host", "0.0.0.0"], "--host 0.0.0.0 is no loopback address"),
        (["emulate", "--host", "::"], "or add --allow-remote"),
        (["emulate", "--host", ""], "is no loopback address"),
        (["emulate", "--host", "10.0.0.1", "--port", "0"], "write --host 127.0.0.1"),
        (["check", "--nope"], "No such option"),
        (
            ["demo", "--break", "everything"],
            "Invalid value for '--break': 'everything' is none of hang, slow,",
        ),
        (["emulate", "--break", "Outage"], "Invalid value for '--break': 'Outage' is none of hang, slow,"),
        (["demo", "--break"], "Option '--break' requires an argument"),
    ],
)
def test_bad_usage_is_exit_code_2(capsys: pytest.CaptureFixture[str], argv: list[str], said: str) -> None:
    code, out, err = run(capsys, *argv)
    assert (code, out) == (2, "")
    assert said in err


def test_a_mistaken_option_is_told_like_a_mistaken_key(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, "serve", "--upstream", "http://10.0.0.1", "--listen", ":80") == (
        2,
        "",
        (
            "--upstream: would send tokens in the clear; write https://10.0.0.1, as http is for loopback alone\n"
            "--listen: says no host; write localhost:80\n"
        ),
    )


def test_schema_prints_json(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "schema")
    assert code == 0
    assert "routes" in json.loads(out)["properties"]
    code, out, _ = run(capsys, "schema", "--world")
    assert code == 0
    assert "services" in json.loads(out)["properties"]


@pytest.mark.parametrize("command", ["demo", "emulate"])
def test_what_can_be_broken_is_told_with_the_option(capsys: pytest.CaptureFixture[str], command: str) -> None:
    code, out, _ = run(capsys, command, "--help")
    assert code == 0
    told = " ".join(out.split())
    assert "--break KIND" in told
    for kind, says in BREAKS.items():
        assert f" {kind} {says}" in told


@for_each("argv", [["--help"], ["serve", "--help"], ["check", "--help"], ["doctor", "--help"]])
def test_commands_load_only_what_they_need(argv: list[str]) -> None:
    probe = (
        "import sys; from idtoken_proxy.cli import main\n"
        f"try: main({argv})\nexcept SystemExit: pass\n"
        "print(sorted({'yaml', 'aiohttp', 'uvloop', 'structlog', 'google.auth'} & set(sys.modules)),"
        " file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    assert done.stderr == "[]\n"


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (ProxyError("it broke"), 1, "Internal error: it broke\n"),
        (ProxyError("it broke", remedy="mend it"), 1, "Internal error: it broke\n  mend it\n"),
        (
            ConfigError((Problem("a.yaml", 1, "b", "wrong"), Problem("a.yaml", 2, "c", "too"))),
            2,
            "a.yaml:1: b: wrong\na.yaml:2: c: too\n",
        ),
        (click.Abort(), 130, ""),
    ],
)
def test_a_failure_is_told_without_a_traceback(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
    code: int,
    said: str,
) -> None:
    def fail() -> None:
        raise error

    monkeypatch.setitem(commands.commands, "fail", click.Command("fail", callback=fail))
    assert run(capsys, "fail") == (code, "", said)


def test_the_script_and_the_module_are_the_same() -> None:
    script = str(Path(sys.executable).with_name("idtoken-proxy"))
    for command in ([sys.executable, "-m", "idtoken_proxy"], [script]):
        done = subprocess.run([*command, "--version"], capture_output=True, text=True, check=True)
        assert done.stdout == f"idtoken-proxy, version {__version__} ({BUILD})\n"


# -- running ------------------------------------------------------------------


@contextlib.contextmanager
def process(*argv: str, **environ: str) -> Iterator[subprocess.Popen[str]]:
    variables = {key: value for key, value in os.environ.items() if not key.startswith("IDTOKEN_PROXY_")}
    with subprocess.Popen(
        [sys.executable, "-m", "idtoken_proxy", *argv],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=variables | {"PYTHONUNBUFFERED": "1"} | environ,
    ) as started:
        try:
            yield started
        finally:
            started.kill()


@pytest.mark.parametrize("signum", and_thoroughly(signal.SIGTERM, signal.SIGINT))
def test_serve_runs_until_it_is_told_to_stop(signum: signal.Signals, tmp_path: Path) -> None:
    file = tmp_path / "proxy.yaml"
    file.write_text(
        "listen: 127.0.0.1:0\nadmin: off\nlog: {format: json}\n"
        "routes: [{name: a, upstream: 'http://localhost:1', identity: none}]\n"
    )
    with process("serve", "-c", str(file)) as proxy:
        assert proxy.stderr is not None
        listening, ready = json.loads(proxy.stderr.readline()), json.loads(proxy.stderr.readline())
        assert listening["message"] == "listening"
        assert listening["address"].startswith("http://127.0.0.1:")
        assert ready["message"] == "ready"
        with contextlib.closing(http.client.HTTPConnection(listening["address"][7:], timeout=20)) as client:
            client.request("GET", "/")
            assert client.getresponse().status == 502  # nothing listens at port 1
        proxy.send_signal(signum)
        assert proxy.wait(20) == 0


def test_serve_without_a_file_and_without_credentials_says_what_lacks_until_it_is_told_to_stop(
    tmp_path: Path,
) -> None:
    nothing = {"HOME": str(tmp_path), "CLOUDSDK_CONFIG": "", "GOOGLE_APPLICATION_CREDENTIALS": ""}
    own = {"IDTOKEN_PROXY_ADMIN": "off", "IDTOKEN_PROXY_LOG_FORMAT": "json"}
    argv = ("serve", "--upstream", "http://localhost:1", "--listen", "127.0.0.1:0")
    with process(*argv, **nothing, **own, GCE_METADATA_HOST="127.0.0.1:1") as proxy:
        assert proxy.stderr is not None
        said = map(json.loads, iter(proxy.stderr.readline, ""))
        address = next(line["address"] for line in said if line["message"] == "listening")
        with contextlib.closing(http.client.HTTPConnection(address[7:], timeout=20)) as client:
            client.request("GET", "/")
            answer = client.getresponse()
            assert answer.status == 503
            remedy = json.load(answer)["remedy"]
            assert remedy.startswith(
                f"On {HOST}: unset GCE_METADATA_HOST, or name a metadata server in it; or "
            )
            assert "; or gcloud auth application-default login; or " in remedy
        proxy.send_signal(signal.SIGTERM)
        assert "Traceback" not in proxy.stderr.read()
        assert proxy.wait(20) == 0


def test_a_taken_port_is_exit_code_1_with_the_cause_and_no_traceback() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        argv = ("serve", "--upstream", "http://localhost:1", "--listen", address)
        with process(*argv, IDTOKEN_PROXY_ADMIN="off") as proxy:
            out, err = proxy.communicate(timeout=20)
    assert (proxy.returncode, out) == (1, "")
    assert f"Cannot listen: {address}: Address already in use\n" in err
    assert "choose another address" in err
    assert "Traceback" not in err


def test_emulate_and_demo_are_whole_unless_they_are_to_break(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What they say and do then, tests/emulator/test_command.py and tests/test_demo.py have."""
    asked: list[tuple[object, ...]] = []

    def ran(*args: object) -> int:
        asked.append(args)
        return 0

    monkeypatch.setattr("idtoken_proxy.emulator.command.run_emulator", ran)
    monkeypatch.setattr("idtoken_proxy.demo.run", ran)
    assert run(capsys, "emulate", "--port", "0")[0] == 0
    assert run(capsys, "demo")[0] == 0
    assert asked == [(None, None, 0, None, ()), (None,)]


def test_emulate_breaks_on_demand() -> None:
    with process("emulate", "--port", "0", "--break", "outage") as emulator:
        assert emulator.stdout is not None
        assert emulator.stdout.readline() == f"# Broken on purpose (outage): {BREAKS['outage']}.\n"
        said = first = ""
        while not said.startswith("export GCE_METADATA_HOST="):
            said = emulator.stdout.readline()
            first = first or said
        assert "local Google" in first
        with contextlib.closing(
            http.client.HTTPConnection(said.strip().partition("=")[2], timeout=20)
        ) as client:
            client.request("GET", "/", headers={"Metadata-Flavor": "Google"})
            assert client.getresponse().status == 503
        emulator.send_signal(signal.SIGTERM)
        assert emulator.wait(20) == 0


def test_demo_breaks_on_demand() -> None:
    with process("demo", "--break", "login-expired") as demo:
        assert demo.stdout is not None
        said = ""
        while not said.startswith("curl -i "):
            said = demo.stdout.readline()
        url = urlsplit(said.split()[-1])
        with contextlib.closing(http.client.HTTPConnection(url.netloc, timeout=20)) as client:
            client.request("GET", url.path)
            answer = client.getresponse()
            assert (answer.status, answer.headers["Content-Type"]) == (503, "application/problem+json")
            assert json.load(answer)["remedy"].startswith(
                f"On {HOST}: gcloud auth application-default login, and unset GOOGLE_"
            )
        demo.send_signal(signal.SIGTERM)
        assert demo.wait(20) == 0


@pytest.mark.parametrize(
    "argv",
    [
        ("ya29.SENTINELabcdef",),
        ("probe", "ya29.SENTINELabcdef"),
        ("check", "ya29.SENTINELabcdef"),
        ("wait", "--max", '{"private_key": "SENTINEL"}'),
        ("emulate", "--port=ya29.SENTINELabcdef"),
        ("demo", "--break", "ya29.SENTINELabcdef"),
        ("token", "--audience", "ya29.SENTINELabcdef"),
        ("serve", "--upstream", "https://me:SENTINEL@a.run.app"),
        ("check", "-c", '{"private_key": "SENTINEL"}'),
    ],
)
def test_an_argument_that_looks_like_a_secret_is_not_repeated(
    capsys: pytest.CaptureFixture[str], argv: tuple[str, ...]
) -> None:
    code, out, err = run(capsys, *argv)
    assert code == 2
    assert err
    assert "SENTINEL" not in out + err


def test_an_empty_audience_is_bad_usage(capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = run(capsys, "token", "--audience", "")
    assert code == 2
    assert "--audience must be printable ASCII" in err


_IAP = "1-a.apps.googleusercontent.com"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (
            "identity: {type: service_account, key_file: missing.json}\n",
            "identity.key_file: {}/missing.json cannot be read",
        ),
        ("identity: {type: external_account, config_file: missing.json}\n", "identity.config_file: "),
        (
            "identity: {type: signed_jwt, service_account: a@b.iam.gserviceaccount.com, key_file: missing.json}\n",
            "identity.key_file: ",
        ),
        (
            (
                "identity: {type: impersonated, service_account: a@b.iam.gserviceaccount.com, "
                "source: {type: service_account, key_file: directory}}\n"
            ),
            "identity.source.key_file: {}/directory cannot be read: Is a directory",
        ),
        (
            "guard: {caller_token_file: short}\n",
            "guard.caller_token_file: {}/short must hold one line of at least 16",
        ),
        ("guard: {caller_token_file: missing}\n", "guard.caller_token_file: {}/missing cannot be read"),
        ("tls: {ca_file: short}\n", "tls.ca_file: {}/short holds no certificate"),
        ("identity: user\n", 'route "a": '),
        ("listen: 127.0.0.1:1\nadmin: localhost:1\n", "admin: localhost:1 is already taken"),
    ],
)
def test_check_refuses_what_serve_refuses_in_the_same_words(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, told: str
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("GOOGLE_APPLICATION_CREDENTIALS", raising=False)
    (tmp_path / "short").write_text("secret")
    (tmp_path / "directory").mkdir()
    audience = _IAP if "user" in text else "https://a.a.run.app"
    written = tmp_path / "proxy.yaml"
    written.write_text(
        f"{text}routes: [{{name: a, upstream: 'https://a.a.run.app', audience: '{audience}'}}]\n"
    )
    code, _, said = run(capsys, "check", "-c", written)
    assert code == 2
    assert told.format(tmp_path) in said

    async def start() -> None:
        server = Server(load_settings(str(written), os.environ), os.environ)
        await server.start()
        await server.stop(drain=0)

    with pytest.raises(ConfigError) as refused:
        asyncio.run(start())
    assert said == refused.value.detail + "\n"


def test_a_configuration_comes_from_standard_input_too(tmp_path: Path) -> None:
    """Its relative paths are the working directory's."""
    (tmp_path / "ca.pem").write_text("no certificate\n")
    command = [sys.executable, "-m", "idtoken_proxy", "check", "-c", "-"]
    good = "routes: [{name: a, upstream: 'https://a.a.run.app'}]\n"
    told = subprocess.run(command, input=good, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert (told.returncode, told.stdout.splitlines()[-1]) == (0, "OK: 1 route")
    bad = good + "tls: {ca_file: nope.pem}\n"
    told = subprocess.run(command, input=bad, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert told.returncode == 2
    assert told.stderr.startswith("standard input:2: tls.ca_file: nope.pem cannot be read")


@for_each(
    ("words", "offered"),
    [
        ("idtoken-proxy em", ["plain,emulate"]),
        ("idtoken-proxy serve -c ", ["file,"]),
        ("idtoken-proxy probe re", ["plain,readiness"]),
    ],
)
def test_a_shell_completes_commands_kinds_and_files(words: str, offered: list[str]) -> None:
    told = subprocess.run(
        [str(Path(sys.executable).with_name("idtoken-proxy"))],
        env={
            **os.environ,
            "_IDTOKEN_PROXY_COMPLETE": "bash_complete",
            "COMP_WORDS": words,
            "COMP_CWORD": str(len(words.split(" ")) - 1),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert sorted(told.stdout.split()) == offered
