"""What the README and docs/ tell to paste works: every configuration loads, every identity gets a receiver's 200, every option exists."""

from __future__ import annotations

import asyncio
import json
import re
import shlex
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import aiohttp
import click
import pytest

from idtoken_proxy.cli import commands
from idtoken_proxy.emulator import Account, Emulator, Service, World
from idtoken_proxy.emulator.consent import CLIENT
from idtoken_proxy.emulator.federation import SERVICE, Oidc, Provider, pool_path
from idtoken_proxy.emulator.keys import Keys
from idtoken_proxy.emulator.world import PROJECT_NUMBER, Iap, service_account_email
from idtoken_proxy.server import Server
from idtoken_proxy.settings.document import Document
from idtoken_proxy.settings.environment import OVERRIDES
from idtoken_proxy.settings.identities import BY_TYPE, ENTRIES, NoIdentity
from idtoken_proxy.settings.load import settings_from_text
from idtoken_proxy.settings.model import Settings
from idtoken_proxy.settings.schema_dsl import Entry, Items, Section
from tests.cases import for_each
from tests.identity.sources.emulated import logged_in

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
DOCUMENTS = {path: path.read_text() for path in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))}
# Of other programs: of the emulator, of a page's development server.
NOT_OURS = {"emulator.md", "dev-servers.md", "threat-model.md"}
TOLD = "\n".join(text for path, text in DOCUMENTS.items() if path.name not in NOT_OURS)
FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
# What is no configuration of the proxy says so in its first line.
ELSEWHERE = ("# .github/workflows/", "# of the pod")
ROUTE = "\nroutes: [{name: user-profiles, upstream: 'https://user-profiles-x7f3kq-uc.a.run.app'}]\n"


def blocks(kind: str, text: str = TOLD) -> list[str]:
    return [body for found, body in FENCE.findall(text) if found == kind]


CONFIGURATIONS = [body for body in blocks("yaml") if not body.startswith(ELSEWHERE)]
IDENTITIES = [body for body in CONFIGURATIONS if "identity:" in body and "listen:" not in body]


def whole(body: str) -> str:
    return body if "routes:" in body else body + ROUTE


@for_each("body", CONFIGURATIONS)
def test_every_configuration_loads(body: str) -> None:
    assert settings_from_text(whole(body), "proxy.yaml", {"HOME": "/home/me"}).routes


def test_every_identity_is_shown() -> None:
    shown = {
        type(route.identity).type
        for body in IDENTITIES
        for route in settings_from_text(whole(body), "proxy.yaml", {}).routes
    }
    assert shown == set(BY_TYPE)


def test_the_table_of_identities_is_the_declarations() -> None:
    rows = [f"| `{kind}` | {keys_of(entry)} | {tokens_of(kind)} |" for kind, entry in ENTRIES.items()]
    head = "| `type` | keys (those that may be left out in brackets) | tokens |\n|---|---|---|\n"
    assert TOLD.partition(head)[2].partition("\n\n")[0].splitlines() == rows


def keys_of(entry: type[Entry]) -> str:
    told = (f"`{name}`" if key.required else f"[`{name}`]" for name, key in entry.declared.items())
    return ", ".join(told) or "none"


def sections(entry: type[Entry], name: str = "") -> Iterator[tuple[str, str]]:
    """(section, key) of every key that a configuration takes, but for those of identities."""
    for key, taken in entry.declared.items():
        yield name, key
        one = taken.kind.item if isinstance(taken.kind, Items) else taken.kind
        if isinstance(one, Section):
            yield from sections(one.entry, key)


def test_every_key_is_told_of() -> None:
    """As a key of YAML or as `key`, not as a word that happens to be one."""
    missing = {
        f"{section}: {key}"
        for section, key in sections(Document)
        if not re.search(rf"(?m)[`.{{,\s]{key}(: |:$|`)", TOLD)
    }
    assert not missing


def tokens_of(kind: str) -> str:
    if kind == "none":
        return "none"
    return "ID, access" if BY_TYPE[kind].has_access_tokens else "ID"


def test_every_command_and_option_exists() -> None:
    told = 0
    for line in "".join(blocks("sh")).replace("\\\n", " ").splitlines():
        for found in re.findall(r"idtoken-proxy ([^)&]*)", line):
            name, *argv = shlex.split(found, comments=True)
            command = commands.commands[name]
            command.make_parser(click.Context(command)).parse_args(argv)
            told += 1
    for found in re.findall(r"`idtoken-proxy (\w+)", TOLD):
        assert found in commands.commands
    assert told >= 5
    assert {name for name in commands.commands if f"| `idtoken-proxy {name}" in README} == set(
        commands.commands
    )


def test_every_variable_that_overrides_a_key_is_named() -> None:
    assert all(f"`{name}`" in TOLD for name in OVERRIDES)


def test_the_readme_is_short() -> None:
    assert len(README.splitlines()) <= 200


