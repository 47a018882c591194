"""A configuration's file that is what each test makes of it."""

from __future__ import annotations

from collections.abc import Callable

from idtoken_proxy.settings.model import Settings


class Scripted:
    def __init__(
        self,
        load: Callable[[], Settings],
        changed: Callable[[], bool] = lambda: False,
        path: str = "scripted.yaml",
    ) -> None:
        self.path = path
        self.load = load
        self.changed = changed
