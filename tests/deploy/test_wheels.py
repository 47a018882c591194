"""Both wheels, each in an environment that has it and what it names, and nothing else: it says which it is, and serves.

`make image` runs this with the pure one, `make compiled` with the compiled one that it has built (IDTOKEN_PROXY_BUILD).
"""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import urllib.request
import zipfile
from pathlib import Path

import pytest

from idtoken_proxy import __version__
from idtoken_proxy.build import BUILD
from tests.deploy.installed import skip_without_an_index
from tests.deploy.processes import PATIENCE, emulated, outside, serving
from tests.test_build import MODULES

pytestmark = pytest.mark.index
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of the build under test."""
    directory = ROOT / "dist" / "compiled"
    if BUILD == "pure":
        directory = tmp_path_factory.mktemp("dist")
        build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(directory)]
        subprocess.run(build, cwd=ROOT, check=True, capture_output=True, timeout=120)
    (built,) = directory.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def programs(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of an environment that was empty. What is locked constrains its dependencies, and adds none."""
    environment = tmp_path_factory.mktemp("environment")
    locked = environment / "constraints"
    lines = (ROOT / "requirements.lock").read_text().splitlines()
    locked.write_text("\n".join(line.split(" ;")[0].rstrip(" \\") for line in lines if re.match(r"\w", line)))
    made = environment / "made"
    # Neither pip of its own nor bytecode before it is needed: both take longer than the rest.
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(made)], check=True, timeout=60)
    done = pip(
        made,
        "install",
        "--quiet",
        "--no-compile",
        "--only-binary=:all:",
        f"--constraint={locked}",
        str(wheel),
    )
    skip_without_an_index(done.returncode, done.stderr)
    assert done.returncode == 0, done.stderr
    return made / "bin"


def pip(environment: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pip", "--python", str(environment / "bin" / "python"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=240)


def environ(home: Path, **more: str) -> dict[str, str]:
    return {**outside(), "HOME": str(home), **more}


def test_the_wheel_holds_what_its_build_compiles_and_the_sources_in_both(wheel: Path) -> None:
    inside = set(zipfile.ZipFile(wheel).namelist())
    for name in MODULES:
        path = name.replace(".", "/")
        assert f"{path}.py" in inside
        assert any(re.fullmatch(rf"{path}\.[\w-]+\.so", one) for one in inside) is (BUILD == "compiled")
    assert wheel.name.endswith("-py3-none-any.whl") is (BUILD == "pure")


def test_nothing_else_is_installed_and_nothing_is_missing(programs: Path) -> None:
    done = pip(programs.parent, "check")
    assert done.returncode == 0, done.stdout
    for absent in ("hatchling", "mypy", "pip", "pytest"):
        assert not list(programs.parent.glob(f"lib/python3*/site-packages/{absent}*"))


def test_it_says_which_it_is_and_runs_from_there(programs: Path, tmp_path: Path) -> None:
    told = subprocess.run(
        [str(programs / "idtoken-proxy"), "--version"],
        env=environ(tmp_path),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    ).stdout
    assert told == f"idtoken-proxy, version {__version__} ({BUILD})\n"
    ask = "import idtoken_proxy.engine.exchange as one; print(one.__file__)"
    where = subprocess.run(
        [str(programs / "python"), "-c", ask],
        env=environ(tmp_path),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    ).stdout.strip()
    assert Path(where).is_relative_to(programs.parent)
    assert where.endswith(".so") is (BUILD == "compiled")


def test_it_serves_a_private_service_of_the_emulator_s(programs: Path, tmp_path: Path) -> None:
    with emulated() as printed:
        more = {
            "GCE_METADATA_HOST": printed["GCE_METADATA_HOST"],
            "IDTOKEN_PROXY_LISTEN": "127.0.0.1:0",
            "IDTOKEN_PROXY_LOG_FORMAT": "json",
            "IDTOKEN_PROXY_ADMIN": "off",
        }
        command = [str(programs / "idtoken-proxy"), "serve", "--upstream", printed["USER_PROFILES_URL"]]
        with serving(command, environ(tmp_path, **more)) as proxy:
            with urllib.request.urlopen(f"{proxy.url}/42", timeout=PATIENCE) as answer:
                assert answer.status == 200
                assert json.load(answer)["service"] == "user-profiles"
            proxy.process.send_signal(signal.SIGTERM)
            assert proxy.process.wait(PATIENCE) == 0


def test_its_own_demo_answers(programs: Path, tmp_path: Path) -> None:
    """The emulator and the proxy of the same wheel, by the call that it tells to paste."""
    done = subprocess.run(
        [sys.executable, str(ROOT / ".github" / "first_call.py"), str(programs / "idtoken-proxy"), "demo"],
        env=environ(tmp_path),
        capture_output=True,
        text=True,
        check=False,
        timeout=90,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.startswith("The first call took ")
