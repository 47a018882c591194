"""The Dockerfile, read as far as a test needs it: which stage does what, and the shell lines to try without an engine."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from pathlib import Path

_OPTIONS = re.compile(r"^(--[a-z-]+=\S+\s+)+")


@dataclass(frozen=True, slots=True)
class Stage:
    base: str
    steps: list[tuple[str, str]] = field(default_factory=list)

    def all(self, instruction: str) -> list[str]:
        return [what for done, what in self.steps if done == instruction]

    @property
    def shell_lines(self) -> list[str]:
        """What RUN hands to the shell."""
        lines = [_OPTIONS.sub("", line) for line in self.all("RUN")]
        assert not any(line.startswith("[") for line in lines), "RUN in its exec form has no line"
        return lines

    def argv(self, instruction: str) -> list[str]:
        (only,) = self.all(instruction)
        found: list[str] = json.loads(only)
        return found

    @property
    def environment(self) -> dict[str, str]:
        pairs = (pair.partition("=") for line in self.all("ENV") for pair in line.split())
        return {name: value for name, _, value in pairs}


def stages(path: Path) -> tuple[dict[str, str], list[Stage]]:
    """The arguments of the beginning with their defaults, and each stage."""
    arguments: dict[str, str] = {}
    found: list[Stage] = []
    lines = "\n".join(line for line in path.read_text().splitlines() if not line.startswith("#"))
    for line in re.sub(r"\\\n\s*", " ", lines).splitlines():
        instruction, _, what = line.strip().partition(" ")
        if instruction == "FROM":
            found.append(Stage(what))
        elif instruction == "ARG" and not found:
            name, _, default = what.partition("=")
            arguments[name] = default
        elif instruction:
            found[-1].steps.append((instruction, what.strip()))
    return arguments, found
