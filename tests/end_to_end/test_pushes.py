"""Local pushes, which carry no token, reach a private service by way of deploy/pushes/proxy.yaml as the account of their route.

The shapes are what Pub/Sub's emulator 0.8.20 and gcloud-tasks-emulator 0.6.2 were seen to send, and what
https://cloud.google.com/scheduler/docs/reference/rpc/google.cloud.scheduler.v1#httptarget says of Cloud Scheduler, which
has no emulator. The two are asked themselves where they are installed.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import json
import shutil
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import aiohttp
import pytest

from idtoken_proxy.emulator import Emulator
from idtoken_proxy.emulator.keys import Keys
from idtoken_proxy.emulator.receivers import Seen
from idtoken_proxy.emulator.world_file import load_world
from idtoken_proxy.settings.load import settings_from_text
from tests.deploy.test_compose_world import free_port
from tests.end_to_end.conftest import PATIENCE, ROOT, Serve

HERE: Final = ROOT / "deploy" / "pushes"
DOMAIN: Final = "@my-project.iam.gserviceaccount.com"
PUBSUB: Final = Path("/usr/lib/google-cloud-sdk/platform/pubsub-emulator")
TASKS: Final = ROOT / ".venv-tasks" / "bin" / "python"
QUEUE: Final = "projects/my-project/locations/us-central1/queues/orders"

needs_pubsub = pytest.mark.skipif(
    not PUBSUB.exists() or shutil.which("java") is None,
    reason="Pub/Sub's emulator is not installed: google-cloud-cli-pubsub-emulator of Google's own package archive, and Java",
)
needs_tasks = pytest.mark.skipif(
    not TASKS.exists(), reason="gcloud-tasks-emulator is not installed; make clients installs it"
)


@pytest.fixture
async def emulator(keys: Keys, seen: list[Seen]) -> AsyncIterator[Emulator]:
    world = load_world(str(HERE / "world.yaml"))
    moved = replace(world, services=tuple(replace(one, port=0) for one in world.services))
    async with Emulator(moved, keys=keys, on_request=seen.append) as running:
        yield running


@pytest.fixture
async def url(emulator: Emulator, serve: Serve) -> str:
    """Of a proxy with the shipped file, on ports that are free here."""
    text = (HERE / "proxy.yaml").read_text(encoding="utf-8")
    for said, meant in (
        ("listen: localhost:8080", "listen: localhost:0"),
        ("admin: localhost:9090", "admin: off"),
        ('"localhost:8090"', f'"{emulator.metadata_host}"'),
        ("http://localhost:8101", emulator.urls["orders"]),
    ):
        assert said in text
        text = text.replace(said, meant)
    server = await serve(settings_from_text(text, "proxy.yaml", {}))
    return f"http://127.0.0.1:{server.addresses[0].port}"


WRAPPED: Final = (
    rb'{"subscription":"projects\/my-project\/subscriptions\/wrapped","message":{"publishTime":"2026-11-29T15:28:25.339Z",'
    rb'"data":"aGVsbG8=","publish_time":"2026-11-29T15:28:25.339Z","messageId":"1","attributes":{"k":"v"},"message_id":"1"}}'
)
OF_JAVA: Final = {"User-Agent": "Java/17.0.15", "Accept": "text/html, image/gif, image/jpeg, */*; q=0.2"}
PUSHES: Final[list[tuple[str, str, str, dict[str, str], bytes]]] = [
    ("pubsub, wrapped", "/push", "pubsub-push", {**OF_JAVA, "Content-Type": "application/json"}, WRAPPED),
    (
        "pubsub, unwrapped",
        "/push",
        "pubsub-push",
        {
            **OF_JAVA,
            "k": "v",
            "x-goog-pubsub-message-id": "1",
            "x-goog-pubsub-publish-time": "2026-11-29T15:28:25.339Z",
            "x-goog-pubsub-subscription-name": "projects/my-project/subscriptions/bare",
            "Content-Type": "application/x-www-form-urlencoded",
        },
        b"hello",
    ),
    (
        "tasks",
        "/tasks",
        "tasks",
        {
            "User-Agent": "Python-urllib/3.11",
            "Content-Type": "application/json",
            "X-CloudTasks-QueueName": QUEUE,
            "X-CloudTasks-TaskName": "task-1",
            "X-CloudTasks-TaskRetryCount": "0",
            "X-CloudTasks-TaskExecutionCount": "0",
            "X-CloudTasks-TaskETA": "1764430000.0",
        },
        b'{"order": 42}',
    ),
    (
        "scheduler",
        "/schedule",
        "scheduler",
        {
            "User-Agent": "Google-Cloud-Scheduler",
            "Content-Type": "application/octet-stream",
            "X-CloudScheduler": "true",
            "X-CloudScheduler-JobName": "tidy-up",
            "X-CloudScheduler-ScheduleTime": "2026-11-29T15:00:00Z",
        },
        b"",
    ),
]


async def test_each_kind_of_push_arrives_as_its_route_s_account(
    url: str, client: aiohttp.ClientSession, emulator: Emulator, seen: list[Seen]
) -> None:
    for kind, prefix, account, headers, body in PUSHES:
        async with client.post(f"{emulator.urls['orders']}/x", headers=headers, data=body) as refused:
            assert refused.status == 403, kind  # as it comes, it has no token
        async with client.post(f"{url}{prefix}/x?y=1", headers=headers, data=body) as answer:
            assert answer.status == 200, (kind, await answer.text())
            told = await answer.json()
        assert (told["caller"], told["path"]) == (account + DOMAIN, "/x?y=1"), (kind, told)
        arrived = {name.lower(): value for name, value in seen[-1].headers}
        for name, value in headers.items():
            assert arrived[name.lower()] == value, (kind, name)
        assert told["body"] == {"size": len(body), "sha256": hashlib.sha256(body).hexdigest()}, kind


async def running(*command: str, cwd: Path | None = None) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *command,
        cwd=cwd,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
        start_new_session=True,
    )


@contextlib.asynccontextmanager
async def started(*command: str, cwd: Path | None = None) -> AsyncIterator[None]:
    process = await running(*command, cwd=cwd)
    try:
        yield
    finally:
        process.terminate()
        await process.wait()


async def arrivals(seen: list[Seen], number: int) -> dict[str, Seen]:
    """By their paths, once so many have come."""
    async with asyncio.timeout(PATIENCE):
        while len({one.target for one in seen}) < number:
            await asyncio.sleep(0.05)
    return {one.target: one for one in seen}


def caller_of(one: Seen) -> str:
    """The account whose token the front end let in."""
    assert one.refused is None
    (token,) = (
        value.removeprefix("Bearer ") for name, value in one.headers if name.lower() == "authorization"
    )
    payload = token.split(".")[1]
    return str(json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))["email"])


@pytest.mark.thorough
@needs_pubsub
async def test_pubsub_s_emulator(url: str, client: aiohttp.ClientSession, seen: list[Seen]) -> None:
    port = free_port()
    jar = next((PUBSUB / "lib").glob("cloud-pubsub-emulator-*-all.jar"))
    base = f"http://127.0.0.1:{port}/v1/projects/my-project"

    async def put(what: str, content: dict[str, Any], method: str = "PUT") -> None:
        async with client.request(method, f"{base}/{what}", json=content) as answer:
            assert answer.status == 200, await answer.text()

    async with started("java", "-jar", str(jar), "--host=127.0.0.1", f"--port={port}"):
        async with asyncio.timeout(PATIENCE):
            while True:
                with contextlib.suppress(aiohttp.ClientError):
                    await put("topics/orders", {})
                    break
                await asyncio.sleep(0.1)
        topic = "projects/my-project/topics/orders"
        oidc = {"serviceAccountEmail": f"somebody{DOMAIN}"}  # which the emulator takes, and makes nothing of
        await put(
            "subscriptions/wrapped",
            {"topic": topic, "pushConfig": {"pushEndpoint": f"{url}/push/wrapped", "oidcToken": oidc}},
        )
        await put(
            "subscriptions/bare",
            {
                "topic": topic,
                "pushConfig": {"pushEndpoint": f"{url}/push/bare", "noWrapper": {"writeMetadata": True}},
            },
        )
        await put(
            "topics/orders:publish", {"messages": [{"data": "aGVsbG8=", "attributes": {"k": "v"}}]}, "POST"
        )
        came = await arrivals(seen, 2)
    assert {target: caller_of(one) for target, one in came.items()} == {
        "/wrapped": f"pubsub-push{DOMAIN}",
        "/bare": f"pubsub-push{DOMAIN}",
    }


CREATE: Final = """
import sys
import grpc
from google.cloud import tasks_v2
from google.cloud.tasks_v2.services.cloud_tasks.transports import CloudTasksGrpcTransport
port, queue, url = sys.argv[1:]
channel = grpc.insecure_channel(f"127.0.0.1:{port}")
grpc.channel_ready_future(channel).result(timeout=15)
client = tasks_v2.CloudTasksClient(transport=CloudTasksGrpcTransport(channel=channel))
request = {"url": url, "http_method": "POST", "body": b'{"order": 42}', "headers": {"Content-Type": "application/json"}}
client.create_task(parent=queue, task={"http_request": request})
"""


@pytest.mark.thorough
@needs_tasks
async def test_cloud_tasks_emulator(url: str, seen: list[Seen]) -> None:
    port = str(free_port())
    start = ("-m", "gcloud_tasks_emulator", "start", "--port", port, "--default-queue", QUEUE, "--quiet")
    async with started(str(TASKS), *start):
        creating = await running(str(TASKS), "-c", CREATE, port, QUEUE, f"{url}/tasks/orders")
        assert await asyncio.wait_for(creating.wait(), PATIENCE) == 0
        came = await arrivals(seen, 1)
    assert caller_of(came["/orders"]) == f"tasks{DOMAIN}"
    names = {name.lower() for name, _ in came["/orders"].headers}
    assert {"x-cloudtasks-queuename", "x-cloudtasks-taskname"} <= names
