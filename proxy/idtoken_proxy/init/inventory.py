"""A file's octets -> Receivers, whichever of the known kinds it is of."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from idtoken_proxy.errors import ConfigError, Problem
from idtoken_proxy.init import cloud_run, cloud_run_rest, compose, functions
from idtoken_proxy.init.item import NAME, Item
from idtoken_proxy.init.receivers import Receiver
from idtoken_proxy.settings.plausible import path_objection, shown_path
from idtoken_proxy.settings.yaml_lines import YamlError, read_yaml

STDIN: Final = "-"
LONGEST: Final = 16 * 1024 * 1024  # octets; a thousand services have 8 MiB
_LONGEST_YAML: Final = 1024 * 1024
MOST: Final = 1000  # receivers of one file
_LISTS: Final = ("items", "services", "functions")
_KINDS: Final = (
    "what `gcloud run services list --format=json` or `gcloud functions list --format=json` prints, what Cloud Run's or Cloud "
    "Functions' REST answers, a Cloud Run service.yaml or a Compose file"
)


def read(path: str) -> tuple[str, bytes]:
    """(its name in messages, what is in it). A pipe, `<(gcloud ...)`, will do. ConfigError."""
    if path == STDIN:
        return "standard input", sys.stdin.buffer.read(LONGEST + 1)
    refused = path_objection(path, home=False)
    file = Path(path)
    name = shown_path(path)
    try:
        if refused is not None and not file.exists():
            raise _refused("--from", refused)
        with file.open("rb") as opened:
            return name, opened.read(LONGEST + 1)
    except OSError as error:
        raise _refused(name, f"cannot be read: {error.strerror}") from None
    except ValueError:
        raise _refused("--from", "its path holds a NUL character") from None


def receivers_of(file: str, content: bytes) -> list[Receiver]:
    """`file` names it in messages. ConfigError."""
    tree = _tree(file, content)
    if compose.is_compose(tree):
        found = compose.receivers_of_compose(Item(file, "services", _mapping(tree)))
    elif isinstance(tree, dict) and _listed(tree) is None:
        found = _of_entry(Item(file, _entry(1, tree), tree), alone=True)
    else:
        listed = _listed(tree) if isinstance(tree, dict) else tree
        if not isinstance(listed, list):
            raise _refused(file, f"is none of these: {_KINDS}")
        found = _of_list(file, listed)
    receivers: list[Receiver] = []
    for receiver in found:
        receivers.append(receiver)
        if len(receivers) > MOST:
            raise _refused(file, f"holds more than {MOST} receivers; leave some out")
    return receivers


def _listed(tree: dict[str, Any]) -> list[Any] | None:
    """Of Knative's list, and of what REST's second versions answer."""
    return next((tree[key] for key in _LISTS if isinstance(tree.get(key), list)), None)


def _of_list(file: str, listed: list[Any]) -> Iterator[Receiver]:
    for number, tree in enumerate(listed, 1):
        item = Item(file, _entry(number, tree), _mapping(tree))
        yield from _of_entry(item, alone=False)


def _of_entry(item: Item, *, alone: bool) -> Iterator[Receiver]:
    """`alone`: it is a manifest, whose containers name receivers too; a project's list has those itself."""
    if cloud_run.is_service(item.tree):
        yield from cloud_run.receivers_of(item)
        if alone:
            yield from compose.named_in_containers(item)
    elif cloud_run_rest.is_service(item.tree):
        yield from cloud_run.receivers_of(cloud_run_rest.as_knative(item))
    elif functions.is_function(item.tree):
        yield functions.receiver_of(item)
    else:
        raise item.wrong(f"is none of these: {_KINDS}")


def _entry(number: int, tree: object) -> str:
    """`item 3 (orders)`"""
    name: object = None
    if isinstance(tree, dict):
        metadata = tree.get("metadata")
        name = metadata.get("name") if isinstance(metadata, dict) else tree.get("name")
    short = name.rpartition("/")[2] if isinstance(name, str) else ""
    return f"item {number}" + (f" ({short})" if NAME.fullmatch(short) else "")


def _mapping(tree: object) -> dict[str, Any]:
    return tree if isinstance(tree, dict) else {}


def _tree(file: str, content: bytes) -> object:
    if len(content) > LONGEST:
        raise _refused(file, f"is longer than {LONGEST // 1024**2} MiB")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise _refused(file, "is not UTF-8 text", content.count(b"\n", 0, error.start) + 1) from None
    if not text.strip():
        raise _refused(file, f"is empty; it must be {_KINDS}")
    if text.lstrip()[0] in "[{":
        try:
            tree: object = json.loads(text)
        except json.JSONDecodeError as error:
            raise _refused(file, f"not valid JSON: {error.msg}", error.lineno) from None
        except (RecursionError, ValueError):  # nested too deeply; a number of thousands of digits
            raise _refused(file, "not valid JSON: nested too deeply, or a number too long") from None
        return tree
    if len(content) > _LONGEST_YAML:
        raise _refused(file, f"is longer than {_LONGEST_YAML // 1024**2} MiB, as no manifest is")
    try:
        reading = read_yaml(text, lambda value: value)
    except YamlError as error:
        raise _refused(file, error.message, error.line) from None
    if reading.mistakes:
        raise ConfigError(tuple(Problem(file, line, "", message) for line, _, message in reading.mistakes))
    return reading.tree


def _refused(file: str, message: str, line: int = 0) -> ConfigError:
    return ConfigError((Problem(file, line, "", message),))
