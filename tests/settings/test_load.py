from __future__ import annotations

import contextlib
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from idtoken_proxy.errors import ConfigError, Problem
from idtoken_proxy.settings.command_line import CommandLine
from idtoken_proxy.settings.document import Document
from idtoken_proxy.settings.identities import AutoIdentity, FileIdentity, ServiceAccountIdentity
from idtoken_proxy.settings.load import (
    default_config_path,
    load_settings,
    settings_from_options,
    settings_from_text,
)
from idtoken_proxy.settings.model import Route, Settings, TcpAddress, UnixAddress, Upstream
from idtoken_proxy.settings.schema import json_schema
from tests.cases import for_each
from tests.settings.told import ROUTE, settings, told
from tests.steps import steps_of

RUN_APP = "https://user-profiles-x7f3kq-uc.a.run.app"


def problems_of(error: pytest.ExceptionInfo[ConfigError]) -> list[str]:
    return [str(problem) for problem in error.value.problems]


# -- several mistakes at once -------------------------------------------------


def test_a_configuration_with_everything_wrong_is_told_of_all_in_line_order() -> None:
    assert told(
        """\
        listen: 0.0.0.0:8080
        admin: localhost:8080
        identty: auto
        routes:
          - name: user profiles
            upstream: https://x.a.run.app
          - name: search
            upstrem: https://x.a.run.app
          - name: billing
            match: {path: /billing?x=1}
            upstream: https://billing.example.com
          - name: billing
            match: {path: /b}
            upstream: https://169.254.169.254
            identity: {type: gcloud, acount: a@b.c}
          - name: public
            match: {path: /b/}
            upstream: https://p.a.run.app
            identity: none
            audience: https://p.a.run.app
            methods: [get, TRACE]
        timeouts: {connect: 0, idle: soon}
        timeouts: {}
        limits:
          connections: 0
          header_bytes: ${HEADER_BYTES}
        egress_proxy: https://proxy:3128
        """
    ) == [
        (
            "proxy.yaml:1: listen: 0.0.0.0 can be reached from other machines, and whoever reaches the proxy acts as its"
            " identity; use localhost, or set allow_remote: true (without a file: --allow-remote --caller-token-file FILE)"
        ),
        "proxy.yaml:2: admin: localhost:8080 is already taken by listen; choose another port",
        'proxy.yaml:3: identty: unknown key; did you mean "identity"?',
        (
            'proxy.yaml:5: routes[0].name: must be letters, digits, "-" and "_", a letter or digit first, 63 at most,'
            ' not "user profiles"'
        ),
        (
            "proxy.yaml:7: routes[1]: matches the same requests as routes[0]: any host, path /; give one of them another"
            " path or host"
        ),
        'proxy.yaml:8: routes[1].upstrem: unknown key; did you mean "upstream"?',
        "proxy.yaml:10: routes[2].match.path: is a path alone; remove the query and the fragment",
        'proxy.yaml:12: routes[3].name: "billing" is already the name of routes[2]; names must be unique',
        (
            "proxy.yaml:14: routes[3].upstream: 169.254.169.254 is, or may be, a metadata server, which must not be"
            " reached through a proxy"
        ),
        'proxy.yaml:15: routes[3].identity.acount: unknown key; did you mean "account"?',
        (
            "proxy.yaml:17: routes[4].match: matches the same requests as routes[3]: any host, path /b;"
            " give one of them another path or host"
        ),
        'proxy.yaml:21: routes[4].methods[0]: "get" is no method name in upper case; write "GET"',
        (
            "proxy.yaml:21: routes[4].methods[1]: TRACE would echo the token back to the caller, so it is always refused;"
            " remove it"
        ),
        "proxy.yaml:22: timeouts.connect: must be longer than 0 and at most 7 days, not 0",
        'proxy.yaml:22: timeouts.idle: must be a time such as 5s, 10m, 1h or 500ms, not "soon"',
        "proxy.yaml:23: timeouts: duplicate key; it stands on line 22 too, keep one",
        "proxy.yaml:25: limits.connections: must be a whole number from 1 to 1000000, not 0",
        (
            "proxy.yaml:26: limits.header_bytes: environment variable HEADER_BYTES is not set; set it, or write"
            " ${HEADER_BYTES:-default}"
        ),
        (
            "proxy.yaml:27: egress_proxy: must be an HTTP proxy that takes CONNECT and is reached by http; write"
            " http://HOST:PORT"
        ),
    ]


