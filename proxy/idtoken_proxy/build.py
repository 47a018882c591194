"""Which build this is: with hot modules compiled (hatch_build.py), or pure Python."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Final

_spec = find_spec("idtoken_proxy.policy.fields")  # one of the hot modules: found, but not imported

BUILD: Final = "pure" if _spec is None or (_spec.origin or "").endswith(".py") else "compiled"
