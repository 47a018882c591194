"""One field at a time: what RFC 9113 section 8.2 forbids, and what is remembered."""

from __future__ import annotations

from idtoken_proxy.engine import line_table
from idtoken_proxy.engine.http2 import fields as rules
from idtoken_proxy.engine.http2.fields import (
    MALFORMED,
    FieldTable,
    never_remember,
    request_fields,
    response_fields,
)
from idtoken_proxy.policy import fields
from tests.cases import for_each

GOOD_REQUEST_FIELDS = {
    "a plain field": (b"x-a", b"b", rules.PLAIN, fields.PASS),
    "an empty value": (b"x-a", b"", rules.PLAIN, fields.PASS),
    "every token character": (b"!#$%&'*+-.^_`|~09az", b"b", rules.PLAIN, fields.PASS),
    "a tab within": (b"x-a", b"a\tb", rules.PLAIN, fields.PASS),
    "a blank within": (b"x-a", b"a b", rules.PLAIN, fields.PASS),
    "obs-text": (b"x-a", b"\x80\xff", rules.PLAIN, fields.PASS),
    "a method": (b":method", b"GET", rules.METHOD, fields.PASS),
    "a path": (b":path", b"/", rules.PATH, fields.PASS),
    "te": (b"te", b"trailers", rules.TE, fields.TE),
    "te in upper case": (b"te", b"Trailers", rules.TE, fields.TE),
    "a length": (b"content-length", b"007", rules.CONTENT_LENGTH, fields.CONTENT_LENGTH),
    "a host": (b"host", b"a", rules.HOST, fields.HOST),
    "a cookie": (b"cookie", b"a=b", rules.COOKIE, fields.PASS),
    "an origin": (b"origin", b"http://a", rules.SPECIAL, fields.ORIGIN),
    "the app's credential": (b"authorization", b"Basic a", rules.SECRET, fields.AUTHORIZATION),
    "a token header": (b"x-serverless-authorization", b"a", rules.SECRET, fields.SERVERLESS_AUTHORIZATION),
    "an alias of one": (b"x_serverless_authorization", b"a", rules.SECRET, fields.DROP),
}


@for_each("case", GOOD_REQUEST_FIELDS)
def test_a_field_is_settled_once(case: str) -> None:
    name, value, rule, kind = GOOD_REQUEST_FIELDS[case]
    field = request_fields.field(name, value)
    assert (field.pair, field.rule, field.kind) == ((name, value), rule, kind)
    assert (field.name, field.value, field.size) == (name, value, len(name) + len(value) + 32)
    if name[:1] != b":":
        assert field.wire == name + b": " + value + b"\r\n"  # its form for HTTP/1.1
    field = request_fields.field(name, value)  # the second time it is kept
    again = request_fields.field(name, value)
    assert (again is field) is (rule not in (rules.SECRET, rules.COOKIE))


BAD_FIELDS = {
    "an empty name": (b"", b"a"),
    "upper case": (b"X-a", b"b"),
    "upper case at the end": (b"x-A", b"b"),
    "a blank in a name": (b"x a", b"b"),
    "a colon in a name": (b"x:a", b"b"),
    "a pseudo-field without a name": (b":", b"b"),
    "an unknown pseudo-field": (b":protocol", b"websocket"),
    "a pseudo-field in upper case": (b":Path", b"/"),
    "CR in a name": (b"x\ra", b"b"),
    "LF in a name": (b"x\na", b"b"),
    "NUL in a name": (b"x\0a", b"b"),
    "obs-text in a name": (b"x\xff", b"b"),
    "a slash in a name": (b"x/a", b"b"),
    "CR in a value": (b"x-a", b"a\rb"),
    "LF in a value": (b"x-a", b"a\nb"),
    "CR LF in a value": (b"x-a", b"a\r\nhost: evil"),
    "NUL in a value": (b"x-a", b"a\0b"),
    "DEL in a value": (b"x-a", b"a\x7f"),
    "an escape in a value": (b"x-a", b"\x1b[0m"),
    "a blank before a value": (b"x-a", b" a"),
    "a tab before a value": (b"x-a", b"\ta"),
    "a blank behind a value": (b"x-a", b"a "),
    "a tab behind a value": (b"x-a", b"a\t"),
    "a blank for a value": (b"x-a", b" "),
    "LF in a pseudo-field": (b":path", b"/\nhost: evil"),
    "connection": (b"connection", b"close"),
    "keep-alive": (b"keep-alive", b"timeout=5"),
    "proxy-connection": (b"proxy-connection", b"keep-alive"),
    "transfer-encoding": (b"transfer-encoding", b"chunked"),
    "upgrade": (b"upgrade", b"websocket"),
    "a length with a sign": (b"content-length", b"+5"),
    "a length of two": (b"content-length", b"5, 5"),
    "an empty length": (b"content-length", b""),
    "a length of many digits": (b"content-length", b"9" * 19),
}


