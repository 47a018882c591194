"""What an app's developer reads: the status and the text that grpcio shows for every refusal, the proxy's own and Google's.

One channel asks a receiver that answers each path as a table says; what grpcio shows of it stands beside it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from typing import Any, Final

import aiohttp
import grpc
import pytest
from grpc import aio

from idtoken_proxy.emulator import DEMO, Emulator
from idtoken_proxy.emulator.edge import ROBOT
from idtoken_proxy.emulator.front_ends import CHALLENGE, PAGE
from idtoken_proxy.emulator.keys import Keys
from idtoken_proxy.engine.http2.budgets import EARLY_ENDS
from idtoken_proxy.settings.identities import FileIdentity
from idtoken_proxy.settings.model import Limits, UpstreamProtocol
from tests.emulator.grpc_client import Client, Metadata, dialled
from tests.end_to_end.conftest import Serve, route_to, settings_for
from tests.engine.http2_peers import Pair, Stream, http2_receiver
from tests.engine.wire import eventually

Dial = Callable[..., Awaitable[Client]]
ECHO: Final = "/idtoken_proxy.Echo/Unary"


@dataclass(frozen=True, slots=True)
class Shown:
    """By grpcio."""

    code: str
    details: str
    trailers: dict[str, str | bytes]


async def shown(client: Client, path: str, metadata: Metadata = (), seconds: float = 20) -> Shown:
    call: Any = client.channel.unary_unary(path)
    with pytest.raises(aio.AioRpcError) as told:
        await call(b"", metadata=metadata, timeout=seconds)
    error = told.value
    return Shown(error.code().name, str(error.details()), dict(error.trailing_metadata()))


@pytest.fixture
async def dial(emulator: Emulator, serve: Serve) -> AsyncIterator[Dial]:
    """An app's channel to a proxy, with one route to `port`, or to user-profiles."""
    async with AsyncExitStack() as stack:

        async def begin(
            port: int | None = None, route: dict[str, Any] | None = None, **changes: Any
        ) -> Client:
            one = route_to(emulator, "user-profiles", path="/", strip_prefix=False)
            if port is not None:
                one = replace(one, upstream=replace(one.upstream, port=port))
            one = replace(one, **(route or {}))
            server = await serve(settings_for(one, metadata_host=emulator.metadata_host, **changes))
            return await stack.enter_async_context(dialled(f"http://localhost:{server.addresses[0].port}"))

        yield begin


# -- the proxy's own, of a request that goes nowhere ------------------------------------------

# name: (what the route says, the app's metadata, the path, the status, words of its message)
REFUSALS: Final[dict[str, tuple[dict[str, Any], Metadata, str, str, tuple[str, ...]]]] = {
    "by the guard": (
        {},
        (("origin", "http://evil.test"),),
        ECHO,
        "PERMISSION_DENIED",
        ("http://evil.test", "may not use this proxy", "Remedy: ", "allowed_origins"),
    ),
    "no route": ({"path": "/other"}, (), ECHO, "UNIMPLEMENTED", ("no route matches this host and path",)),
    "a method": ({"methods": frozenset({"GET"})}, (), ECHO, "UNIMPLEMENTED", ("does not take POST",)),
    "malformed": (
        {},
        (("origin", "http://a.test"), ("origin", "http://b.test")),
        ECHO,
        "INTERNAL",
        ("two Origin headers",),
    ),
    "malformed as a message of HTTP/2": (
        {},
        (("proxy-connection", "keep-alive"),),
        ECHO,
        "INTERNAL",
        ("the request is malformed: proxy-connection, which is of HTTP/1.1's connections",),
    ),
    "a path out of its route": (
        {"path": "/idtoken_proxy.Echo"},
        (),
        "/idtoken_proxy.Echo/..%2fUnary",
        "INTERNAL",
        ("could lead out of the route", "Remedy: send the path without them"),
    ),
    "a route of HTTP/1.1": (
        {"protocol": UpstreamProtocol.HTTP1},
        (),
        ECHO,
        "UNIMPLEMENTED",
        ("Remedy: take protocol: http1 out",),
    ),
    "no token, for want of the operator": (
        {"identity": FileIdentity("/no/token")},
        (),
        ECHO,
        "UNAUTHENTICATED",
        ("/no/token", "Remedy: "),
    ),
    "metadata that is too large": (
        {},
        (("x-large", "x" * 70_000),),
        ECHO,
        "RESOURCE_EXHAUSTED",
        ("the request head is larger than 65536 octets",),
    ),
    "too much metadata": (
        {},
        tuple((f"x-{number}", "") for number in range(300)),
        ECHO,
        "RESOURCE_EXHAUSTED",
        ("more than 256 header fields",),
    ),
    "nobody there": (
        {},
        (),
        ECHO,
        "UNAVAILABLE",
        ("refuses connections", "Remedy: See that the receiver runs, and listens on that port: "),
    ),
}


