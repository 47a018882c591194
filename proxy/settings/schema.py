"""The configuration's JSON Schema, from the models that validate it, so that the two cannot differ."""

from __future__ import annotations

import json
from typing import Any

from proxy.settings.document import Document


def schema() -> dict[str, Any]:
    """Draft 2020-12. What needs more than one key to be judged, such as unique names, is `check`'s to tell."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **Document.model_json_schema()}


def schema_text() -> str:
    return json.dumps(schema(), indent=2)
