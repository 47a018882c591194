from __future__ import annotations

import sys
from pathlib import Path

import pytest
import trustme

from idtoken_proxy.settings.model import TcpAddress, UnixAddress
from tests.cases import for_each
from tests.settings.told import ROUTE, settings, told

REACHABLE = (
    "can be reached from other machines, and whoever reaches the proxy acts as its identity; use localhost, or set "
    "allow_remote: true (without a file: --allow-remote --caller-token-file FILE)"
)

# -- listeners ----------------------------------------------------------------


@for_each("host", ["localhost", "app.localhost", "127.0.0.1", "127.9.9.9", "[::1]"])
def test_loopback_may_be_listened_on(host: str) -> None:
    assert told(f"{ROUTE}listen: '{host}:1'\nadmin: '{host}:2'") == []


@for_each(
    ("written", "host"),
    [
        ("0.0.0.0", "0.0.0.0"),
        ("10.0.0.1", "10.0.0.1"),
        ("'[::]", "::"),
        ("'[fe80::1]", "fe80::1"),
        ("example.com", "example.com"),
        ("localhost.example.com", "localhost.example.com"),
    ],
)
def test_what_others_can_reach_is_refused_with_the_reason(written: str, host: str) -> None:
    end = "'" if written.startswith("'") else ""
    text = f"{ROUTE}listen: {written}:1{end}\nadmin: {written}:2{end}\n"
    assert told(text) == [
        f"proxy.yaml:2: listen: {host} {REACHABLE}",
        f"proxy.yaml:3: admin: {host} {REACHABLE}",
    ]
    assert told(text + "allow_remote: true") == []
    assert told(text + "allow_remote: yes") == [
        'proxy.yaml:4: allow_remote: must be true or false, not "yes"'
    ]


@for_each(
    ("listen", "admin"),
    [
        ("localhost:1", "localhost:1"),
        ("localhost:1", "127.0.0.1:1"),
        ("'[::1]:1'", "localhost:1"),
        ("a.localhost:1", "b.localhost:1"),
        ("0.0.0.0:1", "127.0.0.1:1"),
        ("'[::]:1'", "localhost:1"),
        ("example.com:1", "example.com:1"),
    ],
)
def test_one_address_cannot_be_listened_on_twice(listen: str, admin: str) -> None:
    (said,) = told(f"{ROUTE}listen: {listen}\nadmin: {admin}\nallow_remote: true")
    assert said == f"proxy.yaml:3: admin: {admin} is already taken by listen; choose another port"


@for_each(
    ("listen", "admin"),
    [
        ("localhost:1", "localhost:2"),
        ("localhost:0", "localhost:0"),
        ("127.0.0.1:1", "127.0.0.2:1"),
        ("127.0.0.1:1", "'[::1]:1'"),
        ("0.0.0.0:1", "'[::1]:1'"),
        ("localhost:1", "example.com:1"),
    ],
)
def test_other_addresses_can(listen: str, admin: str) -> None:
    assert told(f"{ROUTE}listen: {listen}\nadmin: {admin}\nallow_remote: true") == []


@for_each(
    ("listen", "said"),
    [
        ("localhost:0", "has no use with port 0, which is another port for each process; write a port"),
        ("unix:/run/a", "has no use without a TCP port to listen on; a unix: socket is one process's"),
    ],
)
def test_a_port_that_is_shared_is_one_that_others_can_find(listen: str, said: str) -> None:
    assert told(f"{ROUTE}listen: {listen}\nreuse_port: true") == [f"proxy.yaml:3: reuse_port: {said}"]
    assert told(f"{ROUTE}listen: [localhost:8080, {listen}]\nreuse_port: true") == []


def test_listeners_may_not_clash_with_each_other_nor_with_a_default() -> None:
    assert told(f"{ROUTE}listen:\n- localhost:1\n- localhost:2\n- localhost:1\n") == [
        "proxy.yaml:5: listen[2]: localhost:1 is already taken by listen; choose another port"
    ]
    assert told(f"{ROUTE}listen: localhost:9090") == [
        "proxy.yaml: admin: localhost:9090 is already taken by listen; choose another port"
    ]
    assert told(f"{ROUTE}listen: localhost:9090\nadmin: off") == []


# -- unix sockets and who may use them ----------------------------------------


