"""A service as a FileDescriptorProto, for those who ask by reflection what there is.

Source: https://github.com/protocolbuffers/protobuf/blob/main/src/google/protobuf/descriptor.proto.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final

from idtoken_proxy.emulator.grpc_messages import Field, Kind, Message, encode
from idtoken_proxy.emulator.grpc_services import Service

_OPTIONAL: Final = 1
_REPEATED: Final = 3

_P: Final = "google.protobuf."
_FIELD: Final = Message(
    _P + "FieldDescriptorProto",
    (
        Field("name", 1, Kind.STRING),
        Field("number", 3, Kind.INT32),
        Field("label", 4, Kind.ENUM, _P + "FieldDescriptorProto.Label"),
        Field("type", 5, Kind.ENUM, _P + "FieldDescriptorProto.Type"),
        Field("type_name", 6, Kind.STRING),
        Field("oneof_index", 9, Kind.INT32, one_of="it is there, 0 too"),
    ),
)
_NAME_ALONE: Final = Message(_P + "OneofDescriptorProto", (Field("name", 1, Kind.STRING),))
_VALUE: Final = Message(
    _P + "EnumValueDescriptorProto",
    (Field("name", 1, Kind.STRING), Field("number", 2, Kind.INT32, one_of="it is there, 0 too")),
)
_ENUM: Final = Message(
    _P + "EnumDescriptorProto",
    (Field("name", 1, Kind.STRING), Field("value", 2, Kind.MESSAGE, _VALUE, repeated=True)),
)
_MESSAGE: Final = Message(
    _P + "DescriptorProto",
    (
        Field("name", 1, Kind.STRING),
        Field("field", 2, Kind.MESSAGE, _FIELD, repeated=True),
        Field("enum_type", 4, Kind.MESSAGE, _ENUM, repeated=True),
        Field("oneof_decl", 8, Kind.MESSAGE, _NAME_ALONE, repeated=True),
    ),
)
_METHOD: Final = Message(
    _P + "MethodDescriptorProto",
    (
        Field("name", 1, Kind.STRING),
        Field("input_type", 2, Kind.STRING),
        Field("output_type", 3, Kind.STRING),
        Field("client_streaming", 5, Kind.BOOL),
        Field("server_streaming", 6, Kind.BOOL),
    ),
)
_SERVICE: Final = Message(
    _P + "ServiceDescriptorProto",
    (Field("name", 1, Kind.STRING), Field("method", 2, Kind.MESSAGE, _METHOD, repeated=True)),
)
_FILE: Final = Message(
    _P + "FileDescriptorProto",
    (
        Field("name", 1, Kind.STRING),
        Field("package", 2, Kind.STRING),
        Field("message_type", 4, Kind.MESSAGE, _MESSAGE, repeated=True),
        Field("service", 6, Kind.MESSAGE, _SERVICE, repeated=True),
        Field("syntax", 12, Kind.STRING),
    ),
)


def file_descriptor(service: Service) -> bytes:
    """Of the file that declares it."""
    package, _, name = service.name.rpartition(".")
    methods = [
        {
            "name": method.name,
            "input_type": f".{method.request.name}",
            "output_type": f".{method.reply.name}",
            "client_streaming": method.client_streams,
            "server_streaming": method.server_streams,
        }
        for method in service.methods
    ]
    return encode(
        _FILE,
        {
            "name": service.file,
            "package": package,
            "message_type": [_message(message, service) for message in service.messages],
            "service": [{"name": name, "method": methods}],
            "syntax": "proto3",
        },
    )


def symbols(service: Service) -> Iterator[str]:
    """The full names of all that its file declares."""
    yield service.name
    yield from (f"{service.name}.{method.name}" for method in service.methods)
    yield from (name for name, _ in service.enums)
    for message in service.messages:
        yield message.name
        yield from (f"{message.name}.{field.name}" for field in message.fields)


def _message(message: Message, service: Service) -> dict[str, Any]:
    choices = list(dict.fromkeys(field.one_of for field in message.fields if field.one_of))
    return {
        "name": message.name.rpartition(".")[2],
        "field": list(_fields(message.fields, choices)),
        "enum_type": [
            _enum(name, values) for name, values in service.enums if name.rpartition(".")[0] == message.name
        ],
        "oneof_decl": [{"name": choice} for choice in choices],
    }


def _fields(fields: Iterable[Field], choices: list[str]) -> Iterator[dict[str, Any]]:
    for field in fields:
        of = field.of.name if isinstance(field.of, Message) else field.of
        yield {
            "name": field.name,
            "number": field.number,
            "label": _REPEATED if field.repeated else _OPTIONAL,
            "type": int(field.kind),
            "type_name": f".{of}" if of else "",
            "oneof_index": choices.index(field.one_of) if field.one_of else None,
        }


def _enum(name: str, values: tuple[str, ...]) -> dict[str, Any]:
    numbered = [{"name": value, "number": number} for number, value in enumerate(values)]
    return {"name": name.rpartition(".")[2], "value": numbered}
