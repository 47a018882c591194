"""Loads settings, from a configuration file or from `serve --upstream`; and knows where files are looked for."""

from __future__ import annotations

import os
import sys
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Final

from idtoken_proxy.errors import ConfigError, Problem
from idtoken_proxy.settings import tracing
from idtoken_proxy.settings.addresses import from_here
from idtoken_proxy.settings.command_line import KEYS, CommandLine
from idtoken_proxy.settings.doubts import doubts
from idtoken_proxy.settings.environment import (
    SEARCHED,
    found_path,
    is_there,
    named_by,
    overrides,
    references,
    substitute,
)
from idtoken_proxy.settings.mistakes import Location, Origin, in_tree
from idtoken_proxy.settings.model import NamedFile, Settings
from idtoken_proxy.settings.plausible import path_objection, project_objection, shown_path
from idtoken_proxy.settings.resolve import resolve
from idtoken_proxy.settings.schema_dsl import files_in, without_nulls
from idtoken_proxy.settings.validate import validated
from idtoken_proxy.settings.variables import QUOTA_PROJECT
from idtoken_proxy.settings.yaml_lines import YamlError, read_yaml

STDIN: Final = "-"  # as for most commands; a file of that name is ./-
_STDIN: Final = "standard input"
_LISTENERS: Final = (("listen",), ("admin",))


def default_config_path(environ: Mapping[str, str], instead: str, searched: Iterable[str] = SEARCHED) -> str:
    """$IDTOKEN_PROXY_CONFIG, else the first file that exists. Its ConfigError lists what was tried. `instead`: what the
    command takes in place of a file, in words.
    """
    tried = list(searched)
    found = found_path(environ, tried)
    if found is not None:
        return found
    message = (
        f"no configuration found: IDTOKEN_PROXY_CONFIG is not set, and there is no {' and no '.join(tried)}; "
        f"name a file with -c{instead}"
    )
    raise ConfigError((Problem("configuration", 0, "", message),))


def load_settings(
    path: str, environ: Mapping[str, str], defaults: Mapping[str, Any] | None = None
) -> Settings:
    """Raises ConfigError with every mistake of the file and of the variables that override it. `defaults`: replaces the
    usual defaults of top-level keys.
    """
    return settings_from_bytes(read_file(path), path, environ, defaults)


def read_file(path: str) -> bytes:
    """`-` is standard input, which can be read once. Raises ConfigError."""
    if path == STDIN:
        return sys.stdin.buffer.read()
    refused = path_objection(path, home=True)
    if refused is not None and not is_there(path):
        raise ConfigError((Problem(named_by(path, os.environ), 0, "", refused),))
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise ConfigError((Problem(shown_path(path), 0, "", f"cannot be read: {error.strerror}"),)) from None
    except ValueError:  # a NUL in the path
        raise ConfigError((Problem("configuration", 0, "", "its path holds a NUL character"),)) from None


def settings_from_bytes(
    content: bytes,
    path: str,
    environ: Mapping[str, str],
    defaults: Mapping[str, Any] | None = None,
    options: Mapping[str, object] | None = None,
) -> Settings:
    """As load_settings, from a file's content. `options`: those of KEYS in command_line.py; they override the file."""
    path = _STDIN if path == STDIN else path
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise ConfigError((Problem(shown_path(path), line, "", "is not UTF-8 text"),)) from None
    return settings_from_text(text, path, environ, defaults, options)


def settings_from_text(
    text: str,
    path: str,
    environ: Mapping[str, str],
    defaults: Mapping[str, Any] | None = None,
    options: Mapping[str, object] | None = None,
) -> Settings:
    """As load_settings. `path` names the file in messages; file paths in it are relative to its directory."""
    taken_in: set[str] = set()

    def substituted(value: str) -> str:
        taken_in.update(references(value))
        return substitute(value, environ)

    try:
        reading = read_yaml(text, substituted)
    except YamlError as error:
        raise ConfigError((Problem(shown_path(path), error.line, "", error.message),)) from None
    origin = Origin(path, reading.tree, reading.lines)
    problems = [replace(origin.problem(at, message), line=line) for line, at, message in reading.mistakes]
    directory = os.path.dirname(path)  # noqa: PTH120 - "" for none
    return _settings(
        origin, environ, directory, reading.unreadable, problems, defaults, options or {}, taken_in
    )