def test_unix_sockets_may_be_listened_on_beside_ports() -> None:
    text = f"{ROUTE}listen: [unix:/run/a.sock, 'unix:${{DIR}}/b.sock', localhost:1]\nadmin: unix:~/c.sock\n"
    found = settings(text, {"DIR": "/d", "HOME": "/home/me"})
    assert [str(address) for address in (*found.listen, found.admin)] == [
        "unix:/run/a.sock",
        "unix:/d/b.sock",
        "localhost:1",
        "unix:/home/me/c.sock",
    ]
    listeners = {"IDTOKEN_PROXY_LISTEN": "unix:/a.sock, localhost:1", "IDTOKEN_PROXY_ADMIN": "unix:/b.sock"}
    found = settings(ROUTE, listeners)
    assert (found.listen, found.admin) == (
        (UnixAddress("/a.sock"), TcpAddress("localhost", 1)),
        UnixAddress("/b.sock"),
    )


@pytest.mark.skipif(sys.platform == "darwin", reason="103 bytes there")
def test_a_sockets_path_fits_into_its_address() -> None:
    home = "/home/" + "m" * 90
    assert told(f"{ROUTE}listen: unix:~/{'s' * 10}", {"HOME": home}) == []
    assert told(f"{ROUTE}listen:\n- localhost:1\n- unix:~/{'s' * 9}é", {"HOME": home}) == [
        "proxy.yaml:4: listen[1]: a socket's path may be 107 bytes long, and this one has 108; choose a shorter one"
    ]
    assert told(f"{ROUTE}admin: unix:/{'s' * 107}") == [
        "proxy.yaml:2: admin: a socket's path may be 107 bytes long, and this one has 108; choose a shorter one"
    ]


def test_one_path_cannot_be_listened_on_twice() -> None:
    text = f"{ROUTE}listen:\n- unix:/run/a.sock\n- unix:/run/./a.sock\nadmin: unix:~/a.sock\n"
    assert told(text, {"HOME": "/run"}) == [
        "proxy.yaml:4: listen[1]: unix:/run/./a.sock is already taken by listen; choose another path",
        "proxy.yaml:5: admin: unix:/run/a.sock is already taken by listen; choose another path",
    ]


def test_users_are_told_apart_on_unix_sockets_alone() -> None:
    users = "guard: {allowed_uids: [0, 1000]}\n"
    found = settings(f"{ROUTE}{users}listen: [unix:/run/a.sock, unix:/run/b.sock]\nadmin: localhost:1\n")
    assert found.guard.allowed_uids == frozenset({0, 1000})
    no_socket = (
        "proxy.yaml:2: guard.allowed_uids: has no use without a unix: listener, since a TCP port cannot tell users "
        "apart; write listen: unix:/run/idtoken-proxy/proxy.sock"
    )
    assert told(ROUTE + users) == [no_socket]
    assert told(f"{ROUTE}{users}listen: localhost:1\nadmin: unix:/run/a.sock") == [no_socket]
    assert told(f"{ROUTE}{users}listen: [unix:/run/a.sock, localhost:1, localhost:2]") == [
        (
            "proxy.yaml:2: guard.allowed_uids: does not guard localhost:1: a TCP port cannot tell users apart, and any "
            "of them can reach it; listen on unix: sockets alone, or have callers send a secret (caller_token_file) in "
            "place of this"
        )
    ]


def test_a_listener_in_doubt_may_be_the_socket_that_is_asked_for() -> None:
    assert told(ROUTE + "guard: {allowed_uids: [0]}\nlisten: unix:a/") == [
        'proxy.yaml:3: listen: must be the path of a socket, such as unix:/run/idtoken-proxy/proxy.sock, not "unix:a/"'
    ]


def test_a_callers_secret_comes_from_a_file_and_in_a_header() -> None:
    found = settings(ROUTE + "guard: {caller_token_file: /run/secrets/caller}").guard
    assert (found.caller_token_file, found.caller_token_header) == (
        "/run/secrets/caller",
        "X-Idtoken-Proxy-Caller",
    )
    found = settings(ROUTE + "guard: {caller_token_file: ~/caller, caller_token_header: X-Mine}").guard
    assert found.caller_token_header == "X-Mine"


def test_a_header_without_a_secret_is_refused() -> None:
    assert told(ROUTE + "guard: {caller_token_header: X-Mine}") == [
        (
            "proxy.yaml:2: guard.caller_token_header: has no use without caller_token_file, which holds the secret; add "
            "it, or remove this key"
        )
    ]
    assert told(ROUTE + "guard: {caller_token_header: X-Mine, caller_token_fil: a}") == [
        'proxy.yaml:2: guard.caller_token_fil: unknown key; did you mean "caller_token_file"?'
    ]


