"""docs/deploying.md: what it names is there, and its configuration is what the files say."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import click

from idtoken_proxy.cli import commands

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "deploying.md"
TEXT = PAGE.read_text()
FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINES = (
    "".join(body for kind, body in FENCE.findall(TEXT) if kind == "bash").replace("\\\n", " ").splitlines()
)


def anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.*)$", FENCE.sub("", page.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_links_lead_somewhere() -> None:
    links = re.findall(r"\]\(((?!https:)[^)#]*)(?:#([^)]*))?\)", TEXT)
    assert len(links) > 5
    for path, anchor in links:
        target = (PAGE.parent / path).resolve() if path else PAGE
        assert target.exists(), path
        assert not anchor or anchor in anchors(target), anchor


def test_every_file_that_a_line_names_is_there() -> None:
    named = [
        word for line in LINES for word in shlex.split(line, comments=True) if word.startswith("deploy/")
    ]
    assert len(named) >= 5
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_every_command_exists() -> None:
    called = [
        found
        for line in LINES
        for found in re.findall(r"idtoken-proxy (\w+[^|)#]*)", line)
        if "man " not in line
    ]
    assert called
    for found in called:
        name, *argv = shlex.split(found)
        command = commands.commands[name]
        command.make_parser(click.Context(command)).parse_args(argv)


def test_the_feature_takes_the_options_that_are_shown() -> None:
    ((_, body),) = [found for found in FENCE.findall(TEXT) if found[0] == "json"]
    ((path, options),) = json.loads(body)["features"].items()
    feature = ROOT / "deploy" / "devcontainer" / path.removeprefix("./")
    assert set(options) <= set(json.loads((feature / "devcontainer-feature.json").read_text())["options"])


def test_the_signature_that_is_verified_is_the_one_that_is_made() -> None:
    (pattern,) = re.findall(r"--certificate-identity-regexp='(.*?)'", TEXT)
    for ref in ("refs/heads/main", "refs/tags/v1.2.3"):
        identity = f"https://github.com/OWNER/idtoken-proxy/.github/workflows/image.yml@{ref}"
        assert re.match(pattern, identity)
    assert (ROOT / ".github" / "workflows" / "image.yml").is_file()
