"""Which configuration a command means, by its options, the environment, and what is found."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from idtoken_proxy.errors import ConfigError
from idtoken_proxy.options import (
    Configuration,
    Decorator,
    of_a_running_proxy,
    of_file_if_found,
    of_file_or_upstream,
)
from idtoken_proxy.settings.model import Address, TcpAddress
from tests.cases import for_each

HERE = TcpAddress("localhost", 1)
Means = Callable[..., Any]


@pytest.fixture(autouse=True)
def _nothing_is_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in os.environ:
        if name.startswith("IDTOKEN_PROXY_"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return written(tmp_path / "some.yaml", "shop")


def written(path: Path, route: str, *lines: str) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_text("\n".join((f"routes: [{{name: {route}, upstream: 'http://localhost:3'}}]", *lines)))
    return path


def meant(decorator: Callable[[Callable[..., int]], Callable[..., int]], *argv: str) -> Any:
    """What a command under `decorator` is given. Raises what it would not get past."""
    given: list[object] = []

    @click.command()
    @decorator
    def command(**values: object) -> int:
        given.extend(values.values())
        return 0

    assert command.main(list(argv), standalone_mode=False) == 0
    [value] = given
    return value


def name_of(configuration: Configuration) -> list[str]:
    return [route.name for route in configuration.settings.routes]


# -- -c --------------------------------------------------------------------------


def test_a_named_file_counts_before_the_variable_and_the_variable_before_what_is_found(
    tmp_path: Path, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written(tmp_path / "config" / "proxy.yaml", "found")
    assert name_of(meant(of_file_or_upstream())) == ["found"]
    monkeypatch.setenv("IDTOKEN_PROXY_CONFIG", str(written(tmp_path / "other.yaml", "variable")))
    assert name_of(meant(of_file_or_upstream())) == ["variable"]
    assert name_of(meant(of_file_or_upstream(), "-c", str(file))) == ["shop"]
    assert name_of(meant(of_file_or_upstream(), "--config", str(file))) == ["shop"]


def test_none_is_a_mistake_unless_there_need_not_be_one(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="no configuration found"):
        meant(of_file_or_upstream())
    assert meant(of_file_if_found).settings.routes == ()
    assert meant(of_file_if_found).source is None
    monkeypatch.setenv("IDTOKEN_PROXY_CONFIG", str(file))
    assert name_of(meant(of_file_if_found)) == ["shop"]


@for_each("options", [of_file_if_found, of_file_or_upstream()])
def test_a_named_file_that_is_not_there_is_a_mistake(options: Decorator) -> None:
    with pytest.raises(ConfigError, match=r"gone\.yaml: cannot be read"):
        meant(options, "-c", "gone.yaml")


# -- or --upstream -----------------------------------------------------------------


def test_an_upstream_is_a_configuration_without_a_file() -> None:
    made = meant(
        of_file_or_upstream(listen_help="default any"),
        *("--upstream", "http://localhost:4", "--audience", "a", "--listen", str(HERE)),
    )
    [route] = made.settings.routes
    assert (str(route.upstream), route.audience) == ("http://localhost:4", "a")
    assert made.settings.listen == (HERE,)
    assert made.source is None


def test_defaults_hold_where_neither_file_nor_option_says_otherwise(file: Path, tmp_path: Path) -> None:
    options = of_file_or_upstream(
        listen_help="default another", defaults={"listen": "localhost:0", "admin": "off"}
    )
    receiver = ("--upstream", "http://localhost:4")
    for argv in (receiver, ("-c", str(file))):
        settings = meant(options, *argv).settings
        assert (settings.listen, settings.admin) == ((TcpAddress("localhost", 0),), None)
    assert meant(options, *receiver, "--listen", str(HERE)).settings.listen == (HERE,)
    said = written(tmp_path / "said.yaml", "shop", f"listen: {HERE}")
    assert meant(options, "-c", str(said)).settings.listen == (HERE,)


def test_a_reload_reads_the_same_file_in_the_same_way(file: Path) -> None:
    source = meant(of_file_or_upstream(defaults={"admin": "off"}), "-c", str(file)).source
    assert source.path == str(file)
    written(file, "renamed")
    again = source.load()
    assert ([route.name for route in again.routes], again.admin) == (["renamed"], None)


@for_each(
    ("listen_help", "argv", "said"),
    [
        (None, ["--audience", "a"], "--audience goes with --upstream; with a file, say it there"),
        (
            "default any",
            ["--audience", "a"],
            "--audience goes with --upstream; with a file, say it there",
        ),
        ("default any", ["--listen", "localhost:1", "-c", "some.yaml"], "--listen goes with --upstream"),
        (
            "default any",
            ["--audience", "a", "--allow-origin", "http://localhost:3"],
            "--audience and --allow-origin go with --upstream; with a file, say it there",
        ),
        (
            "default any",
            ["--caller-token-file", "c", "--allow-remote", "--allow-host", "p.test"],
            "--allow-remote and --allow-host and --caller-token-file go with --upstream",
        ),
        ("default any", ["--route", "/a=http://localhost:3", "-c", "some.yaml"], "--route makes a config"),
        (
            "default any",
            ["--route", "/a=http://localhost:3", "--audience", "a"],
            "--audience goes with --upstream",
        ),
        ("default any", ["--quiet", "--log-level", "info"], "--quiet is --log-level warning"),
        (None, ["--upstream", "http://localhost:4", "--listen", "localhost:1"], "No such option"),
        (
            None,
            ["--upstream", "http://localhost:4", "-c", "some.yaml"],
            "--upstream makes a configuration of its own; leave out -c",
        ),
    ],
)
def test_what_does_not_go_together(listen_help: str | None, argv: list[str], said: str) -> None:
    with pytest.raises(click.UsageError) as refused:
        meant(of_file_or_upstream(listen_help=listen_help), *argv)
    assert refused.value.message.startswith(said)


def test_routes_without_a_file_take_their_names_from_where_they_are_and_lose_their_prefix() -> None:
    made = meant(
        of_file_or_upstream(listen_help="default any"),
        *("--route", "/user-profiles/v2=http://localhost:4/base", "--upstream", "http://localhost:3"),
        *("--route", "mcp.localhost=http://localhost:3?x=y".removesuffix("?x=y"), "--admin", "off", "-q"),
        *("--allow-origin", "http://localhost:5173", "--allow-origin", "http://localhost:3000"),
    )
    settings = made.settings
    assert [
        (one.name, one.host, one.path, str(one.upstream), one.strip_prefix) for one in settings.routes
    ] == [
        ("user-profiles-v2", None, "/user-profiles/v2", "http://localhost:4/base", True),
        ("mcp", "mcp.localhost", "/", "http://localhost:3", True),
        ("default", None, "/", "http://localhost:3", False),
    ]
    assert settings.guard.allowed_origins == ("http://localhost:5173", "http://localhost:3000")
    assert (settings.admin, settings.log.level) == (None, "warning")


@for_each(
    ("argv", "said"),
    [
        (["--route", "http://localhost:3"], "--route: must be /PATH=URL or HOST=URL"),
        (["--route", "=http://localhost:3"], "--route: must be /PATH=URL or HOST=URL"),
        (["--route", "/a="], '--route: must be /PATH=URL or HOST=URL, such as .*, not "/a=..."'),
        (["--route", "/a=http://example.com"], "--route: would send tokens in the clear"),
        (
            ["--route", "/a=http://localhost:3", "--route", "/A=http://localhost:3"],
            "--route: would set A_URL",
        ),
        (["--upstream", "http://localhost:3", "--route", "/=http://localhost:3"], "--upstream: matches the"),
        (["--upstream", "http://localhost:3", "--allow-origin", "x"], "--allow-origin: "),
        (["--upstream", "http://localhost:3", "--allow-host", "x:1"], "--allow-host: "),
        (["--upstream", "http://localhost:3", "--admin", "9090"], "--admin: says no host"),
        (["--upstream", "http://localhost:3", "--admin", ""], "--admin: "),
        (
            ["--upstream", "http://localhost:3", "--listen", "0.0.0.0:1"],
            "--listen: .*--allow-remote --caller",
        ),
        (["--upstream", "http://localhost:3", "--admin", "0.0.0.0:1"], "--admin: .*--allow-remote --caller"),
        (
            ["--upstream", "http://localhost:3", "--listen", "0.0.0.0:1", "--allow-remote"],
            "--allow-remote: .*add --caller-token-file",
        ),
        (["--route", "/a=http://localhost:3", "--allow-remote"], "--allow-remote: .*add --caller-token-file"),
    ],
)
def test_mistakes_in_options_are_named_by_them(argv: list[str], said: str) -> None:
    with pytest.raises(ConfigError, match=f"^{said}"):
        meant(of_file_or_upstream(listen_help="default any"), *argv)


def test_others_are_let_in_without_a_file_only_with_a_secret() -> None:
    guarded = ("--allow-remote", "--caller-token-file", "caller.token", "--allow-host", "proxy.test")
    settings = meant(
        of_file_or_upstream(listen_help="default any"),
        *("--upstream", "http://localhost:4", "--listen", "0.0.0.0:0", *guarded),
    ).settings
    assert settings.allow_remote
    assert (settings.guard.caller_token_file, settings.guard.allowed_hosts) == (
        "caller.token",
        ("proxy.test",),
    )


def test_admin_and_log_level_count_before_the_variables_and_the_file_and_stay_so_in_a_reload(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written(file, "shop", "admin: localhost:3", "log: {level: error, format: text}")
    monkeypatch.setenv("IDTOKEN_PROXY_ADMIN", "localhost:2")
    monkeypatch.setenv("IDTOKEN_PROXY_LOG_LEVEL", "error")
    options = of_file_or_upstream(listen_help="default any")
    made = meant(options, "-c", str(file), "--admin", str(HERE), "--log-level", "debug")
    for settings in (made.settings, made.source.load()):
        assert (settings.admin, settings.log.level, settings.log.format) == (HERE, "debug", "text")
    without = meant(options, "--upstream", "http://localhost:4").settings
    assert (without.admin, without.log.level) == (TcpAddress("localhost", 2), "error")


# -- a running one -----------------------------------------------------------------


def test_a_running_proxy_is_where_what_is_said_nearest_has_it(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def admin(*argv: str) -> Address:
        address = meant(of_a_running_proxy, *argv)
        assert isinstance(address, TcpAddress)
        return address

    assert admin() == TcpAddress("localhost", 9090)
    written(tmp_path / "config" / "proxy.yaml", "found", "admin: localhost:3")
    assert admin() == TcpAddress("localhost", 3)
    assert admin("-c", str(file)) == TcpAddress("localhost", 9090)
    monkeypatch.setenv("IDTOKEN_PROXY_ADMIN", "localhost:2")
    assert admin("-c", str(file)) == TcpAddress("localhost", 2)
    assert admin("--admin", "localhost:1") == HERE


# -- as a command's help has them -----------------------------------------------


def test_the_options_stand_where_their_decorator_does_and_the_command_keeps_its_words() -> None:
    @click.command()
    @click.option("--before")
    @of_file_or_upstream(upstream_help="such as X", listen_help="default Y")
    @click.option("--after")
    def command(configuration: Configuration, before: str, after: str) -> int:
        """What it does."""
        raise NotImplementedError

    shown = CliRunner().invoke(command, ["--help"]).output
    told = ("What it does.", "--before", "-c,", "no file, such as X.", "--audience", "default Y.", "--after")
    places = [shown.index(words) for words in told]
    assert places == sorted(places)
