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


def test_an_apps_own_proxy_module_is_nobodys_but_the_apps(tmp_path: Path) -> None:
    (tmp_path / "proxy.py").write_text("OWN = 'mine'\n")
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
    app = (sys.executable, "-c", "import proxy; print(proxy.OWN)")
    assert said("run", "-c", str(config), "--", *app) == "mine\n"
