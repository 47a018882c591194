"""A `receive:` that contradicts itself or the rest, each mistake by its line and key."""

from __future__ import annotations

from pathlib import Path

import pytest
import trustme

from idtoken_proxy.errors import ConfigError
from idtoken_proxy.settings.load import settings_from_text
from idtoken_proxy.settings.model import PathRule, Settings, TcpAddress
from tests.cases import for_each

LISTENER = {
    "listen": "127.0.0.1:8443",
    "upstream": "http://127.0.0.1:3000",
    "audiences": "[https://orders.example.com]",
    "invokers": "['serviceAccount:login@my-project.iam.gserviceaccount.com']",
}


def text(before: str = "", /, **changes: str | None) -> str:
    own = {name: value for name, value in {**LISTENER, **changes}.items() if value is not None}
    return f"{before}receive:\n  - " + "\n    ".join(f"{name}: {value}" for name, value in own.items()) + "\n"


def settings_of(content: str) -> Settings:
    return settings_from_text(content, "proxy.yaml", {})


def mistake(content: str) -> str:
    with pytest.raises(ConfigError) as error:
        settings_of(content)
    return str(error.value)


def test_users_are_listed_for_a_socket_before_an_app_and_for_no_port() -> None:
    users = "guard: {allowed_uids: [0]}\n"
    assert settings_of(text(users, listen="unix:/run/orders.sock")).guard.allowed_uids == frozenset({0})
    assert "has no use without a unix: listener" in mistake(text(users))


def test_a_listener_alone_is_a_configuration_and_nothing_else_listens() -> None:
    settings = settings_of(text(paths="{/healthz: public}"))
    (inbound,) = settings.receive
    assert (settings.routes, settings.listen) == ((), ())
    assert (inbound.listen, inbound.name) == (TcpAddress("127.0.0.1", 8443), "receive 127.0.0.1:8443")
    assert inbound.rules == (
        PathRule("/", frozenset({"serviceAccount:login@my-project.iam.gserviceaccount.com"})),
        PathRule("/healthz", None),
    )
    assert inbound.issuers == ("google",)


def test_without_routes_and_listeners_the_routes_are_missing() -> None:
    assert "routes: is missing" in mistake("listen: localhost:8080\n")
    assert "routes: is missing" in mistake("listen: 7\n")


@for_each(
    ("changes", "key", "said"),
    [
        ({"listen": "0.0.0.0:8443"}, "listen", "in plain text; add tls"),
        ({"listen": "8443"}, "listen", "localhost:8443"),
        ({"upstream": "http://app:3000"}, "upstream", "in the clear"),
        ({"upstream": "http://localhost:8443"}, "upstream", "is the proxy itself"),
        ({"audiences": "[]"}, "audiences", "must not be empty"),
        ({"audiences": None}, "audiences", "is missing"),
        ({"invokers": "[]"}, "invokers", "list who may call, or say allUsers"),
        ({"invokers": None}, "invokers", "is missing"),
        ({"invokers": "[allUsers, 'user:a@example.com']"}, "invokers", "beside everybody"),
        (
            {"invokers": "[{principal: x, issuer: 'https://issuer.example.com'}]"},
            "invokers[0]",
            "add it: issuers",
        ),
        ({"issuers": "['https://issuer.example.com']"}, "invokers[0]", "is an account of Google's"),
        ({"issuers": "[]"}, "issuers", "must not be empty"),
        ({"paths": "{/a: open}"}, "paths", 'path "/a": must be public'),
        (
            {"paths": "{/a: [{principal: x, issuer: 'https://issuer.example.com'}]}"},
            "paths",
            "add it: issuers",
        ),
        ({"tls": "{cert_file: no.crt, key_file: no.key}"}, "tls.cert_file", "cannot be read"),
        ({"tls": "{cert_file: no.crt}"}, "tls.key_file", "is missing"),
        ({"invoker": "x"}, "invoker", "invokers"),
    ],
)
def test_one_mistake(changes: dict[str, str | None], key: str, said: str) -> None:
    problem = mistake(text(**changes))
    assert f"receive[0].{key}: " in problem, problem
    assert said in problem, problem
    assert problem.startswith("proxy.yaml:"), problem


def test_addresses_that_are_taken() -> None:
    routes = "routes: [{name: a, upstream: 'https://a.run.app'}]\nlisten: localhost:8443\n"
    assert "already taken by listen" in mistake(text(routes))
    assert "already taken by admin" in mistake(text("admin: localhost:8443\n"))
    twice = text() + text().removeprefix("receive:\n")
    assert "already taken by receive[0].listen" in mistake(twice)


def test_beyond_loopback_with_tls_or_where_something_else_encrypts(tmp_path: Path) -> None:
    certificate = trustme.CA().issue_cert("orders.example.com")
    certificate.cert_chain_pems[0].write_to_path(tmp_path / "tls.crt")
    certificate.private_key_pem.write_to_path(tmp_path / "tls.key")
    tls = f"{{cert_file: '{tmp_path}/tls.crt', key_file: '{tmp_path}/tls.key'}}"
    settings = settings_of(text(listen="0.0.0.0:8443", tls=tls))
    assert [named.path for named in settings.files] == [f"{tmp_path}/tls.crt", f"{tmp_path}/tls.key"]
    assert not any(named.reread for named in settings.files)  # a change of theirs is taken over
    settings_of(text(listen="0.0.0.0:8443", allow_plaintext="true"))
    trustme.CA().issue_cert("x").private_key_pem.write_to_path(tmp_path / "tls.key")
    assert "is the key of another certificate" in mistake(text(tls=tls))
    (tmp_path / "tls.key").write_text("nothing")
    assert "are no certificate and its key" in mistake(text(tls=tls))


def test_a_change_of_a_listener_is_another_configuration() -> None:
    assert settings_of(text()) == settings_of(text())
    assert settings_of(text()) != settings_of(text(invokers="[allUsers]"))
