from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from google.auth import crypt

from idtoken_proxy.emulator.federation import SERVICE, Aws, Oidc, Provider, pool_path
from idtoken_proxy.emulator.keys import SigningKey
from idtoken_proxy.emulator.world import ANYONE, Account, Iap, Service, World, agent_id
from idtoken_proxy.emulator.world_entries import DIGITS, NAME_SHAPE
from idtoken_proxy.emulator.world_file import load_world, parse_world
from idtoken_proxy.errors import ConfigError
from idtoken_proxy.settings.model import CLOUD_PLATFORM
from tests.cases import for_each

POOL_PATH = pool_path("123456789012", "outside")
SUBJECT = f"principal:{SERVICE}/{POOL_PATH}/subject/x"
LOGIN = "serviceAccount:login@my-project.iam.gserviceaccount.com"


def documented() -> str:
    text = (Path(__file__).parents[2] / "docs" / "emulator.md").read_text(encoding="utf-8")
    (shown,) = re.findall(r"^```yaml\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    return str(shown)


def test_the_documented_file_is_read(tmp_path: Path) -> None:
    file = tmp_path / "world.yaml"
    file.write_text(documented())
    assert load_world(str(file)) == World(
        project="my-project",
        number="123456789012",
        accounts=(
            Account("login@my-project.iam.gserviceaccount.com", default=True),
            Account(
                "search-indexer@my-project.iam.gserviceaccount.com",
                token_creators=frozenset(
                    {LOGIN, f"principalSet:{SERVICE}/{POOL_PATH}/attribute.repository/octo/app"}
                ),
            ),
            Account("dev@example.com"),
            Account(agent_id("helper")),
        ),
        services=(
            Service(
                "user-profiles",
                invokers=frozenset({LOGIN, "user:dev@example.com"}),
                port=8101,
                audiences=("https://profiles.example.com",),
            ),
            Service("intranet", frozenset({LOGIN}), iap=Iap("123-abc.apps.googleusercontent.com")),
            Service("resize", frozenset({LOGIN}), is_function=True),
            Service(
                "storage",
                frozenset({LOGIN}),
                api="storage",
                scopes=("https://www.googleapis.com/auth/devstorage.read_only", CLOUD_PLATFORM),
            ),
            Service("my-app", frozenset({LOGIN}), backend="http://localhost:3000"),
        ),
        providers=(
            Provider(
                "outside",
                "github",
                Oidc(
                    "https://token.actions.githubusercontent.com",
                    workload=(("sub", "repo:octo/app:ref:refs/heads/main"), ("repository", "octo/app")),
                ),
                (("repository", "repository"),),
            ),
            Provider(
                "outside",
                "azure",
                Oidc("https://sts.windows.net/00000000-0000-0000-0000-000000000001/", ("api://my-app",)),
            ),
            Provider("outside", "amazon", Aws("111122223333", "web", "eu-west-1")),
        ),
    )


def test_a_key_without_a_value_is_a_key_left_out() -> None:
    world = parse_world(
        "project:\naccounts: [{name: a, email: ~, default: }]\nservices: [{name: s, iap: {client_id: }, function: ~}]\n"
        "pools: [{name: p, providers: [{name: x, aws: , oidc: {issuer: x, jwks: }}]}]\n",
        "w.yaml",
    )
    assert world.services[0].iap == Iap(None)
    assert [account.email for account in world.accounts] == ["a@demo-project.iam.gserviceaccount.com"]


def test_a_short_file_takes_the_defaults() -> None:
    world = parse_world("{accounts: [], services: [{name: a, invokers: [allUsers]}]}", "w.yaml")
    assert world == World("demo-project", (), (Service("a", frozenset({ANYONE})),))


@for_each(
    ("text", "problems"),
    [
        ("", ["w.yaml: must be a mapping of keys to values, not nothing"]),
        ("- 1", ["w.yaml: must be a mapping of keys to values, not a list"]),
        ("x: [", ["w.yaml:1: not valid YAML: a value is missing, or a bracket or brace is not closed"]),
        (b"\xff\xfe\xff", ["w.yaml: not a text in UTF-8"]),
        (
            "accounts: 3\nservises: []\n",
            [
                "w.yaml:1: accounts: must be a list, not 3",
                'w.yaml:2: servises: unknown key; did you mean "services"?',
            ],
        ),
        (
            "accounts:\n- name: login\n  email: x@y\n- name: LOGIN\n- email: z\n  default: maybe\nservices: []\n",
            [
                "w.yaml:2: accounts[0]: one of name, email and agent says who it is",
                f'w.yaml:4: accounts[1].name: {NAME_SHAPE}, not "LOGIN"',
                'w.yaml:5: accounts[2].email: an email address belongs here, not "z"',
                'w.yaml:6: accounts[2].default: must be true or false, not "maybe"',
            ],
        ),
        (
            "accounts: []\nservices:\n- name: a\n  port: 65536\n  zzz: 1\n",
            [
                "w.yaml:4: services[0].port: a port from 0 to 65535 belongs here, not 65536",
                "w.yaml:5: services[0].zzz: unknown key; known here: name, invokers, region, port, audiences, iap, function, backend, api, scopes",
            ],
        ),
        (
            (
                "accounts: []\nservices:\n- {name: a, backend: 3000}\n- {name: b, backend: localhost:3000}\n"
                "- {name: c, backend: 'http://localhost'}\n- {name: d, backend: 'https://localhost:3000'}\n"
                "- {name: e, backend: 'http://localhost:3000/api'}\n- {name: f, backend: 'http://[::1]:0'}\n"
                "- {name: g, port: 3000, backend: 'http://localhost:3000'}\n- {name: h, bakend: x}\n"
            ),
            [
                "w.yaml:3: services[0].backend: must be a URL; write http://localhost:3000",
                "w.yaml:4: services[1].backend: must be a URL; write http://localhost:3000",
                "w.yaml:5: services[2].backend: says no port; write http://localhost:3000",
                'w.yaml:6: services[3].backend: must be http://HOST:PORT of an app, and no more, not "https://localhost:3000"',
                'w.yaml:7: services[4].backend: must be http://HOST:PORT of an app, and no more, not "http://localhost:3000/api"',
                'w.yaml:8: services[5].backend: "0" is no port; write a number from 1 to 65535',
                "w.yaml:9: services[6]: backend is this service itself; the app needs a port of its own",
                'w.yaml:10: services[7].bakend: unknown key; did you mean "backend"?',
            ],
        ),
        (
            (
                "accounts:\n- {name: a, default: true}\n- {name: login, default: true, token_creators: [b]}\n"
                "services:\n- name: s\n  port: 3\n  invokers: [a, loggin]\n- name: s\n  port: 3\n"
            ),
            [
                "w.yaml:3: accounts[1].default: accounts[0] has the same already",
                "w.yaml:3: accounts[1].token_creators[0]: no such account: 'b'",
                "w.yaml:7: services[0].invokers[1]: no such account: 'loggin'; 'login' is meant?",
                "w.yaml:8: services[1].name: services[0] has the same already",
                "w.yaml:9: services[1].port: services[0] has the same already",
            ],
        ),
        (
            "accounts: []\naccounts: []\nservices:\n- name: a\n  name: b\n",
            [
                "w.yaml:2: accounts: duplicate key; it stands on line 1 too, keep one",
                "w.yaml:5: services[0].name: duplicate key; it stands on line 4 too, keep one",
            ],
        ),
        (
            (
                "number: 12\naccounts: []\nservices:\n- name: a\n  iap: yes\n- name: b\n  function: 2\n"
                "- {name: c, iap: managed, function: 1}\n"
            ),
            [
                f"w.yaml:1: number: {DIGITS}, not 12",
                'w.yaml:5: services[0].iap: must be a mapping of keys to values, not "yes"',
                "w.yaml:7: services[1].function: 1 belongs here, as others are services, not 2",
                "w.yaml:8: services[2]: iap, function and api are front ends; one stands before it",
            ],
        ),
        (
            (
                "accounts: []\nservices: []\npools:\n- name: p\n  providers:\n  - name: a\n"
                "  - {name: b, aws: {account: '1'}}\n"
                "  - {name: c, oidc: {issuer: x, jwks: {keys: [{kty: RSA, kid: k, n: AQ, e: AQ, use: sig}]}}}\n"
                "  - {name: d, oidc: {issuer: x, jwks: {keys: [{kty: EC}, {kty: RSA, kid: '', n: 5, e: AQ}]}}}\n"
            ),
            [
                "w.yaml:6: pools[0].providers[0]: either oidc or aws says whom it trusts",
                f'w.yaml:7: pools[0].providers[1].aws.account: {DIGITS}, not "1"',
                "w.yaml:8: pools[0].providers[2].oidc.jwks.keys[0]: n and e make no RSA key",
                "w.yaml:9: pools[0].providers[3].oidc.jwks.keys[0].e: is missing",
                "w.yaml:9: pools[0].providers[3].oidc.jwks.keys[0].kid: is missing",
                'w.yaml:9: pools[0].providers[3].oidc.jwks.keys[0].kty: must be one of RSA, not "EC"',
                "w.yaml:9: pools[0].providers[3].oidc.jwks.keys[0].n: is missing",
                'w.yaml:9: pools[0].providers[3].oidc.jwks.keys[1].kid: must be printable text, and not empty, not ""',
                "w.yaml:9: pools[0].providers[3].oidc.jwks.keys[1].n: must be a string, not 5; put it in quotes",
            ],
        ),
        (
            (
                f"accounts:\n- name: a\n  token_creators:\n  - {SUBJECT}\n"
                f"services:\n- name: a\n  invokers:\n  - {SUBJECT}\n"
                "pools: [{name: p, providers: [{name: a, aws: &a {account: '111122223333'}}, {name: a, aws: *a}]},"
                " {name: p}]\n"
            ),
            [
                f"w.yaml:4: accounts[0].token_creators[0]: no such workload identity pool: {SUBJECT!r}",
                f"w.yaml:8: services[0].invokers[0]: no such account: {SUBJECT!r}",
                "w.yaml:9: pools[0].providers[1].name: providers[0] has the same already",
                "w.yaml:9: pools[1].name: pools[0] has the same already",
            ],
        ),
    ],
)
def test_every_mistake_is_told_with_its_line(text: str | bytes, problems: list[str]) -> None:
    with pytest.raises(ConfigError) as raised:
        parse_world(text, "w.yaml")
    assert [str(problem) for problem in raised.value.problems] == problems


def test_a_real_issuers_keys_are_taken_as_they_are_published() -> None:
    key = SigningKey.generate("issuer")
    jwks = json.dumps({"keys": [key.jwk]})
    text = "accounts: []\nservices: [{name: a, iap: managed}]\n"
    text += f"pools: [{{name: p, providers: [{{name: x, oidc: {{issuer: 'https://x', jwks: {jwks}}}}}]}}]\n"
    world = parse_world(text, "w.yaml")
    [provider] = world.providers
    assert isinstance(provider.trusts, Oidc)
    [(kid, pem)] = provider.trusts.keys
    assert kid == key.kid
    assert crypt.verify_signature(b"x", key.signer.sign(b"x"), pem)  # type: ignore[no-untyped-call]
    assert world.services[0].iap == Iap(None)
