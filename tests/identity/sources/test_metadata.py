from __future__ import annotations

import socket
import time
from collections.abc import Callable
from functools import partial
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from idtoken_proxy.errors import Fault, TokenError
from idtoken_proxy.identity.sources import metadata
from idtoken_proxy.identity.sources.metadata import DEFAULT_HOST, MetadataSource, metadata_host
from tests.cases import for_each
from tests.identity.fakes import AUDIENCE, EMAIL, Answer, HttpEndpoint, Received, claims_of, jwt
from tests.identity.sources import emulated
from tests.identity.sources.emulated import CALLER, TARGET, Google

Serve = Callable[[Callable[[Received], Answer]], HttpEndpoint]
FLAVOR = {"Metadata-Flavor": "Google"}


def mint(received: Received) -> Answer:
    audience = parse_qs(urlsplit(received.path).query)["audience"][0]
    return Answer(
        body=jwt({"aud": audience, "exp": time.time() + 3600, "email": EMAIL}).encode(), headers=FLAVOR
    )


def fails(host: str, account: str = "default") -> TokenError:
    with pytest.raises(TokenError) as caught:
        MetadataSource(account, host).fetch(AUDIENCE)
    return caught.value


@pytest.mark.parametrize("account", ["default", EMAIL])
def test_fetch(http_endpoint: Serve, account: str) -> None:
    server = http_endpoint(mint)
    audience = AUDIENCE + "/f?a=1&b=ü"
    token = MetadataSource(account, server.host).fetch(audience)
    assert token.audience == audience
    assert token.email == EMAIL
    assert claims_of(token.value)["aud"] == audience
    (received,) = server.received
    url = urlsplit(received.path)
    assert received.method == "GET"
    assert url.path == f"/computeMetadata/v1/instance/service-accounts/{account}/identity"
    assert parse_qs(url.query) == {"audience": [audience], "format": ["full"]}
    assert received.headers["Metadata-Flavor"] == "Google"
    assert received.headers["Host"] == server.host
    assert "X-Forwarded-For" not in received.headers  # it would be refused


def test_an_account_does_not_leave_its_place_in_the_path(http_endpoint: Serve) -> None:
    server = http_endpoint(lambda _: Answer(404))
    fails(server.host, "../../x?y#z\r\nA: b")
    (received,) = server.received
    assert urlsplit(received.path).path.count("/") == 6


def test_no_proxy_variable_leads_astray(http_endpoint: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    server = http_endpoint(mint)
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    assert MetadataSource("default", server.host).fetch(AUDIENCE).audience == AUDIENCE


def test_unreachable() -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))  # bound, not listening
        error = fails(f"127.0.0.1:{bound.getsockname()[1]}")
    assert (error.cause, error.fault) == ("metadata_unreachable", Fault.OPERATOR)
    assert "127.0.0.1" in error.detail
    assert error.remedy is not None
    assert error.remedy.startswith("Only Google Cloud has one. Elsewhere: identity: auto, after gcloud auth")
    assert "ConnectionRefusedError" in (error.log_detail or "")


def test_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metadata, "_TIMEOUT", 0.05)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        error = fails(f"127.0.0.1:{listening.getsockname()[1]}")
    assert (error.cause, error.fault) == ("metadata_timeout", Fault.GOOGLE)
    assert "did not answer within" in error.detail
    assert error.remedy is not None
    assert "gke-metadata-server" in error.remedy


