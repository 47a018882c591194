"""Which build is under test. `make compiled` says IDTOKEN_PROXY_BUILD=compiled, and runs what must hold for both."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from importlib import import_module
from pathlib import Path

from idtoken_proxy.build import BUILD

ROOT = Path(__file__).parent.parent
HOOK = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"][
    "hooks"
]["custom"]
MODULES = [name.removesuffix(".py").replace("/", ".") for name in HOOK["modules"]]


def test_the_build_under_test_is_the_one_that_was_asked_for() -> None:
    assert os.environ.get("IDTOKEN_PROXY_BUILD", "pure") == BUILD


def test_all_that_is_listed_is_compiled_or_none_of_it_and_the_sources_are_beside_it() -> None:
    for name in MODULES:
        file = import_module(name).__file__
        assert file is not None
        assert file.endswith(".so") is (BUILD == "compiled"), file
        assert file.endswith((".py", ".so"))
        assert Path(file).with_name(name.rpartition(".")[2] + ".py").exists()


def test_a_process_that_is_started_runs_the_same_build() -> None:
    answer = subprocess.run(
        [sys.executable, "-m", "idtoken_proxy", "--version"],
        capture_output=True,
        text=True,
        check=True,
        cwd="/",
    )
    assert answer.stdout.endswith(f"({BUILD})\n")
