"""The house's rules: imports point one way, policy/ decides and does nothing else, engine/http2/ has no I/O, each module has its own tests."""

from __future__ import annotations

import ast
import importlib.util
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import idtoken_proxy
from tests.cases import for_each

PACKAGE = Path(idtoken_proxy.__file__).parent
TESTS = Path(__file__).parent
ROOT = TESTS.parent

# Each may import what stands before it, and its own. Those of one line do not know each other.
LAYERS = (
    ("__init__",),
    (
        "allocator",
        "build",
        "collector",
        "descriptors",
        "errors",
        "leaving",
        "plain_file",
        "startup",
        "terminal",
        "turns",
    ),
    ("logs",),
    ("lifecycle", "notify"),
    ("settings",),
    ("policy", "tls_trust"),
    ("identity",),
    ("engine",),
    ("receive",),
    ("admin", "emulator", "tracing"),
    ("metadata_server", "testing"),
    ("draining", "first_screen", "first_tokens", "generation", "reload", "side_listeners", "span_export"),
    ("composer", "readiness"),  # parts of the composition root
    ("server",),
    ("demo_file", "doorstep", "serving"),
    ("demo",),
    ("breakable", "demo_receive", "init", "login", "mcp", "options", "wrapper"),
    ("commands",),
    ("cli",),
    ("__main__",),
)
# logs.py stands at the bottom beside errors, but is told how to log by the settings' model.
EXCEPTIONS = {("logs", "idtoken_proxy.settings.model")}
LOGS_ARE_FOR = {
    "logs",
    "reload",
    "server",
    "demo",
    "demo_receive",
    "wrapper",
    "commands",
    "cli",
    "tracing",
}  # tracing masks as they do

PURE_MAY_NOT = {
    "asyncio", "concurrent", "contextvars", "datetime", "http", "io", "logging", "multiprocessing", "os", "pathlib",
    "queue", "random", "requests", "secrets", "selectors", "shutil", "signal", "socket", "ssl", "structlog",
    "subprocess", "sys", "tempfile", "threading", "time", "urllib", "uvloop", "aiohttp",
}  # fmt: skip


def modules() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def name_of(path: Path) -> str:
    parts = ("idtoken_proxy", *path.relative_to(PACKAGE).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 2 else parts)


