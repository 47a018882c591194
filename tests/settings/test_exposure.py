from __future__ import annotations

import os
from pathlib import Path

import pytest

from idtoken_proxy.settings.exposure import exposed, exposure
from idtoken_proxy.settings.load import load_settings
from tests.cases import for_each

READ, CHANGED, REPLACED = "may be read by", "may be changed by", "may be replaced by"


@for_each(
    ("mode", "own", "key", "said"),
    [
        (0o600, True, "key_file", None),
        (0o400, True, "key_file", None),
        (0o640, True, "key_file", None),  # a group is how it is shared on purpose
        (0o660, True, "key_file", None),
        (0o644, True, "key_file", READ),
        (0o604, True, "caller_token_file", READ),
        (0o644, False, "caller_token_file", None),  # as the kubelet made it: not ours to mend
        (0o644, True, "ca_file", None),
        (0o646, True, "ca_file", CHANGED),
        (0o602, True, "path", CHANGED),
        (0o666, False, "key_file", CHANGED),
    ],
)
def test_what_others_may_do_with_a_file(
    tmp_path: Path, mode: int, *, own: bool, key: str, said: str | None
) -> None:
    path = tmp_path / "file"
    path.touch()
    path.chmod(mode)
    told = exposure(key, str(path), os.geteuid() if own else os.geteuid() + 1)
    assert (told is None) == (said is None)
    if told is not None and said is not None:
        assert said in told
        assert f"(mode {mode:04o})" in told
        assert told.endswith(f"; chmod {'600' if said == READ else 'o-w'} {path}")


@pytest.mark.parametrize(("mode", "told"), [(0o777, True), (0o1777, False), (0o775, False)])
def test_a_directory_in_which_others_may_replace_it(tmp_path: Path, mode: int, *, told: bool) -> None:
    directory = tmp_path / "open"
    directory.mkdir()
    (directory / "file").touch(0o600)
    directory.chmod(mode)
    said = exposure("key_file", str(directory / "file"))
    assert (said is not None and REPLACED in said) == told


@for_each("path", ["/nowhere/at/all", "a\0b", "/proc/version"])
def test_what_cannot_be_looked_at_or_changed_by_nobody_is_not_told(path: str) -> None:
    assert exposure("ca_file", path) is None


def test_each_file_of_a_configuration_is_looked_at(tmp_path: Path) -> None:
    """Not while it is loaded, which would wait for a disk that hangs: whoever looks at files has a deadline for it."""
    for name in ("caller", "key.json", "token"):
        (tmp_path / name).write_text("x" * 20)
        (tmp_path / name).chmod(0o644)
    file = tmp_path / "proxy.yaml"
    file.write_text(
        "routes:\n"
        "  - {name: a, upstream: 'https://a.example', audience: x, identity: {type: service_account, key_file: key.json}}\n"
        "  - {name: b, upstream: 'https://b.example', match: {path: /b}, audience: x, identity: {type: file, path: token}}\n"
        "guard: {caller_token_file: caller}\n"
    )
    settings = load_settings(str(file), {})
    assert settings.warnings == ()
    warnings = exposed(settings.files)
    assert sorted((one.line, one.key) for one in warnings) == [
        (2, "routes[0].identity.key_file"),
        (3, "routes[1].identity.path"),
        (4, "guard.caller_token_file"),
    ]
    assert all(READ in one.message for one in warnings)
    for name in ("caller", "key.json", "token"):
        (tmp_path / name).chmod(0o600)
    assert exposed(settings.files) == ()
