""".github/: against GitHub's own schemas, and for what a schema does not say: who may do what, and whose code runs."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cases import for_each

ROOT = Path(__file__).parents[2]
HERE = ROOT / ".github"
WORKFLOWS = sorted((HERE / "workflows").glob("*.yml"))
FILES = {path.stem: yaml.safe_load(path.read_text()) for path in WORKFLOWS}
# What may do more than read: to PyPI, to the registry, to the page of releases.
WRITES = {
    ("image", "image"): {"packages", "id-token"},
    ("release", "image"): {"packages", "id-token"},
    ("release", "pypi"): {"id-token"},
    ("release", "page"): {"contents"},
}
PINNED = re.compile(r"[\w-]+/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+")


def jobs() -> list[tuple[str, str, dict[str, Any]]]:
    return [(file, name, job) for file, found in FILES.items() for name, job in found["jobs"].items()]


def steps() -> Iterator[dict[str, Any]]:
    for _, _, job in jobs():
        yield from job.get("steps", [])


def check(schema: str, *files: Path) -> subprocess.CompletedProcess[str]:
    """The schemas come with check-jsonschema: nothing is fetched."""
    return subprocess.run(
        [sys.executable, "-m", "check_jsonschema", "--builtin-schema", f"vendor.{schema}", *map(str, files)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_workflows_fit_the_schema() -> None:
    assert len(WORKFLOWS) == 4
    answer = check("github-workflows", *WORKFLOWS)
    assert answer.returncode == 0, answer.stdout


@pytest.mark.thorough
def test_the_schema_would_find_something(tmp_path: Path) -> None:
    changed = tmp_path / "test.yml"
    changed.write_text((HERE / "workflows" / "test.yml").read_text().replace("timeout-minutes", "timeout"))
    answer = check("github-workflows", changed)
    assert answer.returncode == 1
    assert "timeout" in answer.stdout


@pytest.mark.thorough
def test_dependabot_s_file_fits_its_schema() -> None:
    answer = check("dependabot", HERE / "dependabot.yml")
    assert answer.returncode == 0, answer.stdout


def test_nobody_may_do_more_than_it_must() -> None:
    for file, found in FILES.items():
        assert found["permissions"] == {}, file  # each job says what it needs
    allowed = {
        (file, name): {right for right, how in job["permissions"].items() if how == "write"}
        for file, name, job in jobs()
    }
    assert {job: rights for job, rights in allowed.items() if rights} == WRITES
    # No workflow of ours has a change's code and a right, or a secret, at once.
    for found in FILES.values():
        on = found[True]  # YAML 1.1's `on`
        assert not {"pull_request_target", "workflow_run", "issue_comment"} & set(on)
    assert "secrets." not in "".join(path.read_text() for path in WORKFLOWS)


def test_others_code_is_pinned_by_commit() -> None:
    for path in WORKFLOWS:
        for used in re.findall(r"uses: (.*)", path.read_text()):
            local = used.startswith("./")
            assert (ROOT / used).is_file() if local else PINNED.fullmatch(used), used
    pins = re.findall(r"uses: ([^.\s]\S+)", "".join(path.read_text() for path in WORKFLOWS))
    by_action = {pin.partition("@")[0]: pin for pin in pins}
    assert set(by_action.values()) == set(pins)  # one commit of each


def test_no_step_keeps_a_credential_or_runs_what_a_name_says() -> None:
    for step in steps():
        if step.get("uses", "").startswith("actions/checkout@"):
            assert step["with"]["persist-credentials"] is False
        assert "${{" not in step.get("run", "")  # by a variable alone: a branch's name is anybody's


def test_every_job_ends() -> None:
    for file, name, job in jobs():
        assert "uses" in job or job["timeout-minutes"] <= 90, f"{file} {name}"


def test_what_is_run_is_there() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    lines = "\n".join(step["run"] for step in steps() if "run" in step)
    asked = {word for line in re.findall(r"\bmake ((?:[a-z]+ )+)", lines) for word in line.split()}
    assert asked == {"test", "lint", "types"}
    assert asked <= targets
    for script in re.findall(r"(\.\w+/\w+(?:\.py)?)", lines):
        assert (ROOT / script).is_file() or script == ".ci/run"  # which an sdist is without


def test_each_python_that_is_told_is_tried() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    told = [found[1] for one in project["classifiers"] if (found := re.search(r":: (3\.\d+)$", one))]
    matrix = FILES["test"]["jobs"]["test"]["strategy"]["matrix"]
    assert matrix["python"] == told
    assert {system.partition("-")[0] for system in matrix["system"]} == {"ubuntu", "macos"}


# -- the lines that decide what is published, run ---------------------------------------


@for_each(
    ("ref", "tags"),
    [
        ("refs/heads/main", "ghcr.io/me/mine:edge"),
        ("refs/tags/v1.2.3", "ghcr.io/me/mine:1.2.3,ghcr.io/me/mine:latest"),
        ("refs/tags/v1.2.3rc1", "ghcr.io/me/mine:1.2.3rc1"),
        ("refs/tags/v1.2.3-rc.1", "ghcr.io/me/mine:1.2.3-rc.1"),
    ],
)
def test_an_image_is_called_as_its_commit_is(ref: str, tags: str, tmp_path: Path) -> None:
    (script,) = [step["run"] for step in FILES["image"]["jobs"]["image"]["steps"] if step.get("id") == "name"]
    output = tmp_path / "output"
    output.write_text("")
    subprocess.run(
        ["bash", "-ec", script],
        env={
            "GITHUB_REPOSITORY": "Me/Mine",
            "GITHUB_REF": ref,
            "GITHUB_REF_NAME": ref.rpartition("/")[2],
            "GITHUB_OUTPUT": str(output),
        },
        check=True,
        timeout=10,
    )
    assert output.read_text() == f"name=ghcr.io/me/mine\ntags={tags}\n"


def test_what_is_published_was_built_once_and_signed() -> None:
    release = FILES["release"]["jobs"]
    assert release["pypi"]["needs"] == "build"
    assert release["pypi"]["environment"]["name"] == "pypi"
    assert not any("checkout" in step.get("uses", "") for step in release["pypi"]["steps"])
    image = FILES["image"]["jobs"]["image"]["steps"]
    (push,) = [step["with"] for step in image if step.get("id") == "push"]
    assert push["platforms"] == "linux/amd64,linux/arm64"
    assert (push["sbom"], push["provenance"]) == (True, "mode=max")
    assert image[-1]["run"] == 'cosign sign --yes "$NAME@$DIGEST"'  # the digest: a tag can be moved
