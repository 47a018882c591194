"""How a Python was built: with profile-guided optimisation (PGO) it runs this proxy a tenth or more quicker. And another one
on this machine that was built so, of the same version, so that it can run what is installed for this one.
"""

from __future__ import annotations

import functools
import json
import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

_ASK = (
    "import json, platform, sys, sysconfig; say = lambda name: str(sysconfig.get_config_var(name) or ''); "
    "print(json.dumps([platform.python_version(), list(sys.version_info[:2]), sys.base_prefix, "
    "say('CONFIG_ARGS'), say('PY_CFLAGS') + ' ' + say('PY_CORE_CFLAGS')]))"
)
# Debian's and Ubuntu's python3.x/debian/rules make the target profile-opt, and give its flags to make: sysconfig has none of them.
_BUILT_BY_RULES = ("debian", "ubuntu")


@dataclass(frozen=True)
class Interpreter:
    path: Path
    version: str
    minor: tuple[int, int]
    options: str

    @property
    def guided(self) -> bool:
        return self.options.startswith("with PGO")


def build_options(arguments: str, flags: str, *, distribution: str = "") -> str:
    """From sysconfig's CONFIG_ARGS and compiler flags. `distribution`: whose own interpreter it is, by os-release(5)."""
    guided = "--enable-optimizations" in arguments or "-fprofile-use" in flags
    linked = "--with-lto" in arguments or "-flto" in flags
    if not guided and distribution in _BUILT_BY_RULES:
        return f"with PGO (by {distribution.capitalize()}'s build rules; sysconfig does not say)"
    return f"{'with' if guided else 'without'} PGO, {'with' if linked else 'without'} LTO"


def distribution_of(prefix: str, os_release: str) -> str:
    """`debian`, if the interpreter under this prefix is the system's own, and the system is Debian; "" for none."""
    if prefix != "/usr":
        return ""
    fields = (line.partition("=") for line in os_release.splitlines())
    return next((value.strip("\"'") for name, _, value in fields if name == "ID"), "")


def this_one() -> str:
    return build_options(
        str(sysconfig.get_config_var("CONFIG_ARGS") or ""),
        f"{sysconfig.get_config_var('PY_CFLAGS') or ''} {sysconfig.get_config_var('PY_CORE_CFLAGS') or ''}",
        distribution=distribution_of(sys.base_prefix, _os_release()),
    )


def ask(path: Path) -> Interpreter | None:
    """None for what is no Python, or does not answer."""
    try:
        done = subprocess.run(
            [path, "-I", "-c", _ASK], capture_output=True, text=True, timeout=20, check=True
        )
        version, minor, prefix, arguments, flags = json.loads(done.stdout)
    except (OSError, subprocess.SubprocessError, ValueError):
        return None
    options = build_options(arguments, flags, distribution=distribution_of(prefix, _os_release()))
    return Interpreter(path, version, (minor[0], minor[1]), options)


def first_guided(known: Sequence[Interpreter], minor: tuple[int, int]) -> Interpreter | None:
    """The first one with PGO whose extension modules are this version's."""
    return next((one for one in known if one.guided and one.minor == minor), None)


@functools.cache
def guided() -> Interpreter | None:
    """One of this very version on PATH or the system's own; None where there is none, or the one that runs this is one."""
    if this_one().startswith("with PGO"):
        return None
    name = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    places = [*os.environ.get("PATH", os.defpath).split(os.pathsep), "/usr/local/bin", "/usr/bin"]
    found = (shutil.which(name, path=place) for place in dict.fromkeys(places))
    known = [one for path in found if path and (one := ask(Path(path))) is not None]
    return first_guided(known, (sys.version_info[0], sys.version_info[1]))


def _os_release() -> str:
    try:
        return Path("/etc/os-release").read_text()
    except OSError:
        return ""
