"""The string code of HPACK (RFC 7541 section 5.2 and appendix B).

Appendix B is a canonical code: among codes of one length the next symbol has the next code, and the first of a greater
length follows the last of a smaller one. So the lengths are the table.

Decoding goes octet by octet: a state is a place in the tree of codes, and a row of it says for an octet which symbols are
complete with it and where that leads. Of some 65,000 places in those rows usual strings meet a few hundred, so each is
made when it is met.
"""

from __future__ import annotations

from typing import Final, TypeAlias

from idtoken_proxy.engine.http2.error_codes import ConnectionFault, ErrorCode

EOS: Final = 256

# Bits of each symbol's code, 16 symbols a line; the last is EOS.
LENGTHS: Final = (
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28,
    28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 28,
    6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6,
    5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10,
    13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7,
    7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6,
    15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5,
    6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28,
    20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23,
    24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24,
    22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23,
    21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23,
    26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25,
    19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27,
    20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23,
    26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26,
    30,
)  # fmt: skip


def _codes() -> tuple[str, ...]:
    """Each symbol's code as noughts and ones."""
    codes = [""] * len(LENGTHS)
    code = length = 0
    for symbol in sorted(range(len(LENGTHS)), key=lambda symbol: (LENGTHS[symbol], symbol)):
        code <<= LENGTHS[symbol] - length
        length = LENGTHS[symbol]
        codes[symbol] = f"{code:0{length}b}"
        code += 1
    return tuple(codes)


CODES: Final = _codes()


def encode(text: bytes) -> bytes:
    """Text that goes out often enough for its length to count: two microseconds for a path of forty octets."""
    bits = "".join(map(CODES.__getitem__, text))
    if not bits:
        return b""
    # Section 5.2: "padded with the most significant bits of the code corresponding to the EOS symbol", which are ones.
    octets, over = divmod(len(bits) + 7, 8)
    return int(bits + "1" * (7 - over), 2).to_bytes(octets, "big")


def encoded_length(text: bytes) -> int:
    return (sum(map(LENGTHS.__getitem__, text)) + 7) // 8


# -- decoding -----------------------------------------------------------------

_Node: TypeAlias = "list[_Node | int]"


def _tree() -> _Node:
    root: _Node = [-1, -1]
    for symbol, code in enumerate(CODES):
        node = root
        for bit in code[:-1]:
            below = node[int(bit)]
            if isinstance(below, int):
                node[int(bit)] = below = [-1, -1]
            node = below
        node[int(code[-1])] = symbol
    return root


class _State(dict[int, "tuple[bytes, _State]"]):
    """Octet -> (the symbols that end with it, the state behind it); a place is filled when it is asked for."""

    __slots__ = ("ends_here", "node")

    def __init__(self, node: _Node, *, ends_here: bool) -> None:
        super().__init__()
        self.node = node
        self.ends_here = ends_here  # whether a string may: behind a symbol, or up to seven ones later

    def __missing__(self, octet: int) -> tuple[bytes, _State]:
        node = self.node
        symbols = bytearray()
        for place in range(7, -1, -1):
            below = node[octet >> place & 1]
            if isinstance(below, int):
                if below == EOS:
                    # "A Huffman-encoded string literal containing the EOS symbol MUST be treated as a decoding error."
                    raise ConnectionFault(ErrorCode.COMPRESSION_ERROR, "a string holds the EOS symbol")
                symbols.append(below)
                node = _ROOT
            else:
                node = below
        step = (bytes(symbols), _STATES[id(node)])
        self[octet] = step
        return step


_ROOT: Final = _tree()


def _states() -> dict[int, _State]:
    """Every place in the tree, by the identity of its node; the nodes live as long as the module does."""
    states: dict[int, _State] = {}
    padding: list[int] = []
    node = _ROOT
    for _ in range(
        8
    ):  # none to seven ones: "padding strictly longer than 7 bits MUST be treated as a decoding error"
        padding.append(id(node))
        below = node[1]
        assert not isinstance(below, int)
        node = below
    ahead = [_ROOT]
    while ahead:
        node = ahead.pop()
        states[id(node)] = _State(node, ends_here=id(node) in padding)
        ahead.extend(below for below in node if not isinstance(below, int))
    return states


_STATES: Final = _states()
_START: Final = _STATES[id(_ROOT)]


def decode(text: bytes) -> bytes:
    """At most 8/5 of its length. Raises ConnectionFault: what follows in the block could not be trusted any more."""
    state = _START
    symbols = []
    for octet in text:
        some, state = state[octet]
        symbols.append(some)
    if not state.ends_here:
        raise ConnectionFault(ErrorCode.COMPRESSION_ERROR, "a string's padding is not the beginning of EOS")
    return b"".join(symbols)
