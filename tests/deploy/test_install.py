"""One line to install it, as people have it: uvx and pipx, from a checkout and from the wheel; into directories of their own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from idtoken_proxy import __version__
from tests.deploy.installed import install, skip_without_an_index
from tests.deploy.processes import outside

pytestmark = pytest.mark.index
ROOT = Path(__file__).parents[2]
A_MINUTE = 60.0  # from nothing but uv to the first call


@pytest.fixture(scope="module")
def tools(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of an environment's programs: uv, pipx, hatchling."""
    return install(tmp_path_factory.mktemp("tools"), "uv", "pipx", "hatchling", "zizmor")


@pytest.fixture(scope="module")
def wheel(tools: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("dist")
    build = [str(tools / "python"), "-m", "hatchling", "build", "-t", "wheel", "-d", str(directory)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True, timeout=60)
    (built,) = directory.glob("*.whl")
    return built


def environ(home: Path) -> dict[str, str]:
    """Nothing of a user's own is found, and nothing is left in the user's own."""
    return {
        **outside(),
        "HOME": str(home),
        "UV_CACHE_DIR": str(home / "uv"),
        "UV_PYTHON": sys.executable,  # none is downloaded
        "UV_PYTHON_DOWNLOADS": "never",
        "PIPX_HOME": str(home / "pipx"),
        "PIPX_BIN_DIR": str(home / "bin"),
        "PIPX_MAN_DIR": str(home / "man"),
        "PIPX_DEFAULT_PYTHON": sys.executable,
    }


def done(command: list[str], home: Path) -> str:
    answer = subprocess.run(
        command,
        cwd=ROOT,
        env=environ(home),
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    skip_without_an_index(answer.returncode, answer.stderr)
    assert answer.returncode == 0, answer.stdout + answer.stderr
    return answer.stdout


@pytest.mark.parametrize("source", ["checkout", "wheel"])
def test_uvx_runs_it(source: str, tools: Path, wheel: Path, tmp_path: Path) -> None:
    of = "." if source == "checkout" else str(wheel)
    told = done([str(tools / "uvx"), "--from", of, "idtoken-proxy", "--version"], tmp_path)
    assert told == f"idtoken-proxy, version {__version__} (pure)\n"


@pytest.mark.parametrize("source", ["checkout", "wheel"])
def test_pipx_installs_its_command_and_its_manual(
    source: str, tools: Path, wheel: Path, tmp_path: Path
) -> None:
    of = "." if source == "checkout" else str(wheel)
    done([str(tools / "pipx"), "install", of], tmp_path)
    told = done([str(tmp_path / "bin" / "idtoken-proxy"), "--version"], tmp_path)
    assert told == f"idtoken-proxy, version {__version__} (pure)\n"
    assert (tmp_path / "man" / "man1" / "idtoken-proxy.1").is_file()


def test_one_line_leads_to_a_running_demo_within_a_minute(tools: Path, wheel: Path, tmp_path: Path) -> None:
    """With empty caches: `uvx idtoken-proxy demo`, once it is published."""
    call = [sys.executable, str(ROOT / ".github" / "first_call.py")]
    told = done([*call, str(tools / "uvx"), "--from", str(wheel), "idtoken-proxy", "demo"], tmp_path)
    assert float(told.split()[-2]) < A_MINUTE


def test_no_workflow_has_a_known_weakness(tools: Path, tmp_path: Path) -> None:
    """Injection, dangerous triggers, credentials that stay, too many rights: https://docs.zizmor.sh/audits/."""
    done([str(tools / "zizmor"), "--offline", "--quiet", "--min-severity=high", ".github"], tmp_path)


@pytest.mark.parametrize("platform", ["windows", "macos", "aarch64-unknown-linux-gnu"])
def test_there_is_a_wheel_of_everything_for_other_systems_too(
    platform: str, tools: Path, tmp_path: Path
) -> None:
    """On Windows it installs, and says there what to do: tests/test_startup.py."""
    chosen = done(
        [
            str(tools / "uv"), "pip", "compile", "--quiet", "--no-header", "--no-annotate", "--only-binary=:all:",
            f"--python-platform={platform}", "--python-version=3.13", "pyproject.toml",
        ],
        tmp_path,
    )  # fmt: skip
    assert "aiohttp==" in chosen
    assert ("uvloop==" in chosen) is (platform != "windows")