@for_each("table", [request_fields, response_fields], ids=["request", "response"])
@for_each("case", BAD_FIELDS)
def test_a_field_that_breaks_a_rule_is_malformed(case: str, table: FieldTable) -> None:
    name, value = BAD_FIELDS[case]
    for _ in range(2):
        field = table.field(name, value)
        assert field.rule == MALFORMED
        assert (field.size, field.wire) == (len(name) + len(value) + 32, b"")
        assert field.value.decode("ascii").isprintable()
        assert len(value) < 3 or value not in field.value  # the reason holds nothing of it
    assert table.get((name, value)) is None


@for_each(
    ("table", "name", "value"),
    [
        (request_fields, b"te", b"gzip"),
        (request_fields, b"te", b"trailers, deflate"),
        (request_fields, b"te", b""),
        (request_fields, b":status", b"200"),
        (response_fields, b":method", b"GET"),
        (response_fields, b":path", b"/"),
        (response_fields, b":status", b"20"),
        (response_fields, b":status", b"2000"),
        (response_fields, b":status", b"099"),
        (response_fields, b":status", b"20x"),
        (response_fields, b":status", b""),
    ],
)
def test_what_only_one_direction_forbids(table: FieldTable, name: bytes, value: bytes) -> None:
    assert table.field(name, value).rule == MALFORMED


def test_a_response_has_kinds_of_its_own() -> None:
    assert response_fields.field(b":status", b"200").rule == rules.STATUS
    assert response_fields.field(b"location", b"/").kind == fields.LOCATION
    assert response_fields.field(b"set-cookie", b"a=b").rule == rules.SECRET
    assert response_fields.field(b"te", b"gzip").rule == rules.PLAIN


def table() -> FieldTable:
    return FieldTable({}, fields.request_kind)


def test_a_table_never_grows_beyond_its_bound() -> None:
    made = table()
    for number in range(2048):
        for _ in range(2):
            made.field(b"x-%d" % number, b"v")
    assert made.get((b"x-0", b"v")) is not None
    for _ in range(2):
        made.field(b"x-more", b"v")
    assert made.get((b"x-0", b"v")) is None
    assert len(made._known) == 1
    assert len(made._names) == 1
    assert len(made._once) <= 2048


def test_a_long_field_is_not_kept() -> None:
    made = table()
    for _ in range(2):
        made.field(b"x-a", b"v" * (512 - 35))
        made.field(b"x-b", b"v" * (513 - 35))
        made.field(b"y" * 513, b"v")
    assert list(made._known) == [(b"x-a", b"v" * 477)]
    assert b"y" * 513 not in made._names


def test_what_was_settled_can_be_forgotten() -> None:
    made = table()
    for _ in range(2):
        made.field(b"x-a", b"v")
    assert made.get((b"x-a", b"v")) is not None
    made.forget()
    assert made.get((b"x-a", b"v")) is None


def test_what_is_never_indexed_is_kept_nowhere_and_equals_itself_alone() -> None:
    made = table()
    for _ in range(2):
        field = made.never_indexed(b"x-a", b"v")
    assert (field.name, field.value, field.wire) == (b"x-a", b"v", b"x-a: v\r\n")
    assert made.get((b"x-a", b"v")) is None
    assert field.pair != made.never_indexed(b"x-a", b"v").pair
    assert field.pair != (b"x-a", b"v")


def test_a_name_may_become_a_secret() -> None:
    fields_before = [request_fields.field(b"x-own-token", b"v") for _ in range(3)]
    assert fields_before[1] is fields_before[2]
    never_remember("X-Own-Token")
    try:
        field = request_fields.field(b"x-own-token", b"v")
        assert field.rule == rules.SECRET
        assert field is not request_fields.field(b"x-own-token", b"v")
    finally:
        line_table.SECRET_FIELDS.discard(b"x-own-token")
        request_fields.forget()


def test_a_field_does_not_show_its_value() -> None:
    assert "s3cr3t" not in repr(request_fields.field(b"authorization", b"s3cr3t"))
