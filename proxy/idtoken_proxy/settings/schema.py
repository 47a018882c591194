"""The JSON Schema of the configuration, for editors: what the YAML accepts, as far as a schema can say it."""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterator
from typing import Any, Final

from idtoken_proxy.settings import model
from idtoken_proxy.settings.document import Document
from idtoken_proxy.settings.identities import words
from idtoken_proxy.settings.schema_dsl import (
    EXTENSION,
    TAG,
    Entry,
    Form,
    Items,
    Key,
    Kind,
    Scalar,
    Section,
    Table,
    Tagged,
)

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
REFERENCE: Final = {"type": "string", "pattern": r"\$\{"}  # what a variable holds is checked at load
NULL: Final = {"type": "null"}


def json_schema() -> dict[str, Any]:
    return schema_of(Document, "Configuration of idtoken-proxy", (REFERENCE,))


def schema_of(document: type[Entry], title: str, anywhere: tuple[Form, ...] = ()) -> dict[str, Any]:
    """The schema of a file declared as an Entry. `anywhere`: what may replace any single value."""
    inner = {entry.__name__: _mapping(entry, anywhere) for entry in _reached(document, set())}
    whole = _mapping(document, anywhere)
    return {"$schema": DIALECT, "title": title, "$defs": dict(sorted(inner.items())), **whole}


def schema_text(schema: dict[str, Any] | None = None) -> str:
    """The schema of the configuration, or of another file, as text."""
    return json.dumps(schema or json_schema(), indent=2)


def _reached(entry: type[Entry], before: set[type[Entry]]) -> Iterator[type[Entry]]:
    """All mappings within it, each once."""
    for declared in entry.declared.values():
        for inner in _entries(declared.kind):
            if inner not in before:
                before.add(inner)
                yield inner
                yield from _reached(inner, before)


def _entries(kind: Kind[object]) -> list[type[Entry]]:
    match kind:
        case Items() | Table():
            return _entries(kind.item)
        case Section():
            return [kind.entry]
        case Tagged():
            return list(kind.entries().values())
        case _:
            return []


def _mapping(entry: type[Entry], anywhere: tuple[Form, ...]) -> dict[str, Any]:
    tag = {TAG: {"type": "string", "const": entry.tag}} if entry.tag else {}
    about = {"description": inspect.cleandoc(entry.__doc__)} if entry.__doc__ else {}
    required = [*tag, *(name for name, declared in entry.declared.items() if declared.required)]
    return {
        **about,
        "type": "object",
        "properties": {**tag, **_properties(entry, anywhere)},
        **({"required": required} if required else {}),
        **({"anyOf": [{"required": [name]} for name in entry.one_of]} if entry.one_of else {}),
        **({"patternProperties": {f"^{EXTENSION}": True}} if entry.extensible else {}),
        "additionalProperties": entry.lenient,
    }


def _properties(entry: type[Entry], anywhere: tuple[Form, ...]) -> dict[str, Any]:
    return {name: _property(declared, anywhere) for name, declared in entry.declared.items()}


def _property(declared: Key, anywhere: tuple[Form, ...]) -> dict[str, Any]:
    """Optional keys may be null, because a key without a value counts as left out."""
    forms = _forms(declared.kind, anywhere)
    if not declared.required:
        forms.append(NULL)
    return {**_one_of(forms), "description": declared.description, **_default(declared)}


def _default(declared: Key) -> dict[str, object]:
    """The default as a file would write it. A mapping's keys have their own."""
    match declared.default:
        case bool() | int() | float() | str() as value:
            return {"default": value}
        case model.TcpAddress() | [model.TcpAddress()] as address:
            return {"default": str(address[0] if isinstance(address, list) else address)}
        case list() as value:
            return {"default": value}
        case Entry() as entry if entry.tag:
            return {"default": entry.tag}
        case _:
            return {}


def _one_of(forms: list[Form]) -> dict[str, Any]:
    return dict(forms[0]) if len(forms) == 1 else {"anyOf": forms}


def _forms(kind: Kind[object], anywhere: tuple[Form, ...]) -> list[Form]:
    """The alternatives for a value; for a single value also those of `anywhere`."""
    match kind:
        case Scalar():
            any_text = any(set(form) == {"type", "minLength"} for form in kind.forms)
            return [*kind.forms, *(() if any_text else anywhere)]
        case Items():
            items = _forms(kind.item, anywhere)
            least = {"minItems": kind.least} if kind.least else {}
            several = {"type": "array", "items": _one_of(items), **least}
            return [*(items if kind.single else []), several]
        case Table():
            return [{"type": "object", "additionalProperties": _one_of(_forms(kind.item, anywhere))}]
        case Tagged():
            entries = kind.entries()
            known = {"enum": [word for word in words() if word in entries]}
            return [known, *(_reference(entry) for entry in entries.values()), *anywhere]
        case _:
            assert isinstance(kind, Section)
            word: list[Form] = [{"type": "string", "enum": [kind.word]}] if kind.word else []
            return [*word, _reference(kind.entry)]


def _reference(entry: type[Entry]) -> Form:
    return {"$ref": f"#/$defs/{entry.__name__}"}
