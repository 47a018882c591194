"""deploy/devcontainer/: a feature of containers.dev. Its own script runs into an empty prefix, and what it makes runs as a
developer's container would start it.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from idtoken_proxy import __version__
from idtoken_proxy.settings.environment import SEARCHED
from tests.deploy.installed import skip_without_an_index
from tests.deploy.processes import PATIENCE, emulated, outside
from tests.deploy.sidecar import DEPLOY

FEATURE = DEPLOY / "devcontainer" / "idtoken-proxy"
DECLARED: dict[str, Any] = json.loads((FEATURE / "devcontainer-feature.json").read_text())
SCRIPT = (FEATURE / "install.sh").read_text()
PLACES = ("/opt/", "/usr/local/bin/idtoken-proxy", "/usr/local/share/", "/etc/bash_completion.d")


def test_it_says_what_a_feature_must_say() -> None:
    """https://containers.dev/implementors/features/#devcontainer-feature-json-properties."""
    assert DECLARED["id"] == FEATURE.name
    assert DECLARED["version"] == __version__
    assert re.search(r"\$\{VERSION:-latest\}", SCRIPT)  # an option is a variable in capitals
    assert set(DECLARED["options"]) == {"version"}
    assert DECLARED["postStartCommand"] in SCRIPT
    assert os.access(FEATURE / "install.sh", os.X_OK)


def test_it_starts_with_what_the_program_would_find() -> None:
    assert re.findall(r"-f ([\w./-]+) \]", SCRIPT) == list(SEARCHED)


def moved(prefix: Path) -> Path:
    """The script, with `prefix` for the container's own file system, and never a word to apt-get."""
    script = prefix / "install.sh"
    text = SCRIPT
    for place in PLACES:
        text = text.replace(place, f"{prefix}{place}")
    text = re.sub(r"for python in .*;", f"for python in {sys.executable};", text)
    script.write_text(text.replace("command -v apt-get >/dev/null", "false"))
    (prefix / "usr/local/bin").mkdir(parents=True)
    return script


def installed(prefix: Path, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["/bin/sh", str(moved(prefix))],
        env={**outside(), **environ},
        capture_output=True,
        text=True,
        check=False,
        timeout=180,
    )


def test_what_is_no_version_is_refused_before_anything_is_installed(tmp_path: Path) -> None:
    answer = installed(tmp_path, VERSION="1; reboot")
    assert (answer.returncode, answer.stdout) == (1, "")
    assert "is no version" in answer.stderr
    assert not (tmp_path / "opt").exists()


@pytest.mark.index
def test_it_installs_and_starts_with_the_container(tmp_path: Path) -> None:
    wheels = tmp_path / "wheels"
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(wheels)]
    subprocess.run(build, cwd=DEPLOY.parent, check=True, capture_output=True, timeout=60)
    links = f"{os.environ.get('PIP_FIND_LINKS', '')} {wheels}"
    answer = installed(tmp_path, VERSION=__version__, PIP_FIND_LINKS=links)
    skip_without_an_index(answer.returncode, answer.stderr)
    assert answer.returncode == 0, answer.stderr
    assert (tmp_path / "usr/local/share/man/man1/idtoken-proxy.1").is_file()
    assert "_idtoken_proxy_completion" in (tmp_path / "etc/bash_completion.d/idtoken-proxy").read_text()

    workspace = tmp_path / "workspace"
    workspace.mkdir()
    start = str(tmp_path) + DECLARED["postStartCommand"]
    environ = {**outside(), "HOME": str(tmp_path), "PATH": f"{tmp_path}/usr/local/bin:{os.environ['PATH']}"}
    environ.pop("XDG_STATE_HOME", None)

    def started() -> str:
        # Its output goes to a file: the proxy stays, and must not keep whoever starts the container waiting.
        done = subprocess.run(
            [start], cwd=workspace, env=environ, capture_output=True, text=True, check=True, timeout=PATIENCE
        )
        assert done.stderr == ""
        return done.stdout

    assert "idtoken-proxy init" in started()
    with emulated() as printed:
        (workspace / "proxy.yaml").write_text(
            f"listen: unix:{tmp_path}/s\nadmin: off\nidentity: metadata\nlog: {{format: json}}\n"
            f"google: {{metadata_host: '{printed['GCE_METADATA_HOST']}'}}\n"
            f"routes: [{{name: billing, upstream: '{printed['BILLING_URL']}'}}]\n"
        )
        assert "started" in started()
        log = tmp_path / ".local/state/idtoken-proxy.log"
        deadline = time.monotonic() + PATIENCE
        while '"ready"' not in log.read_text():
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.05)
        pid = int(subprocess.check_output(["pgrep", "-f", f"^{tmp_path}.*idtoken-proxy serve"], text=True))
        try:
            called = subprocess.check_output(
                ["curl", "-sS", "--fail", "--unix-socket", f"{tmp_path}/s", "http://localhost/42"], text=True
            )
            assert json.loads(called)["service"] == "billing"
        finally:
            os.kill(pid, signal.SIGTERM)


@pytest.mark.index
def test_the_reference_implementation_packages_it(tmp_path: Path) -> None:
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("npm is not installed; .ci/run installs it")
    run = [
        npm,
        "exec",
        "--yes",
        f"--cache={tmp_path}/npm",
        "--package=@devcontainers/cli@0",
        "--",
        "devcontainer",
    ]
    answer = subprocess.run(
        [*run, "features", "package", "--output-folder", str(tmp_path / "out"), str(FEATURE)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=180,
    )
    assert answer.returncode == 0, answer.stdout + answer.stderr
    (archive,) = (tmp_path / "out").glob("*.tgz")
    listed = subprocess.check_output(["tar", "-tf", str(archive)], text=True).split()
    assert {"./devcontainer-feature.json", "./install.sh"} <= set(listed)
