"""The memory that the shipped manifests allow holds the connections that their configurations allow, each at its worst."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from idtoken_proxy.settings.load import settings_from_text
from tests.cases import for_each
from tests.deploy.test_kubernetes import PODS, containers, settings

DEPLOY = Path(__file__).parents[2] / "deploy"
PROXY = 80  # MiB
# A WebSocket over https, both sides of which send and do not read, was measured to take 840 KiB at most, a stalled download 660 KiB.
CONNECTION = 1


def mebibytes(memory: str) -> int:
    found = re.fullmatch(r"(\d+)Mi", memory)
    assert found is not None, memory
    return int(found[1])


@PODS
def test_in_kubernetes(file: str, pod: dict[str, Any]) -> None:
    allowed = mebibytes(containers(pod)["idtoken-proxy"]["resources"]["limits"]["memory"])
    assert allowed >= PROXY + settings().limits.connections * CONNECTION, file


def test_on_cloud_run() -> None:
    service = yaml.safe_load((DEPLOY / "cloud-run" / "service.yaml").read_text())
    (proxy,) = [
        one for one in service["spec"]["template"]["spec"]["containers"] if one["name"] == "idtoken-proxy"
    ]
    said = settings_from_text((DEPLOY / "cloud-run" / "proxy.yaml").read_text(), "proxy.yaml", {})
    allowed = mebibytes(proxy["resources"]["limits"]["memory"])
    assert allowed >= PROXY + said.limits.connections * CONNECTION


@for_each("figure", [f"{PROXY} MiB", f"{CONNECTION} MiB for each connection"])
def test_the_readme_says_how_to_reckon(figure: str) -> None:
    assert figure in (DEPLOY.parent / "docs" / "configuration.md").read_text()
