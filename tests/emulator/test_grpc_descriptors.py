"""Read by protobuf itself."""

from __future__ import annotations

from typing import Any

from google.protobuf import descriptor_pool, message_factory
from google.protobuf.descriptor import FieldDescriptor

from idtoken_proxy.emulator.grpc_descriptors import file_descriptor, symbols
from idtoken_proxy.emulator.grpc_echo import ECHO, REPLY, REQUEST
from idtoken_proxy.emulator.grpc_messages import decode, encode
from idtoken_proxy.emulator.grpc_services import SERVICE_UNKNOWN, Service, health
from idtoken_proxy.emulator.reflection import with_reflection

DescriptorPool: Any = descriptor_pool.DescriptorPool  # half typed
GetMessageClass: Any = message_factory.GetMessageClass


def pool_of(*services: Service) -> Any:
    pool = DescriptorPool()
    for service in services:
        pool.AddSerializedFile(file_descriptor(service))
    return pool


def test_all_services_and_messages_are_declared() -> None:
    services = with_reflection((ECHO, health()))
    pool = pool_of(*services)
    for service in services:
        declared = pool.FindServiceByName(service.name)
        assert declared.file.name == service.file
        for method in service.methods:
            found = declared.methods_by_name[method.name]
            assert (found.input_type.full_name, found.output_type.full_name) == (
                method.request.name,
                method.reply.name,
            )
            assert (found.client_streaming, found.server_streaming) == (
                method.client_streams,
                method.server_streams,
            )
            assert f"{service.name}.{method.name}" in symbols(service)
        for message in service.messages:
            assert pool.FindFileContainingSymbol(message.name).name == service.file
            assert message.name in symbols(service)


def test_enumerations_stand_in_their_message() -> None:
    enum = pool_of(health()).FindEnumTypeByName("grpc.health.v1.HealthCheckResponse.ServingStatus")
    assert enum.values_by_name["SERVICE_UNKNOWN"].number == SERVICE_UNKNOWN
    assert enum.values_by_number[0].name == "UNKNOWN"


def test_choices_are_told() -> None:
    services = with_reflection(())
    request = pool_of(*services).FindMessageTypeByName("grpc.reflection.v1.ServerReflectionRequest")
    [choice] = request.oneofs
    assert choice.name == "message_request"
    assert [field.name for field in choice.fields][:2] == ["file_by_filename", "file_containing_symbol"]
    assert request.fields_by_name["host"].containing_oneof is None


def test_protobuf_reads_what_is_written_and_writes_what_is_read() -> None:
    pool = pool_of(ECHO)
    asked = GetMessageClass(pool.FindMessageTypeByName(REQUEST.name))(
        text="é", count=300, status=-1, tell=True
    )
    read = decode(REQUEST, asked.SerializeToString())
    assert (read["text"], read["count"], read["status"], read["tell"]) == ("é", 300, -1, True)
    reply = GetMessageClass(pool.FindMessageTypeByName(REPLY.name))()
    written = {"payload": b"\xff", "octets": 1 << 40, "metadata": [{"name": "a", "value": ""}]}
    reply.ParseFromString(encode(REPLY, written))
    assert (reply.payload, reply.octets, reply.metadata[0].name) == (b"\xff", 1 << 40, "a")
    assert reply.DESCRIPTOR.fields_by_name["metadata"].type == FieldDescriptor.TYPE_MESSAGE
