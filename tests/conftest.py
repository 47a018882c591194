from __future__ import annotations

import asyncio
import gc
import logging
import os
import shutil
import tempfile
from collections.abc import Callable, Generator, Iterator, Mapping
from pathlib import Path

import pytest
import structlog
import trustme
import uvloop
from hypothesis import settings

from idtoken_proxy.emulator.keys import Keys
from tests.browser.devtools import started

HERE = Path(__file__).parent
# What runs on uvloop in production is tested on it; the emulator also lives without, and is tested so.
ON_UVLOOP = tuple(
    HERE / name
    for name in ("engine", "admin", "browser", "end_to_end", "hostile", "mcp", "receive", "test_server.py")
)

# No absolute time in a test: a busy machine is no failure.
# Half the usual examples: they are others with each run, and the fuzzers look at the wire all day.
settings.register_profile("untimed", deadline=None, max_examples=50)
settings.load_profile("untimed")


def pytest_configure(config: pytest.Config) -> None:
    """A system of one root, for all that is tested, child processes too: to read a distribution's 150 takes OpenSSL 40 ms,
    and hundreds of tests and processes do. xdist's workers inherit it.
    """
    if not hasattr(config, "workerinput"):
        directory = tempfile.mkdtemp(prefix="roots-")
        config.add_cleanup(lambda: shutil.rmtree(directory))
        os.environ["SSL_CERT_FILE"] = f"{directory}/roots.pem"
        trustme.CA(organization_name="The system's").cert_pem.write_to_path(os.environ["SSL_CERT_FILE"])


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """What is collected stays until the end: to look through it for garbage is a quarter of what collecting costs."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()
        gc.freeze()


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    if any(item.path.is_relative_to(place) for place in ON_UVLOOP):
        return {"uvloop": uvloop.new_event_loop}
    return {"asyncio": asyncio.new_event_loop}


@pytest.fixture(scope="session")
def keys() -> Keys:
    """RSA keys are slow to make, and one set serves all."""
    return Keys()


@pytest.fixture(scope="session")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where its DevTools answer. A browser takes seconds of CPU to start: one serves all tests, each in a tab of its own."""
    with started(tmp_path_factory.mktemp("chromium")) as address:
        yield address


@pytest.fixture(autouse=True)
def _logs_as_before() -> Iterator[None]:
    """Whatever a test has set up for its logs, a command's own run included, the next one finds nothing of it."""
    root = logging.getLogger()
    level = root.level
    yield
    structlog.reset_defaults()
    root.handlers[:] = [
        handler for handler in root.handlers if type(handler).__module__ != "idtoken_proxy.logs"
    ]
    root.setLevel(level)
