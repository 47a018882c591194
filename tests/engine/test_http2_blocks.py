from __future__ import annotations

from collections.abc import Iterator, Sequence

import pytest
from hpack import Decoder as OtherDecoder

from idtoken_proxy.engine import line_table
from idtoken_proxy.engine.http2.fields import never_remember, request_fields
from idtoken_proxy.engine.http2.head_shapes import HeadShape, around_values
from idtoken_proxy.engine.http2.heads import RequestHead, request_head
from idtoken_proxy.engine.http2.hpack_decoder import Decoder
from idtoken_proxy.engine.http2.hpack_encoder import Encoder, literal
from idtoken_proxy.engine.http2_blocks import RequestBlocks
from idtoken_proxy.engine.http2_messages import in_common, request_like, request_of, settle_request
from idtoken_proxy.policy.guard import Caller, Guard
from idtoken_proxy.policy.headers import Outbound, Peer, TokenLines
from idtoken_proxy.policy.request import Request
from idtoken_proxy.policy.rewrite import Rewriter
from idtoken_proxy.settings.identities import NoIdentity
from idtoken_proxy.settings.model import Rewrite, Route, Upstream
from tests.engine.http2.peer import Pair

HOST = b"Host: receiver.test\r\n"
CALLER = Caller("localhost", b"http://localhost", b"X-Forwarded-Host: localhost\r\n")
PEER = Peer.of("127.0.0.1", b"proxy", b"2")
ROUTE = Route(
    name="a", upstream=Upstream("https", "receiver.test", 443), audience=None, identity=NoIdentity()
)
REWRITER = Rewriter(ROUTE, Rewrite())
MOST = 16 * 1024


@pytest.fixture
def secret_name() -> Iterator[bytes]:
    name = b"x-becomes-secret"
    yield name
    line_table.SECRET_FIELDS.discard(name)
    request_fields.forget()


def token(value: str) -> TokenLines:
    line = f"Authorization: Bearer {value}\r\n".encode()
    return TokenLines(line, b"X-Serverless-" + line, keeps_authorization=True)


FIRST = token("first")


def block_of(path: bytes, *pairs: Pair) -> bytes:
    usual = (b":method", b"GET"), (b":scheme", b"http"), (b":authority", b"localhost"), (b":path", path)
    return b"".join(literal(0, *pair, 0x00, 0x0F) for pair in (*usual, *pairs))


def shape_of(block: bytes) -> HeadShape:
    fields = Decoder(request_fields, MOST).decode(block)
    found = around_values(block)
    assert found is not None
    shape = HeadShape.of(request_head(fields), fields, *found)
    assert shape is not None
    return shape


def alike(shape: HeadShape, block: bytes) -> Request:
    """As a connection from an app makes it."""
    head = shape.head(block, request_fields, MOST)
    assert head is not None
    if shape.requests[True] is None:
        request = long_way(head)
        request.shape, request.varying = shape, head.varying
        shape.requests[True] = in_common(request)
        return request
    return request_like(shape.requests[True], head, end_stream=True)


def long_way(head: RequestHead) -> Request:
    request = request_of(head, end_stream=True)
    settle_request(request, head)
    return request


def outbound(
    request: Request, *, caller: Caller = CALLER, peer: Peer = PEER, lines: TokenLines = FIRST
) -> Outbound:
    return Outbound(request, b"/base" + request.target, HOST, caller, peer, lines, REWRITER)


class Receiver:
    """By another implementation, which reads every block that was made, in its order."""

    def __init__(self) -> None:
        self._decoder = OtherDecoder()
        self.encoder = Encoder()
        self.blocks = RequestBlocks(self.encoder, b"https")

    def reads(self, request: Outbound) -> list[Pair]:
        return [
            (bytes(name), bytes(value))
            for name, value in self._decoder.decode(self.blocks.block_of(request), raw=True)
        ]


