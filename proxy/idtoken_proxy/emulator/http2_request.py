"""A request's head of HTTP/2 as aiohttp has one of HTTP/1.1's."""

from __future__ import annotations

from typing import Final

from aiohttp import HttpVersion
from aiohttp.http_parser import RawRequestMessage
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

from idtoken_proxy.engine.http2 import fields
from idtoken_proxy.engine.http2.fields import FieldTable
from idtoken_proxy.engine.http2.heads import RequestHead
from idtoken_proxy.policy.fields import PASS

HTTP2: Final = HttpVersion(2, 0)

# A receiver passes all fields on to its container, those among them that a proxy drops.
all_fields: Final = FieldTable(
    {
        b":method": fields.METHOD,
        b":scheme": fields.SCHEME,
        b":authority": fields.AUTHORITY,
        b":path": fields.PATH,
        b"host": fields.HOST,
        b"content-length": fields.CONTENT_LENGTH,
        b"te": fields.TE,
        b"cookie": fields.COOKIE,
    },
    lambda _name: PASS,
)


def raw_headers(head: RequestHead) -> tuple[tuple[bytes, bytes], ...]:
    """As a container sees them behind a front end that speaks HTTP/2: Host for :authority, names in lower case."""
    headers = [(b"host", head.authority), *((field.name, field.value) for field in head.passing)]
    if head.te_trailers:
        headers.append((b"te", b"trailers"))
    if head.content_length is not None:
        headers.append((b"content-length", b"%d" % head.content_length))
    return tuple(headers)


def message_of(head: RequestHead) -> RawRequestMessage:
    raw = raw_headers(head)
    headers = CIMultiDict(
        (name.decode("ascii"), value.decode("utf-8", "surrogateescape")) for name, value in raw
    )
    target = head.path.decode("latin-1")
    path, _, query = target.partition("?")
    return RawRequestMessage(
        method=head.method.decode("ascii"),
        path=target,
        version=HTTP2,
        headers=CIMultiDictProxy(headers),
        raw_headers=raw,
        should_close=False,
        compression=None,
        upgrade=False,
        chunked=False,
        url=URL.build(path=path, query_string=query, encoded=True),
    )