def settings_from_options(
    command_line: CommandLine, environ: Mapping[str, str], defaults: Mapping[str, Any] | None = None
) -> Settings:
    """Settings of `serve --upstream` and its like, without a file. Mistakes are named by option. Raises ConfigError."""
    tree, options = command_line.tree()
    origin = Origin("--upstream", tree, {}, options)
    return _settings(origin, environ, "", set(), list(command_line.lacking()), defaults, command_line.keys)


def _settings(
    origin: Origin,
    environ: Mapping[str, str],
    directory: str,
    unreadable: set[Location],
    problems: list[Problem],
    defaults: Mapping[str, Any] | None,
    options: Mapping[str, object],
    taken_in: Collection[str] = (),
) -> Settings:
    tree = without_nulls(origin.tree if origin.tree is not None else {})
    if not isinstance(tree, dict):
        problems.append(origin.problem((), "must be a mapping of keys to values, such as routes: [...]"))
        raise ConfigError(tuple(problems))
    tree = {**(defaults or {}), **tree}
    elsewhere = dict(origin.elsewhere)
    from_options = [(name, KEYS[name], value) for name, value in options.items()]
    for name, location, value in (*overrides(environ), *from_options):
        _put(tree, location, from_here(value) if location in _LISTENERS and directory else value)
        elsewhere[location] = name
    home = environ.get("HOME") or os.path.expanduser("~")  # noqa: PTH111 - may not raise
    file_path = partial(_file_path, directory=directory, home=home)
    document, mistakes = validated(tree, unreadable, file_path)
    origin = replace(origin, elsewhere=elsewhere)
    problems += [origin.problem(location, message) for location, message in mistakes]
    if problems:
        named_files = [file_path(path) for _, kind, path in files_in(document) if not kind.reread]
        raise ConfigError(tuple(sorted(problems, key=lambda problem: problem.line)), named_files)
    settings = resolve(document, file_path, environ.get(QUOTA_PROJECT) or None)
    _check_quota_project(settings, environ)
    spans = tracing.wanted(document.tracing, environ, document.egress_proxy)
    of_spans = [
        Problem(variable, 0, "", message) if variable else origin.problem(("tracing",), message)
        for variable, message in spans.mistakes
    ]
    if of_spans and document.tracing is not None:
        raise ConfigError(tuple(of_spans))
    # Whoever sets such a variable for the app may not think of the proxy. So unless the key is used, mistakes are
    # warnings.
    untraced = [replace(one, message=f"{one.message}; no spans are exported") for one in of_spans]
    warnings = (
        *(
            origin.problem(in_tree(tree, location, missing=True), message)
            for location, message in doubts(settings)
        ),
        *untraced,
    )
    identities = (
        origin.problem(in_tree(tree, ("routes", index, "identity"), missing=True), "")
        for index in range(len(settings.routes))
    )
    files: dict[tuple[str, bool, bool], NamedFile] = {}
    for at, kind, path in files_in(document):
        place = origin.problem(in_tree(tree, at), "")
        named = NamedFile(file_path(path), place.file, place.line, place.key, kind.reread, kind.awaited)
        files.setdefault((named.path, named.reread, named.awaited), named)
    return replace(
        settings,
        tracing=spans.settings,
        warnings=warnings,
        files=tuple(files.values()),
        identities_at=tuple(identities),
        taken_in=frozenset(taken_in),
    )


def _check_quota_project(settings: Settings, environ: Mapping[str, str]) -> None:
    """Checks the variable if a route uses it: it goes into a header as it is."""
    project = environ.get(QUOTA_PROJECT)
    refused = project_objection(project) if project else None
    if refused is not None and any(route.quota_project == project for route in settings.routes):
        message = f"{refused}; write one such as my-project-123, or unset it"
        raise ConfigError((Problem(QUOTA_PROJECT, 0, "", message),))


def _put(tree: dict[str, Any], location: Location, value: object) -> None:
    *sections, key = location
    for section in sections:
        inner = tree.setdefault(str(section), {})
        if not isinstance(inner, dict):
            return  # this mistake is reported elsewhere
        tree = inner
    tree[str(key)] = value


def _file_path(path: str, *, directory: str, home: str) -> str:
    """`~` is the home directory; a relative path starts from the configuration's directory."""
    if path == "~" or path.startswith("~/"):
        path = home + path[1:]
    return os.path.join(directory, path)  # noqa: PTH118 - keeps the path as it was written
