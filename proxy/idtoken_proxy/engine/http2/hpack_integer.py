"""HPACK's integers (RFC 7541 section 5.1): a prefix of some bits, and seven bits an octet behind it."""

from __future__ import annotations

from typing import Final

from idtoken_proxy.engine.http2.error_codes import ConnectionFault, ErrorCode

# No length, index or table size that we take comes near 2^28; noughts without end behind a prefix are no number either
# ("Integer encodings that exceed implementation limits -- in value or octet length -- MUST be treated as decoding errors").
_MOST_OCTETS: Final = 4


def decode_integer(block: bytes, at: int, prefix: int) -> tuple[int, int]:
    """(value, where it ends) of an integer whose prefix, all ones, has the value `prefix` and ends before `at`. Raises
    ConnectionFault, and IndexError where the block ends within.
    """
    value = prefix
    shift = 0
    for end in range(at, at + _MOST_OCTETS):
        octet = block[end]
        value += (octet & 0x7F) << shift
        if octet < 0x80:
            return value, end + 1
        shift += 7
    raise ConnectionFault(ErrorCode.COMPRESSION_ERROR, "an integer is too long")


_ONE_OCTET: Final = tuple(bytes((value,)) for value in range(256))


def encode_integer(value: int, prefix: int, pattern: int = 0) -> bytes:
    """`prefix`: what the prefix holds at the most (all ones); `pattern`: the bits before it."""
    if value < prefix:
        return _ONE_OCTET[pattern | value]
    octets = bytearray((pattern | prefix,))
    value -= prefix
    while value >= 0x80:
        octets.append(value & 0x7F | 0x80)
        value >>= 7
    octets.append(value)
    return bytes(octets)