@pytest.mark.parametrize("name", REFUSALS)
async def test_a_refusal_of_the_proxy_s(dial: Dial, dead_port: int, name: str) -> None:
    route, metadata, path, code, words = REFUSALS[name]
    client = await dial(dead_port if name == "nobody there" else None, route)
    told = await shown(client, path, metadata)
    assert told.code == code, told
    assert not [one for one in words if one not in told.details], told


async def test_no_token_for_want_of_google(dial: Dial, emulator: Emulator) -> None:
    emulator.break_with("outage")
    told = await shown(await dial(), ECHO)
    assert told.code == "UNAVAILABLE", told
    assert told.details.startswith("the metadata server answered 503"), told


async def test_more_connections_than_the_limit(serve: Serve, emulator: Emulator) -> None:
    """Who is turned away is answered before an octet is read, so that nobody knows yet that it would be HTTP/2."""
    route = route_to(emulator, "user-profiles", path="/", strip_prefix=False)
    settings = settings_for(route, metadata_host=emulator.metadata_host, limits=Limits(connections=1))
    url = f"http://localhost:{(await serve(settings)).addresses[0].port}"
    async with dialled(url) as first, dialled(url) as second:
        assert (await first.unary({"text": "one"}))["text"] == "one"
        told = await shown(second, ECHO)
    assert told.code == "UNAVAILABLE"
    assert "HTTP status 503" in told.details


async def test_more_calls_that_are_cancelled_at_once_than_are_borne(dial: Dial) -> None:
    async with http2_receiver(lambda _: None) as receiver:
        client = await dial(receiver.port)
        method: Any = client.channel.unary_unary("/Services/Never")
        calls = [method(b"", timeout=20) for _ in range(EARLY_ENDS + 20)]
        await eventually(lambda: len(receiver.streams) == len(calls), "they did not all come")
        for call in calls[1:]:
            call.cancel()
        with pytest.raises(aio.AioRpcError) as told:
            await calls[0]
    assert told.value.code() is grpc.StatusCode.UNAVAILABLE
    assert "more streams that end before their answer than are borne" in str(told.value.details())


# -- the receiver's and Google's, as pages ----------------------------------------------------


def page(title: str, sentence: str) -> bytes:
    return PAGE.format(title=title, sentence=sentence).encode()


def robot(status: int, title: str, sentence: str) -> bytes:
    return ROBOT.format(status=status, title=title, sentence=sentence).encode()


def api_error(reason: str = "", **metadata: str) -> bytes:
    """In the form of Google's APIs (https://google.aip.dev/193)."""
    details = ""
    if reason:
        told = ", ".join(f'"{name}": "{value}"' for name, value in metadata.items())
        details = (
            ', "details": [{"@type": "type.googleapis.com/google.rpc.ErrorInfo", '
            f'"reason": "{reason}", "domain": "googleapis.com", "metadata": {{{told}}}}}]'
        )
    return f'{{"error": {{"code": 403, "message": "no", "status": "PERMISSION_DENIED"{details}}}}}'.encode()


HTML: Final[tuple[Pair, ...]] = ((b"content-type", b"text/html; charset=UTF-8"),)
JSON: Final[tuple[Pair, ...]] = ((b"content-type", b"application/json; charset=UTF-8"),)
TEXT: Final[tuple[Pair, ...]] = ((b"content-type", b"text/plain"),)
GOOGLE: Final[Pair] = (b"server", b"Google Frontend")
RIGHTS: Final = "Your client does not have permission to get URL <code>/</code> from this server."


@dataclass(frozen=True, slots=True)
class Said:
    """By a receiver in place of an answer of gRPC's, and what grpcio shows of it: a status and words of its message."""

    status: int
    fields: tuple[Pair, ...]
    body: bytes
    code: str
    words: tuple[str, ...]