# -- names --------------------------------------------------------------------


def routes(*keys: str) -> str:
    """A line each, from line 2, to a receiver and at a path of their own."""
    lines = (
        f"- {{upstream: 'https://x.a.run.app', match: {{path: /{i}}}, {each}}}\n"
        for i, each in enumerate(keys)
    )
    return "routes:\n" + "".join(lines)


def test_names_are_unique() -> None:
    assert told(routes("name: a", "name: b", "name: a", "name: a")) == [
        'proxy.yaml:4: routes[2].name: "a" is already the name of routes[0]; names must be unique',
        'proxy.yaml:5: routes[3].name: "a" is already the name of routes[0]; names must be unique',
    ]


@for_each(("one", "other"), [("a-b", "a_b"), ("profiles", "Profiles"), ("A-b-C", "a_B-c")])
def test_names_make_different_variables_for_a_wrapped_app(one: str, other: str) -> None:
    variable = f"{one.upper().replace('-', '_')}_URL"
    assert told(routes(f"name: {one}", f"name: {other}")) == [
        (
            f'proxy.yaml:3: routes[1].name: would set {variable} in a wrapped app, as routes[0] ("{one}") does; names must '
            'differ in more than case, "-" and "_"'
        )
    ]


def test_the_proxys_own_variable_is_taken() -> None:
    assert told(routes("name: idtoken-proxy")) == [
        (
            "proxy.yaml:2: routes[0].name: would set IDTOKEN_PROXY_URL, which is the proxy's own URL in a wrapped app; "
            "choose another name"
        )
    ]


# -- matches ------------------------------------------------------------------


@for_each(
    ("one", "other", "where"),
    [
        ("{}", "{path: /}", "any host, path /"),
        ("{path: /a}", "{path: /a/}", "any host, path /a"),
        ("{host: A.localhost}", "{host: a.localhost}", "a.localhost, path /"),
        ("{host: a.localhost, path: /b}", "{path: /b, host: a.localhost}", "a.localhost, path /b"),
    ],
)
def test_two_routes_may_not_match_the_same(one: str, other: str, where: str) -> None:
    text = "".join(
        f"- {{name: {name}, upstream: 'https://x.a.run.app', match: {match}}}\n"
        for name, match in (("a", one), ("b", other))
    )
    assert told(f"routes:\n{text}") == [
        (
            f"proxy.yaml:3: routes[1].match: matches the same requests as routes[0]: {where}; give one of them another "
            "path or host"
        )
    ]


def test_paths_and_hosts_that_differ_are_no_clash() -> None:
    assert (
        told(
            """
            routes:
            - {name: a, upstream: 'https://x.a.run.app'}
            - {name: b, upstream: 'https://x.a.run.app', match: {path: /a}}
            - {name: c, upstream: 'https://x.a.run.app', match: {path: /A}}
            - {name: d, upstream: 'https://x.a.run.app', match: {path: /a/b}}
            - {name: e, upstream: 'https://x.a.run.app', match: {path: /a, host: e.localhost}}
            """
        )
        == []
    )


# -- audiences ----------------------------------------------------------------


def one_route(keys: str, rest: str = "") -> list[str]:
    return [
        said.removeprefix("proxy.yaml:1: routes[0].")
        for said in told(f"routes: [{{name: a, {keys}}}]\n{rest}")
    ]


NO_USE = "audience: has no use on a public route (identity: none), which gets no token; remove one of the two"


def test_a_public_route_has_no_audience() -> None:
    assert one_route("upstream: 'https://x.com', identity: none") == []
    assert one_route("upstream: 'https://x.com'", "identity: none") == []
    assert one_route("upstream: 'https://x.com', audience: x, identity: none") == [NO_USE]
    assert one_route("upstream: 'https://x.com', audience: x", "identity: {type: none}") == [NO_USE]
    assert one_route("upstream: 'https://x.com', audience: x, identity: auto", "identity: none") == []


def test_an_audience_that_cannot_be_derived_must_be_said() -> None:
    assert one_route("upstream: 'https://x.com'") == [
        (
            "audience: cannot be derived from x.com: a custom domain needs the service's run.app URL or a registered "
            "custom audience; IAP needs its OAuth client ID"
        )
    ]
    assert one_route("upstream: 'https://x.com', audience: x") == []