@for_each(
    ("text", "said"),
    [
        ("", "proxy.yaml: routes: is missing"),
        ("# nothing\n", "proxy.yaml: routes: is missing"),
        ("null", "proxy.yaml: routes: is missing"),
        ("- a\n", "proxy.yaml: must be a mapping of keys to values, such as routes: [...]"),
        ("hello", "proxy.yaml: must be a mapping of keys to values, such as routes: [...]"),
        ("a: [", "proxy.yaml:1: not valid YAML: a value is missing, or a bracket or brace is not closed"),
        (
            "\nroutes: []",
            "proxy.yaml:2: routes: must not be empty; a route has at least a name and an upstream",
        ),
        ("routes: {}", "proxy.yaml:1: routes: must be a list, not a mapping"),
    ],
)
def test_what_is_no_configuration_at_all(text: str, said: str) -> None:
    assert told(text) == [said]


# -- never anything but Settings or ConfigError -------------------------------


def never_another_exception(text: str) -> None:
    problems: tuple[Problem, ...] = ()
    try:
        hash(settings_from_text(text, "proxy.yaml", {"HOME": "/home/me", "A": "b"}))
    except ConfigError as error:
        problems = error.problems or (Problem("", 0, "", ""),)
    lines = [problem.line for problem in problems]
    assert lines == sorted(lines)
    assert max(lines, default=0) <= max(1, len(text.splitlines()))
    assert all(problem.message for problem in problems)


@given(st.text())
@example("? [a]\n: b")
@example("&a [*a]")
@example("a: &a\n  <<: *a")
@example("<<: 1")
@example("<<: [1, {routes: }]")
@example("\x00")
@example("'\ufeff'")
@example("[" * 1000)
@example("!!python/object/apply:os.system [ls]")
@example("*unknown")
@example("a: 1\n---\nb: 2\n")
@example("routes: [{name: ${A}}]")
@example("- " * 100)
@example("\u0800\x1b\n")
def test_any_text(text: str) -> None:
    never_another_exception(text)


SCHEMA = json_schema()
KEYS = sorted(
    {key for section in (SCHEMA, *SCHEMA["$defs"].values()) for key in section["properties"]}
    | {"upstrem", "x", "<<", "1"}
)
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=5),
    st.sampled_from(
        [
            "auto", "none", "metadata", "gcloud", "impersonated", "signed_jwt", "off", "5s", "1MiB", "localhost:8080", "unix:/a",
            "https://a.a.run.app", "http://localhost:1", "https://x.com", "/a", "GET", "${A}", "${B}", "a@b.c",
            "a.apps.googleusercontent.com", "X-Serverless-Authorization", "0.0.0.0:1", "/dev/null", "~",
        ]
    ),
)  # fmt: skip
TREES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=5),
    max_leaves=15,
)
ROUTES = st.fixed_dictionaries(
    {"name": st.sampled_from(["a", "b", "A", 1]), "upstream": SCALARS},
    optional=dict.fromkeys(
        ("match", "audience", "identity", "timeouts", "methods", "upstrem", "macth"), TREES
    ),
)
DOCUMENTS = st.fixed_dictionaries(
    {"routes": st.lists(ROUTES | TREES, max_size=3) | TREES},
    optional={key: TREES for key in Document.declared if key != "routes"},
)


@given(DOCUMENTS)
def test_any_mapping_of_the_known_keys(document: dict[str, Any]) -> None:
    never_another_exception(yaml.safe_dump(document))


@given(st.lists(st.sampled_from(KEYS), max_size=4), TREES)
def test_one_wrong_value_anywhere(path: list[str], value: object) -> None:
    tree: object = value
    for key in reversed(path):
        tree = {key: tree}
    never_another_exception(yaml.safe_dump({"routes": [{"name": "a", "upstream": RUN_APP}], "x": tree}))
    if path:
        never_another_exception(
            yaml.safe_dump({"routes": [{"name": "a", "upstream": RUN_APP, path[0]: tree}]})
        )


# -- files --------------------------------------------------------------------


def test_a_file_is_read_with_or_without_a_byte_order_mark(tmp_path: Path) -> None:
    file = tmp_path / "proxy.yaml"
    file.write_text(ROUTE, "utf-8")
    plain = load_settings(str(file), {})
    file.write_text(ROUTE, "utf-8-sig")
    assert load_settings(str(file), {}) == plain