PAGES: Final = {
    "401": Said(
        401,
        (GOOGLE, *HTML, (b"www-authenticate", CHALLENGE.encode())),
        page("401 Unauthorized", "Your client does not have permission to the requested URL <code>/</code>."),
        "UNAUTHENTICATED",
        ("does not take tokens for", "Remedy: ", "--add-custom-audiences="),
    ),
    "403 of the role": Said(
        403,
        (GOOGLE, *HTML),
        page("403 Forbidden", RIGHTS),
        "PERMISSION_DENIED",
        (
            "login@demo-project.iam.gserviceaccount.com may not invoke",
            "Remedy: gcloud run services add-iam-policy-binding ",
            "--role=roles/run.invoker",
        ),
    ),
    "403 of the ingress": Said(
        403,
        (GOOGLE, *HTML),
        page("403 Forbidden", "Access is forbidden."),
        "PERMISSION_DENIED",
        ("the ingress setting of", "--ingress=all"),
    ),
    "403 of an API": Said(
        403,
        JSON,
        api_error("SERVICE_DISABLED", service="run.googleapis.com", consumer="projects/123"),
        "PERMISSION_DENIED",
        (
            "run.googleapis.com is not enabled in project 123",
            "Remedy: gcloud services enable run.googleapis.com --project=123",
        ),
    ),
    "403 of a perimeter": Said(
        403,
        JSON,
        api_error("SECURITY_POLICY_VIOLATED", service="run.googleapis.com", uid="abc"),
        "PERMISSION_DENIED",
        ("VPC Service Controls",),
    ),
    "403 of IAP": Said(
        403,
        (*HTML, (b"x-goog-iap-generated-response", b"true")),
        b"You don't have access",
        "PERMISSION_DENIED",
        ("may not pass IAP", "--role=roles/iap.httpsResourceAccessor"),
    ),
    "401 of IAP": Said(
        401,
        (*HTML, (b"x-goog-iap-generated-response", b"true")),
        b"Invalid IAP credentials: JWT audience doesn't match this application",
        "UNAUTHENTICATED",
        ("IAP before", "OAuth client ID"),
    ),
    "404": Said(
        404,
        (GOOGLE, *HTML),
        page("404 Page not found", "The requested URL was not found on this server."),
        "UNIMPLEMENTED",
        ("no such service is there", "Remedy: "),
    ),
    "411": Said(
        411,
        HTML,
        robot(411, "Length Required", "POST requests require a <code>Content-length</code> header."),
        "INTERNAL",
        ("wants to know the length", "Remedy: Have the app send Content-Length"),
    ),
    "413": Said(
        413,
        HTML,
        robot(413, "Request Entity Too Large", "Your client issued a request that was too large."),
        "RESOURCE_EXHAUSTED",
        ("larger than Google's front end lets through", "--use-http2"),
    ),
    "429": Said(
        429, (GOOGLE, *HTML), b"Rate exceeded.", "UNAVAILABLE", ("no instance free", "--max-instances=N")
    ),
    "500": Said(
        500,
        (GOOGLE, *HTML),
        page("500 Server Error", "The server encountered an error and could not complete your request."),
        "UNKNOWN",
        ("did not come up, or broke off at the request (status 500)", "gcloud run services logs read"),
    ),
    "502": Said(
        502,
        HTML,
        robot(502, "Server Error", "The server encountered a temporary error."),
        "UNAVAILABLE",
        ("(status 502)", "gcloud run services logs read"),
    ),
    "503": Said(503, (GOOGLE, *HTML), b"Service Unavailable", "UNAVAILABLE", ("(status 503)",)),
    "503 for want of an instance": Said(
        503,
        (GOOGLE, *HTML),
        page("503", "The request was aborted because there was no available instance."),
        "UNAVAILABLE",
        ("no instance free", "--min-instances=1"),
    ),
    "503 of Envoy": Said(
        503,
        (GOOGLE, *TEXT),
        b"upstream connect error or disconnect/reset before headers. reset reason: connection termination",
        "UNAVAILABLE",
        ("if it is Google that answers 503 here, and not the app", "broke off at the request"),
    ),
    "504": Said(
        504,
        (GOOGLE, *TEXT),
        b"upstream request timeout",
        "UNAVAILABLE",
        ("did not answer within the request timeout", "--timeout=SECONDS"),
    ),
    "an app's own 404": Said(
        404, TEXT, b"nothing here", "UNIMPLEMENTED", ("the receiver answered gRPC with HTTP 404",)
    ),
    "an app's own 418, without a word": Said(
        418, (), b"", "UNKNOWN", ("the receiver answered gRPC with HTTP 418",)
    ),
}


