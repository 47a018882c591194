"""A token that Google refuses in a gRPC status, under HTTP's 200: the next call has another; and the operator is told why.

grpcio is the app. The receiver refuses the first token as googleapis.com does (recorded answers are not at hand: its form is
that of gRPC's and Google's documents), and takes the second.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Final

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc import aio

from idtoken_proxy.emulator.front_ends import CHALLENGE
from idtoken_proxy.server import Server
from idtoken_proxy.settings.identities import FileIdentity
from idtoken_proxy.settings.model import Route, Scopes, Upstream, Wanted
from tests.cases import for_each
from tests.emulator.grpc_client import Client, dialled
from tests.end_to_end.conftest import Serve, settings_for
from tests.engine.http2_peers import Pair, Stream, http2_receiver
from tests.engine.proxied import make_token
from tests.engine.wire import eventually
from tests.identity.test_grpc_error import status_details

OF_API: Final = Scopes()
AUDIENCE: Final = "https://api.example.com"
KIND: Final = (b"content-type", b"application/grpc")
API: Final = (b"www-authenticate", b'Bearer realm="https://accounts.google.com/", error="invalid_token"')
WORDS: Final = b"Request had invalid authentication credentials."
SAYS: Final = b"\x00\x00\x00\x00\x00"  # an empty message


def refusal(status: int, message: bytes = WORDS, *more: Pair) -> tuple[Pair, ...]:
    return ((b"grpc-status", b"%d" % status), (b"grpc-message", message), *more)


def details(reason: str, **metadata: str) -> Pair:
    info = error_details_pb2.ErrorInfo(reason=reason, domain="googleapis.com", metadata=metadata)
    return (b"grpc-status-details-bin", status_details(info))


class Google:
    """`says`: what it answers a refused token with; `carried`: the credential of each call."""

    def __init__(self, says: Callable[[Stream], Awaitable[None] | None]) -> None:
        self.says = says
        self.refuses: str | None = None
        self.carried: list[str] = []
        self._answers: set[asyncio.Task[None]] = set()

    def __call__(self, stream: Stream) -> None:
        task = asyncio.ensure_future(self._answer(stream))
        self._answers.add(task)
        task.add_done_callback(self._answers.discard)

    async def _answer(self, stream: Stream) -> None:
        credential = (stream.one("authorization") or "").removeprefix("Bearer ")
        self.carried.append(credential)
        if not (stream.one(":path") or "").endswith("/Stream"):
            await stream.done()
        if credential == self.refuses:
            self.says(stream)
        else:
            stream.head(KIND)
            stream.data(SAYS)
            stream.end((b"grpc-status", b"0"))


def in_its_head(*pairs: Pair) -> Callable[[Stream], None]:
    """Trailers-Only, as https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md has it."""
    return lambda stream: stream.head(KIND, *pairs, end=True)


def behind_a_head(*pairs: Pair) -> Callable[[Stream], None]:
    """A challenge is none in trailers (RFC 9110 section 6.5.1)."""

    def answer(stream: Stream) -> None:
        stream.head(KIND, *(pair for pair in pairs if pair[0] == b"www-authenticate"))
        stream.end(*(pair for pair in pairs if pair[0] != b"www-authenticate"))

    return answer


class Scene:
    """A proxy before a Google that refuses the token which the proxy has, and whose source has another by now."""

    def __init__(self, google: Google, server: Server, client: Client, old: str) -> None:
        self.google = google
        self.server = server
        self.client = client
        self.old = self.new = old

    async def calls(self, method: str = "/x.Api/Get") -> str:
        """The name of the status."""
        call: Any = self.client.channel.unary_unary(method)
        try:
            await call(b"", timeout=20)
        except aio.AioRpcError as error:
            return str(error.code().name)
        return "OK"

    @property
    def fetches(self) -> int:
        seen = self.server.context.stats.fetches.values()
        return sum(one.fresh + one.unchanged + one.failed for one in seen)

    @property
    def replays(self) -> int:
        return self.server.context.router.entries[0].counts.replays

    async def renewed(self) -> None:
        await eventually(lambda: self.fetches == 2, "no renewal")

    @property
    def causes(self) -> dict[str, tuple[int, str, str]]:
        seen = self.server.context.stats.upstream_refusals.values()
        return {one.cause: (one.status, one.detail, one.remedy or "") for one in seen}


Begin = Callable[..., Awaitable[Scene]]


def written(path: Path, wanted: Wanted, lifetime: float) -> str:
    if not isinstance(wanted, Scopes):
        token = make_token(wanted, lifetime)
        path.write_text(token)
        return token
    token = f"ya29.{lifetime:.0f}"
    path.write_text(json.dumps({"access_token": token, "expires_in": lifetime}))
    return token


@pytest.fixture
async def begin(serve: Serve, tmp_path: Path) -> AsyncIterator[Begin]:
    async with AsyncExitStack() as stack:

        async def scene(says: Callable[[Stream], None], wanted: Wanted = OF_API) -> Scene:
            google = Google(says)
            receiver = await stack.enter_async_context(http2_receiver(google))
            path = tmp_path / "token"
            first = written(path, wanted, 3000)
            route = Route(
                "api",
                Upstream("http", "127.0.0.1", receiver.port),
                None if isinstance(wanted, Scopes) else wanted,
                path="/",
                identity=FileIdentity(str(path)),
                scopes=wanted if isinstance(wanted, Scopes) else None,
            )
            server = await serve(settings_for(route, metadata_host="127.0.0.1:1"))
            url = f"http://localhost:{server.addresses[0].port}"
            client = await stack.enter_async_context(dialled(url))
            made = Scene(google, server, client, first)
            assert await made.calls() == "OK"
            google.refuses = first
            made.new = written(path, wanted, 3600)
            return made

        yield scene


GOOGLES: Final = (b"www-authenticate", CHALLENGE.encode())


@for_each(
    ("wanted", "says"),
    [
        (OF_API, refusal(16)),
        (OF_API, refusal(16, WORDS, API)),
        (AUDIENCE, refusal(16, WORDS, GOOGLES)),
        (AUDIENCE, refusal(16, b"The access token could not be verified")),
    ],
)
async def test_a_call_that_was_refused_in_its_head_is_sent_once_more(
    begin: Begin, wanted: Wanted, says: tuple[Pair, ...]
) -> None:
    """As after a 401: nothing of an answer is out, and the receiver's code has seen nothing."""
    scene = await begin(in_its_head(*says), wanted)
    old, new = scene.old, scene.new
    assert await scene.calls() == "OK"
    assert scene.google.carried == [old, old, new]
    assert (scene.fetches, scene.replays) == (2, 1)