def test_nobody_who_takes_the_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection that cannot be made in time leads to nobody: a laptop, whose network drops link-local packets."""
    monkeypatch.setattr(metadata, "_TIMEOUT", 0.05)
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        address = full.getsockname()
        waiting = [socket.socket() for _ in range(4)]
        for one in waiting:
            one.setblocking(False)
            one.connect_ex(address)
        error = fails(f"127.0.0.1:{address[1]}")
        for one in waiting:
            one.close()
    assert error.cause == "metadata_unreachable"


@for_each("host", ["mds:port", "mds:80:80/x"])
def test_a_host_that_is_none(host: str) -> None:
    error = fails(host)
    assert (error.cause, error.fault) == ("metadata_host", Fault.OPERATOR)
    assert host in error.detail


@for_each("host", ["a" * 64 + ".invalid", "no-such-host.invalid"])
def test_a_name_that_does_not_resolve(host: str) -> None:
    assert fails(host).cause == "metadata_unreachable"


@for_each(
    ("status", "cause", "fault"),
    [
        (404, "no_service_account", Fault.OPERATOR),
        (403, "metadata_refused", Fault.OPERATOR),
        (400, "metadata_refused", Fault.OPERATOR),
        (302, "metadata_refused", Fault.OPERATOR),  # never followed
        (418, "metadata_refused", Fault.OPERATOR),
        (429, "metadata_unavailable", Fault.GOOGLE),
        (500, "metadata_unavailable", Fault.GOOGLE),
        (503, "metadata_unavailable", Fault.GOOGLE),
    ],
)
def test_refusals(http_endpoint: Serve, status: int, cause: str, fault: Fault) -> None:
    secret = b"e" * 64
    server = http_endpoint(lambda _: Answer(status, secret, {**FLAVOR, "Location": "/elsewhere"}))
    error = fails(server.host, EMAIL)
    assert (error.cause, error.fault) == (cause, fault)
    assert secret.decode() not in f"{error}{error.remedy}{error.log_detail}"
    assert len(server.received) == 1


def _said(answer: Answer, _received: Received) -> Answer:
    return answer


@for_each("status", [200, 204, 301, 302, 400, 401, 403, 404, 429, 500, 502, 503])
def test_a_stranger_is_none_whatever_it_answers(http_endpoint: Serve, status: int) -> None:
    """A router's page, a guest network's sign-in, a web server of one's own at that name (google-cloud-go#7165)."""
    strangers: list[dict[str, str]] = [{}, {"Metadata-Flavor": "google"}, {"Metadata-Flavor": "Evil"}]
    for headers in strangers:
        server = http_endpoint(partial(_said, Answer(status, b"hello", headers)))
        error = fails(server.host)
        assert (error.cause, error.fault) == ("metadata_foreign", Fault.OPERATOR)
        assert "no metadata server" in error.detail
        assert len(server.received) == 1