def answers(stream: Stream) -> None:
    """As the path says, by its number in PAGES; else as a service of gRPC that does not do what it should."""
    name = (stream.one(":path") or "").rpartition("/")[2]
    if name.isdigit():
        said = list(PAGES.values())[int(name)]
        stream.head(*said.fields, status=said.status, end=not said.body)
        if said.body:
            stream.data(said.body, end=True)
        return
    kind = (b"content-type", b"application/grpc")
    match name:
        case "Gone":
            stream.peer.transport.abort()
        case "Half":
            stream.head(kind)
            stream.peer.transport.close()
        case "Reset":
            stream.cancel(11)  # ENHANCE_YOUR_CALM
        case "TrailersOnly":
            own: tuple[Pair, ...] = ((b"grpc-message", b"100%25 of w%C3%B6rds"), (b"x-why-bin", b"AP8"))
            stream.head(kind, (b"grpc-status", b"9"), *own, end=True)
        case "Trailers":
            stream.head(kind)
            stream.end((b"grpc-status", b"10"), (b"grpc-message", b"mine"), (b"x-why", b"because"))


@pytest.fixture
async def asked(dial: Dial) -> AsyncIterator[Client]:
    """A channel to a proxy whose receiver does as `answers` has it."""
    async with http2_receiver(answers) as receiver:
        yield await dial(receiver.port)


async def test_a_page_in_place_of_an_answer(asked: Client) -> None:
    amiss = {}
    for number, (name, said) in enumerate(PAGES.items()):
        told = await shown(asked, f"/Pages/{number}")
        if told.code != said.code or any(one not in told.details for one in said.words) or told.trailers:
            amiss[name] = told, said.code, said.words
    assert not amiss


# path: (the status, words of its message, trailers)
OTHERS: Final[dict[str, tuple[str, str, dict[str, str | bytes]]]] = {
    "Gone": ("UNAVAILABLE", "the receiver closed the connection before its answer was complete", {}),
    "Half": ("UNAVAILABLE", "the receiver closed the connection before its answer was complete", {}),
    "Reset": ("RESOURCE_EXHAUSTED", "", {}),  # the code goes through, as gRPC maps it
    "TrailersOnly": ("FAILED_PRECONDITION", "100% of wörds", {"x-why-bin": b"\0\xff"}),
    "Trailers": ("ABORTED", "mine", {"x-why": "because"}),
}


async def test_what_a_service_says_itself_passes_and_what_it_leaves_out_is_told(asked: Client) -> None:
    told = {name: await shown(asked, f"/Services/{name}") for name in OTHERS}
    for name, (code, words, trailers) in OTHERS.items():
        assert (told[name].code, told[name].trailers) == (code, trailers), name
        assert words in told[name].details, name


async def test_the_app_s_deadline(asked: Client) -> None:
    told = await shown(asked, "/Services/Never", seconds=0.2)
    assert told.code == "DEADLINE_EXCEEDED"


async def test_a_missing_role_is_told_with_the_command(
    dial: Dial, emulator: Emulator, client: aiohttp.ClientSession
) -> None:
    async with client.delete(emulator.let_in_url("user-profiles", "login")) as removed:
        assert removed.status < 300
    told = await shown(await dial(), ECHO)
    assert told.code == "PERMISSION_DENIED"
    assert "Remedy: gcloud run services add-iam-policy-binding " in told.details


async def test_an_audience_that_the_receiver_does_not_take(dial: Dial) -> None:
    told = await shown(await dial(route={"audience": "https://other.example"}), ECHO)
    assert told.code == "UNAUTHENTICATED"
    assert "https://other.example" in told.details


async def test_a_receiver_of_http1_alone(keys: Keys, serve: Serve) -> None:
    async with Emulator(DEMO, keys=keys, http2=False) as emulator:
        route = route_to(emulator, "user-profiles", path="/", strip_prefix=False)
        server = await serve(settings_for(route, metadata_host=emulator.metadata_host))
        async with dialled(f"http://localhost:{server.addresses[0].port}") as client:
            told = await shown(client, ECHO)
    assert told.code == "UNAVAILABLE"
    assert "--use-http2" in told.details
