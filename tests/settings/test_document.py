"""Each key's own mistakes, word for word."""

from __future__ import annotations

from idtoken_proxy.settings.identities import CommandIdentity
from idtoken_proxy.settings.load import settings_from_text
from tests.cases import for_each
from tests.settings.told import ROUTE, told

ROUTE_KEYS = "name, upstream, match, audience, token, scopes, quota_project, strip_prefix, token_header, protocol, identity, methods, timeouts"


@for_each(
    ("written", "said"),
    [
        ("listen: []", "listen: must not be empty"),
        ("listen: 8080", "listen: must be HOST:PORT, such as localhost:8080"),
        ("listen: [localhost:1, 2]", "listen[1]: must be HOST:PORT, such as localhost:2"),
        ("listen: {port: 1}", "listen: must be a string, not a mapping; write one value"),
        ("admin: on", 'admin: must be HOST:PORT, such as localhost:8080, or unix:PATH, not "on"'),
        ("allow_remote: yes", 'allow_remote: must be true or false, not "yes"'),
        ("timeouts: 5s", 'timeouts: must be a mapping of keys to values, not "5s"'),
        ("timeouts: {conect: 5s}", 'timeouts.conect: unknown key; did you mean "connect"?'),
        (
            "timeouts: {connect: -1s}",
            'timeouts.connect: must be a time such as 5s, 10m, 1h or 500ms, not "-1s"',
        ),
        ("timeouts: {drain: 0}", "timeouts.drain: must be longer than 0 and at most 7 days, not 0"),
        ("limits: {header_bytes: 1}", "limits.header_bytes: must be between 1KiB and 1MiB, not 1"),
        (
            "limits: {connections: 1.5}",
            "limits.connections: must be a whole number from 1 to 1000000, not 1.5",
        ),
        (
            "guard: {allowed_hosts: proxy.internal}",
            'guard.allowed_hosts: must be a list, not "proxy.internal"',
        ),
        (
            "guard: {allowed_hosts: ['a.b:80']}",
            'guard.allowed_hosts[0]: is a name without a port (the port in Host does not matter); write "a.b"',
        ),
        ("guard: {allowed_uids: []}", "guard.allowed_uids: must not be empty"),
        ("guard: {allowed_uids: 1000}", "guard.allowed_uids: must be a list, not 1000"),
        (
            "guard: {allowed_uids: [me]}",
            'guard.allowed_uids[0]: must be a user\'s number (id -u NAME), not "me"',
        ),
        (
            "guard: {caller_token_file: ''}",
            'guard.caller_token_file: must be printable text, and not empty, not ""',
        ),
        (
            "guard: {caller_token_header: Host}",
            (
                "guard.caller_token_header: Host has a meaning of its own to the proxy; write another name, such as "
                "X-Caller-Token"
            ),
        ),
        (
            "google: {iam_endpoint: iam.example.com}",
            "google.iam_endpoint: must be a URL that begins with https://; write https://iam.example.com",
        ),
        (
            "google: {sts_endpoint: 'http://10.0.0.1'}",
            "google.sts_endpoint: would send tokens in the clear; write https://10.0.0.1, as http is for loopback alone",
        ),
        ("tls: {ca: x}", "tls.ca: unknown key; known here: ca_file"),
        ("tls: {x: y}", "tls.x: unknown key; known here: ca_file"),
        (
            "log: {level: warn}",
            'log.level: must be one of debug, info, warning, error, not "warn"; did you mean "warning"?',
        ),
        ("log: {format: xml}", 'log.format: must be one of auto, text, json, not "xml"'),
        ("log: {access: true}", "log.access: must be one of off, errors, all, not true"),
        (
            "google: {metadata_host: 'http://a'}",
            'google.metadata_host: "http://a" is no HOST or HOST:PORT; leave out http:// and the path',
        ),
        (
            "google: {token_endpoint: 'http://x.com/token'}",
            "google.token_endpoint: would send tokens in the clear; write https://x.com, as http is for loopback alone",
        ),
        ("Listen: localhost:1", 'Listen: unknown key; did you mean "listen"?'),
    ],
)
def test_top_level_keys(written: str, said: str) -> None:
    assert told(ROUTE + written) == [f"proxy.yaml:2: {said}"]


