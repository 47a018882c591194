"""One entry of somebody else's file, read strictly: what is not as it is documented is an error that names file and entry."""

from __future__ import annotations

import re
from typing import Any, Final

from idtoken_proxy.errors import ConfigError, Problem
from idtoken_proxy.settings import names, urls
from idtoken_proxy.settings.model import Upstream
from idtoken_proxy.settings.plausible import shown, url_path_objection

NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,62}")
REGION: Final = re.compile(r"[a-z]+(?:-[a-z]+)*[0-9]{1,3}")
_ABSENT: Final[tuple[object, ...]] = (None, "", {}, [])


class Item:
    """`file`, `entry`: where it stands, for errors."""

    def __init__(self, file: str, entry: str, tree: dict[str, Any]) -> None:
        self.file = file
        self.entry = entry
        self.tree = tree

    def wrong(self, message: str) -> ConfigError:
        return ConfigError((Problem(self.file, 0, self.entry, message),))

    def mapping(self, *path: str) -> dict[str, Any]:
        """{} where there is none. ConfigError."""
        found = self._at(path)
        if found in _ABSENT:
            return {}
        if not isinstance(found, dict):
            raise self.wrong(f"{'.'.join(path)} must be a mapping, not {shown(found)}")
        return found

    def sequence(self, *path: str) -> list[Any]:
        """[] where there is none. ConfigError."""
        found = self._at(path)
        if found in _ABSENT:
            return []
        if not isinstance(found, list):
            raise self.wrong(f"{'.'.join(path)} must be a list, not {shown(found)}")
        return found

    def text(self, *path: str) -> str | None:
        """None where there is none. ConfigError."""
        found = self._at(path)
        if found in _ABSENT:
            return None
        if not isinstance(found, str):
            raise self.wrong(f"{'.'.join(path)} must be a string, not {shown(found)}")
        return found

    def flag(self, *path: str) -> bool:
        """Of a Kubernetes annotation, which is a string by its schema and a boolean where a person forgot the quotes."""
        found = self._at(path)
        return found is True or (isinstance(found, str) and found.lower() == "true")

    def name(self, value: object) -> str:
        """A service's or function's. ConfigError."""
        if not isinstance(value, str) or NAME.fullmatch(value) is None:
            raise self.wrong(f"its name is no name of a service or function: {shown(value)}")
        return value

    def url(self, value: str, key: str) -> Upstream:
        """ConfigError."""
        try:
            return urls.upstream(value)
        except ValueError as error:
            raise self.wrong(f"{key} {error}") from None

    def audience(self, value: object) -> str | None:
        """None for one that no configuration takes."""
        try:
            found = names.audience(value)
        except ValueError:
            return None
        return found if url_path_objection(found) is None else None

    def _at(self, path: tuple[str, ...]) -> object:
        found: object = self.tree
        for index, key in enumerate(path):
            if found in _ABSENT:
                return None
            if not isinstance(found, dict):
                raise self.wrong(f"{'.'.join(path[:index])} must be a mapping, not {shown(found)}")
            found = found.get(key)
        return found