def test_a_file_that_cannot_be_read_is_a_problem_of_its_own(tmp_path: Path) -> None:
    missing = tmp_path / "proxy.yaml"
    with pytest.raises(ConfigError) as error:
        load_settings(str(missing), {})
    assert problems_of(error) == [f"{missing}: cannot be read: No such file or directory"]
    with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
        load_settings(str(tmp_path), {})
    with pytest.raises(ConfigError, match="NUL"):
        load_settings("\0", {})
    missing.write_bytes(b"listen: localhost:1\nroutes: \xff\n")
    with pytest.raises(ConfigError) as error:
        load_settings(str(missing), {})
    assert problems_of(error) == [f"{missing}:2: is not UTF-8 text"]


def test_paths_are_relative_to_the_files_directory_and_a_tilde_is_home(tmp_path: Path) -> None:
    file = tmp_path / "proxy.yaml"
    file.write_text(
        f"""
routes:
  - {{name: a, match: {{path: /a}}, upstream: '{RUN_APP}', identity: {{type: file, path: tokens/a.jwt}}}}
  - {{name: b, match: {{path: /b}}, upstream: '{RUN_APP}', identity: {{type: file, path: /run/b.jwt}}}}
  - {{name: c, match: {{path: /c}}, upstream: '{RUN_APP}', identity: {{type: service_account, key_file: ~/c.json}}}}
  - {{name: d, match: {{path: /d}}, upstream: '{RUN_APP}', identity: {{type: file, path: ~other/d.jwt}}}}
"""
    )
    assert [route.identity for route in load_settings(str(file), {"HOME": "/home/me"}).routes] == [
        FileIdentity(str(tmp_path / "tokens/a.jwt")),
        FileIdentity("/run/b.jwt"),
        ServiceAccountIdentity("/home/me/c.json"),
        FileIdentity(str(tmp_path / "~other/d.jwt")),
    ]


def test_a_relative_socket_is_beside_the_file_and_in_variables_and_options_where_one_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    text = textwrap.dedent("""\
        listen: [unix:./a.sock, unix:b.sock]
        admin: unix:admin.sock
        routes: [{name: a, upstream: "https://a-b-uc.a.run.app"}]
    """)
    settings = settings_from_text(text, "/etc/proxy/proxy.yaml", {})
    assert [str(one) for one in settings.listen] == ["unix:/etc/proxy/./a.sock", "unix:/etc/proxy/b.sock"]
    assert str(settings.admin) == "unix:/etc/proxy/admin.sock"
    environ = {"IDTOKEN_PROXY_LISTEN": "unix:c.sock, unix:/d.sock, localhost:1"}
    settings = settings_from_text(text, "/etc/proxy/proxy.yaml", environ, None, {"--admin": "unix:./e.sock"})
    assert [str(one) for one in settings.listen] == [f"unix:{tmp_path}/c.sock", "unix:/d.sock", "localhost:1"]
    assert str(settings.admin) == f"unix:{tmp_path}/e.sock"


def test_without_home_a_tilde_is_the_users_own_directory() -> None:
    text = "routes: [{name: a, upstream: 'https://a.a.run.app', identity: {type: file, path: ~/a.jwt}}]"
    (route,) = settings(text).routes
    assert route.identity == FileIdentity(str(Path("~/a.jwt").expanduser()))


# -- where a file is looked for -----------------------------------------------


def test_the_variable_names_the_file_whether_it_is_there_or_not() -> None:
    assert default_config_path({"IDTOKEN_PROXY_CONFIG": "/no/such.yaml"}, "") == "/no/such.yaml"


def test_the_first_that_is_there_is_taken(tmp_path: Path) -> None:
    first, second = str(tmp_path / "first.yaml"), str(tmp_path / "second.yaml")
    Path(second).touch()
    assert default_config_path({}, "", (first, second)) == second
    Path(first).touch()
    assert default_config_path({"IDTOKEN_PROXY_CONFIG": ""}, "", (first, second)) == first


def test_the_working_directory_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "config").mkdir()
    (tmp_path / "config/proxy.yaml").touch()
    monkeypatch.chdir(tmp_path)
    assert default_config_path({}, "") == "config/proxy.yaml"


