from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from idtoken_proxy.errors import ConfigError
from idtoken_proxy.settings.file import ConfigFile
from idtoken_proxy.settings.load import settings_from_bytes
from tests.settings.told import ROUTE

OTHER = ROUTE.replace("a.a.run.app", "b.a.run.app")


def config_file(path: Path) -> ConfigFile:
    return ConfigFile(str(path), lambda content: settings_from_bytes(content, str(path), {}))


def test_a_change_is_of_what_was_loaded_last_be_it_good_or_bad(tmp_path: Path) -> None:
    path = tmp_path / "proxy.yaml"
    path.write_text(ROUTE)
    source = config_file(path)
    settings = source.load()
    assert not source.changed()
    path.write_text(OTHER)
    assert source.changed()
    assert source.load() != settings
    assert not source.changed()
    path.write_text("routes: 5\n")
    assert source.changed()
    with pytest.raises(ConfigError):
        source.load()
    assert not source.changed()  # it has been told of
    path.write_text(OTHER)
    assert source.changed()


def test_a_touch_is_none_nor_is_it_when_the_file_is_gone_for_a_while(tmp_path: Path) -> None:
    path = tmp_path / "proxy.yaml"
    path.write_text(ROUTE)
    source = config_file(path)
    source.load()
    os.utime(path, (1, 1))
    assert not source.changed()
    path.unlink()
    assert not source.changed()
    with pytest.raises(ConfigError, match="cannot be read"):
        source.load()
    path.write_text(ROUTE)
    assert not source.changed()
    path.unlink()
    path.mkdir()
    assert not source.changed()


def test_a_pipe_is_read_once_and_not_looked_at(tmp_path: Path) -> None:
    """`-c <(envsubst < proxy.yaml)`, `-c /dev/stdin`."""
    path = tmp_path / "pipe"
    os.mkfifo(path)
    writer = threading.Thread(target=path.write_text, args=(ROUTE,))
    writer.start()
    source = config_file(path)
    assert source.load().routes
    writer.join()
    assert not source.changed()
