"""The README, docs/ and deploy/ agree on what there is."""

from __future__ import annotations

import re
from pathlib import Path

from idtoken_proxy.settings.load import load_settings
from tests.cases import for_each

ROOT = Path(__file__).parents[2]
DOCS = sorted((ROOT / "docs").glob("*.md"))
TEXT = "\n".join(path.read_text() for path in (ROOT / "README.md", *DOCS))
DEPLOY = ROOT / "deploy"
PLACES = sorted(path.name for path in DEPLOY.iterdir())


@for_each("place", PLACES)
def test_every_way_of_deploying_is_told(place: str) -> None:
    assert re.search(rf"\bdeploy/{place}\b", TEXT)


def test_every_path_that_is_told_is_there() -> None:
    texts = {
        ROOT / "README.md",
        *(path for path in DOCS if path.name != "threat-model.md"),  # which names tests
        *(file for file in DEPLOY.rglob("*") if file.is_file()),
    }
    for file in texts:
        for path in re.findall(r"\bdeploy/[\w./-]*\w", file.read_text()):
            assert (ROOT / path).exists(), f"{file}: {path}"


@for_each("file", sorted(DEPLOY.glob("*/proxy.yaml")), ids=lambda file: file.parent.name)
def test_every_configuration_loads_without_any_variable_set(file: Path) -> None:
    assert load_settings(str(file), {}).routes


def test_no_image_is_of_somebody_s_registry() -> None:
    """A name without a host, or a placeholder: what it is pulled from is the reader's affair."""
    for file in DEPLOY.rglob("*.yaml"):
        for image in re.findall(r"^\s*image: \"?([^\s\",]+)", file.read_text(), re.MULTILINE):
            assert re.fullmatch(r"[A-Z_]+|[a-z-]+(:[\w.-]+)?", image), f"{file}: {image}"
