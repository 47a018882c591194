from __future__ import annotations

from typing import Any

from idtoken_proxy.settings.doubts import audience_doubt, doubts
from idtoken_proxy.settings.identities import SignedJwtIdentity
from idtoken_proxy.settings.load import settings_from_text
from idtoken_proxy.settings.model import Route, Settings, Upstream
from tests.cases import for_each

HASH = "profiles-x7f3kq2abc-uc.a.run.app"
NUMBER = "profiles-123456789012.us-central1.run.app"
FUNCTION = "us-central1-shop.cloudfunctions.net"


def route(audience: str | None, host: str = HASH, **more: Any) -> Route:
    return Route("shop", Upstream("https", host, 443), audience, **more)


@for_each(
    ("audience", "says", "right"),
    [
        (f"https://canary---{HASH}", "a traffic tag's URL", f"https://{HASH}"),
        (f"https://Canary---{NUMBER}/", "a traffic tag's URL", f"https://{NUMBER}"),
        (f"canary---{NUMBER}", "a traffic tag's URL", f"https://{NUMBER}"),
        ("https://profiles-123.us-central1.mtls.run.app", "mutual TLS", "the service's run.app URL"),
        (f"http://{HASH}", "does not begin with https://", f"https://{HASH}"),
        (HASH, "does not begin with https://", f"https://{HASH}"),
        (f"https://{HASH}/", "has a path", f"https://{HASH}"),
        (f"https://{NUMBER}/v1?x=1", "has a path", f"https://{NUMBER}"),
        (f"https://{HASH.title()}", "not written as Google writes", f"https://{HASH}"),
        (f"https://{HASH}.", "not written as Google writes", f"https://{HASH}"),
        (f"https://{HASH}:443", "not written as Google writes", f"https://{HASH}"),
        (f"HTTPS://{HASH}", "not written as Google writes", f"https://{HASH}"),
        (f"https://{FUNCTION}", "lacks the function's name", f"https://{FUNCTION}/FUNCTION"),
        (f"https://{FUNCTION}/", "lacks the function's name", f"https://{FUNCTION}/FUNCTION"),
        (f"https://{FUNCTION}/resize/", "not written as Google writes", f"https://{FUNCTION}/resize"),
        (f"http://{FUNCTION}/resize", "does not begin with https://", f"https://{FUNCTION}/resize"),
    ],
)
def test_what_google_will_not_take(audience: str, says: str, right: str) -> None:
    doubt = audience_doubt(route(audience))
    assert doubt is not None
    assert says in doubt
    assert f"; write {right}" in doubt
    assert doubt.count("; ") == 1  # what is wrong, and what mends it


@for_each(
    "audience",
    [
        None,
        f"https://{HASH}",
        f"https://{NUMBER}",
        f"https://{FUNCTION}/resize",
        "https://api.shop.example/",
        "shop",
        "https://canary---shop.example",
        "55-a.apps.googleusercontent.com",
        "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/a/providers/b",
        "https://evilrun.app",
        "https://profiles.run.app.evil.example/x",
        "http://localhost:3000/",
    ],
)
def test_what_is_as_it_should_be_or_nobodys_to_judge(audience: str | None) -> None:
    assert audience_doubt(route(audience)) is None


def test_a_signed_jwt_is_for_iap() -> None:
    assert audience_doubt(route(f"https://{HASH}/*", identity=SignedJwtIdentity("a@b"))) is None


def test_all_routes_are_looked_at() -> None:
    routes = (route(f"https://{HASH}"), route(f"http://{HASH}"), route(f"https://{HASH}/v1"))
    assert [at for at, _ in doubts(Settings(routes=routes))] == [
        ("routes", 1, "audience"),
        ("routes", 2, "audience"),
    ]


TEXT = f"""
routes:
  - name: a
    upstream: https://canary---{HASH}
    match: {{path: /a}}
  - name: b
    upstream: https://canary---{HASH}
    match: {{path: /b}}
    audience: https://canary---{HASH}
"""


def test_the_settings_know_where_it_stands() -> None:
    settings = settings_from_text(TEXT, "proxy.yaml", {})
    assert settings.routes[0].audience == f"https://{HASH}"
    assert settings.routes[0].upstream.host == f"canary---{HASH}"
    [warning] = settings.warnings
    assert str(warning).startswith(
        f"proxy.yaml:9: routes[1].audience: https://canary---{HASH} is a traffic tag's URL"
    )


@for_each(
    ("guard", "host", "named"),
    [
        (
            "{allowed_hosts: [proxy.test, localhost, app.localhost]}",
            None,
            ["proxy.yaml:2: guard.allowed_hosts[0]"],
        ),
        ("{}", "profiles.corp.example", ["proxy.yaml:1: routes[0].match.host"]),
        ("{}", "profiles.localhost", []),
        ("{allowed_hosts: [proxy.test], unverified_pages: allow}", "a.example", []),
        ("{allowed_hosts: [proxy.test], caller_token_file: secret}", "a.example", []),
    ],
)
def test_a_name_under_which_programs_are_refused_is_told_of(
    guard: str, host: str | None, named: list[str]
) -> None:
    match = "" if host is None else f", match: {{host: {host}}}"
    text = f"routes: [{{name: a, upstream: 'https://{HASH}'{match}}}]\nguard: {guard}\n"
    warnings = settings_from_text(text, "proxy.yaml", {}).warnings
    assert [str(warning).partition(": requests under")[0] for warning in warnings] == named
    assert all("unverified_pages: allow" in str(warning) for warning in warnings)


@for_each(
    ("line", "key", "says"),
    [
        ("audience: $AUD", "routes[0].audience", "write ${AUD}"),
        ("audience: $AUD/x", "routes[0].audience", "write ${AUD}"),
        ("match: {path: '/api/*'}", "routes[0].match.path", "write /api"),
        ("match: {path: '/*'}", "routes[0].match.path", "write /"),
        ("match: {path: '/api/**/x'}", "routes[0].match.path", "write /api"),
    ],
)
def test_what_other_tools_would_expand_is_taken_to_the_letter(line: str, key: str, says: str) -> None:
    text = f"routes:\n- name: a\n  upstream: https://{HASH}\n  {line}\n"
    [warning] = settings_from_text(text, "proxy.yaml", {}).warnings
    assert (warning.key, warning.line) == (key, 4)
    assert warning.message.endswith(says)


API = "routes: [{name: storage, upstream: 'https://storage.googleapis.com'}]\n"
REMOTE = "listen: 0.0.0.0:8080\nallow_remote: true\n"


@for_each(
    ("text", "keys"),
    [
        (API, []),
        (API + REMOTE, ["allow_remote"]),
        (API + "guard: {unverified_pages: allow}", ["guard.unverified_pages"]),
        (API + REMOTE + "guard: {caller_token_file: /s, unverified_pages: allow}", []),
        (REMOTE + "routes: [{name: a, upstream: 'https://a.a.run.app'}]", []),
    ],
)
def test_whom_google_s_apis_are_open_to(text: str, keys: list[str]) -> None:
    found = settings_from_text(text, "proxy.yaml", {}).warnings
    assert [warning.key for warning in found] == keys
    assert all("by route storage, as its identity" in warning.message for warning in found)