def test_where_there_is_none_it_says_what_was_tried_and_what_else_there_is() -> None:
    with pytest.raises(ConfigError) as error:
        default_config_path({}, ", or one receiver with --upstream URL", ("/no/a.yaml", "/no/b.yaml"))
    assert problems_of(error) == [
        (
            "configuration: no configuration found: IDTOKEN_PROXY_CONFIG is not set, and there is no /no/a.yaml and no"
            " /no/b.yaml; name a file with -c, or one receiver with --upstream URL"
        )
    ]


# -- variables that override keys ---------------------------------------------


def test_variables_override_the_file() -> None:
    found = settings(
        _ROUTE + "listen: localhost:1\nlog: {level: error, access: all}\n",
        {
            "IDTOKEN_PROXY_LISTEN": "localhost:2",
            "IDTOKEN_PROXY_ADMIN": "off",
            "IDTOKEN_PROXY_LOG_LEVEL": "debug",
            "IDTOKEN_PROXY_LOG_FORMAT": "json",
        },
    )
    assert found.listen == (TcpAddress("localhost", 2),)
    assert found.admin is None
    assert (found.log.level, found.log.format, found.log.access) == ("debug", "json", "all")


def test_a_mistake_in_a_variable_names_it_and_comes_first() -> None:
    assert told(
        _ROUTE + "listen: localhost:99999\nadmin: 1\nlog: {access: some}\n",
        {"IDTOKEN_PROXY_LISTEN": "localhost:0,[::1]:x", "IDTOKEN_PROXY_LOG_LEVEL": "warn"},
    ) == [
        'IDTOKEN_PROXY_LISTEN: "x" is no port; write a number from 0 to 65535',
        'IDTOKEN_PROXY_LOG_LEVEL: must be one of debug, info, warning, error, not "warn"; did you mean "warning"?',
        "proxy.yaml:3: admin: must be HOST:PORT, such as localhost:1",
        'proxy.yaml:4: log.access: must be one of off, errors, all, not "some"',
    ]


def test_a_section_that_is_no_mapping_is_one_mistake() -> None:
    assert told(_ROUTE + "log: loud\n", {"IDTOKEN_PROXY_LOG_LEVEL": "debug"}) == [
        'proxy.yaml:2: log: must be a mapping of keys to values, not "loud"'
    ]


# -- serve --upstream ---------------------------------------------------------


def settings_from_upstream(
    upstream: str, audience: str | None, listen: str | None, environ: Mapping[str, str]
) -> Settings:
    keys = {} if listen is None else {"--listen": listen}
    return settings_from_options(CommandLine(upstream, audience, (), keys), environ)


def test_one_upstream_is_a_configuration() -> None:
    assert settings_from_upstream(RUN_APP, None, None, {}) == Settings(
        (Route("default", Upstream("https", RUN_APP.removeprefix("https://"), 443), RUN_APP, AutoIdentity()),)
    )


def test_audience_and_listen_are_taken() -> None:
    found = settings_from_upstream(
        "https://x.com/base", "my-audience", "127.0.0.1:0", {"IDTOKEN_PROXY_LISTEN": "localhost:1"}
    )
    assert found.listen == (TcpAddress("127.0.0.1", 0),)
    assert (found.routes[0].audience, found.routes[0].upstream.base_path) == ("my-audience", "/base")
    elsewhere = settings_from_upstream(RUN_APP, None, None, {"IDTOKEN_PROXY_LISTEN": "localhost:1"})
    assert elsewhere.listen == (TcpAddress("localhost", 1),)
    by_file = settings_from_upstream(RUN_APP, None, "unix:~/a.sock", {"HOME": "/home/me"})
    assert by_file.listen == (UnixAddress("/home/me/a.sock"),)


