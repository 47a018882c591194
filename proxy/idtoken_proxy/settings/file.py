"""A configuration's file, as it was read last and as it is now."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from idtoken_proxy.settings.load import read_file
from idtoken_proxy.settings.model import Settings


class ConfigFile:
    """`parse`: what is in it -> Settings; ConfigError with every mistake."""

    def __init__(self, path: str, parse: Callable[[bytes], Settings]) -> None:
        self.path = path
        self._parse = parse
        self._content: bytes | None = None

    def load(self) -> Settings:
        """Reads it, once: it may be a pipe. ConfigError."""
        self._content = read_file(self.path)
        return self._parse(self._content)

    def changed(self) -> bool:
        """Whether it holds something else than what was loaded last, for good or ill. A touch is no change, and a
        Kubernetes ConfigMap changes by a symlink beside the file. False while it cannot be read.
        """
        path = Path(self.path)
        try:
            return path.is_file() and path.read_bytes() != self._content
        except OSError:
            return False
