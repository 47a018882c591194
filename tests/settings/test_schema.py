"""The schema says of a configuration what the loader says, as far as a schema can."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from idtoken_proxy.settings.document import Document
from idtoken_proxy.settings.schema import DIALECT, REFERENCE, json_schema, schema_of, schema_text
from idtoken_proxy.settings.schema_dsl import Entry, Items, Section, Table, choice_of
from idtoken_proxy.settings.schema_dsl import key as declared
from idtoken_proxy.settings.yaml_lines import read_yaml
from tests.cases import for_each
from tests.settings.told import told

CONFIG = Path(__file__).parents[2] / "config"
SCHEMA = json_schema()
TYPES: dict[str, Any] = {"object": dict, "array": list, "string": str, "boolean": bool, "null": type(None)}


def accepts(schema: dict[str, Any], value: Any) -> bool:
    """The part of JSON Schema that ours uses; a keyword that is not known here fails the test."""
    checks: dict[str, Callable[[Any], bool]] = {
        "$ref": lambda ref: accepts(SCHEMA["$defs"][ref.removeprefix("#/$defs/")], value),
        "anyOf": lambda forms: any(accepts(form, value) for form in forms),
        "type": lambda name: _is(name, value),
        "const": lambda const: value == const and type(value) is type(const),
        "enum": lambda words: value in words,
        "pattern": lambda pattern: re.search(pattern, value) is not None,
        "minLength": lambda least: len(value) >= least,
        "minItems": lambda least: not isinstance(value, list) or len(value) >= least,
        "items": lambda item: not isinstance(value, list) or all(accepts(item, each) for each in value),
        "minimum": lambda least: value >= least,
        "maximum": lambda most: value <= most,
        "exclusiveMinimum": lambda least: value > least,
        "required": lambda keys: set(keys) <= set(value),
        "properties": lambda keys: all(
            accepts(keys[key], item) for key, item in value.items() if key in keys
        ),
        "patternProperties": lambda patterns: all(said is True for said in patterns.values()),
        "additionalProperties": lambda other: (
            other
            or all(
                key in schema.get("properties", ())
                or any(re.search(pattern, key) for pattern in schema.get("patternProperties", ()))
                for key in value
            )
        ),
    }
    about = {"description", "default", "title", "$schema", "$defs"}
    return _is(schema.get("type"), value) and all(
        checks[keyword](said) for keyword, said in schema.items() if keyword not in about
    )


def _is(name: str | None, value: Any) -> bool:
    if name in ("integer", "number"):
        return isinstance(value, int | float if name == "number" else int) and not isinstance(value, bool)
    return name is None or isinstance(value, TYPES[name])


def plain(text: str) -> Any:
    return read_yaml(text, lambda value: value).tree


ROUTE = "{name: a, upstream: 'https://a.a.run.app'}"
GOOD = [
    f"routes: [{ROUTE}]",
    f"routes: [{ROUTE}]\nlisten: [localhost:1, localhost:2]\nadmin: off\n",
    f"routes: [{ROUTE}]\nadmin: false\nidentity: none\n",
    f"routes: [{ROUTE}]\nidentity: {{type: file, path: a}}\n",
    f"routes: [{ROUTE}]\nidentity: {{type: impersonated, service_account: a@b.c, source: gcloud}}\n",
    f"routes: [{ROUTE}]\nidentity: {{type: signed_jwt, service_account: a@b.c, source: {{type: user}}}}\n",
    f"routes: [{ROUTE}]\nidentity: {{type: signed_jwt, service_account: a@b.c, key_file: a.json}}\n",
    f"routes: [{ROUTE}]\nidentity: {{type: command, argv: [a, '{{audience}}']}}\n",
    f"routes: [{ROUTE}]\nlisten: unix:/run/a.sock\nguard: {{allowed_uids: [0, 4294967294]}}\n",
    f"routes: [{ROUTE}]\nguard: {{caller_token_file: a, caller_token_header: X-A, allowed_uids: null}}\n",
    f"routes: [{ROUTE}]\nidentity: metadata\ngoogle:\nlog: {{level: '${{LEVEL:-info}}'}}\n",
    f"routes: [{ROUTE}]\ntimeouts: {{connect: 5, idle: 5s, response: 1h30m, header: '0.5', drain: 500ms}}\n",
    f"routes: [{ROUTE}]\nlimits: {{header_bytes: 64KiB, connections: '${{N:-5}}'}}\n".replace(
        "'${N:-5}'", "5"
    ),
    f"routes: [{ROUTE}]\ntls: {{ca_file: null}}\negress_proxy: null\n",
    f"routes: [{ROUTE}]\negress_proxy: http://proxy:3128\n",
    f"routes: [{ROUTE}]\negress_proxy: HTTP://me:hunter2@[fd00::1]:3128/\n",
    "routes: [{name: a, upstream: 'http://localhost:1/b', match: {host: a.localhost, path: /x}, methods: [GET]}]",
    "routes: [{name: a, upstream: '${A:-https://a.a.run.app}', timeouts: {response: 1}, strip_prefix: true}]",
]
BAD = [
    "{}",
    "routes: []",
    "routes: [{name: a}]",
    "routes: [{name: a b, upstream: 'https://a.a.run.app'}]",
    "routes: [{name: a, upstream: 'ftp://a'}]",
    "routes: [{name: a, upstream: 'https://a.a.run.app', upstrem: x}]",
    "routes: [{name: a, upstream: 'https://a.a.run.app', methods: [get]}]",
    "routes: [{name: a, upstream: 'https://a.a.run.app', methods: [TRACE]}]",
    "routes: [{name: a, upstream: 'https://a.a.run.app', timeouts: {drain: 1s}}]",
    "routes: [{name: a, upstream: 'https://a.a.run.app', match: {path: a}}]",
    f"routes: [{ROUTE}]\nidentity: nobody\n",
    f"routes: [{ROUTE}]\nidentity: file\n",
    f"routes: [{ROUTE}]\nidentity: {{type: file}}\n",
    f"routes: [{ROUTE}]\nidentity: {{type: impersonated, service_account: a@b.c, source: none}}\n",
    f"routes: [{ROUTE}]\nidentity: {{type: impersonated, service_account: a@b.c, source: {{type: none}}}}\n",
    f"routes: [{ROUTE}]\nidentity: {{type: signed_jwt, service_account: '1'}}\n",
    f"routes: [{ROUTE}]\nidentity: {{type: command, argv: []}}\n",
    f"routes: [{ROUTE}]\nguard: {{allowed_uids: []}}\n",
    f"routes: [{ROUTE}]\nguard: {{allowed_uids: [4294967295]}}\n",
    f"routes: [{ROUTE}]\nguard: {{caller_token_header: 'a:b', caller_token_file: a}}\n",
    f"routes: [{ROUTE}]\nallow_remote: 1\n",
    f"routes: [{ROUTE}]\ntimeouts: {{connect: 5x}}\n",
    f"routes: [{ROUTE}]\ntimeouts: {{connect: ''}}\n",
    f"routes: [{ROUTE}]\ntimeouts: {{connect: 0}}\n",
    f"routes: [{ROUTE}]\nlimits: {{header_bytes: 64K}}\n",
    f"routes: [{ROUTE}]\nlimits: {{connections: 0}}\n",
    f"routes: [{ROUTE}]\negress_proxy: https://proxy:3128\n",
    f"routes: [{ROUTE}]\negress_proxy: http://proxy\n",
    f"routes: [{ROUTE}]\negress_proxy: http://me@proxy:3128\n",
    f"routes: [{ROUTE}]\negress_proxy: http://proxy:3128/x\n",
    f"routes: [{ROUTE}]\nlisten: []\n",
    f"routes: [{ROUTE}]\nlog: {{level: loud}}\n",
]


@for_each("text", GOOD)
def test_what_loads_is_accepted(text: str) -> None:
    assert told(text) == []
    assert accepts(SCHEMA, plain(text))


@for_each("text", BAD)
def test_what_does_not_load_is_not(text: str) -> None:
    assert told(text) != []
    assert not accepts(SCHEMA, plain(text))


@for_each("file", sorted(CONFIG.glob("*.yaml")), ids=lambda file: file.name)
def test_the_examples_are_accepted(file: Path) -> None:
    assert accepts(SCHEMA, yaml.safe_load(file.read_text()) | {"admin": None})
    assert accepts(SCHEMA, plain(file.read_text()))


def test_it_names_its_dialect_and_is_json() -> None:
    assert json.loads(schema_text())["$schema"] == DIALECT == SCHEMA["$schema"]


def test_every_key_is_described() -> None:
    for name, section in [("", SCHEMA), *SCHEMA["$defs"].items()]:
        for key, value in section["properties"].items():
            refers = [
                form["$ref"].removeprefix("#/$defs/") for form in value.get("anyOf", ()) if "$ref" in form
            ]
            told_there = any("description" in SCHEMA["$defs"][refer] for refer in refers)
            assert "description" in value or told_there or key == "type", f"{name}.{key}"


def test_what_this_version_has_not_yet_is_in_it() -> None:
    assert "universe_domain" in SCHEMA["$defs"]["Google"]["properties"]
    assert set(SCHEMA["properties"]) == set(Document.declared)


class Leaf(Entry):
    colour: str = declared(choice_of("red"), "Its colour.")


class Tree(Entry):
    by_name: dict[str, str] = declared(Table(choice_of("red", "green")), "Colours.", default={})
    leaves: dict[str, Leaf] = declared(Table(Section(Leaf)), "Leaves.", default={})
    rows: dict[str, list[Leaf]] = declared(Table(Items(Section(Leaf))), "Rows of leaves.", default={})


def test_a_mapping_with_keys_of_the_writers_choice_has_a_schema() -> None:
    made = schema_of(Tree, "A tree", (REFERENCE,))
    (of_words, _) = made["properties"]["by_name"]["anyOf"]
    assert of_words["type"] == "object"
    assert of_words["additionalProperties"]["anyOf"][0] == {"type": "string", "enum": ["red", "green"]}
    (of_entries, _) = made["properties"]["leaves"]["anyOf"]
    assert of_entries["additionalProperties"] == {"$ref": "#/$defs/Leaf"}
    (of_lists, _) = made["properties"]["rows"]["anyOf"]
    assert of_lists["additionalProperties"] == {"type": "array", "items": {"$ref": "#/$defs/Leaf"}}
    assert made["$defs"]["Leaf"]["required"] == ["colour"]