@for_each(
    ("upstream", "audience", "listen", "said"),
    [
        ("x.com", None, None, ["--upstream: must be a URL that begins with https://; write https://x.com"]),
        ("", None, None, ['--upstream: must be a URL that begins with https://, not ""']),
        (
            "https://x.com",
            None,
            None,
            [
                ("--audience: cannot be derived from x.com: a custom domain needs the service's run.app URL or a"
                " registered custom audience; IAP needs its OAuth client ID")
            ],
        ),
        (
            "http://x.com",
            "a b",
            ":80",
            [
                "--upstream: would send tokens in the clear; write https://x.com, as http is for loopback alone",
                '--audience: must be printable ASCII without blanks, and not empty, not "a b"',
                "--listen: says no host; write localhost:80",
            ],
        ),
        (RUN_APP, None, "localhost:9090", ["--upstream: admin: localhost:9090 is already taken by listen; choose another port"]),
        (
            RUN_APP,
            None,
            "unix:a/",
            ['--listen: must be the path of a socket, such as unix:/run/idtoken-proxy/proxy.sock, not "unix:a/"'],
        ),
    ],
)  # fmt: skip
def test_mistakes_name_the_option(
    upstream: str, audience: str | None, listen: str | None, said: list[str]
) -> None:
    with pytest.raises(ConfigError) as error:
        settings_from_upstream(upstream, audience, listen, {})
    assert problems_of(error) == said


@given(st.text(), st.none() | st.text(), st.none() | st.text())
def test_any_option(upstream: str, audience: str | None, listen: str | None) -> None:
    with contextlib.suppress(ConfigError):
        settings_from_upstream(upstream, audience, listen, {})


def test_what_a_configuration_costs_grows_as_its_routes_do() -> None:
    def steps(count: int) -> int:
        text = "routes:\n" + "".join(
            f"- {{name: r{one}, upstream: 'https://s{one}.example', audience: 'https://s{one}.example', match: {{path: /r{one}}}}}\n"
            for one in range(count)
        )
        return steps_of(lambda: settings_from_text(text, "proxy.yaml", {}))

    assert steps(200) < 2.2 * steps(100)


def test_so_do_mistakes() -> None:
    def steps(count: int) -> int:
        text = "routes:\n" + "".join(f"- {{name: r{one}, upstrem: x}}\n" for one in range(count))

        def load() -> None:
            with pytest.raises(ConfigError):
                settings_from_text(text, "proxy.yaml", {})

        return steps_of(load)

    assert steps(80) < 2.2 * steps(40)


_ROUTE = "routes: [{name: a, upstream: 'https://a.a.run.app'}]\n"


def _mistakes_of(text: str) -> str:
    with pytest.raises(ConfigError) as error:
        settings_from_text(text, "proxy.yaml", {})
    return "\n".join(problems_of(error))


# -- what a file may hold besides, and what will most likely not do what was meant -----------------


def test_keys_that_begin_with_x_are_nobodys_and_hold_anchors() -> None:
    settings = settings_from_text(
        "x-common: &common\n  methods: [GET]\n  timeouts: {idle: 5s}\nroutes:\n"
        "  - {<<: *common, name: a, upstream: 'https://a.a.run.app'}\n",
        "proxy.yaml",
        {},
    )
    assert settings.routes[0].methods == frozenset({"GET"})
    assert settings.routes[0].timeouts.idle == 5.0


def test_within_a_route_there_are_none_of_them() -> None:
    assert "routes[0].x-note: unknown key" in _mistakes_of(
        "routes: [{name: a, upstream: 'https://a.a.run.app', x-note: b}]"
    )


def test_a_word_in_place_of_its_section_is_told_as_its_key() -> None:
    assert "log: must be a mapping of keys to values; write {level: debug}" in _mistakes_of(
        _ROUTE + "log: debug\n"
    )
    assert "guard: must be a mapping of keys to values; write {unverified_pages: allow}" in _mistakes_of(
        _ROUTE + "guard: allow\n"
    )


def test_a_comma_behind_a_value_is_told_as_what_it_is_wherever_it_stands() -> None:
    told = 'ends in ",", which is part of it; remove it'
    assert f"egress_proxy: {told}" in _mistakes_of(_ROUTE + "egress_proxy: 'http://proxy:3128,'\n")
    assert f"identity.type: {told}" in _mistakes_of(_ROUTE + "identity: {type: 'user,'}\n")


def test_it_knows_where_each_route_says_its_identity() -> None:
    text = "identity: none\nroutes:\n- {name: a, upstream: 'https://a.a.run.app'}\n"
    text += "- name: b\n  upstream: 'https://b.a.run.app'\n  match: {path: /b}\n  identity: user\n"
    first, second = settings_from_text(text, "proxy.yaml", {}).identities_at
    assert str(first).startswith("proxy.yaml:3: routes[0]")
    assert str(second).startswith("proxy.yaml:7: routes[1].identity: ")
