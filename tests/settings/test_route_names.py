"""What a shell completes after --route."""

from __future__ import annotations

import os
from pathlib import Path

from idtoken_proxy.settings.route_names import route_names
from tests.cases import for_each


def names(text: str, directory: Path, environ: dict[str, str] | None = None) -> list[str]:
    file = directory / "proxy.yaml"
    file.write_text(text)
    return route_names(str(file), environ or {})


def test_names_stand_in_the_file_s_order(tmp_path: Path) -> None:
    text = "routes:\n- {name: search, upstream: 'https://${HOST}'}\n- name: user-profiles\n"
    assert names(text, tmp_path, {"HOST": "a.run.app"}) == ["search", "user-profiles"]


@for_each(
    "text",
    [
        "", "[]", "routes: 5", "routes: {name: a}", "routes: [a, {}, {name: 5}, {name: [a]}]", "routes: [", "a: ${NOT_SET}",
        'routes: [{name: "$(reboot)"}, {name: "a b"}, {name: "a\\nb"}, {name: "a,b"}, {name: ""}]',
    ],
)  # fmt: skip
def test_what_is_no_name_is_not_offered(text: str, tmp_path: Path) -> None:
    assert names(text, tmp_path) == []


def test_what_cannot_be_read_has_none(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "octets").write_bytes(b"\xff")
    for path in (
        "-",
        "",
        "\0",
        str(tmp_path),
        str(tmp_path / "none"),
        str(tmp_path / "pipe"),
        str(tmp_path / "octets"),
    ):
        assert route_names(path, {}) == []
