from __future__ import annotations

import contextlib
import gc
import json
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import pytest

from idtoken_proxy.errors import Fault, TokenError
from idtoken_proxy.identity.error_causes import remedy_of
from idtoken_proxy.identity.google_error import GoogleError
from idtoken_proxy.identity.sources import transport
from idtoken_proxy.identity.sources.transport import EndpointRefused, Transport, conversation, is_near
from tests.cases import for_each
from tests.identity.fakes import Answer, HttpEndpoint, Received
from tests.identity.sources.emulated import fails as fails_so

Serve = Callable[[Callable[[Received], Answer]], HttpEndpoint]


def post(url: str, **more: Any) -> transport.Response:
    with Transport() as request:
        return request(url, method="POST", body=b"assertion=SENTINEL", **more)


def fails(url: str) -> TokenError:
    with pytest.raises(TokenError) as caught:
        post(url)
    error = caught.value
    assert "SENTINEL" not in f"{error}{error.remedy}{error.log_detail}"
    return error


def test_what_google_auth_needs(http_endpoint: Serve) -> None:
    server = http_endpoint(lambda _: Answer(body=b"{}", headers={"X": "y"}))
    response = post(server.url + "/token", headers={"Content-Type": "a/b"}, timeout=1e6)
    assert (response.status, response.data, response.headers["x"]) == (200, b"{}", "y")
    (received,) = server.received
    assert (received.method, received.path, received.body) == ("POST", "/token", b"assertion=SENTINEL")
    assert received.headers["Content-Type"] == "a/b"


