"""Where a running proxy's admin listener is, for `wait` and `probe`. Reads only that key.

These commands run every few seconds, so this imports nothing heavy. Mistakes made in the file since are ignored: the
proxy goes on under its old settings.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final

from idtoken_proxy.errors import ConfigError, Problem
from idtoken_proxy.settings.addresses import admin_address
from idtoken_proxy.settings.environment import is_there, named_by, substitute
from idtoken_proxy.settings.model import Address, Settings, UnixAddress
from idtoken_proxy.settings.plausible import objection, path_objection, shown_path
from idtoken_proxy.settings.yaml_lines import YamlError, read_yaml

_VARIABLE: Final = "IDTOKEN_PROXY_ADMIN"
_DEFAULT: Final = Settings(routes=()).admin


def running_admin(option: str | None, path: str | None, environ: Mapping[str, str]) -> Address:
    """The address from `--admin`, else the variable, else the file at `path`, else the default. Raises ConfigError if
    that leaves none to ask.
    """
    if option is not None:
        return _asked("--admin", "", option)
    if environ.get(_VARIABLE):
        return _asked(_VARIABLE, "", environ[_VARIABLE])
    if path is None:
        assert _DEFAULT is not None
        return _DEFAULT
    return _of_file(path, environ)


def _of_file(path: str, environ: Mapping[str, str]) -> Address:
    refused = path_objection(path, home=True)
    if refused is not None and not is_there(path):
        raise _refused(named_by(path, environ), "", refused)
    try:
        reading = read_yaml(Path(path).read_text("utf-8-sig"), lambda value: substitute(value, environ))
    except OSError as error:
        raise _refused(path, "", f"cannot be read: {error.strerror}") from None
    except YamlError as error:
        raise ConfigError((Problem(shown_path(path), error.line, "", error.message),)) from None
    except ValueError:
        raise _refused(path, "", "is not UTF-8 text") from None
    found = reading.tree.get("admin") if isinstance(reading.tree, dict) else None
    return _asked(path, "admin", str(_DEFAULT) if found is None else found, os.path.dirname(path))  # noqa: PTH120 - "" for none


def _asked(place: str, key: str, value: object, directory: str = "") -> Address:
    """`directory`: the one that a socket's relative path starts from."""
    try:
        refused = objection(value) if isinstance(value, str) else None
        if refused is not None:
            raise ValueError(refused)  # noqa: TRY301 -- told as any other
        address = admin_address(value)
    except ValueError as error:
        raise _refused(place, key, str(error)) from None
    if address is None:
        raise _refused(place, key, "the admin listener is off, so there is nobody to ask; name an address")
    if isinstance(address, UnixAddress):
        path = os.path.expanduser(address.path)  # noqa: PTH111 -- may not raise
        return replace(address, path=os.path.join(directory, path))  # noqa: PTH118 -- as load.py does
    if address.port == 0:
        raise _refused(
            place, key, "port 0 is one that the kernel chose; name the one that the log tells with --admin"
        )
    return address


def _refused(place: str, key: str, message: str) -> ConfigError:
    return ConfigError((Problem(shown_path(place), 0, key, message),))
