"""What the fields that the proxy itself looks at do to a head, in either version of HTTP. Framing is each version's own."""

from __future__ import annotations

from idtoken_proxy.errors import MalformedRequest
from idtoken_proxy.policy import fields
from idtoken_proxy.policy.fields import Field
from idtoken_proxy.policy.request import Request, Response


def apply_request_field(request: Request, field: Field) -> None:
    """Raises MalformedRequest."""
    kind = field.kind
    value = field.value
    if kind == fields.AUTHORIZATION:
        request.authorization = (*request.authorization, field.wire)
    elif kind == fields.ORIGIN:
        if request.origin is not None:
            raise MalformedRequest("two Origin headers")
        request.origin = value
    elif kind == fields.SEC_FETCH_SITE:
        if request.fetch_site is not None:
            raise MalformedRequest("two Sec-Fetch-Site headers")
        request.fetch_site = value
    elif kind == fields.SEC_FETCH_MODE:
        request.fetch_mode = value if request.fetch_mode is None else b""  # twice: none that lets it in
    elif kind == fields.SEC_FETCH_DEST:
        request.fetch_dest = value if request.fetch_dest is None else b""
    elif kind == fields.EXPECT:
        request.expect_continue = value.lower() == b"100-continue"
    elif kind == fields.REFERER:
        request.referers = (*request.referers, field)
        request.passing.append(field.wire)
    elif kind in (fields.API_KEY, fields.USER_PROJECT):
        request.to_google = (*request.to_google, field)
        request.passing.append(field.wire)
    elif kind == fields.ASSERTED:
        request.asserted = (*request.asserted, field)
        request.passing.append(field.wire)
    elif kind == fields.SERVERLESS_AUTHORIZATION:
        request.serverless = (*request.serverless, value)
    elif kind == fields.FORWARDED_FOR:
        request.forwarded_for = (*request.forwarded_for, value)
    elif kind == fields.FORWARDED_PROTO:
        request.forwarded_proto = (*request.forwarded_proto, value)
    else:
        assert kind == fields.VIA
        request.via = (*request.via, value)


def apply_response_field(response: Response, field: Field) -> None:
    if field.kind == fields.WWW_AUTHENTICATE:
        response.www_authenticate = (*response.www_authenticate, field.value)
    else:
        response.addressed = (*response.addressed, field)
    response.passing.append(field.wire)
