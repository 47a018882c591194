"""Server reflection: what `grpcurl list` and `grpcurl describe` ask.

Source: https://github.com/grpc/grpc/blob/master/doc/server-reflection.md. v1alpha is v1 under its older name, which tools
of some age ask for alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from idtoken_proxy.emulator.grpc_call import Call, Code
from idtoken_proxy.emulator.grpc_descriptors import file_descriptor, symbols
from idtoken_proxy.emulator.grpc_messages import Field, Kind, Message
from idtoken_proxy.emulator.grpc_services import Method, Service

VERSIONS: Final = ("v1", "v1alpha")


class _Messages:
    """Of one version."""

    def __init__(self, package: str) -> None:
        asked, answered = "message_request", "message_response"
        extension = Message(
            f"{package}.ExtensionRequest",
            (Field("containing_type", 1, Kind.STRING), Field("extension_number", 2, Kind.INT32)),
        )
        self.request = Message(
            f"{package}.ServerReflectionRequest",
            (
                Field("host", 1, Kind.STRING),
                Field("file_by_filename", 3, Kind.STRING, one_of=asked),
                Field("file_containing_symbol", 4, Kind.STRING, one_of=asked),
                Field("file_containing_extension", 5, Kind.MESSAGE, extension, one_of=asked),
                Field("all_extension_numbers_of_type", 6, Kind.STRING, one_of=asked),
                Field("list_services", 7, Kind.STRING, one_of=asked),
            ),
        )
        files = Message(
            f"{package}.FileDescriptorResponse",
            (Field("file_descriptor_proto", 1, Kind.BYTES, repeated=True),),
        )
        numbers = Message(
            f"{package}.ExtensionNumberResponse",
            (
                Field("base_type_name", 1, Kind.STRING),
                Field("extension_number", 2, Kind.INT32, repeated=True),
            ),
        )
        service = Message(f"{package}.ServiceResponse", (Field("name", 1, Kind.STRING),))
        services = Message(
            f"{package}.ListServiceResponse", (Field("service", 1, Kind.MESSAGE, service, repeated=True),)
        )
        error = Message(
            f"{package}.ErrorResponse",
            (Field("error_code", 1, Kind.INT32), Field("error_message", 2, Kind.STRING)),
        )
        self.response = Message(
            f"{package}.ServerReflectionResponse",
            (
                Field("valid_host", 1, Kind.STRING),
                Field("original_request", 2, Kind.MESSAGE, self.request),
                Field("file_descriptor_response", 4, Kind.MESSAGE, files, one_of=answered),
                Field("all_extension_numbers_response", 5, Kind.MESSAGE, numbers, one_of=answered),
                Field("list_services_response", 6, Kind.MESSAGE, services, one_of=answered),
                Field("error_response", 7, Kind.MESSAGE, error, one_of=answered),
            ),
        )
        self.all = (self.request, extension, self.response, files, numbers, services, service, error)


class _Reflection:
    """`served`: known once the services of reflection, which tell of themselves too, are made."""

    def __init__(self) -> None:
        self.served: tuple[Service, ...] = ()
        self._by_symbol: dict[str, Service] = {}

    def service(self, version: str) -> Service:
        package = f"grpc.reflection.{version}"
        messages = _Messages(package)

        async def info(call: Call) -> None:
            async for asked in call.requests(messages.request):
                answer = {"valid_host": asked["host"], "original_request": asked, **self._answer(asked)}
                await call.send(messages.response, answer)

        method = Method(
            "ServerReflectionInfo",
            messages.request,
            messages.response,
            info,
            client_streams=True,
            server_streams=True,
        )
        file = f"{package.replace('.', '/')}/reflection.proto"
        return Service(f"{package}.ServerReflection", file, messages.all, (method,))

    def _answer(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        if asked["list_services"] is not None:
            return {"list_services_response": {"service": [{"name": one.name} for one in self.served]}}
        found = None
        if asked["file_by_filename"] is not None:
            found = next((one for one in self.served if one.file == asked["file_by_filename"]), None)
        elif asked["file_containing_symbol"] is not None:
            found = self._declaring(asked["file_containing_symbol"])
        if found is None:  # nor are there extensions of anything
            return {"error_response": {"error_code": int(Code.NOT_FOUND), "error_message": "not found"}}
        return {"file_descriptor_response": {"file_descriptor_proto": [file_descriptor(found)]}}

    def _declaring(self, symbol: str) -> Service | None:
        if not self._by_symbol:
            self._by_symbol = {name: one for one in self.served for name in symbols(one)}
        return self._by_symbol.get(symbol)


def with_reflection(services: Iterable[Service]) -> tuple[Service, ...]:
    """Those, and what tells of them."""
    reflection = _Reflection()
    reflection.served = (*services, *(reflection.service(version) for version in VERSIONS))
    return reflection.served
