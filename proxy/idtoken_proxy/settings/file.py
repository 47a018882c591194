"""A configuration's file, as it was read last and as it is now."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

from idtoken_proxy.errors import ConfigError
from idtoken_proxy.settings.load import STDIN, read_file
from idtoken_proxy.settings.model import Settings


class ConfigFile:
    """`parse`: what is in it -> Settings; ConfigError with every mistake."""

    def __init__(self, path: str, parse: Callable[[bytes], Settings]) -> None:
        self.path = path
        self._parse = parse
        self._content: bytes | None = None
        self._named: dict[
            str, bytes | None
        ] = {}  # files that it names, and what was in them: a digest, no secret

    def load(self) -> Settings:
        """Reads it, once: it may be a pipe. ConfigError."""
        # Standard input is what it was; the files that it names may change.
        if self.path != STDIN or self._content is None:
            self._content = read_file(self.path)
        try:
            settings = self._parse(self._content)
        except ConfigError as error:
            # The mistake may be in one of them, and mended there alone. What is no YAML names none that is known.
            self._named = {path: _digest(path) for path in error.files or self._named}
            raise
        # Before they are read to be used: a change in between is one more change, and not lost.
        self._named = {named.path: _digest(named.path) for named in settings.files if not named.reread}
        return settings

    def changed(self) -> bool:
        """Whether it, or a file that it names, holds something else than when it was loaded last, for good or ill. A touch is
        no change, and a Kubernetes ConfigMap or Secret changes by a symlink beside the file. False while they cannot be
        read.
        """
        content = None if self.path == STDIN else _content(self.path)
        if content is not None and content != self._content:
            return True
        return any(_digest(path) not in (None, before) for path, before in self._named.items())


def _content(path: str) -> bytes | None:
    """None while it cannot be read. What is no plain file would wait for a writer."""
    file = Path(path)
    try:
        return file.read_bytes() if file.is_file() else None
    except OSError:
        return None


def _digest(path: str) -> bytes | None:
    content = _content(path)
    return None if content is None else hashlib.sha256(content).digest()
