"""deploy/compose/: against the Compose specification's own schema; that what it starts works is test_compose_world.py's."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from idtoken_proxy.emulator.world_file import load_world
from idtoken_proxy.settings.load import load_settings
from idtoken_proxy.settings.model import TcpAddress

HERE = Path(__file__).parents[2] / "deploy" / "compose"


def check(file: Path) -> subprocess.CompletedProcess[str]:
    """The schema comes with check-jsonschema: nothing is fetched."""
    return subprocess.run(
        [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", str(file)],
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )


@pytest.fixture
def document() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((HERE / "compose.yaml").read_text())
    return found


def test_fits_the_schema() -> None:
    answer = check(HERE / "compose.yaml")
    assert answer.returncode == 0, answer.stdout


def test_the_schema_would_find_something(document: dict[str, Any], tmp_path: Path) -> None:
    document["services"]["proxy"]["network-mode"] = "host"
    changed = tmp_path / "compose.yaml"
    changed.write_text(yaml.safe_dump(document))
    answer = check(changed)
    assert answer.returncode == 1
    assert "network-mode" in answer.stdout


def test_every_file_that_is_mounted_is_there(document: dict[str, Any]) -> None:
    for service in document["services"].values():
        for volume in service["volumes"]:
            source, _, mode = volume.split(":")
            assert (HERE / source).is_file()
            assert mode == "ro"


def test_ours_run_with_no_more_than_they_need(document: dict[str, Any]) -> None:
    for service in document["services"].values():
        if "build" in service:
            assert service["read_only"] is True
            assert service["cap_drop"] == ["ALL"]
            assert service["security_opt"] == ["no-new-privileges:true"]
            assert (HERE / service["build"] / "Dockerfile").is_file()


def test_routes_lead_to_the_world_s_services() -> None:
    settings = load_settings(str(HERE / "proxy.yaml"), {})
    world = load_world(str(HERE / "world.yaml"))
    services = {service.port: service.name for service in world.services}
    for route in settings.routes:
        assert route.upstream.host == "localhost"
        assert services[route.upstream.port] == route.name.removesuffix("-by-path")
    assert len(settings.routes) == 2 * len(services)
    assert settings.listen == (TcpAddress("localhost", 8080),)