def sent(path: bytes, *pairs: Pair, bearer: bytes = b"first", host: bytes = b"localhost") -> list[Pair]:
    return [
        *((b":method", b"GET"), (b":scheme", b"https"), (b":authority", b"receiver.test")),
        (b":path", b"/base" + path),
        *pairs,
        *((b"x-forwarded-for", b"127.0.0.1"), (b"x-forwarded-proto", b"http"), (b"via", b"2 proxy")),
        *((b"x-forwarded-host", host), (b"authorization", b"Bearer " + bearer)),
    ]


def in_any_order(pairs: Sequence[Pair]) -> tuple[list[Pair], list[Pair]]:
    """Pseudo-fields come first in theirs."""
    return list(pairs[:4]), sorted(pairs[4:])


def test_requests_of_one_shape_say_each_its_own() -> None:
    receiver = Receiver()
    shape = shape_of(block_of(b"/0", (b"user-agent", b"test"), (b"traceparent", b"0")))
    for number in range(12):
        path, trace = b"/%d?q=%d" % (number, number), (b"traceparent", b"00-%d" % number)
        request = alike(shape, block_of(path, (b"user-agent", b"test"), trace))
        assert in_any_order(receiver.reads(outbound(request))) == in_any_order(
            sent(path, (b"user-agent", b"test"), trace)
        )


def test_a_length_is_each_requests_own() -> None:
    receiver = Receiver()
    shape = shape_of(block_of(b"/", (b"content-length", b"0")))
    for number in (0, 5, 5, 70000, 0, 1):
        length = (b"content-length", b"%d" % number)
        request = alike(shape, block_of(b"/", length))
        assert request.content_length == number
        assert in_any_order(receiver.reads(outbound(request))) == in_any_order(sent(b"/", length))


def test_a_deadline_is_each_calls_own() -> None:
    shape = shape_of(block_of(b"/", (b"grpc-timeout", b"1S")))
    told = [alike(shape, block_of(b"/", (b"grpc-timeout", b"%dS" % n))).grpc_timeout for n in (1, 2, 3, 2)]
    assert told == [1, 2, 3, 2]


def test_whether_it_is_grpc_is_each_requests_own() -> None:
    """Where the content's type is among what differs, as in a gateway's connection that carries both."""
    kinds = (b"application/json", b"application/grpc+proto", b"application/grpc-web", b"application/grpc")
    shape = shape_of(block_of(b"/", (b"content-type", kinds[0])))
    told = [alike(shape, block_of(b"/", (b"content-type", kind))).grpc for kind in kinds]
    assert told == [False, True, False, True]


def test_only_who_still_waits_for_a_100_says_so() -> None:
    """A request that is said again with another token has had its 100; what it shares with others says nothing of that."""
    receiver = Receiver()
    expects = (b"expect", b"100-continue")
    shape = shape_of(block_of(b"/", expects))
    for number in range(8):
        request = alike(shape, block_of(b"/%d" % number, expects))
        assert receiver.reads(outbound(request)).count(expects) == 1
        assert (b"expect", b"100-continue") not in receiver.reads(outbound(request.unexpecting()))


def test_what_became_the_callers_secret_by_a_reload_goes_no_further(secret_name: bytes) -> None:
    """The head was remembered while it was a field like any other."""
    receiver = Receiver()
    shape = shape_of(block_of(b"/", (secret_name, b"guess")))
    head = shape.head(block_of(b"/1", (secret_name, b"right")), request_fields, MOST)
    assert head is not None
    alike(shape, block_of(b"/0", (secret_name, b"guess")))
    never_remember(secret_name.decode())
    request = request_like(shape.requests[True], head, end_stream=True)
    Guard(secret=(secret_name.decode(), b"right")).admit(request)
    assert secret_name not in dict(receiver.reads(outbound(request)))


