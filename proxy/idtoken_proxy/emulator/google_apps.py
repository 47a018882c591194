"""What answers behind the stand-ins for Google's APIs: as much of each as a client needs to be seen working.

    aiplatform   vertex_ai.py: OpenAI-compatible chat completions, Anthropic's models
    storage      cloud_storage.py: buckets and objects, in memory
    monitoring   Managed Service for Prometheus: a query
    python       Artifact Registry: a pip index with one package, `hello`

Any other tells what it received, as a service's container does.
"""

from __future__ import annotations

import hashlib
import io
import re
import zipfile
from collections.abc import Awaitable, Callable, Mapping
from typing import Final, TypeAlias

from aiohttp import web

from idtoken_proxy.emulator import grpc_app
from idtoken_proxy.emulator.cloud_storage import CloudStorage
from idtoken_proxy.emulator.container import Delivered
from idtoken_proxy.emulator.vertex_ai import vertex_ai

App: TypeAlias = Callable[[Delivered], Awaitable[web.StreamResponse]]

_QUERY: Final = re.compile(r"/v1/projects/[^/]+/location/global/prometheus/api/v1/query")
_INDEX: Final = re.compile(r"/[^/]+/[^/]+/simple/hello/")
_WHEEL: Final = "hello-1.0-py3-none-any.whl"


def app_of(api: str | None) -> App:
    """One of its own for each service."""
    if api == "storage":
        return CloudStorage().answer
    return _APPS.get(api or "", grpc_app.answer)


async def _prometheus(delivered: Delivered) -> web.StreamResponse:
    """https://cloud.google.com/stackdriver/docs/managed-prometheus/query-api-ui, as Prometheus' own HTTP API."""
    request = delivered.request
    if not _QUERY.fullmatch(request.path):
        return web.json_response(
            {"status": "error", "errorType": "bad_data", "error": "no such API"}, status=404
        )
    query = request.query.get("query") or str((await request.post()).get("query", ""))
    sample = {"metric": {"__name__": query, "job": "emulated"}, "value": [1_800_000_000, "1"]}
    return web.json_response({"status": "success", "data": {"resultType": "vector", "result": [sample]}})


async def _registry(delivered: Delivered) -> web.StreamResponse:
    """https://cloud.google.com/artifact-registry/docs/python, as PEP 503 has it."""
    path = delivered.request.path
    if _INDEX.fullmatch(path):
        digest = hashlib.sha256(_wheel()).hexdigest()
        page = f'<!DOCTYPE html><html><body><a href="../../hello/{_WHEEL}#sha256={digest}">{_WHEEL}</a></body></html>'
        return web.Response(text=page, content_type="text/html")
    if path.endswith(f"/hello/{_WHEEL}"):
        return web.Response(body=_wheel(), content_type="application/octet-stream")
    return web.Response(status=404, text="Not found.\n")


def _wheel() -> bytes:
    """A package that does nothing, the same at every start."""
    about = "hello-1.0.dist-info"
    files = {
        "hello.py": "",
        f"{about}/METADATA": "Metadata-Version: 2.1\nName: hello\nVersion: 1.0\n",
        f"{about}/WHEEL": "Wheel-Version: 1.0\nGenerator: emulated\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{about}/RECORD": f"hello.py,,\n{about}/METADATA,,\n{about}/WHEEL,,\n{about}/RECORD,,\n",
    }
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(name), content)
    return packed.getvalue()


_APPS: Final[Mapping[str, App]] = {
    "aiplatform": vertex_ai,
    "monitoring": _prometheus,
    "python": _registry,
}
