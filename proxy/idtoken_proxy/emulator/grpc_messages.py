"""Protocol buffers, as much of them as the emulator's own services need: a message's shape, declared once, for its octets
both ways and for what reflection tells of it.

Source: https://protobuf.dev/programming-guides/encoding/. Varints and length-delimited fields alone; proto3, so that a
field that is absent has its default.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

Values: TypeAlias = Mapping[str, Any]

_VARINT: Final = 0
_FIXED64: Final = 1
_DELIMITED: Final = 2
_FIXED32: Final = 5
_FIXED_OCTETS: Final = {_FIXED64: 8, _FIXED32: 4}
_LONGEST_VARINT: Final = 10


class Kind(enum.IntEnum):
    """Their numbers are those of FieldDescriptorProto.Type."""

    UINT64 = 4
    INT32 = 5
    BOOL = 8
    STRING = 9
    MESSAGE = 11
    BYTES = 12
    UINT32 = 13
    ENUM = 14


_DELIMITED_KINDS: Final = frozenset({Kind.STRING, Kind.BYTES, Kind.MESSAGE})
_DEFAULTS: Final[dict[Kind, Any]] = {Kind.STRING: "", Kind.BYTES: b"", Kind.BOOL: False, Kind.MESSAGE: None}


@dataclass(frozen=True, slots=True)
class Field:
    """`of`: the message that it holds, or its enumeration's full name. `one_of`: the name of a choice, of which at most one
    field is there; None stands for those that are not.
    """

    name: str
    number: int
    kind: Kind
    of: Message | str | None = None
    repeated: bool = False
    one_of: str | None = None

    @property
    def default(self) -> Any:
        if self.repeated:
            return []
        return None if self.one_of else _DEFAULTS.get(self.kind, 0)


@dataclass(frozen=True, slots=True)
class Message:
    """`name`: the full one, `package.Name`."""

    name: str
    fields: tuple[Field, ...] = ()


def encode(message: Message, values: Values) -> bytes:
    """`values`: by the fields' names; those that have their default may be left out."""
    octets = bytearray()
    for field in message.fields:
        value = values.get(field.name, field.default)
        for one in value if field.repeated else (value,):
            if field.repeated or one != field.default:  # a default counts in a list, and where it was chosen
                octets += _encoded(field, one)
    return bytes(octets)


def _encoded(field: Field, value: Any) -> bytes:
    match field.kind:
        case Kind.STRING:
            octets: bytes = value.encode()
        case Kind.BYTES:
            octets = value
        case Kind.MESSAGE:
            assert isinstance(field.of, Message)
            octets = encode(field.of, value)
        case _:
            return varint(field.number << 3 | _VARINT) + varint(int(value) & (1 << 64) - 1)
    return varint(field.number << 3 | _DELIMITED) + varint(len(octets)) + octets


def decode(message: Message, octets: bytes) -> dict[str, Any]:
    """All fields, those that are absent with their default. ValueError."""
    values = {field.name: field.default for field in message.fields}
    known = {field.number: field for field in message.fields}
    for number, wire, value in _read(octets):
        field = known.get(number)
        if field is None:  # of a newer version
            continue
        if wire != (_DELIMITED if field.kind in _DELIMITED_KINDS else _VARINT):
            raise ValueError(f"field {field.name} of {message.name} has another wire type")
        made = _decoded(field, value)
        if field.repeated:
            values[field.name].append(made)
        else:
            values[field.name] = made
    return values


def _decoded(field: Field, value: Any) -> Any:
    match field.kind:
        case Kind.STRING:
            return value.decode()
        case Kind.BYTES:
            return value
        case Kind.MESSAGE:
            assert isinstance(field.of, Message)
            return decode(field.of, value)
        case Kind.BOOL:
            return bool(value)
        case Kind.INT32 | Kind.ENUM:
            low = value & (1 << 32) - 1
            return low - (1 << 32) if low >> 31 else low
        case Kind.UINT32:
            return value & (1 << 32) - 1
        case _:
            return value


def _read(octets: bytes) -> Iterator[tuple[int, int, int | bytes]]:
    """The fields as they stand: number, wire type, value. ValueError."""
    at = 0
    while at < len(octets):
        key, at = _read_varint(octets, at)
        number, wire = key >> 3, key & 7
        if not number:
            raise ValueError("a field without a number")
        if wire == _VARINT:
            value, at = _read_varint(octets, at)
            yield number, wire, value
            continue
        size = _FIXED_OCTETS.get(wire)
        if wire == _DELIMITED:
            size, at = _read_varint(octets, at)
        if size is None:
            raise ValueError(f"field {number} of wire type {wire}")
        if at + size > len(octets):
            raise ValueError("a field is longer than its message")
        yield number, wire, octets[at : at + size]
        at += size


def _read_varint(octets: bytes, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(_LONGEST_VARINT):
        if at >= len(octets):
            raise ValueError("a message ends within a number")
        octet = octets[at]
        at += 1
        value |= (octet & 0x7F) << 7 * shift
        if octet < 0x80:
            return value & (1 << 64) - 1, at
    raise ValueError("a number is longer than 64 bits")


def varint(number: int) -> bytes:
    octets = bytearray()
    while number > 0x7F:
        octets.append(number & 0x7F | 0x80)
        number >>= 7
    octets.append(number)
    return bytes(octets)