@for_each(
    ("written", "said"),
    [
        ("zzz: 1", f".zzz: unknown key; known here: {ROUTE_KEYS}"),
        ("path: /a", ".path: belongs into match; write match: {path: ...}"),
        ("host: a.localhost", ".host: belongs into match; write match: {host: ...}"),
        ("match: /a", '.match: must be a mapping of keys to values, not "/a"'),
        ("match: {path: a}", '.match.path: must begin with "/", not "a"'),
        ("match: {hosts: a}", '.match.hosts: unknown key; did you mean "host"?'),
        (
            "match: {host: 'a:1'}",
            '.match.host: is a name without a port (the port in Host does not matter); write "a"',
        ),
        ("audience: a b", '.audience: must be printable ASCII without blanks, and not empty, not "a b"'),
        ("audience: 123", ".audience: must be a string, not 123; put it in quotes"),
        ("strip_prefix: 1", ".strip_prefix: must be true or false, not 1"),
        (
            "token_header: authorization",
            (
                ".token_header: must be one of auto, Authorization, X-Serverless-Authorization, Proxy-Authorization, not "
                '"authorization"; did you mean "Authorization"?'
            ),
        ),
        ("methods: GET", '.methods: must be a list, not "GET"'),
        ("methods: []", ".methods: must not be empty"),
        ("methods: [get]", '.methods[0]: "get" is no method name in upper case; write "GET"'),
        ("timeouts: {respnse: 1}", '.timeouts.respnse: unknown key; did you mean "response"?'),
        (
            "timeouts: {drain: 1}",
            ".timeouts.drain: is a timeout of the whole proxy, not of one route; move it to the top-level timeouts",
        ),
    ],
)
def test_keys_of_a_route(written: str, said: str) -> None:
    text = f"routes:\n  - name: a\n    upstream: https://a.a.run.app\n    {written}\n"
    assert told(text) == [f"proxy.yaml:4: routes[0]{said}"]


@for_each(
    ("route", "said"),
    [
        ("{name: a}", ["routes[0].upstream: is missing"]),
        ("{upstream: 'https://a.a.run.app'}", ["routes[0].name: is missing"]),
        ("{}", ["routes[0].name: is missing", "routes[0].upstream: is missing"]),
        ("a", ['routes[0]: must be a mapping of keys to values, not "a"']),
        (
            "{name: , upstream: 'https://a.a.run.app'}",
            ["routes[0].name: is missing"],
        ),
    ],
)
def test_what_a_route_needs(route: str, said: list[str]) -> None:
    assert told(f"routes: [{route}]") == [f"proxy.yaml:1: {line}" for line in said]


def test_a_key_without_a_value_is_a_key_left_out() -> None:
    assert told(ROUTE + "google:\n  # metadata_host: localhost:8090\nlisten:\negress_proxy: null\n") == []


@for_each("audience", ["https://a.run.app/x,", "https://a.run.app/x;", "urn:app:one,"])
def test_an_audience_may_end_in_whatever_a_url_may(audience: str) -> None:
    settings = settings_from_text(
        f"routes: [{{name: a, upstream: 'https://a.run.app', audience: '{audience}'}}]", "p.yaml", {}
    )
    assert settings.routes[0].audience == audience


def test_an_argument_may_have_lines() -> None:
    settings = settings_from_text(
        'identity: {type: command, argv: [sh, -c, "echo one\\necho two,"]}\n'
        "routes: [{name: a, upstream: 'https://a.run.app'}]",
        "p.yaml",
        {},
    )
    assert settings.routes[0].identity == CommandIdentity(("sh", "-c", "echo one\necho two,"))
