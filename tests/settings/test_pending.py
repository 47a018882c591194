from __future__ import annotations

import pytest

from proxy.settings.pending import PENDING, pending
from tests.settings.told import ROUTE, told

KEY = "remove the key"
TCP = "write HOST:PORT, such as localhost:8080"
IDENTITY = "use auto, none, metadata, service_account or file"
IMPERSONATED = "type: impersonated, service_account: a@b.iam.gserviceaccount.com"

# The line of a configuration -> the keys that it is told of.
CASES = [
    ("rewrite: {}", ["rewrite"], KEY),
    ("rewrite: {location: true}", ["rewrite"], KEY),
    ("rewrite: {origin: false}", ["rewrite"], KEY),
    ("guard: {allowed_origins: ['https://a.com']}", ["guard.allowed_origins"], KEY),
    ("egress_proxy: http://proxy:3128", ["egress_proxy"], KEY),
    ("google: {iam_endpoint: 'https://a.com'}", ["google.iam_endpoint"], KEY),
    ("google: {sts_endpoint: 'https://a.com'}", ["google.sts_endpoint"], KEY),
    ("google: {universe_domain: a.com}", ["google.universe_domain"], KEY),
    ("listen: unix:/run/a.sock", ["listen"], TCP),
    ("listen: [localhost:1, unix:/run/a.sock]", ["listen[1]"], TCP),
    ("admin: unix:/run/a.sock", ["admin"], TCP),
    ("identity: user", ["identity"], IDENTITY),
    ("identity: gcloud", ["identity"], IDENTITY),
    ("identity: {type: user}", ["identity.type"], IDENTITY),
    ("identity: {type: gcloud, account: a@b.c}", ["identity.type"], IDENTITY),
    (f"identity: {{{IMPERSONATED}}}", ["identity.type"], IDENTITY),
    (f"identity: {{{IMPERSONATED}, source: gcloud}}", ["identity.type", "identity.source"], IDENTITY),
    ("identity: {type: external_account, config_file: a.json}", ["identity.type"], IDENTITY),
    ("identity: {type: command, argv: [a]}", ["identity.type"], IDENTITY),
]


@pytest.mark.parametrize(("line", "keys", "instead"), CASES)
def test_what_is_still_to_come_is_refused_with_its_line(line: str, keys: list[str], instead: str) -> None:
    assert told(ROUTE + line) == [
        f"proxy.yaml:2: {key}: not in this version yet (0.1); {instead}" for key in keys
    ]


def test_every_row_is_tested() -> None:
    lines = {
        feature for line, _, _ in CASES for feature in PENDING if all(w in line for w in feature.split(": "))
    }
    assert len(CASES) >= len(PENDING)
    assert {feature for feature in PENDING if ":" in feature} <= lines


@pytest.mark.parametrize(
    "line",
    [
        "rewrite:",
        "rewrite: null",
        "guard: {allowed_origins: []}",
        "guard: {allowed_origins: null}",
        "egress_proxy: null",
        "google: {}",
        "google: {iam_endpoint: null, metadata_host: 'localhost:8090', token_endpoint: 'http://localhost:8090/token'}",
        "identity: auto",
        "identity: metadata",
        "identity: {type: service_account, key_file: a.json}",
        "identity: {type: file, path: a.jwt}",
    ],
)
def test_what_says_no_more_than_the_default_passes(line: str) -> None:
    assert told(ROUTE + line) == []


def test_a_route_is_told_of_even_where_something_else_is_wrong_with_it() -> None:
    assert told("routes:\n- name: a\n  upstream: x\n  identity: gcloud\n") == [
        'proxy.yaml:3: routes[0].upstream: must be a URL that begins with https://, not "x"',
        f"proxy.yaml:4: routes[0].identity: not in this version yet (0.1); {IDENTITY}",
    ]


def test_what_is_to_come_is_validated_all_the_same_and_told_once() -> None:
    assert told(ROUTE + "egress_proxy: ftp://a\nidentity: {type: gcloud, acount: a@b.c}\n") == [
        'proxy.yaml:2: egress_proxy: must be http://HOST:PORT, not "ftp://a"',
        'proxy.yaml:3: identity.acount: unknown key; did you mean "account"?',
        f"proxy.yaml:3: identity.type: not in this version yet (0.1); {IDENTITY}",
    ]


def test_other_keys_of_the_same_names_are_none_of_its_business() -> None:
    assert (
        list(pending({"log": {"identity": "gcloud", "rewrite": 1}, "identity": 5, "listen": 5, "x": [[1]]}))
        == []
    )