IAP = "upstream: 'https://x.com', audience: 1-a.apps.googleusercontent.com"


def test_iap_reads_no_x_serverless_authorization() -> None:
    assert one_route(f"{IAP}, token_header: X-Serverless-Authorization") == [
        (
            "token_header: is not read by IAP, whose client ID is this route's audience: IAP reads Authorization and "
            "Proxy-Authorization only; write one of them, or auto"
        )
    ]
    for header in ("auto", "Authorization", "Proxy-Authorization"):
        assert one_route(f"{IAP}, token_header: {header}") == []
    assert one_route("upstream: 'https://x.a.run.app', token_header: X-Serverless-Authorization") == []


# -- JWTs that a service account signs ----------------------------------------

SIGNED = (
    "upstream: 'https://x.com', identity: {type: signed_jwt, service_account: a@b.iam.gserviceaccount.com"
)


def test_the_audience_of_a_signed_jwt_is_the_protected_url() -> None:
    (derived,) = settings(f"routes: [{{name: a, {SIGNED}}}}}]").routes
    assert derived.audience == "https://x.com/*"
    (said,) = settings(f"routes: [{{name: a, {SIGNED}}}, audience: 'https://x.com/app'}}]").routes
    assert said.audience == "https://x.com/app"
    (default,) = settings(
        "identity: {type: signed_jwt, service_account: a@b.c}\nroutes: [{name: a, upstream: 'https://a.a.run.app/b'}]"
    ).routes
    assert default.audience == "https://a.a.run.app/*"


def test_a_signed_jwt_is_not_for_an_oauth_client() -> None:
    assert one_route(f"{SIGNED}}}, audience: 1-a.apps.googleusercontent.com") == [
        (
            "audience: is an OAuth client ID, for which IAP takes an ID token alone; for a signed JWT write the protected "
            "URL, such as https://x.com/*, or leave it out"
        )
    ]


def test_a_signed_jwt_goes_where_iap_looks_for_it() -> None:
    assert one_route(f"{SIGNED}}}, token_header: X-Serverless-Authorization") == [
        (
            "token_header: is not read by IAP, for which this route's JWT is signed: IAP reads Authorization and "
            "Proxy-Authorization only; write one of them, or auto"
        )
    ]
    for header in ("auto", "Authorization", "Proxy-Authorization"):
        assert one_route(f"{SIGNED}}}, token_header: {header}") == []


NOBODY_ASKED = (
    "has no use beside key_file: with its key at hand, nobody is asked to sign; remove one of the two"
)


def test_a_key_at_hand_needs_nobody_who_asks_for_a_signature() -> None:
    assert one_route(f"{SIGNED}, key_file: a.json}}") == []
    assert one_route(f"{SIGNED}, source: gcloud}}") == []
    assert one_route(f"{SIGNED}, key_file: a.json, source: auto}}") == [f"identity.source: {NOBODY_ASKED}"]
    assert told(
        ROUTE + "identity: {type: signed_jwt, service_account: a@b.c, key_file: a.json, source: auto}"
    ) == [f"proxy.yaml:2: identity.source: {NOBODY_ASKED}"]


# -- certificates -------------------------------------------------------------


def test_a_ca_file_holds_a_certificate(tmp_path: Path) -> None:
    file = tmp_path / "ca.pem"
    trustme.CA().cert_pem.write_to_path(str(file))
    assert settings(f"{ROUTE}tls: {{ca_file: '{file}'}}").ca_file == str(file)
    file.write_text("hello")
    assert told(f"{ROUTE}tls: {{ca_file: '{file}'}}") == [
        f"proxy.yaml:2: tls.ca_file: {file} holds no certificate; it must be PEM (-----BEGIN CERTIFICATE-----)"
    ]
    file.unlink()
    assert told(f"{ROUTE}tls: {{ca_file: '{file}'}}") == [
        f"proxy.yaml:2: tls.ca_file: {file} cannot be read: No such file or directory"
    ]


def test_a_key_is_no_certificate(tmp_path: Path) -> None:
    file = tmp_path / "key.pem"
    trustme.CA().private_key_pem.write_to_path(str(file))
    (said,) = told(f"{ROUTE}tls: {{ca_file: '{file}'}}")
    assert "holds no certificate" in said


