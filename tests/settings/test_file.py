from __future__ import annotations

import io
import os
import threading
from pathlib import Path

import pytest

from idtoken_proxy.errors import ConfigError
from idtoken_proxy.settings.document import Document
from idtoken_proxy.settings.file import ConfigFile
from idtoken_proxy.settings.identities import ENTRIES
from idtoken_proxy.settings.load import settings_from_bytes
from idtoken_proxy.settings.model import Settings
from idtoken_proxy.settings.schema_dsl import Entry, FilePath, Section
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


def test_every_file_that_is_declared_as_one_is_watched_or_read_again_at_each_use(tmp_path: Path) -> None:
    """By the key's declaration, wherever it stands; of what is read at each use, a change is no change of the settings."""
    (tmp_path / "secret").write_text("a" * 32)
    (tmp_path / "key.json").write_text("{}")
    (tmp_path / "proxy.yaml").write_text(
        "guard: {caller_token_file: secret}\n"
        "routes:\n"
        "- {name: a, upstream: 'https://a.run.app', match: {path: /a}, identity: {type: file, path: tokens/a}}\n"
        "- name: b\n  upstream: https://b.run.app\n"
        "  identity: {type: impersonated, service_account: a@b.iam.gserviceaccount.com,\n"
        "    source: {type: service_account, key_file: key.json}}\n"
    )
    path = str(tmp_path / "proxy.yaml")
    source = ConfigFile(path, lambda content: settings_from_bytes(content, path, {}))
    told = {(named.key, named.line, named.reread, named.awaited) for named in source.load().files}
    assert told == {
        ("guard.caller_token_file", 1, False, False),
        ("routes[0].identity.path", 3, True, True),
        ("routes[1].identity.source.key_file", 7, True, False),
    }
    (tmp_path / "key.json").write_text("{} ")
    assert not source.changed()
    (tmp_path / "secret").unlink()
    assert not source.changed()  # in the middle of being replaced
    (tmp_path / "secret").write_text("a" * 32)
    assert not source.changed()  # a touch
    (tmp_path / "secret").write_text("b" * 32)
    assert source.changed()


def test_no_key_that_is_named_as_a_file_is_declared_as_text() -> None:
    """A key called file or *_file that is no FilePath would not be watched."""
    entries: set[type[Entry]] = set()
    waiting: list[type[Entry]] = [Document, *ENTRIES.values()]
    while waiting:
        entry = waiting.pop()
        if entry in entries:
            continue
        entries.add(entry)
        for name, declared in entry.declared.items():
            if name.endswith("file"):
                assert isinstance(declared.kind, FilePath), (entry, name)
            if isinstance(declared.kind, Section):
                waiting.append(declared.kind.entry)
    assert len(entries) > 12


def test_standard_input_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"routes: []")))
    source = ConfigFile("-", lambda _content: Settings(routes=()))
    source.load()
    assert not source.changed()
    source.load()  # what it said then
    assert not source.changed()


@pytest.mark.parametrize("more", ["", "lissten: x\n", "log: {level: loud}\n"])
def test_a_file_that_a_refused_configuration_names_is_watched_too(tmp_path: Path, more: str) -> None:
    """A certificate that is not there yet, or is mended alone: the configuration itself does not change again."""
    path, authority = tmp_path / "proxy.yaml", tmp_path / "ca.pem"
    path.write_text(ROUTE)
    source = config_file(path)
    source.load()
    path.write_text(f"{ROUTE}\ntls: {{ca_file: ca.pem}}\n{more}")
    for content in (None, "garbage"):
        if content is not None:
            authority.write_text(content)
            assert source.changed()
        with pytest.raises(ConfigError, match="ca_file"):
            source.load()
        assert not source.changed()
    authority.write_text("something else")
    assert source.changed()


def test_what_standard_input_names_is_taken_over_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = tmp_path / "secret"
    secret.write_text("a" * 32)
    text = f"{ROUTE}\nguard: {{caller_token_file: {secret}}}\n"
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(text.encode())))
    (tmp_path / "-").write_text("not this one")
    monkeypatch.chdir(tmp_path)
    source = ConfigFile("-", lambda content: settings_from_bytes(content, "-", {}))
    assert source.load().routes
    assert not source.changed()
    secret.write_text("b" * 32)
    assert source.changed()
    assert source.load().routes
    assert not source.changed()
