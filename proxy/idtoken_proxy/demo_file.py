"""The demo's configuration as a file, so that `doctor` in another terminal examines what the demo runs."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Mapping, Sequence
from os.path import abspath, pathsep
from pathlib import Path
from shlex import quote
from typing import Any, Final

from idtoken_proxy.settings.identities import Identity, ImpersonatedIdentity
from idtoken_proxy.settings.model import Route, Settings

CREDENTIALS: Final = "GOOGLE_APPLICATION_CREDENTIALS"


def config_text(settings: Settings) -> str:
    """JSON, which is YAML. It holds only what the demo sets: routes and Google's endpoints."""
    google = settings.google
    endpoints = {
        "metadata_host": google.metadata_host,
        "iam_endpoint": google.iam_endpoint,
        "sts_endpoint": google.sts_endpoint,
    }
    return json.dumps({"google": endpoints, "routes": list(map(_route, settings.routes))}, indent=2) + "\n"


def doctor_command(file: Path, environ: Mapping[str, str]) -> str:
    """The line to paste, from whatever directory the other terminal is in. `environ`: what the demo's proxy sees."""
    variables = {CREDENTIALS: environ[CREDENTIALS]} if CREDENTIALS in environ else {}
    return _to_paste(("doctor", "-c", str(file)), variables, environ)


def tools_command(url: str, metadata_host: str, environ: Mapping[str, str]) -> str:
    """The line to paste that lists the tools of the MCP server at `url`."""
    arguments = ("mcp", "--identity", "metadata", "--tools", url)
    return _to_paste(arguments, {"GCE_METADATA_HOST": metadata_host}, environ)


def _to_paste(arguments: Sequence[str], variables: Mapping[str, str], environ: Mapping[str, str]) -> str:
    program = program_of(sys.argv)
    if len(program) > 1 and environ.get("PYTHONPATH"):  # `make demo` runs from the sources
        path = pathsep.join(map(abspath, environ["PYTHONPATH"].split(pathsep)))
        variables = {**variables, "PYTHONPATH": path}
    assignments = (f"{name}={quote(value)}" for name, value in variables.items())
    return " ".join([*assignments, *map(quote, [*program, *arguments])])


def program_of(argv: Sequence[str]) -> tuple[str, ...]:
    """How this program was started: by its name if a shell finds it by that, else by its path or as a module."""
    started = Path(argv[0])
    if started.name != "idtoken-proxy":
        return sys.executable, "-m", "idtoken_proxy"
    found = shutil.which(started.name)
    return (started.name,) if found and Path(found).samefile(started) else (str(started.absolute()),)


def _route(route: Route) -> dict[str, Any]:
    return {
        "name": route.name,
        "match": {"path": route.path},
        "upstream": str(route.upstream),
        "audience": route.audience,
        "strip_prefix": route.strip_prefix,
        "identity": _identity(route.identity),
    }


def _identity(identity: Identity) -> str | dict[str, Any]:
    if isinstance(identity, ImpersonatedIdentity):
        source = _identity(identity.source)
        return {"type": identity.type, "service_account": identity.service_account, "source": source}
    return identity.type