@for_each(("wanted", "more"), [(OF_API, ()), (AUDIENCE, (GOOGLES,))])
async def test_behind_a_head_the_next_call_has_another(
    begin: Begin, wanted: Wanted, more: tuple[Pair, ...]
) -> None:
    scene = await begin(behind_a_head(*refusal(16, WORDS, *more)), wanted)
    old, new = scene.old, scene.new
    assert await scene.calls() == "UNAUTHENTICATED"
    await scene.renewed()
    assert await scene.calls() == "OK"
    assert scene.google.carried == [old, old, new]
    assert (scene.fetches, scene.replays) == (2, 0)


async def test_a_stream_that_goes_on_is_not_sent_again_and_renews(begin: Begin) -> None:
    scene = await begin(in_its_head(*refusal(16)))
    stream: Any = scene.client.channel.stream_stream("/x.Api/Stream")(timeout=20)
    assert (await stream.code()) is grpc.StatusCode.UNAUTHENTICATED
    await scene.renewed()
    assert await scene.calls() == "OK"
    assert scene.replays == 0


@for_each("says", [in_its_head, behind_a_head])
@for_each("message", [b"Who are you?", b""])
async def test_an_app_s_own_status_is_its_own_affair(
    begin: Begin, says: Callable[..., Callable[[Stream], None]], message: bytes
) -> None:
    """Behind Cloud Run there is an app, and its callers may have tokens of their own."""
    scene = await begin(says(*refusal(16, message)), AUDIENCE)
    assert await scene.calls() == "UNAUTHENTICATED"
    assert await scene.calls() == "UNAUTHENTICATED"
    assert (scene.fetches, scene.replays, scene.causes) == (1, 0, {})


async def test_a_refused_token_is_not_fetched_in_a_loop(begin: Begin) -> None:
    scene = await begin(behind_a_head(*refusal(16)))
    for _ in range(5):
        scene.google.refuses = scene.google.carried[-1]
        await scene.calls()
        await asyncio.sleep(0.01)
    assert scene.fetches == 2


# reason: (its metadata, the cause, words of the detail or the remedy)
CAUSES: Final = {
    "USER_PROJECT_DENIED": ({"consumer": "projects/42"}, "quota_project", "serviceUsageConsumer"),
    "SERVICE_DISABLED": (
        {"consumer": "projects/42", "service": "pubsub.googleapis.com"},
        "api_disabled",
        "gcloud services enable pubsub.googleapis.com --project=42",
    ),
    "ACCESS_TOKEN_SCOPE_INSUFFICIENT": ({}, "token_scopes", "In route api: scopes: "),
    "SECURITY_POLICY_VIOLATED": ({"uid": "abc"}, "vpc_service_controls", "VPC Service Controls"),
}


@for_each("reason", CAUSES)
@for_each("says", [in_its_head, behind_a_head])
async def test_why_an_api_refuses_a_call_is_told_to_the_operator(
    begin: Begin, says: Callable[..., Callable[[Stream], None]], reason: str
) -> None:
    """In the log, in metrics and on the status page; the app has Google's own words."""
    metadata, cause, words = CAUSES[reason]
    scene = await begin(says(*refusal(7, b"no", details(reason, **metadata))))
    assert await scene.calls() == "PERMISSION_DENIED"
    await eventually(lambda: bool(scene.causes), "nothing told")
    ((told, (status, detail, remedy)),) = scene.causes.items()
    assert (told, status) == (cause, 403)
    assert words in f"{detail}; {remedy}"
    assert scene.fetches == 1


async def test_a_host_of_one_s_own_renews_and_is_not_asked_twice(begin: Begin) -> None:
    """A private endpoint's name in the configuration: whether an app is behind it, nobody can tell."""
    scene = await begin(in_its_head(*refusal(16)))
    entry = scene.server.context.router.entries[0]
    assert not entry.foreign
    entry.foreign = True
    assert await scene.calls() == "UNAUTHENTICATED"
    await scene.renewed()
    assert await scene.calls() == "OK"
    assert scene.replays == 0
