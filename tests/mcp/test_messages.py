from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from idtoken_proxy.mcp import messages
from idtoken_proxy.mcp.messages import Kind, Malformed, read
from tests.cases import for_each

REQUEST = '{"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "a"}}'


@for_each(
    ("text", "kind", "own", "method"),
    [
        (REQUEST, Kind.REQUEST, 1, "tools/call"),
        ('{"jsonrpc":"2.0","id":"x","method":"ping"}', Kind.REQUEST, "x", "ping"),
        ('{"jsonrpc":"2.0","method":"notifications/initialized"}', Kind.NOTIFICATION, None, "notifications/initialized"),
        ('{"jsonrpc":"2.0","id":1,"result":{}}', Kind.RESPONSE, 1, ""),
        ('{"jsonrpc":"2.0","id":null,"error":{"code":-32700,"message":"?"}}', Kind.RESPONSE, None, ""),
    ],
)  # fmt: skip
def test_what_a_line_is(text: str, kind: Kind, own: object, method: str) -> None:
    (message,) = read(text)
    assert (message.kind, message.id, message.method, message.text) == (kind, own, method, text)


@for_each(
    "text",
    [
        "",
        "hello",
        b"\xff\xfe",
        "null",
        "1",
        '"text"',
        "{}",
        '{"jsonrpc": "1.0", "id": 1, "method": "a"}',
        '{"jsonrpc": "2.0", "id": 1}',
        '{"jsonrpc": "2.0", "id": 1, "result": {}, "error": {}}',
        '{"jsonrpc": "2.0", "id": 1, "method": 2, "result": {}}',
        '{"jsonrpc": "2.0", "id": null, "method": "a"}',
        '{"jsonrpc": "2.0", "id": true, "method": "a"}',
        '{"jsonrpc": "2.0", "id": {}, "method": "a"}',
        '{"jsonrpc": "2.0", "id": 1e400, "method": "a"}',
        '{"jsonrpc": "2.0", "id": 1, "result": NaN}',
        '{"jsonrpc": "2.0", "id": 1, "result": {"a": -Infinity}}',
        '{"jsonrpc": "2.0", "id": 1, "result": "a raw\nline end"}',
        REQUEST + REQUEST,
        "[" * 100_000,
        " [ ]",
        f"[{REQUEST}, 1]",
    ],
    ids=range(22),
)
def test_what_is_no_message(text: str | bytes) -> None:
    with pytest.raises(Malformed):
        read(text)


def test_whatever_ends_a_line_for_somebody_does_not_stand_in_one() -> None:
    pretty = '{\n  "jsonrpc": "2.0",\r\n  "id": 1,\n  "result": {"text": "a\u2028b\u2029c\x85d"}\n}\n'
    (message,) = read(pretty)
    assert message.text.splitlines() == [message.text]
    assert json.loads(message.text) == json.loads(pretty)


def test_numbers_and_names_pass_as_they_came() -> None:
    text = '{"jsonrpc":"2.0","id":12345678901234567890,"result":{"a":1.10,"b":1e400,"A":"\\ud800","z":1}}'
    (message,) = read(text)
    assert message.text == text


@given(st.dictionaries(st.text(max_size=9), st.none() | st.integers() | st.text(max_size=20), max_size=3))
def test_any_result_is_one_line_that_means_the_same(result: object) -> None:
    said = json.dumps({"jsonrpc": "2.0", "id": 1, "result": result}, indent=1, ensure_ascii=False)
    (message,) = read(said)
    assert "\n" not in message.text
    assert json.loads(message.text) == json.loads(said)


def test_of_a_batch_too_each_passes_as_it_came() -> None:
    each = [
        '{"jsonrpc":"2.0","id":1,"result":[1e400, 1.10,"],[\u00e9\u2028"]}',
        '{"jsonrpc":"2.0",\n"method":"a"}',
    ]
    texts = [message.text for message in read("\n[ " + " ,\t".join(each) + "\r\n]")]
    assert texts == [each[0].replace("\u2028", "\\u2028"), each[1].replace("\n", " ")]


def test_a_number_that_cannot_be_written_anew_is_not() -> None:
    (error,) = read('{"jsonrpc":"2.0","id":1,"error":{"code":1,"message":"no","data":1e400}}')
    with pytest.raises(Malformed):
        messages.with_id(error, 7)


def test_a_batch_is_taken_apart() -> None:
    """Revision 2025-03-26 has them."""
    batch = f'[{REQUEST}, {{"jsonrpc":"2.0","method":"notifications/progress"}}]'
    assert [message.kind for message in read(batch)] == [Kind.REQUEST, Kind.NOTIFICATION]


def test_of_a_batch_the_messages_count_and_what_is_none_keeps_its_place() -> None:
    """JSON-RPC 2.0, section 6: [1,2,3] is three invalid requests."""
    one, other, (message,) = (
        messages.read_each("[1, {}]"),
        messages.read_each("[]"),
        messages.read_each(REQUEST),
    )
    assert [each.code for each in (*one, *other) if isinstance(each, Malformed)] == [
        messages.INVALID_REQUEST
    ] * 3
    assert isinstance(message, messages.Message)
    kinds = [type(each) for each in messages.read_each(f"[{REQUEST}, 1, {REQUEST}]")]
    assert kinds == [messages.Message, Malformed, messages.Message]


def test_only_what_is_not_json_is_a_parse_error() -> None:
    with pytest.raises(Malformed) as malformed:
        messages.read_each(f"[{REQUEST}, ]")
    assert malformed.value.code == messages.PARSE_ERROR


def test_ids_that_look_alike_are_two() -> None:
    one, other = (
        messages.read(json.dumps({"jsonrpc": "2.0", "id": own, "method": "a"}))[0] for own in (1, "1")
    )
    assert one.key != other.key


def test_a_cancellation_names_its_request() -> None:
    (message,) = read(
        '{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":"a","reason":"?"}}'
    )
    assert messages.cancelled_key(message) == messages.request("a", "tools/call").key


def test_the_revision_that_a_request_names_itself() -> None:
    said = messages.request(1, "tools/list", {"_meta": {messages.VERSION_KEY: "2026-07-28"}})
    assert said.version == "2026-07-28"
    assert messages.request(1, "tools/list", {"_meta": "?"}).version is None


def test_an_error_by_another_id_and_of_our_own() -> None:
    (error,) = read(messages.error(None, -32603, "why", {"cause": "c"}))
    assert error.is_error
    assert error.error_code == -32603
    assert messages.with_id(error, 7).body == {**error.body, "id": 7}
