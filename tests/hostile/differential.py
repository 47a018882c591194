"""The same requests through other proxies: python -m tests.hostile.differential [--list] [--write]

Prints what each forwards, smuggles and refuses; `--list` names the cases; `--write` puts the figures into
docs/threat-model.md, whose column of ours tests/hostile/test_differential.py holds to what it finds.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import trustme

from bench import metadata
from bench import receiver as bench_receiver
from bench.bars import OURS
from bench.processes import Cores, StartError, allowed, free_port, last_line, running
from bench.targets import CloudRunProxy, Envoy, Haproxy, IdTokenProxy, Nginx, Setup, Target
from tests.hostile import callers, oddities, tokens
from tests.hostile.survey import FAMILIES, Findings, Recorder, survey

DOCUMENT: Final = Path(__file__).parents[2] / "docs" / "threat-model.md"
BEGIN: Final = "<!-- figures of python -m tests.hostile.differential -->"
END: Final = "<!-- end of figures -->"


def rows(found: Findings) -> dict[str, int]:
    """What is counted, by its row."""
    counted = {f"{family}: must be refused": len(found.forwarded[family]) for family in FAMILIES}
    counted |= {f"{family}: may be mended": len(found.mended[family]) for family in FAMILIES}
    counted |= {
        "a second request smuggled": len(found.smuggled),
        "pages of other origins and rebound names: forwarded": len(found.reached),
        "the proxy's own token lost": len(found.lost),
        "a client's token or an alias of one beside the proxy's": len(found.beside),
        "well-formed oddities: refused": len(found.refused),
    }
    return counted


def tried() -> dict[str, int]:
    counted = {
        f"{family}: must be refused": sum(not c.mendable for c in cases.values())
        for family, cases in FAMILIES.items()
    }
    counted |= {
        f"{family}: may be mended": sum(c.mendable for c in cases.values())
        for family, cases in FAMILIES.items()
    }
    counted |= {
        "a second request smuggled": sum(map(len, FAMILIES.values())),
        "pages of other origins and rebound names: forwarded": len(callers.CALLERS),
        "the proxy's own token lost": len(tokens.TOKENS),
        "a client's token or an alias of one beside the proxy's": len(tokens.TOKENS),
        "well-formed oddities: refused": len(oddities.ODDITIES),
    }
    return counted


def table(columns: dict[str, dict[str, int]]) -> str:
    lines = [
        "| requests | tried | " + " | ".join(columns) + " |",
        "|---|" + "---:|" * (len(columns) + 1),
    ]
    lines += [
        f"| {row} | {count} | " + " | ".join(str(column[row]) for column in columns.values()) + " |"
        for row, count in tried().items()
    ]
    return "\n".join(lines)


def told(document: str) -> dict[str, list[str]]:
    """The table in a document: cells by row; the head's row is named `requests`."""
    found = re.search(re.escape(BEGIN) + "(.*)" + re.escape(END), document, re.DOTALL)
    if found is None:
        return {}
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in found[1].strip().splitlines()]
    return {row[0]: row[1:] for row in cells}


async def of(target: Target, directory: Path) -> Findings | str:
    """What is found, or why not."""
    executable = target.executable()
    if executable is None:
        return f"missing: {target.install}"
    ca = directory / "ca.pem"
    trustme.CA().cert_pem.write_to_path(str(ca))
    cores = Cores.split(sorted(allowed()))
    async with Recorder() as recorder:
        with metadata.serving() as metadata_port:
            ports = {"http": recorder.port, "https": recorder.port}
            receiver = bench_receiver.Receiver(ports, ca)
            setup = Setup(directory, free_port(), "http", receiver, metadata_port, identity="file")
            command = target.command(executable, setup)
            log = directory / "log"
            with running(
                command, cores=cores.proxy | cores.load, log=log, env=target.environment(setup)
            ) as process:
                if not await _listens(setup.port, lambda: process.poll() is None):
                    return f"does not start: {last_line(log)}"
                recorder.take()
                return await survey(f"{target.name} {target.version()}", setup.port, recorder)


async def _listens(port: int, alive: Callable[[], bool]) -> bool:
    for _ in range(200):
        with contextlib.suppress(OSError):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.close()
            await asyncio.sleep(1.0)  # for Envoy's first token
            return True
        if not alive():
            return False
        await asyncio.sleep(0.1)
    return False


async def run(options: Sequence[str]) -> int:
    targets: list[Target] = [IdTokenProxy(), Envoy(), Nginx(), Haproxy(), CloudRunProxy()]
    with tempfile.TemporaryDirectory() as place:

        async def one(target: Target) -> Findings | str:
            directory = Path(place) / target.name
            directory.mkdir()
            try:
                return await of(target, directory)
            except (OSError, StartError) as error:
                return str(error)

        found = await asyncio.gather(*map(one, targets))
    columns: dict[str, dict[str, int]] = {}
    for target, findings in zip(targets, found, strict=True):
        if isinstance(findings, str):
            print(f"{target.name}: {findings}")
            continue
        columns[OURS if target.name == OURS else findings.name] = rows(findings)
        if "--list" in options:
            _list(findings)
    print(table(columns))
    if "--write" in options:
        document = DOCUMENT.read_text()
        begin, end = document.index(BEGIN) + len(BEGIN), document.index(END)
        DOCUMENT.write_text(f"{document[:begin]}\n{table(columns)}\n{document[end:]}")
    return 0


def _list(found: Findings) -> None:
    for family in FAMILIES:
        print(f"{found.name}: {family}: must be refused: {found.forwarded[family]}")
        print(f"{found.name}: {family}: may be mended: {found.mended[family]}")
    for what in ("smuggled", "lost", "beside", "refused", "reached"):
        print(f"{found.name}: {what}: {getattr(found, what)}")


if __name__ == "__main__":
    sys.exit(asyncio.run(run(sys.argv[1:])))
