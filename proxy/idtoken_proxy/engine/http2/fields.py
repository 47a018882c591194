"""The rules for one field (RFC 9113 section 8.2), settled once for each name and value.

The dynamic table holds fields that are settled already, so that an indexed one costs a look into a list; a literal is
looked up by its octets. A field that breaks a rule becomes one with the rule MALFORMED and its reason: the block has to be
decoded to its end whatever is in it, since the next block's meaning depends on it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from idtoken_proxy.engine import line_table
from idtoken_proxy.engine.http2.pair import NeverIndexed, Pair
from idtoken_proxy.engine.line_table import UNSOUND, holds_secret
from idtoken_proxy.policy import fields
from idtoken_proxy.policy.fields import Field

# What a field is to a head. PLAIN is 0: it is tested once for each field of each head.
PLAIN: Final = 0
MALFORMED: Final = 1
METHOD: Final = 2
SCHEME: Final = 3
AUTHORITY: Final = 4
PATH: Final = 5
STATUS: Final = 6
HOST: Final = 7
CONTENT_LENGTH: Final = 8
TE: Final = 9
SPECIAL: Final = 10  # its kind says what it is to the proxy (policy/fields.py)
COOKIE: Final = 11
SECRET: Final = 12  # a credential, of any kind: no memo keeps a head with one

_REQUEST_RULES: Final = {
    b":method": METHOD,
    b":scheme": SCHEME,
    b":authority": AUTHORITY,
    b":path": PATH,
    b"host": HOST,
    b"content-length": CONTENT_LENGTH,
    b"te": TE,
    b"cookie": COOKIE,
}
_RESPONSE_RULES: Final = {b":status": STATUS, b"content-length": CONTENT_LENGTH}

# Section 8.2.2: "An endpoint MUST NOT generate an HTTP/2 message containing connection-specific header fields", and one
# that holds any is malformed: what HTTP/1.1 makes of them behind a proxy that lets them through is request smuggling.
_CONNECTION_SPECIFIC: Final = frozenset(
    {b"connection", b"proxy-connection", b"keep-alive", b"transfer-encoding", b"upgrade"}
)
_NAME: Final = re.compile(rb"[!#$%&'*+\-.^_`|~0-9a-z]+").fullmatch  # section 8.2: no upper case
_DIGITS: Final = re.compile(rb"[0-9]{1,18}").fullmatch
_THREE_DIGITS: Final = re.compile(rb"[1-9][0-9]{2}").fullmatch  # RFC 9110 section 15

_MEMO_FIELDS: Final = 2048  # as HTTP/1.1's lines
_MEMO_OCTETS: Final = 512


class HeaderField(Field):
    """A field with its form for HTTP/2 beside that for HTTP/1.1: `pair` is what an encoder looks up. `size` is that of RFC
    7541 section 4.1, which RFC 9113 counts in SETTINGS_MAX_HEADER_LIST_SIZE too. `value` is the reason where `rule` is
    MALFORMED: the octets themselves go nowhere.
    """

    __slots__ = ("pair", "rule", "size")

    def __init__(self, pair: Pair, wire: bytes, kind: int, rule: int) -> None:
        name, value = pair
        self.name = name
        self.value = value
        self.wire = wire
        self.kind = kind
        self.pair = pair
        self.rule = rule
        self.size = len(name) + len(value) + 32


class FieldTable:
    """Fields by name and value; emptied when full, as HTTP/1.1's lines are. Credentials are never kept."""

    __slots__ = ("_kind_of", "_known", "_names", "_once", "_rules", "get")

    def __init__(self, rules: dict[bytes, int], kind_of: Callable[[bytes], int]) -> None:
        self._rules = rules
        self._kind_of = kind_of
        self._known: dict[Pair, HeaderField] = {}
        self._once: set[int] = set()
        self._names: dict[bytes, tuple[int, int, str]] = {}  # lower case: kind, rule, what is wrong with it
        self.get = self._known.get

    def field(self, name: bytes, value: bytes) -> HeaderField:
        pair: Pair = (name, value)
        return self.get(pair) or self._make(pair)

    def never_indexed(self, name: bytes, value: bytes) -> HeaderField:
        """As `field`, of what is to be kept nowhere."""
        return self._make(NeverIndexed((name, value)))

    def is_secret(self, name: bytes) -> bool:
        """Whether a value of this name is kept nowhere but in the tables that HPACK itself obliges to."""
        _, rule, _ = self._names.get(name) or self._name(name)
        return rule >= COOKIE

    def forget(self) -> None:
        self._known.clear()
        self._once.clear()
        self._names.clear()

    def _make(self, pair: Pair) -> HeaderField:
        name, value = pair
        kind, rule, fault = self._names.get(name) or self._name(name)
        if rule in _JUDGED and not fault:
            fault = _fault_of_value(rule, value)
        # Section 8.2.1 forbids NUL, LF and CR; like HTTP/1.1's reader, this one takes no other control character but HTAB either.
        if fault or value.translate(UNSOUND) != value or value[:1] in _BLANK or value[-1:] in _BLANK:
            # As large as what it stands for, where it goes into a dynamic table.
            field = HeaderField(pair, b"", fields.DROP, MALFORMED)
            field.value = (fault or _VALUE_FAULT).encode("ascii")
            return field
        wire = b"" if name[0] == 0x3A else b"%b: %b\r\n" % (name, value)
        field = HeaderField(pair, wire, kind, rule)
        if rule < COOKIE and field.size <= _MEMO_OCTETS and not isinstance(pair, NeverIndexed):
            self._keep(pair, field)
        return field

    def _keep(self, pair: Pair, field: HeaderField) -> None:
        """At the second time: of what differs in each head (a path, a trace context) there would be thousands."""
        once = self._once
        mark = hash(pair)
        if mark in once:
            if len(self._known) >= _MEMO_FIELDS:
                self._known.clear()
            self._known[pair] = field
        else:
            if len(once) >= _MEMO_FIELDS:
                once.clear()
            once.add(mark)

    def _name(self, name: bytes) -> tuple[int, int, str]:
        known = self._judged(name)
        if len(name) <= _MEMO_OCTETS:
            if len(self._names) >= _MEMO_FIELDS:
                self._names.clear()
            self._names[name] = known
        return known

    def _judged(self, name: bytes) -> tuple[int, int, str]:
        rule = self._rules.get(name, PLAIN)
        if name[:1] == b":":
            # Section 8.3: "Endpoints MUST treat a request or response that contains undefined or invalid
            # pseudo-header fields as malformed", a response's in a request among them.
            return fields.PASS, rule, "" if rule else "an unknown pseudo-field"
        if _NAME(name) is None:
            return fields.PASS, MALFORMED, "a field name is no token in lower case"
        if name in _CONNECTION_SPECIFIC:
            return fields.DROP, MALFORMED, f"{name.decode('ascii')}, which is of HTTP/1.1's connections"
        kind = self._kind_of(name)
        if rule == PLAIN:
            if holds_secret(name):
                rule = SECRET
            elif kind != fields.PASS:
                rule = SPECIAL
        return kind, rule, ""


_BLANK: Final = (b" ", b"\t")
_VALUE_FAULT: Final = "a field value holds a control character, or a blank at its end"


_JUDGED: Final = frozenset({CONTENT_LENGTH, STATUS, TE})


def _fault_of_value(rule: int, value: bytes) -> str:
    """What the value of a field alone shows; what needs the others is for heads.py."""
    if rule == CONTENT_LENGTH:
        return "" if _DIGITS(value) else "Content-Length is not a number"
    if rule == STATUS:
        return "" if _THREE_DIGITS(value) else "the status is no number of three digits"
    if rule == TE:
        # Section 8.2.2: "The only exception to this is the TE header field, which MAY be present in an HTTP/2 request;
        # when it is, it MUST NOT contain any value other than "trailers"."
        return "" if value.lower() == b"trailers" else "TE is other than trailers"
    return ""


request_fields: Final = FieldTable(_REQUEST_RULES, fields.request_kind)
response_fields: Final = FieldTable(_RESPONSE_RULES, fields.response_kind)


def never_remember(name: str) -> None:
    """In HTTP/1.1 neither: fields of this name hold a secret (guard.caller_token_header)."""
    line_table.never_remember(name)
    request_fields.forget()
    response_fields.forget()
