"""The JSON Schema of the configuration, for editors: what the YAML accepts, as far as a schema can say it."""

from __future__ import annotations

import json
from typing import Any, Final

from proxy.settings.document import Document
from proxy.settings.identities import WORDS

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
REFERENCE: Final = {"type": "string", "pattern": r"\$\{"}  # what a variable holds is checked at load
NULL: Final = {"type": "null"}
_ABOUT: Final = ("description", "default")  # about the key, not its value


def json_schema() -> dict[str, Any]:
    schema = Document.model_json_schema()
    schema["$defs"] = {name: _mapping(definition) for name, definition in schema["$defs"].items()}
    return {"$schema": DIALECT, "title": "Configuration of idtoken-proxy", **_mapping(schema)}


def schema_text() -> str:
    return json.dumps(json_schema(), indent=2)


def _mapping(definition: dict[str, Any]) -> dict[str, Any]:
    required = definition.get("required", ())
    properties = {
        key: _property(value, optional=key not in required)
        for key, value in definition.get("properties", {}).items()
    }
    return {**_untitled(definition), "properties": properties}


def _property(schema: dict[str, Any], *, optional: bool) -> dict[str, Any]:
    """A key without a value is a key left out; so optional ones may be null."""
    about = {key: schema[key] for key in _ABOUT if schema.get(key) is not None}
    value = _value({key: item for key, item in schema.items() if key not in _ABOUT})
    if optional:
        forms = value["anyOf"] if set(value) == {"anyOf"} else [value]
        value = {"anyOf": [*forms, *([] if NULL in forms else [NULL])]}
    return {**value, **about}


def _value(schema: dict[str, Any]) -> dict[str, Any]:
    """With the forms that pydantic does not know of: `${NAME}` for any value, a word for an identity."""
    kinds = schema.get("discriminator", {}).get("mapping", {})
    schema = _untitled(schema)
    if "anyOf" in schema:
        forms = [form for choice in schema["anyOf"] for form in _forms(choice)]
        return {"anyOf": [form for index, form in enumerate(forms) if form not in forms[:index]]}
    if schema.get("type") == "array":
        return {**schema, "items": _value(schema["items"])}
    if "oneOf" in schema:
        words = [word for word in WORDS if word in kinds]
        return {"anyOf": [{"enum": words}, *schema["oneOf"], REFERENCE]}
    if "$ref" in schema or "const" in schema or schema == NULL or set(schema) == {"type", "minLength"}:
        return schema
    return {"anyOf": [schema, REFERENCE]}


def _forms(schema: dict[str, Any]) -> list[dict[str, Any]]:
    value = _value(schema)
    return value["anyOf"] if set(value) == {"anyOf"} else [value]


def _untitled(schema: dict[str, Any]) -> dict[str, Any]:
    return {key: item for key, item in schema.items() if key not in ("title", "discriminator")}