def test_netrc_is_not_read(http_endpoint: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("default login me password secret\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    server = http_endpoint(lambda _: Answer())
    post(server.url, headers={"Authorization": "Bearer ours"})
    assert server.received[0].headers["Authorization"] == "Bearer ours"


def test_proxy_variables_are_obeyed(http_endpoint: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    proxy = http_endpoint(lambda _: Answer(body=b"by proxy"))
    monkeypatch.setenv("HTTP_PROXY", proxy.url)
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    assert post("http://oauth2.invalid/token").data == b"by proxy"
    assert proxy.received[0].path == "http://oauth2.invalid/token"
    monkeypatch.setenv("NO_PROXY", "oauth2.invalid")
    assert fails("http://oauth2.invalid/token").cause == "endpoint_unreachable"


NEAR = ["127.0.0.1", "127.9.9.9", "localhost", "app.localhost", "[::1]"]
LINK_LOCAL = [
    "169.254.169.254",
    "169.254.170.2",
    "169.254.170.23",
    "[fe80::1]",
    "[fd00:ec2::254]",
    "[fd20:ce::254]",
]


@for_each("host", [*NEAR, *LINK_LOCAL, "metadata.google.internal"])
def test_what_is_on_this_machine_or_its_link_is_no_proxy_s_to_hear(host: str) -> None:
    assert is_near(f"http://{host}/latest/api/token")
    assert is_near(f"https://user@{host}:8443/")


@for_each(
    "url",
    ["https://oauth2.googleapis.com/token", "http://10.0.0.1/", "http://127.0.0.1.example/", "http://["],
)
def test_whatever_else_is(url: str) -> None:
    assert not is_near(url)


@pytest.mark.parametrize("variable", ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"])
def test_no_proxy_variable_leads_such_a_request_astray(
    http_endpoint: Serve, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    proxy = http_endpoint(lambda _: Answer(body=b"by proxy"))
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy", "NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(variable, proxy.url)
    fails("http://localhost:1/token")
    assert proxy.received == []


def test_what_is_near_answers_all_the_same(http_endpoint: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    server = http_endpoint(lambda _: Answer(body=b"direct"))
    assert post(server.url).data == b"direct"


def test_an_answer_has_one_deadline_and_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    def serve(*pieces: bytes, pause: float = 0.0) -> TokenError:
        with socket.create_server(("127.0.0.1", 0)) as listening:

            def answer() -> None:
                with contextlib.suppress(OSError), listening.accept()[0] as connection:
                    asked = b""
                    while not asked.endswith(b"SENTINEL"):  # what is left unread would reset the connection
                        asked += connection.recv(4096)
                    connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
                    for piece in pieces:
                        connection.sendall(piece)
                        time.sleep(pause)

            thread = threading.Thread(target=answer)
            thread.start()
            error = fails(f"http://127.0.0.1:{listening.getsockname()[1]}/")
            gc.collect()  # what is left of an answer that was not read to its end
            thread.join()
            return error

    assert serve(b"x" * (transport.MAX_ANSWER + 1)).cause == "endpoint_misconfigured"
    monkeypatch.setattr(transport, "WHOLE_TIMEOUT", 0.1)
    assert serve(*[b"x"] * 100, pause=0.01).cause == "endpoint_timeout"


def test_a_dead_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    error = fails("https://oauth2.invalid/token")
    assert (error.cause, error.fault) == ("egress_proxy_failed", Fault.OPERATOR)
    assert "oauth2.invalid" in error.detail


def test_a_redirect_is_not_followed(http_endpoint: Serve) -> None:
    elsewhere = http_endpoint(lambda _: Answer())
    server = http_endpoint(lambda _: Answer(307, headers={"Location": elsewhere.url}))
    with pytest.raises(EndpointRefused) as caught:
        post(server.url)
    assert caught.value.status == 307
    assert elsewhere.received == []


@pytest.mark.parametrize("status", [408, 500, 503])
def test_what_may_pass_is_not_retried_here(http_endpoint: Serve, status: int) -> None:
    server = http_endpoint(lambda _: Answer(status, b"SENTINEL"))
    error = fails(server.url)
    assert (error.cause, error.fault) == ("endpoint_unavailable", Fault.GOOGLE)
    assert len(server.received) == 1


@pytest.mark.parametrize(
    "body", [b"SENTINEL", b'{"error": {"status": "RESOURCE_EXHAUSTED", "message": "Quota exceeded."}}']
)
def test_a_quota_is_no_outage(http_endpoint: Serve, body: bytes) -> None:
    server = http_endpoint(lambda _: Answer(429, body))
    error = fails(server.url)
    assert (error.cause, error.fault, error.retry_after) == ("quota_exceeded", Fault.OPERATOR, 10)
    assert "SENTINEL" not in f"{error}{error.remedy}"
    assert "console.cloud.google.com/iam-admin/quotas" in (error.remedy or "")
    assert len(server.received) == 1


def test_unreachable() -> None:
    error = fails("http://user:SENTINEL@127.0.0.1:1/token")
    assert (error.cause, error.fault) == ("endpoint_unreachable", Fault.OPERATOR)
    assert "127.0.0.1:1 cannot be reached" in error.detail


def test_what_hangs_is_told_as_that(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "READ_TIMEOUT", 0.05)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        host = f"127.0.0.1:{listening.getsockname()[1]}"
        error = fails(f"http://{host}")
    assert (error.cause, error.fault) == ("endpoint_timeout", Fault.GOOGLE)
    assert error.detail == f"{host} was reached, and did not answer in time"
    assert "HTTPS_PROXY" not in f"{error.remedy}{remedy_of(error)}"


def test_who_takes_no_connection_is_not_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    """A backlog that is full lets no more in, as a firewall that drops does."""
    monkeypatch.setattr(transport, "CONNECT_TIMEOUT", 0.05)
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listening, contextlib.ExitStack() as stack:
        for _ in range(4):
            filling = stack.enter_context(socket.socket())
            filling.setblocking(False)
            filling.connect_ex(listening.getsockname())
        error = fails(f"http://127.0.0.1:{listening.getsockname()[1]}")
    assert (error.cause, error.fault) == ("endpoint_unreachable", Fault.OPERATOR)
    assert "no connection within 0.05 s" in error.detail


@pytest.mark.parametrize("url", ["https://oauth2.invalid/token", "http://oauth2.invalid:81/token"])
def test_no_name_server(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def lookup(*_: object, **__: object) -> NoReturn:
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    monkeypatch.setattr(socket, "getaddrinfo", lookup)
    error = fails(url)
    assert (error.cause, error.fault) == ("endpoint_dns", Fault.OPERATOR)
    assert (error.remedy or "").startswith("Is this machine online?")
    assert "getent hosts oauth2.invalid" in (error.remedy or "")
    assert ":81" not in (error.remedy or "")


def test_a_name_that_is_wrong_is_no_lack_of_a_name_server(monkeypatch: pytest.MonkeyPatch) -> None:
    def lookup(*_: object, **__: object) -> NoReturn:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", lookup)
    assert fails("https://oauth2.invalid/token").cause == "endpoint_unreachable"


def test_a_proxy_s_name_is_not_the_endpoint_s(monkeypatch: pytest.MonkeyPatch) -> None:
    def lookup(*_: object, **__: object) -> NoReturn:
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.invalid:3128")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.setattr(socket, "getaddrinfo", lookup)
    assert fails("https://oauth2.invalid/token").cause == "egress_proxy_failed"


def test_no_tls_there(http_endpoint: Serve) -> None:
    server = http_endpoint(lambda _: Answer())
    assert fails(server.url.replace("http:", "https:")).cause == "endpoint_tls"


@for_each("url", ["ftp://x/", "nonsense", "http://[::1", "http://" + "a" * 64 + ".invalid/"])
def test_a_url_that_is_none(url: str) -> None:
    assert fails(url).cause == "endpoint_misconfigured"


def test_a_ca_bundle_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/nowhere/ca.pem")
    error = fails("https://127.0.0.1:1/token")
    assert error.cause == "endpoint_misconfigured"
    assert "REQUESTS_CA_BUNDLE" in (error.remedy or "")


def test_timeouts_together_stay_under_the_cache_s_deadline() -> None:
    assert transport.CONNECT_TIMEOUT + transport.READ_TIMEOUT < 10


TOKEN = "eyJhbGciOiJSUzI1NiIsInR5cCI6IkpXVCJ9.eyJpc3MiOiJhIn0.c2lnbmF0dXJl"


@for_each(
    ("body", "code", "description"),
    [
        ({"error": "invalid_grant", "error_description": "Bad."}, "invalid_grant", "Bad."),
        ({"error": "invalid_grant"}, "invalid_grant", ""),
        ({"error": {"status": "PERMISSION_DENIED", "message": "No."}}, "PERMISSION_DENIED", "No."),
        ({"error": {"code": 403}}, "unknown", ""),
        ({"error": "a b"}, "unknown", ""),
        ({"error": "x", "error_description": f"was {TOKEN}, no"}, "x", "was ..., no"),
        ({"error": "x", "error_description": "a\r\nb\x1b[31m\u202e"}, "x", "a b [31m"),
        ({"error": "x", "error_description": "word " * 100}, "x", "word " * 47 + "..."),
        ({"error": None}, "unknown", ""),
        ({"other": TOKEN}, "unknown", ""),
        ([TOKEN], "unknown", ""),
        (TOKEN, "unknown", ""),
        (None, "unknown", ""),
    ],
)
def test_what_is_passed_on_of_an_error(http_endpoint: Serve, body: Any, code: str, description: str) -> None:
    server = http_endpoint(lambda _: Answer(400, json.dumps(body).encode()))
    with pytest.raises(EndpointRefused) as caught:
        post(server.url)
    assert (caught.value.status, caught.value.code, caught.value.description) == (400, code, description)


def test_an_error_that_is_no_json(http_endpoint: Serve) -> None:
    server = http_endpoint(lambda _: Answer(404, b"<html>\xff"))
    with pytest.raises(EndpointRefused) as caught:
        post(server.url)
    assert (caught.value.code, caught.value.description) == ("unknown", "")


@for_each(
    ("body", "reason"),
    [
        ({"error": "invalid_grant", "error_subtype": "invalid_rapt"}, "invalid_rapt"),
        ({"error": "invalid_grant", "error_subtype": "a b"}, None),
        (
            {"error": {"status": "X", "details": [{"@type": "y"}, {"reason": "SERVICE_DISABLED"}]}},
            "SERVICE_DISABLED",
        ),
        ({"error": {"status": "X", "details": []}}, None),
        ({"error": {"status": "X", "details": None}}, None),
        ({"error": {"status": "X", "details": [{"reason": TOKEN}]}}, None),
    ],
)
def test_what_says_more(http_endpoint: Serve, body: Any, reason: str | None) -> None:
    server = http_endpoint(lambda _: Answer(400, json.dumps(body).encode()))
    with pytest.raises(EndpointRefused) as caught:
        post(server.url + "/x")
    assert (caught.value.reason, caught.value.url) == (reason, server.url + "/x")


def test_where_the_last_request_went(http_endpoint: Serve) -> None:
    server = http_endpoint(lambda _: Answer())
    with Transport() as request:
        assert request.last_url is None
        request(server.url + "/a")
        assert request.last_url == server.url + "/a"


def test_a_client_certificate_that_is_not_there() -> None:
    with pytest.raises(TokenError) as caught, Transport() as request:
        request("https://127.0.0.1:1/", cert=("/nowhere/cert.pem", "/nowhere/key.pem"))
    assert caught.value.cause == "endpoint_misconfigured"


@for_each("error", [KeyError("SENTINEL"), ValueError("SENTINEL"), RuntimeError("SENTINEL")])
def test_what_google_auth_raises_is_not_repeated(error: Exception) -> None:
    def talk() -> None:
        with conversation("it"):
            raise error

    fails_so(talk, cause="garbage", fault=Fault.GOOGLE, detail="the answer of it holds no token")


def test_what_is_ours_passes() -> None:
    for ours in (TokenError("x", cause="closed", fault=Fault.PROXY), EndpointRefused(GoogleError(400, "x"))):
        with pytest.raises(type(ours)) as caught, conversation("it"):
            raise ours
        assert caught.value is ours
