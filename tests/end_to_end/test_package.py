"""The package keeps out of the way of the apps that it wraps."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_wheels_only_top_level_package_is_its_own(tmp_path: Path) -> None:
    """`proxy` is PyPI's proxy.py, which would be overwritten."""
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)],
        cwd=ROOT,
        check=True,
        capture_output=True,
        timeout=120,
    )
    (wheel,) = tmp_path.glob("*.whl")
    tops = {name.partition("/")[0] for name in zipfile.ZipFile(wheel).namelist()}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"idtoken_proxy"}


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
