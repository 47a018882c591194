"""What is published is whole, small and says what it is; and it keeps out of the way of the apps that it wraps."""

from __future__ import annotations

import email
import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from project_urls import urls

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of both distributions, built as a release of GitHub's is."""
    directory = tmp_path_factory.mktemp("dist")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-d", str(directory)],
        cwd=ROOT,
        env={**os.environ, "GITHUB_SERVER_URL": "https://github.example", "GITHUB_REPOSITORY": "me/mine"},
        check=True,
        capture_output=True,
        timeout=120,
    )
    return directory


def tracked(*places: str) -> set[str]:
    """What git keeps, or will; without git, such as in an unpacked sdist, there is nothing to compare with."""
    if shutil.which("git") is None or not (ROOT / ".git").exists():
        pytest.skip("no git, or no repository of it")
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", *places],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    return {name for name in listed.split("\0") if name and (ROOT / name).exists()}


def in_the_wheel(built: Path) -> set[str]:
    (wheel,) = built.glob("*.whl")
    return set(zipfile.ZipFile(wheel).namelist())


def test_the_wheels_only_top_level_package_is_its_own(built: Path) -> None:
    """`proxy` is PyPI's proxy.py, which would be overwritten."""
    tops = {name.partition("/")[0] for name in in_the_wheel(built)}
    assert {top for top in tops if not top.endswith((".dist-info", ".data"))} == {"idtoken_proxy"}


def test_the_wheel_holds_the_whole_package_and_nothing_else(built: Path) -> None:
    (wheel,) = built.glob("*-py3-none-any.whl")  # of any Python, for any system
    assert wheel.stat().st_size < 1_000_000
    package = {name.removeprefix("proxy/") for name in tracked("proxy/idtoken_proxy")}
    inside = in_the_wheel(built)
    assert {name for name in inside if name.startswith("idtoken_proxy/")} == package
    assert "idtoken_proxy/py.typed" in inside  # PEP 561, as the classifier says
    shared = {name.partition(".data/")[2] for name in inside if ".data/" in name}
    assert shared == {"data/share/man/man1/idtoken-proxy.1"}
    own = {name.partition("/")[2] for name in inside if ".dist-info/" in name}
    assert own == {"METADATA", "WHEEL", "RECORD", "entry_points.txt", "licenses/LICENSE"}


def test_the_sdist_holds_what_is_tracked(built: Path) -> None:
    """For whoever builds and tests it from there; without our own machine's script."""
    (sdist,) = built.glob("*.tar.gz")
    assert sdist.stat().st_size < 2_500_000
    with tarfile.open(sdist) as archive:
        inside = {name.partition("/")[2] for name in archive.getnames()}
    assert inside == (tracked() - {".ci/run"}) | {"PKG-INFO"}


def test_the_metadata_says_who_may_use_it_and_where_it_is_at_home(built: Path) -> None:
    (wheel,) = built.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith("/METADATA"))
        metadata = email.message_from_bytes(archive.read(name))
    classifiers = set(metadata.get_all("Classifier", []))
    assert {"Typing :: Typed", "Framework :: aiohttp", "Operating System :: POSIX :: Linux"} <= classifiers
    assert (metadata["License-Expression"], metadata["License-File"]) == ("Apache-2.0", "LICENSE")
    assert "Windows" not in str(classifiers)
    oldest = int(metadata["Requires-Python"].removeprefix(">=3."))
    told = {int(found[1]) for one in classifiers if (found := re.fullmatch(r"Programming .* 3\.(\d+)", one))}
    assert told == set(range(oldest, max(told) + 1))
    urls = dict(one.split(", ") for one in metadata.get_all("Project-URL", []))
    assert urls["Source"] == "https://github.example/me/mine"
    assert {"Homepage", "Documentation", "Issues", "Changelog"} <= set(urls)


def test_no_home_is_made_up_where_none_is_known() -> None:
    assert urls({"GITHUB_SERVER_URL": "https://github.example"}) == {}


# Of an app with modules of these names: PyPI's proxy.py, libraries of ours in a release of its own, a part of the library.
OWN = ("proxy", "click", "yaml", "structlog", "requests", "aiohttp", "uuid", "settings")


def test_an_apps_own_modules_are_nobodys_but_the_apps(tmp_path: Path) -> None:
    for name in OWN:
        (tmp_path / f"{name}.py").write_text("OWN = 'mine'\n")
    program = str(Path(sys.executable).parent / "idtoken-proxy")
    environ = {**os.environ, "PYTHONPATH": str(tmp_path)}

    def said(*argv: str) -> str:
        done = subprocess.run(
            [program, *argv],
            cwd=tmp_path,
            env=environ,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert "idtoken-proxy, version" in said("--version")
    config = tmp_path / "some.yaml"
    config.write_text("routes: [{name: r, upstream: 'http://127.0.0.1:1', identity: none}]\n")
    assert "OK: 1 route" in said("check", "-c", str(config))
    app = f"import {', '.join(OWN)}; print({', '.join(f'{name}.OWN' for name in OWN)})"
    assert said("run", "-c", str(config), "--", sys.executable, "-c", app).split() == ["mine"] * len(OWN)
