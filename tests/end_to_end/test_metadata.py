"""Google's own libraries find the proxy's identity where they look for a VM's: no code changed, GCE_METADATA_HOST alone.

Python's needs GCE_METADATA_IP beside it: it looks for a server there, and asks it at GCE_METADATA_HOST. docs/clients.md has a table.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

import pytest

from idtoken_proxy.emulator import Account, Emulator, Service, World
from idtoken_proxy.emulator.keys import Keys
from idtoken_proxy.emulator.world import service_account_email
from idtoken_proxy.settings.identities import MetadataIdentity
from idtoken_proxy.settings.model import MetadataSettings, Scopes, TcpAddress
from tests.end_to_end.conftest import Serve, _environ, route_to, settings_for
from tests.end_to_end.test_run import Run, run

__all__ = ["run"]

CLIENTS: Final = Path(__file__).parent / "clients"
GO: Final = CLIENTS / "build" / "metadata-go"
PROJECT: Final = "my-project"
APP: Final = Account(service_account_email("app", PROJECT), default=True)
WORLD: Final = World(
    PROJECT,
    (APP,),
    (Service("shop", frozenset({APP.member})), Service("logs", frozenset({APP.member}), api="logging")),
)
# Of Debian's libgoogle-auth-java and what it is made of.
JARS: Final = tuple(
    Path("/usr/share/java", f"{name}.jar")
    for name in (
        *("google-auth-library-oauth2-http", "google-auth-library-credentials", "google-http-client"),
        *(
            "google-http-client-gson",
            "google-http-client-jackson2",
            "jackson-core",
            "gson",
            "guava",
            "failureaccess",
        ),
        *(
            "opencensus-api",
            "opencensus-contrib-http-util",
            "grpc-context",
            "httpclient",
            "httpcore",
            "commons-logging",
        ),
    )
)
JAVA: Final = ("java", "-cp", ":".join(map(str, JARS)), str(CLIENTS / "Metadata.java"))
PYTHON: Final = (sys.executable, str(CLIENTS / "metadata_client.py"))

needs_node = pytest.mark.skipif(
    shutil.which("node") is None or not (CLIENTS / "node_modules" / "google-auth-library").exists(),
    reason="no Node.js, or no google-auth-library for it; make clients installs that, and .ci/run both",
)
needs_go = pytest.mark.skipif(
    not GO.exists(),
    reason="the client in Go is not built; make clients does, and .ci/run brings what it needs",
)


needs_java = pytest.mark.skipif(
    shutil.which("javac") is None or not JARS[0].exists(),
    reason="no JDK, or no Google library for it: apt-get install default-jdk-headless libgoogle-auth-java",
)


@pytest.fixture
async def emulator(keys: Keys) -> AsyncIterator[Emulator]:
    async with Emulator(WORLD, keys=keys) as running:
        yield running


@pytest.fixture
async def host(emulator: Emulator, serve: Serve) -> str:
    """HOST:PORT of the face of a proxy whose one route leads to the shop."""
    metadata = MetadataSettings(
        TcpAddress("localhost", 0), MetadataIdentity(), (emulator.urls["shop"],), scopes=Scopes()
    )
    route = route_to(emulator, "shop")
    server = await serve(settings_for(route, metadata_host=emulator.metadata_host, metadata=metadata))
    return str(server.metadata[0])


async def told_by(emulator: Emulator, home: Path, *command: str, **environ: str) -> Any:
    process = await asyncio.create_subprocess_exec(
        *(*command, emulator.urls["shop"], emulator.urls["logs"]),
        env={**_environ(), **environ, "HOME": str(home)},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    output, complaints = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 0, complaints.decode()
    return json.loads(output)


FOUND: Final = {
    "available": True,
    "project": PROJECT,
    "email": APP.email,
    "caller": APP.email,
    "api": APP.email,
}


@pytest.mark.thorough
async def test_python(emulator: Emulator, host: str, tmp_path: Path) -> None:
    assert await told_by(emulator, tmp_path, *PYTHON, GCE_METADATA_HOST=host, GCE_METADATA_IP=host) == FOUND


@pytest.mark.thorough
async def test_python_where_the_app_names_the_credentials(
    emulator: Emulator, host: str, tmp_path: Path
) -> None:
    """`compute_engine.Credentials` and `IDTokenCredentials` look for no server, and need no GCE_METADATA_IP."""
    told = await told_by(
        emulator,
        tmp_path,
        *(sys.executable, str(CLIENTS / "metadata_direct.py")),
        GCE_METADATA_HOST=host,
        GCE_METADATA_IP="127.0.0.1:1",
    )
    assert told == {name: FOUND[name] for name in ("email", "caller", "api")}


@pytest.mark.thorough
@needs_node
async def test_node(emulator: Emulator, host: str, tmp_path: Path) -> None:
    assert (
        await told_by(emulator, tmp_path, "node", str(CLIENTS / "metadata.js"), GCE_METADATA_HOST=host)
        == FOUND
    )


@pytest.mark.thorough
@needs_go
async def test_go(emulator: Emulator, host: str, tmp_path: Path) -> None:
    assert await told_by(emulator, tmp_path, str(GO), GCE_METADATA_HOST=host) == FOUND


@pytest.mark.thorough
@needs_java
async def test_java(emulator: Emulator, host: str, tmp_path: Path) -> None:
    told = await told_by(emulator, tmp_path, *JAVA, GCE_METADATA_HOST=host)
    assert told == {
        name: value for name, value in FOUND.items() if name != "project"
    }  # other libraries ask for it


async def test_run_leads_them_there(emulator: Emulator, run: Run) -> None:
    """Whatever else the environment would have them use; --keep gives that back."""
    config = {
        "listen": "127.0.0.1:0",
        "identity": {"type": "metadata"},
        "google": {"metadata_host": emulator.metadata_host},
        "routes": [{"name": "shop", "upstream": emulator.urls["shop"]}],
        "log": {"level": "warning"},
    }
    script = (
        'echo "host=$GCE_METADATA_HOST ip=$GCE_METADATA_IP root=$GCE_METADATA_ROOT key=$GOOGLE_APPLICATION_CREDENTIALS '
        'check=$NO_GCE_CHECK node=$METADATA_SERVER_DETECTION"; curl -sS --fail -H "Metadata-Flavor: Google" '
        f'"http://$GCE_METADATA_HOST/computeMetadata/v1/instance/service-accounts/default/identity?audience={emulator.urls["shop"]}"'
    )
    misleading = {"GOOGLE_APPLICATION_CREDENTIALS": "/elsewhere.json", "NO_GCE_CHECK": "true"}
    process = await run(config, "sh", "-c", script, options=("--metadata",), env=misleading)
    assert await process.ended() == 0, process.output
    told = dict(pair.split("=", 1) for pair in process.lines[0].split())
    assert told["host"].startswith("127.0.0.1:")
    assert told["host"] == told["ip"] == told["root"]
    assert (told["key"], told["check"], told["node"]) == ("", "", "assume-present")
    assert process.lines[1].startswith("eyJ")

    kept = ("--metadata", "--keep", "GOOGLE_APPLICATION_CREDENTIALS")
    process = await run(config, "sh", "-c", script, options=kept, env=misleading)
    await process.ended()
    assert "key=/elsewhere.json" in process.output
