"""Which build this is: its hot modules compiled (hatch_build.py), or all of it as it stands here."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Final

_spec = find_spec("idtoken_proxy.policy.fields")  # one of them; it is looked for, and not run

BUILD: Final = "pure" if _spec is None or (_spec.origin or "").endswith(".py") else "compiled"
