"""The column of ours: counted anew, and held to what docs/threat-model.md says."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.bars import OURS
from idtoken_proxy.server import Server
from idtoken_proxy.settings.model import LogSettings
from tests.engine.proxied import Proxied, make_token, route_to, settings_for
from tests.hostile import lenient
from tests.hostile.case import CANARY, POST
from tests.hostile.differential import DOCUMENT, rows, table, told, tried
from tests.hostile.survey import Recorder, survey


@pytest.mark.thorough
async def test_our_figures_are_those_of_the_document(tmp_path: Path) -> None:
    (tmp_path / "token").write_text(make_token())
    async with Recorder() as recorder:
        server = Server(
            settings_for(route_to(recorder.port, tmp_path / "token"), log=LogSettings(access="off")), {}
        )
        await server.start()
        await server.slots["receiver"].get()
        try:
            counted = rows(await survey(OURS, server.addresses[0].port, recorder))
        finally:
            await Proxied(server, "").end()
    assert set(counted.values()) == {0}
    figures = told(DOCUMENT.read_text())
    column = figures["requests"].index(OURS)
    assert {row: int(cells[column]) for row, cells in figures.items() if row in counted} == counted
    assert {row: int(cells[0]) for row, cells in figures.items() if row in counted} == tried()


def test_a_table_is_read_as_it_was_written() -> None:
    column = dict.fromkeys(tried(), 7)
    again = told(
        f"x\n<!-- figures of python -m tests.hostile.differential -->\n{table({'a': column})}\n<!-- end of figures -->"
    )
    assert {row: int(cells[1]) for row, cells in again.items() if row in column} == column


def test_what_a_lenient_reader_reads() -> None:
    hidden = b"0\r\n\r\n" + CANARY
    stream = POST + b"Content-Length: %d\r\nTransfer-Encoding: xchunked\r\n\r\n" % len(hidden) + hidden
    seen = {habits: [read.target for read in lenient.requests(stream, habits)] for habits in lenient.ALL}
    assert {habits for habits, targets in seen.items() if b"/canary" in targets} == {
        habits for habits in lenient.ALL if habits.contains and not habits.length_wins
    }
    assert all(targets[0] == b"/" for targets in seen.values())
