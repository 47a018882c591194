from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from idtoken_proxy.policy import fields
from idtoken_proxy.policy.fields import DROP, PASS, TOKEN_HEADERS, Field, folded, request_kind, response_kind
from tests.cases import for_each


@for_each(
    ("name", "kind"),
    [
        (b"accept", PASS),
        (b"cookie", PASS),
        (b"x-request-id", PASS),
        (b"x_request_id", PASS),
        (b"authorization", fields.AUTHORIZATION),
        (b"x-serverless-authorization", fields.SERVERLESS_AUTHORIZATION),
        (b"proxy-authorization", DROP),
        (b"host", fields.HOST),
        (b"metadata-flavor", DROP),
        (b"trailer", DROP),
        # Aliases, however spelled.
        (b"x_serverless_authorization", DROP),
        (b"x-forwarded-prefix", DROP),
        (b"x_forwarded_prefix", DROP),
        (b"x.forwarded_prefix", DROP),
        (b"x_forwarded_proto", DROP),
        (b"x_forwarded-host", DROP),
        (b"x.serverless.authorization", DROP),
        (b"x-serverless_authorization", DROP),
        (b"x_serverless.authorization", DROP),
        (b"x~serverless!authorization", DROP),
        (b"proxy_authorization", DROP),
        (b"proxy.authorization", DROP),
        # Who the caller is, in a front end's word: looked at where the proxy itself is one.
        (b"x-goog-authenticated-user-email", fields.ASSERTED),
        (b"x-goog-authenticated-user-id", fields.ASSERTED),
        (b"x_goog_authenticated_user_email", fields.ASSERTED),
        (b"x-goog.authenticated_user-email", fields.ASSERTED),
        (b"x-goog-authenticated-user-groups", fields.ASSERTED),
        (b"x-goog-iap-jwt-assertion", fields.ASSERTED),
        (b"x_goog_iap_jwt_assertion", fields.ASSERTED),
        (b"x-original-url", fields.ASSERTED),
        (b"x_rewrite.url", fields.ASSERTED),
        # What only looks like one.
        (b"x-goog-authenticated-users", PASS),
        (b"x-goog-iap-jwt-assertions", PASS),
        (b"xserverlessauthorization", PASS),
        (b"x-serverless-authorizations", PASS),
        (b"my-x-serverless-authorization", PASS),
        (b"proxyauthorization", PASS),
        (b"authorization-x", PASS),
        (b"x-authorization", PASS),
    ],
)
def test_what_a_request_field_is_to_the_proxy(name: bytes, kind: int) -> None:
    assert request_kind(name) == kind


@for_each(
    ("name", "kind"),
    [
        (b"server", PASS),
        (b"location", fields.LOCATION),
        (b"content-location", fields.LOCATION),
        (b"refresh", PASS),
        (b"set-cookie", fields.SET_COOKIE),
        (b"access-control-allow-origin", fields.ACCESS_CONTROL),
        (b"trailer", PASS),
        (b"host", PASS),
        (b"www-authenticate", fields.WWW_AUTHENTICATE),
        (b"proxy-authenticate", DROP),
        (b"keep-alive", DROP),
        (b"content-length", fields.CONTENT_LENGTH),
    ],
)
def test_what_a_response_field_is_to_the_proxy(name: bytes, kind: int) -> None:
    assert response_kind(name) == kind


def test_only_pass_is_false() -> None:
    """The engine tests a kind for truth."""
    assert not PASS
    assert all({*fields.REQUEST_KINDS.values(), *fields.RESPONSE_KINDS.values()})


def test_every_token_header_is_looked_at_or_dropped_and_no_trailer() -> None:
    for name in TOKEN_HEADERS:
        assert request_kind(name) in {DROP, fields.AUTHORIZATION, fields.SERVERLESS_AUTHORIZATION}
        assert name in fields.TRAILER_FORBIDDEN


@given(st.sampled_from(sorted(TOKEN_HEADERS - {b"authorization"})), st.data())
def test_no_spelling_of_the_hyphens_passes(name: bytes, data: st.DataObject) -> None:
    spelled = b"".join(
        bytes([octet]) if octet != 0x2D else data.draw(st.sampled_from([b"-", b"_", b".", b"~", b"|", b"+"]))
        for octet in name
    )
    assert request_kind(spelled) == (
        fields.SERVERLESS_AUTHORIZATION if spelled == b"x-serverless-authorization" else DROP
    )
    assert folded(spelled) == name


def test_a_field_does_not_show_its_value() -> None:
    field = Field(b"authorization", b"Bearer s3cr3t", b"Authorization: Bearer s3cr3t\r\n", DROP)
    assert repr(field) == "Field(b'authorization')"
