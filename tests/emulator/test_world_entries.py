"""The declaration, its schema and the document say one thing."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]

from idtoken_proxy.emulator.world_entries import JwkEntry, WorldEntry, world_schema
from idtoken_proxy.emulator.world_file import parse_world
from idtoken_proxy.errors import ConfigError
from idtoken_proxy.settings.schema import schema_text
from idtoken_proxy.settings.schema_dsl import Entry, Items, Section
from tests.cases import for_each
from tests.emulator.test_world_file import documented

ROOT = Path(__file__).parents[2]
SCHEMA = json.loads(schema_text(world_schema()))


def accepts(value: Any) -> bool:
    return bool(Draft202012Validator(SCHEMA).is_valid(value))


def test_it_is_a_schema_and_the_documented_files_fit_it() -> None:
    Draft202012Validator.check_schema(SCHEMA)
    assert accepts(yaml.safe_load(documented()))
    assert accepts(yaml.safe_load((ROOT / "deploy" / "compose" / "world.yaml").read_text()))


@for_each(
    "text",
    [
        "{accounts: []}",
        "{accounts: 3, services: []}",
        "{accounts: [{name: LOGIN}], services: []}",
        "{accounts: [{email: z}], services: []}",
        "{accounts: [{name: a, default: maybe}], services: []}",
        "{accounts: [], services: [{name: a, port: 65536}]}",
        "{accounts: [], services: [{name: a, zzz: 1}]}",
        "{accounts: [], services: [{name: a, iap: yes}]}",
        "{accounts: [], services: [{name: a, function: 2}]}",
        "{accounts: [], services: [{name: a, backend: 3000}]}",
        "{accounts: [], services: [{name: a, backend: 'https://localhost:3000'}]}",
        "{accounts: [], services: [{name: a, backend: 'http://localhost'}]}",
        "{accounts: [], services: [], number: 12}",
        "{accounts: [], services: [], number: '${NUMBER}'}",
        "{accounts: [], services: [], pools: [{name: p, providers: [{name: a, oidc: {issuer: x, jwks: {keys: []}}}]}]}",
    ],
)
def test_what_the_reading_refuses_by_its_shape_the_schema_refuses(text: str) -> None:
    with pytest.raises(ConfigError):
        parse_world(text, "w.yaml")
    assert not accepts(yaml.safe_load(text))


@for_each(
    "text",
    [
        "{accounts: [], services: []}",
        "{accounts: [{name: a, email: null}], services: [{name: a, iap: managed}, {name: b, function: 1, port: 0}]}",
        "{accounts: [], services: [{name: a, backend: 'http://[::1]:3000'}, {name: b, backend: 'http://app:1/'}]}",
    ],
)
def test_what_the_reading_takes_the_schema_takes(text: str) -> None:
    parse_world(text, "w.yaml")
    assert accepts(yaml.safe_load(text))


def test_every_key_is_described() -> None:
    for entry in every_entry(WorldEntry):
        assert all(declared.description for declared in entry.declared.values()), entry


def test_the_document_shows_a_file_with_every_key_there_is() -> None:
    shown = documented()
    for entry in every_entry(WorldEntry):
        missing = [name for name in entry.declared if not re.search(rf"\b{name}:", shown)]
        assert entry is JwkEntry or not missing, (entry, missing)


def every_entry(entry: type[Entry]) -> set[type[Entry]]:
    found = {entry}
    for declared in entry.declared.values():
        kind = declared.kind.item if isinstance(declared.kind, Items) else declared.kind
        if isinstance(kind, Section):
            found |= every_entry(kind.entry)
    return found