def anchors_of(text: str) -> set[str]:
    """As GitHub makes them of headings."""
    headings = re.findall(r"^#+ (.*)$", FENCE.sub("", text), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@for_each("document", DOCUMENTS)
def test_links_within_lead_somewhere(document: Path) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", FENCE.sub("", DOCUMENTS[document])):
        if re.match(r"[a-z]+:", link):
            continue
        place, _, anchor = link.partition("#")
        target = (document.parent / place).resolve() if place else document
        assert target.exists(), link
        if anchor:
            assert anchor in anchors_of(target.read_text()), link


def test_every_document_is_found_from_the_readme() -> None:
    for document in DOCUMENTS:
        assert document.name == "README.md" or f"(docs/{document.name}" in README


# -- pasted, against the local Google -----------------------------------------

PROJECT = "my-project"
POOL = f"principalSet:{SERVICE}/{pool_path(PROJECT_NUMBER, 'my-pool')}/*"
DEVELOPER = Account("YOU@example.com")
FIRST = Account(service_account_email("first", PROJECT))
MIDDLE = Account(service_account_email("middle", PROJECT), token_creators=frozenset({FIRST.member}))
CALLER = Account(
    service_account_email("caller", PROJECT),
    default=True,
    token_creators=frozenset({DEVELOPER.member, MIDDLE.member, POOL}),
)
EVERYONE = (CALLER, MIDDLE, FIRST, DEVELOPER)
INVOKERS = frozenset({CALLER.member, DEVELOPER.member})
WORLD = World(
    project=PROJECT,
    accounts=EVERYONE,
    services=(
        Service("user-profiles", INVOKERS),
        Service("own-login", INVOKERS, iap=Iap(CLIENT)),
        Service("own-client", INVOKERS, iap=Iap("123456789-abcdef.apps.googleusercontent.com")),
        Service("managed-client", INVOKERS, iap=Iap(None)),
        Service("weather", frozenset({"allUsers"})),
    ),
    providers=(Provider("my-pool", "my-provider", Oidc("https://github.example.com")),),
)
AUTO_FILE = "login.json"
GCLOUD = """\
#!/bin/sh
case "$*" in
  "config list --format=json") echo '{"core": {"account": "CALLER"}}' ;;
  "auth print-identity-token --audiences=AUDIENCE") echo TOKEN ;;
  *) echo "not in the README: $*" >&2; exit 1 ;;
esac
"""
PRINT_ID_TOKEN = """\
#!/bin/sh
test "$*" = "--audience AUDIENCE" && test "$IDTOKEN_PROXY_AUDIENCE" = AUDIENCE && echo TOKEN
"""


@pytest.fixture
async def emulator(keys: Keys) -> AsyncIterator[Emulator]:
    async with Emulator(WORLD, keys=keys) as running:
        yield running


def pasted(body: str, emulator: Emulator, directory: Path) -> tuple[Settings, dict[str, str]]:
    """The configuration with the emulator's receivers in place of Google's, beside the files that it names; and the
    environment with its commands.
    """
    client = "apps.googleusercontent.com" in body
    receiver = (
        "own-login"
        if CLIENT in body
        else "own-client"
        if client
        else "managed-client"
        if "signed_jwt" in body
        else "user-profiles"
    )
    text = whole(body)
    for url, name in (
        ("https://admin.example.com", receiver),
        ("https://intranet.example.com", receiver),
        ("https://user-profiles-x7f3kq-uc.a.run.app", receiver),
        ("https://api.weather.gov", "weather"),
    ):
        text = text.replace(url, emulator.urls[name])
    token = emulator.mint("caller", emulator.urls["user-profiles"])
    google = f"iam_endpoint: {emulator.iam_endpoint}, sts_endpoint: {emulator.sts_endpoint}"
    text = text.replace("/run/secrets/id-token", str(directory / "id-token")) + (
        f"\nlisten: 127.0.0.1:0\nadmin: off\ngoogle: {{metadata_host: '{emulator.metadata_host}', {google}}}\n"
    )
    (directory / "id-token").write_text(token)
    for account, name in (("caller", "caller.json"), ("first", "first.json"), (DEVELOPER.email, AUTO_FILE)):
        (directory / name).write_text(json.dumps(emulator.key_file(account)))
    logged_in(emulator, directory)
    federation = emulator.external_account("my-provider", "url", impersonate="caller")
    (directory / "federation.json").write_text(json.dumps(federation))
    for name, script in (("gcloud", GCLOUD), ("print-id-token", PRINT_ID_TOKEN)):
        for word, value in (
            ("CALLER", CALLER.email),
            ("AUDIENCE", emulator.urls["user-profiles"]),
            ("TOKEN", token),
        ):
            script = script.replace(f" {word}", f" {value}").replace(f'"{word}"', f'"{value}"')  # noqa: PLW2901
            script = script.replace(f"={word}", f"={value}")  # noqa: PLW2901
        (directory / name).write_text(script)
        (directory / name).chmod(0o700)
    environ = {
        "PATH": f"{directory}:/usr/bin:/bin",
        "HOME": str(directory),
        "XDG_STATE_HOME": str(directory),
        "GOOGLE_APPLICATION_CREDENTIALS": str(directory / AUTO_FILE),
    }
    return settings_from_text(text, str(directory / "proxy.yaml"), environ), environ


@pytest.mark.parametrize("body", IDENTITIES)
async def test_every_identity_gets_through(body: str, emulator: Emulator, tmp_path: Path) -> None:
    settings, environ = await asyncio.to_thread(pasted, body, emulator, tmp_path)
    server = Server(settings, environ)
    await server.start()
    try:
        async with aiohttp.ClientSession() as client, client.get(f"http://{server.addresses[0]}/") as answer:
            assert answer.status == 200, await answer.text()
            told = await answer.json()
    finally:
        await server.stop(drain=0)
    identity = settings.routes[0].identity
    if not isinstance(identity, NoIdentity):
        as_user = identity.type in ("auto", "user", "oauth")
        assert told["caller"] == (DEVELOPER if as_user else CALLER).email