def test_where_the_name_is_unknown_the_address_is_tried(
    http_endpoint: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = http_endpoint(mint)
    monkeypatch.setattr(metadata, "DEFAULT_HOST", "no-such-name.invalid")
    source = MetadataSource(host="no-such-name.invalid", address=server.host)
    assert source.fetch(AUDIENCE).audience == AUDIENCE
    with pytest.raises(TokenError) as caught:
        MetadataSource(host="another-name.invalid", address=server.host).fetch(AUDIENCE)
    assert caught.value.cause == "metadata_unreachable"


def test_a_server_with_an_account_and_no_identity_is_cloud_build_s(http_endpoint: Serve) -> None:
    def build(received: Received) -> Answer:
        if received.path.endswith("/email"):
            return Answer(200, EMAIL.encode(), FLAVOR)
        return Answer(404, b"404 page not found", FLAVOR)

    error = fails(http_endpoint(build).host)
    assert (error.cause, error.fault) == ("metadata_without_identity", Fault.OPERATOR)
    assert EMAIL in error.detail
    assert "Cloud Build" in error.detail
    assert error.remedy is not None
    assert f"{{type: impersonated, service_account: {EMAIL}, source: metadata}}" in error.remedy
    assert (
        f"--member=serviceAccount:{EMAIL} --role=roles/iam.serviceAccountOpenIdTokenCreator" in error.remedy
    )


def test_which_account_is_missing(http_endpoint: Serve) -> None:
    server = http_endpoint(lambda _: Answer(404, b"", FLAVOR))
    assert "no service account attached" in fails(server.host).detail
    assert f"knows no service account {EMAIL}" in fails(server.host, EMAIL).detail


def test_somebody_else_answers(http_endpoint: Serve) -> None:
    server = http_endpoint(lambda received: Answer(body=mint(received).body))
    error = fails(server.host)
    assert (error.cause, error.fault) == ("metadata_foreign", Fault.OPERATOR)


@pytest.mark.parametrize(
    ("body", "cause"),
    [
        (b"", "garbage"),
        (b"<html>\xff", "garbage"),
        (jwt({"aud": "https://other", "exp": 1}).encode(), "wrong_audience"),
    ],
)
def test_garbage(http_endpoint: Serve, body: bytes, cause: str) -> None:
    server = http_endpoint(lambda _: Answer(body=body, headers=FLAVOR))
    assert fails(server.host).cause == cause


def test_an_answer_that_is_no_http() -> None:
    import threading  # noqa: PLC0415

    with socket.create_server(("127.0.0.1", 0)) as listening:

        def answer() -> None:
            connection, _ = listening.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(b"SSH-2.0-x\r\n")

        thread = threading.Thread(target=answer)
        thread.start()
        error = fails(f"127.0.0.1:{listening.getsockname()[1]}")
        thread.join()
    assert error.cause == "metadata_foreign"
    assert "no HTTP" in error.detail


@for_each(
    ("configured", "environ", "host"),
    [
        (None, {}, DEFAULT_HOST),
        (None, {"GCE_METADATA_HOST": ""}, DEFAULT_HOST),
        (None, {"GCE_METADATA_HOST": "localhost:8082"}, "localhost:8082"),
        (None, {"GCE_METADATA_HOST": "http://localhost:8082/"}, "localhost:8082"),
        ("emulator:80", {"GCE_METADATA_HOST": "localhost:8082"}, "emulator:80"),
    ],
)
def test_the_host(configured: str | None, environ: dict[str, Any], host: str) -> None:
    assert metadata_host(configured, environ) == host


async def test_a_private_service_takes_it(google: Google) -> None:
    for account in ("default", TARGET.email):
        email = CALLER.email if account == "default" else account
        await google.accepts(MetadataSource(account, google.emulator.metadata_host), email=email)


def test_the_access_token(http_endpoint: Serve) -> None:
    server = http_endpoint(lambda _: Answer(body=b'{"access_token": "it"}', headers=FLAVOR))
    assert MetadataSource(EMAIL, server.host).access_token().value == "it"
    url = urlsplit(server.received[0].path)
    assert url.path == f"/computeMetadata/v1/instance/service-accounts/{EMAIL}/token"
    assert parse_qs(url.query) == {"scopes": ["https://www.googleapis.com/auth/cloud-platform"]}


@for_each("body", [b"SENTINEL", b"[]", b"{}", b'{"access_token": 7}', b"\xff", b"[" * 50_000], ids=range(6))
def test_an_access_token_that_is_none(http_endpoint: Serve, body: bytes) -> None:
    server = http_endpoint(lambda _: Answer(body=body, headers=FLAVOR))
    emulated.fails(
        MetadataSource(host=server.host).access_token,
        cause="garbage",
        fault=Fault.GOOGLE,
        detail="the metadata server handed out something that is no access token",
    )


@for_each(
    ("answer", "member"),
    [
        (Answer(body=f"{EMAIL}\n".encode(), headers=FLAVOR), f"serviceAccount:{EMAIL}"),
        (Answer(body=b"proj.svc.id.goog", headers=FLAVOR), None),  # GKE, without a Google service account
        (Answer(body=b"$(x)@a", headers=FLAVOR), None),
        (Answer(body=b"\xff", headers=FLAVOR), None),
        (Answer(404), None),
    ],
    ids=range(5),
)
def test_whose_it_is(http_endpoint: Serve, answer: Answer, member: str | None) -> None:
    server = http_endpoint(lambda _: answer)
    assert MetadataSource(host=server.host).member() == member
    assert server.received[0].path == "/computeMetadata/v1/instance/service-accounts/default/email"
    assert MetadataSource(EMAIL, "127.0.0.1:1").member() == f"serviceAccount:{EMAIL}"  # nobody need be asked


def test_describe() -> None:
    assert MetadataSource().describe() == "metadata server, account default"
    assert MetadataSource(EMAIL, "h:1").describe() == f"metadata server at h:1, account {EMAIL}"
