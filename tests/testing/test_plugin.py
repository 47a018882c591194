"""The fixtures as somebody else's tests have them: in runs of pytest of their own, of docs/testing.md's own examples."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]


def plugin() -> str:
    """As pytest finds it where this package is installed."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return str(project["entry-points"]["pytest11"]["idtoken_proxy"])


def run(directory: Path, **files: str) -> str:
    for name, text in files.items():
        (directory / f"{name}.py").write_text(text, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-W", "error", "-p", "no:cacheprovider", "-p", plugin()],
        cwd=directory,
        env={**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTEST_ADDOPTS": ""},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def examples() -> list[str]:
    text = (ROOT / "docs" / "testing.md").read_text(encoding="utf-8")
    return re.findall(r"```python\n(.*?)```", text, re.DOTALL)


OWN = """
import pytest
import requests


def test_an_outage_ends_with_its_test(google):
    google._emulator.break_with("outage")
    assert requests.get(f"{google.url}/computeMetadata/v1/instance/service-accounts/default/email",
                        headers={"Metadata-Flavor": "Google"}, timeout=5).status_code >= 500


def test_the_next_knows_nothing_of_it(google, private_service):
    assert private_service.requests == []
    token = google.id_token(private_service.audience)
    answer = requests.get(f"{private_service.url}/x", headers={"Authorization": f"Bearer {token}"}, timeout=5)
    assert answer.status_code == 200
    [one] = private_service.requests
    assert (one.method, one.path, one.caller) == ("GET", "/x", google.email("caller"))
    with pytest.raises(KeyError):
        google.credentials_file("nobody")
"""


def test_the_documented_examples_and_a_few_cases_of_our_own(tmp_path: Path) -> None:
    *tests, conftest = examples()
    files = {f"test_example_{number}": text for number, text in enumerate(tests)}
    (tmp_path / "documented").mkdir()
    (tmp_path / "documented" / "conftest.py").write_text(conftest, encoding="utf-8")
    (tmp_path / "documented" / "test_world.py").write_text(
        "def test_the_world_is_the_conftest_s(google, private_service):\n"
        "    assert private_service.name == 'orders'\n"
        "    assert google.email() == 'shop@my-project.iam.gserviceaccount.com'\n",
        encoding="utf-8",
    )
    said = run(tmp_path, test_own=OWN, **files)
    passed = re.search(r"(\d+) passed", said)
    assert passed is not None
    assert int(passed[1]) >= 3 + len(tests)
