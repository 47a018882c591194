"""deploy/compose/compose.yaml's world as plain processes of this machine: the commands, variables, files and health checks that
it tells, in the order that it tells, on ports that are free here.
"""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.deploy.dockerfile import stages

ROOT = Path(__file__).parents[2]
HERE = ROOT / "deploy" / "compose"
PATIENCE = 30.0
PORTS = ("8080", "8090", "8101", "8102", "9090")
CALLER = "login@my-project.iam.gserviceaccount.com"
TOLD = [f"user-profiles knows {CALLER}", f"billing knows {CALLER}"]

node = pytest.mark.skipif(shutil.which("node") is None, reason="Node is not installed; .ci/run installs it")


def free_port() -> int:
    """From below the range that the kernel hands out by itself: nobody takes it by accident meanwhile."""
    while True:
        port = random.randrange(10240, 32768)
        with socket.socket() as tried:
            try:
                tried.bind(("127.0.0.1", port))
            except OSError:
                continue
        return port


class World:
    """The file's services, each started when what it depends on is healthy."""

    def __init__(self, directory: Path, here: Path = HERE, ports: Sequence[str] = PORTS) -> None:
        """`here`: where the files are. `ports`: those that they name."""
        self.ports = {port: str(free_port()) for port in ports}
        self.directory = directory
        for file in here.glob("*.*"):
            (directory / file.name).write_text(self.moved(file.read_text()))
        document = yaml.safe_load((directory / "compose.yaml").read_text())
        self.services: dict[str, dict[str, Any]] = document["services"]
        self.processes: dict[str, subprocess.Popen[str]] = {}

    def moved(self, text: str) -> str:
        return re.sub(r"\b(?:" + "|".join(self.ports) + r")\b", lambda port: self.ports[port[0]], text)

    def start(self, name: str) -> subprocess.Popen[str]:
        service = self.services[name]
        for other, how in service.get("depends_on", {}).items():
            assert how == {"condition": "service_healthy"}
            if other not in self.processes:
                self.start(other)
                self._wait_for_health(other)
        entry_point = [] if "image" in service and "build" not in service else ["idtoken-proxy"]
        with (self.directory / f"{name}.log").open("w") as log:
            process = self.processes[name] = subprocess.Popen(
                self._here(name, [*entry_point, *service["command"]]),
                env=self._environment(name),
                stdout=subprocess.PIPE if not entry_point else log,
                stderr=log,
                cwd=self.directory,
                text=True,
            )
        return process

    def stop(self) -> None:
        for process in reversed(self.processes.values()):
            process.terminate()
        for name, process in self.processes.items():
            process.communicate(timeout=PATIENCE)
            if "build" in self.services[name]:
                assert process.returncode == 0, self.log(name)

    def log(self, name: str) -> str:
        return (self.directory / f"{name}.log").read_text()

    def _environment(self, name: str) -> dict[str, str]:
        """What the service is given, and nothing of this process's."""
        said = self.services[name].get("environment", {})
        return {key: self._file(name, value) for key, value in said.items()} | {"PATH": os.environ["PATH"]}

    def _here(self, name: str, command: list[str]) -> list[str]:
        """A container's command as this machine has it."""
        program, *arguments = command
        interpreter = {"python": [sys.executable], "idtoken-proxy": [sys.executable, "-m", "idtoken_proxy"]}
        return [*interpreter.get(program, [program]), *(self._file(name, one) for one in arguments)]

    def _file(self, name: str, path: str) -> str:
        for volume in self.services[name].get("volumes", []):
            source, target, mode = volume.split(":")
            assert mode == "ro"
            if path == target:
                return str(self.directory / source)
        return path

    def _wait_for_health(self, name: str) -> None:
        kind, *command = self.services[name]["healthcheck"]["test"]
        assert kind == "CMD"  # CMD-SHELL would need a shell in the image
        deadline = time.monotonic() + PATIENCE
        while True:
            checked = subprocess.run(
                self._here(name, command),
                env=self._environment(name),
                cwd=self.directory,
                capture_output=True,
                text=True,
                check=False,
            )
            if checked.returncode == 0:
                return
            assert self.processes[name].poll() is None, self.log(name)
            assert time.monotonic() < deadline, f"{checked.stdout}{checked.stderr}{self.log(name)}"
            time.sleep(0.1)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    started = World(tmp_path_factory.mktemp("compose"))
    try:
        yield started
    finally:
        started.stop()


@pytest.mark.parametrize("app", ["app", pytest.param("app-node", marks=node)])
def test_an_app_reaches_both_services_with_only_the_variable_set(world: World, app: str) -> None:
    assert list(world.services[app]["environment"]) == ["HTTP_PROXY"]
    process = world.start(app)
    told, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, world.log(app)
    assert told.splitlines() == TOLD


def test_or_by_path(world: World) -> None:
    world.start("app").communicate(timeout=PATIENCE)
    url = f"http://localhost:{world.ports['8080']}"
    for name in ("user-profiles", "billing"):
        with urllib.request.urlopen(f"{url}/{name}/42?x=1", timeout=PATIENCE) as answer:
            told = json.load(answer)
        assert (told["service"], told["caller"], told["path"]) == (name, CALLER, "/42?x=1")


def test_without_the_proxy_nobody_is_let_in(world: World) -> None:
    world.start("app").communicate(timeout=PATIENCE)
    for port in ("8101", "8102"):
        with pytest.raises(urllib.request.HTTPError, match="403") as refused:
            urllib.request.urlopen(f"http://127.0.0.1:{world.ports[port]}/42", timeout=PATIENCE)
        refused.value.close()


def test_images_hold_what_the_commands_start() -> None:
    services = yaml.safe_load((HERE / "compose.yaml").read_text())["services"]
    arguments, _ = stages(ROOT / "Dockerfile")
    assert services["app"]["image"] == arguments["BASE"]  # pulled once
    for name, service in services.items():
        assert name == "google" or service["network_mode"] == "service:google"