def test_what_is_shared_is_of_one_caller_app_and_token_alone() -> None:
    receiver = Receiver()
    shape = shape_of(block_of(b"/"))
    other = Caller("other.localhost", b"http://other.localhost", b"X-Forwarded-Host: other.localhost\r\n")
    for number in range(12):
        caller = (CALLER, other)[number % 2]
        bearer = b"first" if number < 6 else b"second"
        request = alike(shape, block_of(b"/%d" % number))
        read = receiver.reads(outbound(request, caller=caller, lines=token(bearer.decode())))
        assert in_any_order(read) == in_any_order(
            sent(b"/%d" % number, bearer=bearer, host=caller.name.encode())
        )
    peer = Peer.of("10.0.0.1", b"proxy", b"2")
    read = receiver.reads(outbound(alike(shape, block_of(b"/x")), peer=peer))
    assert (b"x-forwarded-for", b"10.0.0.1") in read
    assert (b"x-forwarded-for", b"127.0.0.1") not in read


def test_a_receiver_that_wants_another_table_gets_blocks_for_that() -> None:
    receiver = Receiver()
    shape = shape_of(block_of(b"/", (b"user-agent", b"test")))
    for number in range(12):
        if number in (5, 8):
            receiver.encoder.limit_table(0 if number == 5 else 4096)
        path = b"/%d" % number
        request = alike(shape, block_of(path, (b"user-agent", b"test")))
        assert in_any_order(receiver.reads(outbound(request))) == in_any_order(
            sent(path, (b"user-agent", b"test"))
        )


def test_the_same_request_again_is_the_same_octets() -> None:
    receiver = Receiver()
    one = outbound(long_way(request_head(Decoder(request_fields, MOST).decode(block_of(b"/a")))))
    blocks = [receiver.blocks.block_of(one) for _ in range(6)]
    assert blocks[-1] is not blocks[0]
    assert len(blocks[-1]) < len(blocks[0])
    assert blocks[-1] == blocks[-2]


def test_the_apps_own_credential_stands_beside_the_token() -> None:
    receiver = Receiver()
    request = long_way(
        request_head(Decoder(request_fields, MOST).decode(block_of(b"/a", (b"authorization", b"Basic eA=="))))
    )
    for _ in range(3):
        read = receiver.reads(outbound(request))
        assert read.count((b"authorization", b"Basic eA==")) == 1
        assert read.count((b"x-serverless-authorization", b"Bearer first")) == 1


def test_a_token_of_another_project_is_charged_to_that_one() -> None:
    """The shape's block holds the line of whom Google charges, and the token after a new login may name another."""
    receiver = Receiver()
    shape = shape_of(block_of(b"/0", (b"user-agent", b"test")))
    for number in range(12):
        project = b"first-1" if number < 6 else b"second-2"
        charged = b"X-Goog-User-Project: " + project + b"\r\n"
        line = b"Authorization: Bearer ya29.a\r\n"
        lines = TokenLines(line, line, keeps_authorization=False, is_access=True, charged=charged)
        request = alike(shape, block_of(b"/%d" % number, (b"user-agent", b"test")))
        read = receiver.reads(outbound(request, lines=lines))
        assert [value for name, value in read if name == b"x-goog-user-project"] == [project]


def test_an_api_key_over_http2_gives_way_too() -> None:
    receiver = Receiver()
    line = b"Authorization: Bearer ya29.a\r\n"
    lines = TokenLines(line, line, keeps_authorization=False, is_access=True)
    theirs = (
        (b"x-goog-api-key", b"dummy"),
        (b"authorization", b"Bearer sk-dummy"),
        (b"x-goog-user-project", b"theirs"),
    )
    fields = Decoder(request_fields, MOST).decode(block_of(b"/", *theirs))
    for _ in range(3):
        read = receiver.reads(outbound(long_way(request_head(fields)), lines=lines))
        assert [value for name, value in read if name == b"authorization"] == [b"Bearer ya29.a"]
        assert [value for name, value in read if name == b"x-goog-user-project"] == [b"theirs"]
        assert not [value for name, value in read if name == b"x-goog-api-key"]