def part_of(module: str) -> str:
    """`idtoken_proxy.engine.http1` -> `engine`; `idtoken_proxy` -> `__init__`."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else "__init__"


def layer_of(module: str) -> int:
    part = part_of(module)
    for number, layer in enumerate(LAYERS):
        if part in layer:
            return number
    raise AssertionError(f"{module} has no place in the order of imports")


@cache
def imports_of(path: Path) -> list[tuple[int, str]]:
    return list(_imports_of(path))


def _imports_of(path: Path) -> Iterator[tuple[int, str]]:
    """(line, absolute module) of every import, within functions and for type checkers alone included."""
    module = name_of(path)
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            source = importlib.util.resolve_name("." * node.level + (node.module or ""), package)
            for alias in node.names:
                # `from idtoken_proxy.emulator import keys` imports a module, `from idtoken_proxy.errors import Fault` does not.
                whole = f"{source}.{alias.name}"
                yield node.lineno, whole if _is_module(whole) else source


@cache
def _is_module(name: str) -> bool:
    place = PACKAGE.parent.joinpath(*name.split("."))
    return place.with_suffix(".py").exists() or (place / "__init__.py").exists()


def test_imports_point_one_way() -> None:
    for path in modules():
        module = name_of(path)
        mine = layer_of(module)
        for line, imported in imports_of(path):
            if imported.split(".")[0] != "idtoken_proxy" or (part_of(module), imported) in EXCEPTIONS:
                continue
            where = f"{path.relative_to(PACKAGE.parent)}:{line}: {imported}"
            if part_of(imported) == "logs":
                assert part_of(module) in LOGS_ARE_FOR, f"{where}: others use structlog"
            assert layer_of(imported) < mine or part_of(imported) == part_of(module), (
                f"{where} is above, or beside"
            )


def test_the_engine_s_files_form_no_circle() -> None:
    """What one calls back stands as a protocol where it is called (streams.py), for type checkers too."""
    graph: dict[str, set[str]] = {}
    for path in (PACKAGE / "engine").rglob("*.py"):
        module = name_of(path)
        graph[module] = {
            imported
            for _, imported in imports_of(path)
            if imported.startswith("idtoken_proxy.engine.") and imported != module
        }
    TopologicalSorter(graph).prepare()  # CycleError names those who form one


def test_the_engine_s_files_are_short() -> None:
    for path in (PACKAGE / "engine").rglob("*.py"):
        lines = len(path.read_text(encoding="utf-8").splitlines())
        assert lines <= 400, f"{path.name} has {lines} lines: look for the second noun in it"


PURE = sorted([*(PACKAGE / "policy").rglob("*.py"), *(PACKAGE / "engine" / "http2").rglob("*.py")])


@for_each("path", PURE, ids=name_of)
def test_what_is_pure_neither_awaits_nor_asks_the_world(path: Path) -> None:
    for line, imported in imports_of(path):
        pure = imported == "urllib.parse"  # of all urllib
        assert pure or imported.split(".")[0] not in PURE_MAY_NOT, f"{path.name}:{line}: {imported}"
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        assert not isinstance(node, ast.AsyncFunctionDef | ast.Await | ast.AsyncFor | ast.AsyncWith)
        if isinstance(node, ast.Name):
            assert node.id not in ("open", "print", "input", "__import__"), f"{path.name}:{node.lineno}"


def test_the_engine_does_not_know_google() -> None:
    for path in (PACKAGE / "engine").rglob("*.py"):
        for line, imported in imports_of(path):
            assert imported.split(".")[0] not in ("google", "requests", "aiohttp"), (
                f"{path.name}:{line}: {imported}"
            )
            assert not imported.startswith("idtoken_proxy.identity.sources"), (
                f"{path.name}:{line}: {imported}"
            )


def _has_code(path: Path) -> bool:
    """More than a docstring and imports."""
    return any(
        not isinstance(node, ast.Import | ast.ImportFrom)
        and not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))
        and not (
            isinstance(node, ast.Assign)
            and any(isinstance(t, ast.Name) and t.id == "__all__" for t in node.targets)
        )
        for node in ast.parse(path.read_text(encoding="utf-8")).body
    )


# Covered whole by another's tests: what is only a shape, a table or a way in.
TESTED_ELSEWHERE = {
    "idtoken_proxy.__init__": "its version",
    "idtoken_proxy.__main__": "end_to_end: every subprocess starts there",
    "idtoken_proxy.commands.completion": "end_to_end/test_completion.py: by shells",
    "idtoken_proxy.commands.emulator": "test_cli.py, test_demo.py: every command is called as a shell would",
    "idtoken_proxy.commands.init": "init/test_command.py",
    "idtoken_proxy.commands.login": "test_login.py",
    "idtoken_proxy.commands.mcp": "mcp/test_command.py",
    "idtoken_proxy.commands.running": "end_to_end/test_probes.py",
    "idtoken_proxy.draining": "test_server.py and end_to_end/test_reuse_port.py: a server ends by it",
    "idtoken_proxy.composer": "test_server.py: what a start and a reload are made of, and disks that hang",
    "idtoken_proxy.readiness": "test_lifecycle.py: a server's start, readiness and service manager",
    "idtoken_proxy.span_export": "tracing/test_pipeline.py: a server's spans by it",
    "idtoken_proxy.side_listeners": "test_server.py, admin/test_app.py and metadata_server/test_app.py: a server opens them by it",
    "idtoken_proxy.admin.token_metrics": "admin/test_metrics.py: all families together",
    "idtoken_proxy.settings.scalars": "settings/test_document.py and test_schema.py: both halves of each, against each other",
    "idtoken_proxy.engine.dialer": "engine/test_pool.py and test_tls.py: by way of both pools",
    "idtoken_proxy.engine.grpc_refusal": "end_to_end/test_grpc_renewal.py: a call that is refused, from its app to its receiver",
    "idtoken_proxy.engine.http2.pair": "engine/http2/test_fields.py: which makes them",
    "idtoken_proxy.engine.http2_app": "engine/test_http2_downstream.py: its streams are that one's",
    "idtoken_proxy.engine.http2_app_body": "engine/test_http2_downstream.py: likewise",
    "idtoken_proxy.engine.http2_call_deadline": "engine/test_http2_downstream.py: likewise",
    "idtoken_proxy.engine.http2_upstream": "engine/test_http2_downstream.py: everything goes through both ends",
    "idtoken_proxy.engine.tls_endings": "engine/test_tls.py and test_connect_errors.py: what each end is taken for",
    "idtoken_proxy.engine.route_entry": "engine/test_router.py: what a router makes of routes",
    "idtoken_proxy.engine.switch": "engine/test_tunnel.py: every tunnel begins there",
    "idtoken_proxy.engine.streams": "protocols alone: engine/test_exchange.py speaks through both of its doors",
    "idtoken_proxy.identity.rules": "identity/test_diagnosis.py: every row of the tables, by way of diagnose",
    "idtoken_proxy.testing.google": "testing/test_plugin.py: its fixtures are that",
    "idtoken_proxy.wrapper.run": "end_to_end/test_run.py: it forks, so that only processes can tell",
}


def _tests_of(path: Path) -> Path:
    stem = "init" if path.name == "__init__.py" else path.stem
    return TESTS / path.relative_to(PACKAGE).parent / f"test_{stem}.py"


def test_each_module_has_tests_of_its_own_name() -> None:
    own = [path for path in modules() if name_of(path) not in TESTED_ELSEWHERE and _has_code(path)]
    assert [str(path.relative_to(PACKAGE)) for path in own if not _tests_of(path).exists()] == []


def loaded_by(statement: str) -> set[str]:
    code = f"import sys; {statement}; print('\\n'.join(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    return set(done.stdout.split())


SLOW = (
    "aiohttp",
    "cryptography",
    "google.auth",
    "idtoken_proxy.receive",
    "requests",
    "urllib3",
    "hypothesis",
    "pytest",
    "opentelemetry",
)


@for_each("module", ["idtoken_proxy.server", "idtoken_proxy.cli"])
def test_what_serve_needs_is_quick_to_import(module: str) -> None:
    loaded = loaded_by(f"import {module}")
    assert not loaded.intersection(SLOW)
    assert module in loaded


def test_the_plugin_that_every_run_of_pytest_imports_costs_next_to_nothing() -> None:
    ours = {
        name
        for name in loaded_by("import pytest; import idtoken_proxy.testing.plugin")
        if "idtoken_proxy" in name
    }
    assert ours == {"idtoken_proxy", "idtoken_proxy.testing", "idtoken_proxy.testing.plugin"}


def test_the_command_line_alone_is_quicker_still() -> None:
    loaded = loaded_by("import idtoken_proxy.cli")
    assert not loaded.intersection({"uvloop", "ssl", "asyncio", "idtoken_proxy.server"})


def test_a_start_up_to_readiness_stays_lean(tmp_path: Path) -> None:
    """Serving with a token of the metadata server or of a file needs none of the heavy libraries either."""
    token = tmp_path / "token"
    statement = "; ".join(
        (
            "import asyncio, pathlib",
            "from tests.engine.proxied import make_token, route_to, settings_for",
            "from idtoken_proxy.server import Server",
            f"pathlib.Path({str(token)!r}).write_text(make_token())",
            f"server = Server(settings_for(route_to(1, {str(token)!r})), {{}})",
            "loop = asyncio.new_event_loop()",
            "loop.run_until_complete(server.start())",
            "loop.run_until_complete(asyncio.sleep(0.2))",
            "assert server.ready",
            "loop.run_until_complete(server.stop(0))",
            "loop.close()",
        )
    )
    assert not loaded_by(statement).intersection(SLOW)


# Files of other programs that are named here.
FOREIGN_FILES = {
    "app_kinds.py",
    "compute_engine/_metadata.py",
    "decoder.py",
    "first_call.py",
    "hello.py",
    "json/decoder.py",
    "proxy.py",
}
A_FILE = re.compile(r"(?<![\w/.<{-])((?:[a-z_0-9]+/)*[a-z_0-9]+\.py)\b")


def test_a_package_that_says_what_is_in_it_says_all() -> None:
    for path in PACKAGE.rglob("__init__.py"):
        said = {name.rpartition("/")[2] for name in A_FILE.findall(path.read_text())}
        own = {one.name for one in path.parent.glob("*.py")} - {"__init__.py"}
        if len(said & own) > 2:
            assert own <= said, f"{path} does not name {sorted(own - said)}"


def test_a_file_that_is_named_is_there() -> None:
    """In a comment, a docstring or the docs: a rename takes them along."""
    texts = [*PACKAGE.rglob("*.py"), *TESTS.rglob("*.py"), *(ROOT / "docs").glob("*.md"), ROOT / "README.md"]
    there = {path.name for part in ("proxy", "tests", "bench") for path in (ROOT / part).rglob("*.py")}
    there |= {path.name for path in ROOT.glob("*.py")} | FOREIGN_FILES
    gone = {
        f"{path.relative_to(ROOT)}: {name}"
        for path in texts
        for name in A_FILE.findall(path.read_text())
        if name not in FOREIGN_FILES and name.rpartition("/")[2] not in there
    }
    assert not gone
