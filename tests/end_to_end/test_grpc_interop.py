"""gRPC's interoperability cases, with gRPC's own implementation at both ends and the proxy between.

https://github.com/grpc/grpc/blob/master/doc/interop-test-descriptions.md; names and figures are those of that page. Left out
are the cases that are about credentials, which are the proxy's affair, and about HTTP caches.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from typing import Any, Final

import grpc
import pytest
from grpc import aio

from idtoken_proxy.emulator import Emulator
from idtoken_proxy.emulator.grpc_messages import Field, Kind, Message, decode, encode
from tests.emulator.grpc_client import Client, dialled
from tests.end_to_end.conftest import Serve, route_to, settings_for

SERVICE: Final = "grpc.testing.TestService"
EMPTY: Final = Message("grpc.testing.Empty", ())
PAYLOAD: Final = Message("grpc.testing.Payload", (Field("body", 2, Kind.BYTES),))
STATUS: Final = Message(
    "grpc.testing.EchoStatus", (Field("code", 1, Kind.INT32), Field("message", 2, Kind.STRING))
)
PARAMETERS: Final = Message("grpc.testing.ResponseParameters", (Field("size", 1, Kind.INT32),))
REQUEST: Final = Message(
    "grpc.testing.SimpleRequest",
    (
        Field("response_size", 2, Kind.INT32),
        Field("payload", 3, Kind.MESSAGE, PAYLOAD),
        Field("response_status", 7, Kind.MESSAGE, STATUS),
    ),
)
STREAMED: Final = Message(
    "grpc.testing.StreamingOutputCallRequest",
    (
        Field("response_parameters", 2, Kind.MESSAGE, PARAMETERS, repeated=True),
        Field("payload", 3, Kind.MESSAGE, PAYLOAD),
        Field("response_status", 7, Kind.MESSAGE, STATUS),
    ),
)
INPUT: Final = Message(
    "grpc.testing.StreamingInputCallRequest", (Field("payload", 1, Kind.MESSAGE, PAYLOAD),)
)
AGGREGATED: Final = Message("grpc.testing.StreamingInputCallResponse", (Field("size", 1, Kind.INT32),))
ANSWER: Final = Message("grpc.testing.SimpleResponse", (Field("payload", 1, Kind.MESSAGE, PAYLOAD),))
INITIAL: Final = ("x-grpc-test-echo-initial", "test_initial_metadata_value")
TRAILING: Final = ("x-grpc-test-echo-trailing-bin", b"\xab\xab\xab")


# -- the server -------------------------------------------------------------------------------


def payload(size: int) -> dict[str, Any]:
    return {"payload": {"body": bytes(size)}}


async def echo_metadata(context: Any) -> None:
    came = dict(context.invocation_metadata())
    if INITIAL[0] in came:
        await context.send_initial_metadata((INITIAL,))
    if TRAILING[0] in came:
        context.set_trailing_metadata(((TRAILING[0], came[TRAILING[0]]),))


async def end_as_asked(asked: dict[str, Any], context: Any) -> None:
    if asked["response_status"]:
        status = asked["response_status"]
        (code,) = [one for one in grpc.StatusCode if one.value[0] == status["code"]]
        await context.abort(code, status["message"])


async def empty_call(_: dict[str, Any], __: Any) -> dict[str, Any]:
    return {}


async def unary_call(asked: dict[str, Any], context: Any) -> dict[str, Any]:
    await echo_metadata(context)
    await end_as_asked(asked, context)
    return payload(asked["response_size"])


async def input_call(requests: AsyncIterator[dict[str, Any]], _: Any) -> dict[str, Any]:
    return {"size": sum([len(one["payload"]["body"]) async for one in requests])}


async def output_call(asked: dict[str, Any], _: Any) -> AsyncIterator[dict[str, Any]]:
    for one in asked["response_parameters"]:
        yield payload(one["size"])


async def full_duplex(requests: AsyncIterator[dict[str, Any]], context: Any) -> AsyncIterator[dict[str, Any]]:
    await echo_metadata(context)
    async for asked in requests:
        await end_as_asked(asked, context)
        for one in asked["response_parameters"]:
            yield payload(one["size"])


KINDS: Final[dict[str, tuple[str, Any, Message, Message]]] = {
    "EmptyCall": ("unary_unary", empty_call, EMPTY, EMPTY),
    "UnaryCall": ("unary_unary", unary_call, REQUEST, ANSWER),
    "StreamingInputCall": ("stream_unary", input_call, INPUT, AGGREGATED),
    "StreamingOutputCall": ("unary_stream", output_call, STREAMED, ANSWER),
    "FullDuplexCall": ("stream_stream", full_duplex, STREAMED, ANSWER),
}


@pytest.fixture
async def service() -> AsyncIterator[int]:
    """The port of grpcio's own server."""
    server = aio.server(compression=grpc.Compression.Gzip)
    handlers = {
        name: getattr(grpc, f"{kind}_rpc_method_handler")(
            run,
            request_deserializer=lambda octets, request=request: decode(request, octets),
            response_serializer=lambda values, reply=reply: encode(reply, values),
        )
        for name, (kind, run, request, reply) in KINDS.items()
    }
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    yield port
    await server.stop(0)


# -- the client -------------------------------------------------------------------------------


class Test:
    """The client of the interoperability tests."""

    __test__ = False

    def __init__(self, client: Client) -> None:
        self.channel = client.channel
        self._client = client

    def call(self, method: str) -> Any:
        kind, _, request, reply = KINDS[method]
        return self._client.method(kind, f"/{SERVICE}/{method}", request=request, reply=reply)


