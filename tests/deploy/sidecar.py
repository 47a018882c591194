"""The sidecar as deploy/kubernetes/deployment.yaml has it; the other ways to put it into a pod bring the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

DEPLOY = Path(__file__).parents[2] / "deploy"


def documents(path: Path) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all(path.read_text()))


def sidecar(image: str) -> dict[str, Any]:
    """Without the variable that names a project: whoever adds it knows of none."""
    (deployment,) = documents(DEPLOY / "kubernetes" / "deployment.yaml")
    (container,) = deployment["spec"]["template"]["spec"]["initContainers"]
    del container["env"]
    return {**container, "image": image}


VOLUME: dict[str, Any] = {"name": "idtoken-proxy", "configMap": {"name": "idtoken-proxy"}}
