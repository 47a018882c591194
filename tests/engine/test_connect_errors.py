"""What a failure on the way is called, and who is to blame for it."""

from __future__ import annotations

import socket
import ssl

from idtoken_proxy.engine.connect_errors import Hop, beyond, egress_hop, mute, receiver
from idtoken_proxy.engine.tls_endings import HandshakeBroken
from idtoken_proxy.errors import ConnectFailed, Fault, TlsFailed
from idtoken_proxy.settings.model import EgressProxy, Upstream
from tests.cases import for_each

UPSTREAM = Upstream("https", "a.run.app", 443)
EGRESS = EgressProxy("proxy.corp", 3128)
DIRECT, OUT, BEYOND = receiver(UPSTREAM), egress_hop(EGRESS, UPSTREAM), beyond(EGRESS, UPSTREAM)
THROUGH = "a.run.app (through the egress proxy proxy.corp:3128)"
LOOK = "egress_proxy names the right one, and that it answers: curl -sv -x http://proxy.corp:3128 https://a.run.app/"


@for_each(
    ("hop", "told"),
    [
        (DIRECT, "a.run.app did not accept a connection within 0.5 s"),
        (OUT, "the egress proxy proxy.corp:3128 did not open a way to a.run.app within 0.5 s"),
        (BEYOND, f"{THROUGH} did not accept a connection within 0.5 s"),
        (mute(BEYOND), f"{THROUGH} did not speak HTTP/2 on the connection that it accepted within 0.5 s"),
    ],
)
def test_who_is_late(hop: Hop, told: str) -> None:
    error = hop.late(0.5)
    assert (error.status, error.detail) == (504, told)
    assert (error.proxy_status, error.limit) == ("connection_timeout", "connect_timeout")
    assert (error.fault is Fault.OPERATOR) == (hop is OUT)
    assert (LOOK in (error.remedy or "")) == (hop is OUT)


@for_each(
    ("error", "proxy_status", "direct", "out"),
    [
        (
            socket.gaierror(-2, "Name or service not known"),
            "dns_error",
            "the name a.run.app cannot be resolved: Name or service not known",
            "the name proxy.corp of the egress proxy cannot be resolved: Name or service not known",
        ),
        (
            socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution"),
            "dns_error",
            "the name a.run.app cannot be looked up now: Temporary failure in name resolution",
            "the name proxy.corp of the egress proxy cannot be looked up now: Temporary failure in name resolution",
        ),
        (
            ConnectionRefusedError(111, "Connection refused"),
            "connection_refused",
            "a.run.app refuses connections",
            "the egress proxy proxy.corp:3128 refuses connections",
        ),
        (
            OSError(113, "No route to host"),
            "destination_unavailable",
            "a.run.app cannot be reached: No route to host",
            "the egress proxy proxy.corp:3128 cannot be reached: No route to host",
        ),
        (
            ConnectionResetError(),
            "destination_unavailable",
            "a.run.app cannot be reached: ConnectionResetError",
            "the egress proxy proxy.corp:3128 cannot be reached: ConnectionResetError",
        ),
    ],
)
def test_what_cannot_be_reached(error: OSError, proxy_status: str, direct: str, out: str) -> None:
    receivers, proxys = DIRECT.failed(error), OUT.failed(error)
    assert isinstance(receivers, ConnectFailed)
    assert isinstance(proxys, ConnectFailed)
    assert (receivers.detail, proxys.detail) == (direct, out)
    assert receivers.proxy_status == proxys.proxy_status == proxy_status
    assert (receivers.fault, proxys.fault) == (Fault.RECEIVER, Fault.OPERATOR)
    if isinstance(error, socket.gaierror) and error.errno == socket.EAI_AGAIN:
        # The name may well be right.
        online = "is this machine online? If so, see that its name servers answer: getent hosts "
        assert (receivers.remedy, proxys.remedy) == (f"{online}a.run.app", f"{online}proxy.corp")
    else:
        assert receivers.remedy is None
        assert LOOK in str(proxys.remedy)


def test_a_certificate_may_be_the_egress_proxys() -> None:
    refused = ssl.SSLCertVerificationError()
    refused.verify_message = "self-signed certificate"
    direct, behind = DIRECT.failed(refused), BEYOND.failed(refused)
    assert isinstance(direct, TlsFailed)
    assert direct.detail == "the certificate of a.run.app was not accepted: self-signed certificate"
    assert direct.proxy_status == behind.proxy_status == "tls_certificate_error"
    assert str(direct.remedy).endswith("name it: tls: {ca_file: ...}")
    assert behind.detail == f"the certificate of {THROUGH} was not accepted: self-signed certificate"
    assert str(behind.remedy).startswith(str(direct.remedy))
    assert "would read the ID tokens: have a.run.app exempted there" in str(behind.remedy)


def test_behind_the_egress_proxy_both_are_named() -> None:
    failed = BEYOND.failed(OSError(104, "reset"))
    assert failed.detail == f"{THROUGH} cannot be reached: reset"
    assert failed.fault is Fault.RECEIVER


@for_each(
    ("reason", "told", "remedy"),
    [
        ("WRONG_VERSION_NUMBER", "it answers in something else than TLS (WRONG_VERSION_NUMBER)", "the port"),
        ("TLSV13_ALERT_CERTIFICATE_REQUIRED", "it asks for a client certificate", "show an ID token"),
        ("TLSV1_ALERT_PROTOCOL_VERSION", "it speaks no TLS of version 1.2 or later", "speak TLS 1.2"),
        ("DIGEST_CHECK_FAILED", "DIGEST_CHECK_FAILED", ""),
        (None, "handshake broken off", ""),
    ],
)
def test_a_reason_of_openssls_is_told_in_words(reason: str | None, told: str, remedy: str) -> None:
    error = ssl.SSLError(1, "x")
    error.reason = reason  # type: ignore[assignment]
    failed = DIRECT.failed(error)
    assert failed.detail.startswith(f"TLS with a.run.app failed: {told}")
    assert BEYOND.failed(error).detail.startswith(f"TLS with {THROUGH} failed: {told}")
    assert remedy in (failed.remedy or "")
    assert failed.proxy_status == "tls_protocol_error"
    assert failed.title == "TLS with the receiver failed"


@for_each("error", [HandshakeBroken(), ssl.SSLZeroReturnError(1, "x")])
def test_a_handshake_that_ends_without_a_reason(error: OSError) -> None:
    failed = DIRECT.failed(error)
    assert failed.detail == "a.run.app broke off the TLS handshake"
    assert failed.proxy_status == "connection_terminated"


@for_each(
    ("code", "remedy"),
    [(9, "clock"), (10, "clock"), (62, "subjectAltNames"), (64, "subjectAltNames"), (20, "intermediate")],
)
def test_what_is_wrong_with_a_certificate_has_its_own_remedy(code: int, remedy: str) -> None:
    error = ssl.SSLCertVerificationError()
    error.verify_code, error.verify_message = code, "x"
    assert remedy in str(DIRECT.failed(error).remedy)


def test_the_password_is_left_to_who_tries_the_command() -> None:
    remedy = str(egress_hop(EgressProxy("proxy.corp", 3128, b"me:hunter2"), UPSTREAM).remedy)
    assert "curl -sv -x http://proxy.corp:3128 -U USER:PASSWORD https://a.run.app/ -o /dev/null" in remedy