@pytest.fixture
async def test(service: int, emulator: Emulator, serve: Serve) -> AsyncIterator[Test]:
    route = route_to(emulator, "user-profiles", path="/", strip_prefix=False)
    route = replace(route, upstream=replace(route.upstream, port=service))
    server = await serve(settings_for(route, metadata_host=emulator.metadata_host))
    async with dialled(f"http://localhost:{server.addresses[0].port}") as client:
        yield Test(client)


async def empty_unary(test: Test) -> None:
    assert await test.call("EmptyCall")({}, timeout=20) == {}


async def large_unary(test: Test) -> None:
    answer = await test.call("UnaryCall")({"response_size": 314_159, **payload(271_828)}, timeout=20)
    assert answer == payload(314_159)


async def client_compressed_unary(test: Test) -> None:
    """And the server's: both ends compress what they send."""
    gzip = {"compression": grpc.Compression.Gzip, "timeout": 20}
    assert await test.call("UnaryCall")({"response_size": 314_159, **payload(271_828)}, **gzip) == payload(
        314_159
    )


async def client_streaming(test: Test) -> None:
    call = test.call("StreamingInputCall")(timeout=20)
    for size in (27_182, 8, 1828, 45_904):
        await call.write(payload(size))
    await call.done_writing()
    assert (await call)["size"] == 74_922


async def server_streaming(test: Test) -> None:
    sizes = (31_415, 9, 2653, 58_979)
    call = test.call("StreamingOutputCall")(
        {"response_parameters": [{"size": one} for one in sizes]}, timeout=20
    )
    assert [len(one["payload"]["body"]) async for one in call] == list(sizes)


async def ping_pong(test: Test) -> None:
    call = test.call("FullDuplexCall")(timeout=20)
    for asked, told in ((27_182, 31_415), (8, 9), (1828, 2653), (45_904, 58_979)):
        await call.write({"response_parameters": [{"size": told}], **payload(asked)})
        assert await call.read() == payload(told)
    await call.done_writing()
    assert await call.read() is aio.EOF


async def empty_stream(test: Test) -> None:
    call = test.call("FullDuplexCall")(timeout=20)
    await call.done_writing()
    assert await call.read() is aio.EOF
    assert await call.code() is grpc.StatusCode.OK


async def timeout_on_sleeping_server(test: Test) -> None:
    call = test.call("FullDuplexCall")(timeout=0.2)
    await call.write(payload(27_182))
    assert await call.code() is grpc.StatusCode.DEADLINE_EXCEEDED


async def cancel_after_begin(test: Test) -> None:
    call = test.call("StreamingInputCall")(timeout=20)
    await asyncio.sleep(0)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert await call.code() is grpc.StatusCode.CANCELLED


async def cancel_after_first_response(test: Test) -> None:
    call = test.call("FullDuplexCall")(timeout=20)
    await call.write({"response_parameters": [{"size": 31_415}], **payload(27_182)})
    assert await call.read() == payload(31_415)
    call.cancel()
    assert await call.code() is grpc.StatusCode.CANCELLED


async def custom_metadata(test: Test) -> None:
    metadata = (INITIAL, TRAILING)
    unary = test.call("UnaryCall")(
        {"response_size": 314_159, **payload(271_828)}, metadata=metadata, timeout=20
    )
    duplex = test.call("FullDuplexCall")(metadata=metadata, timeout=20)
    await duplex.write({"response_parameters": [{"size": 314_159}], **payload(271_828)})
    await duplex.done_writing()
    assert await duplex.read() == await unary
    for call in (unary, duplex):
        assert dict(await call.initial_metadata())[INITIAL[0]] == INITIAL[1]
        assert dict(await call.trailing_metadata())[TRAILING[0]] == TRAILING[1]


async def ends_with(test: Test, code: int, message: str) -> None:
    status = {"response_status": {"code": code, "message": message}}
    with pytest.raises(aio.AioRpcError) as told:
        await test.call("UnaryCall")(status, timeout=20)
    assert (told.value.code().value[0], told.value.details()) == (code, message)
    duplex = test.call("FullDuplexCall")(timeout=20)
    await duplex.write(status)
    await duplex.done_writing()
    assert ((await duplex.code()).value[0], await duplex.details()) == (code, message)


async def status_code_and_message(test: Test) -> None:
    await ends_with(test, 2, "test status message")


async def special_status_message(test: Test) -> None:
    await ends_with(test, 2, "\t\ntest with whitespace\r\nand Unicode BMP \u263a and non-BMP \U0001f608\t\n")


async def unimplemented(test: Test, path: str) -> None:
    call: Any = test.channel.unary_unary(path)
    with pytest.raises(aio.AioRpcError) as told:
        await call(b"", timeout=20)
    assert told.value.code() is grpc.StatusCode.UNIMPLEMENTED


async def unimplemented_method(test: Test) -> None:
    await unimplemented(test, f"/{SERVICE}/UnimplementedCall")


async def unimplemented_service(test: Test) -> None:
    await unimplemented(test, "/grpc.testing.UnimplementedService/UnimplementedCall")


async def concurrent_large_unary(test: Test) -> None:
    """Fewer than the page's thousand: what is large here is all of it at a time."""
    await asyncio.gather(*(large_unary(test) for _ in range(50)))


CASES: Final[tuple[Callable[[Test], Awaitable[None]], ...]] = (
    empty_unary,
    large_unary,
    client_compressed_unary,
    client_streaming,
    server_streaming,
    ping_pong,
    empty_stream,
    timeout_on_sleeping_server,
    cancel_after_begin,
    cancel_after_first_response,
    custom_metadata,
    status_code_and_message,
    special_status_message,
    unimplemented_method,
    unimplemented_service,
    concurrent_large_unary,
)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
async def test_a_case_of_grpc_s(test: Test, case: Callable[[Test], Awaitable[None]]) -> None:
    await case(test)