@for_each(
    ("listen", "upstream", "key"),
    [
        ("localhost:8080", "http://localhost:8080", "listen"),
        ("localhost:8080", "http://127.0.0.1:8080/base", "listen"),
        ("127.0.0.1:8080", "http://LOCALHOST:8080", "listen"),
        ("127.0.0.1:8080", "https://a.localhost:8080", "listen"),
        ("localhost:8080", "http://[::1]:8080", "listen"),
        ("localhost:8080", "http://[::ffff:127.0.0.1]:8080", "listen"),
        ("[localhost:1, localhost:80]", "http://localhost", "listen"),
        ("localhost:8080", "http://localhost:9090", "admin"),
    ],
)
def test_a_route_to_the_proxy_itself_is_refused(listen: str, upstream: str, key: str) -> None:
    text = f"listen: {listen}\nroutes: [{{name: a, upstream: '{upstream}'}}]\n"
    (said,) = told(text)
    assert said.startswith(f"proxy.yaml:2: routes[0].upstream: is the proxy itself ({key}: ")


@for_each(
    ("listen", "upstream"),
    [
        ("127.0.0.1:8080", "http://127.0.0.2:8080"),
        ("127.0.0.1:8080", "http://localhost:8081"),
        ("localhost:0", "http://localhost:8080"),
        ("unix:/run/p.sock", "http://localhost:8080"),
        ("localhost:443", "https://a.a.run.app"),
    ],
)
def test_a_route_to_somebody_else_is_not(listen: str, upstream: str) -> None:
    assert told(f"listen: {listen}\nroutes: [{{name: a, upstream: '{upstream}'}}]\n") == []


# -- the metadata server's face ------------------------------------------------


def test_to_listen_beyond_loopback_it_wants_a_consent_of_its_own() -> None:
    text = f"{ROUTE}allow_remote: true\nmetadata: {{listen: '0.0.0.0:8181'}}\n"
    (said,) = told(text)
    assert said.startswith(
        "proxy.yaml:3: metadata.listen: 0.0.0.0 can be reached from other machines, and whoever"
    )
    assert "metadata: {allow_remote: true}" in said
    assert told(f"{ROUTE}metadata: {{listen: '0.0.0.0:8181', allow_remote: true}}") == []
    assert told(f"{ROUTE}listen: 0.0.0.0:1\nmetadata: {{allow_remote: true}}") != []


@for_each(
    ("keys", "key", "said"),
    [
        (
            "{listen: 'localhost:8080'}",
            "metadata.listen",
            "localhost:8080 is already taken by listen; choose another port",
        ),
        ("{identity: none}", "metadata.identity", "none has no tokens"),
        (
            "{identity: {type: signed_jwt, key_file: k, service_account: a@b.iam.gserviceaccount.com}}",
            "metadata.identity",
            "signed_jwt signs what IAP takes",
        ),
        ("{scopes: [cloud-platform]}", "metadata.scopes[0]", ""),
        ("{scopes: ['https://www.googleapis.com/auth/pubsub']}", "metadata.scopes", "is about access tokens"),
        ("{audiences: [a b]}", "metadata.audiences[0]", ""),
        ("{listen: off}", "metadata.listen", "cannot be off"),
        ("{odd: 1}", "metadata.odd", ""),
    ],
)
def test_what_it_cannot_be(keys: str, key: str, said: str) -> None:
    (problem,) = told(f"{ROUTE}metadata: {keys}")
    assert problem.startswith(f"proxy.yaml:2: {key}: ")
    assert said in problem


def test_the_proxy_does_not_ask_itself() -> None:
    text = "metadata: {}\ngoogle: {metadata_host: 'localhost:8181'}"
    (problem,) = told(ROUTE + text)
    assert problem.startswith(
        "proxy.yaml:3: google.metadata_host: is the proxy itself (metadata.listen: localhost:8181)"
    )
    assert told("routes: [{name: a, upstream: 'http://127.0.0.1:8181'}]\nmetadata: {}") != []


def test_users_are_told_apart_on_a_unix_socket_alone() -> None:
    guarded = f"{ROUTE}listen: unix:p.sock\nguard: {{allowed_uids: [1]}}\n"
    assert told(f"{guarded}metadata: {{listen: unix:m.sock}}") == []
    (problem,) = told(f"{guarded}metadata: {{}}")
    assert "does not guard localhost:8181" in problem
