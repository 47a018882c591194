"""A project's lists as gcloud prints them: a custom audience and a tag, IAP, an internal and an open service, functions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

SERVICES = Path(__file__).parent / "services.json"
FUNCTIONS = Path(__file__).parent / "functions.json"


def service(name: str, **annotations: str) -> dict[str, Any]:
    """One of them, with more annotations of run.googleapis.com/."""
    found: dict[str, Any] = next(
        one for one in json.loads(SERVICES.read_text()) if one["metadata"]["name"] == name
    )
    said = {f"run.googleapis.com/{key.replace('_', '-')}": value for key, value in annotations.items()}
    found["metadata"]["annotations"].update(said)
    return found
