"""A configuration file as it was last read, and as it is now."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

from idtoken_proxy.errors import ConfigError
from idtoken_proxy.settings.load import STDIN, read_file
from idtoken_proxy.settings.model import Settings


class ConfigFile:
    """`parse`: content -> Settings; raises ConfigError with every mistake."""

    def __init__(self, path: str, parse: Callable[[bytes], Settings]) -> None:
        self.path = path
        self._parse = parse
        self._content: bytes | None = None
        self._named: dict[str, bytes | None] = {}  # digests of the files that it names

    def load(self) -> Settings:
        """Reads the file once, because it may be a pipe. Raises ConfigError."""
        # Standard input cannot change; the files that it names may.
        if self.path != STDIN or self._content is None:
            self._content = read_file(self.path)
        try:
            settings = self._parse(self._content)
        except ConfigError as error:
            # The mistake may be in a named file and be mended there. A text that is not YAML names no files that could
            # be known.
            self._named = {path: _digest(path) for path in error.files or self._named}
            raise
        # Digested before they are used, so that a change in between counts as one more change and is not lost.
        self._named = {named.path: _digest(named.path) for named in settings.files if not named.reread}
        return settings

    def changed(self) -> bool:
        """Whether the file, or one that it names, has other content than at the last load, good or bad. A touch is no
        change. A Kubernetes ConfigMap or Secret changes by a symlink beside the file. False while a file cannot be
        read.
        """
        content = None if self.path == STDIN else _content(self.path)
        if content is not None and content != self._content:
            return True
        return any(_digest(path) not in (None, before) for path, before in self._named.items())


def _content(path: str) -> bytes | None:
    """None while it cannot be read, or is no plain file: that could block for a writer."""
    file = Path(path)
    try:
        return file.read_bytes() if file.is_file() else None
    except OSError:
        return None


def _digest(path: str) -> bytes | None:
    content = _content(path)
    return None if content is None else hashlib.sha256(content).digest()
