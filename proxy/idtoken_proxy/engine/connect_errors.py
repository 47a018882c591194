"""Who is at the other end of a step on the way to a receiver, and what a failure of that step is called."""

from __future__ import annotations

import re
import socket
import ssl
from dataclasses import dataclass, replace
from typing import Final

from idtoken_proxy.engine.tls_endings import HandshakeBroken
from idtoken_proxy.errors import ConnectFailed, Fault, NoHttp2, TlsFailed, UpstreamError, UpstreamTimeout
from idtoken_proxy.settings.model import EgressProxy, Upstream

_OWN_CA: Final = "if the receiver's certificate comes from a CA of your own, name it: tls: {ca_file: ...}"
NO_HTTP2: Final = (
    "for an app of HTTP/1.1, say protocol: http1 in the route; a gRPC service has to be reached by HTTP/2 all the way, which on "
    "Cloud Run is: gcloud run services update SERVICE --use-http2"
)
_PORT: Final = "see that upstream has the port at which https is spoken"
# By the codes of OpenSSL's x509_vfy.h. Those of issuers that nobody knows here may be an egress proxy's doing.
_TIME: Final = {
    9: "is this machine's clock right (date -u)? If so, the receiver's certificate has to be replaced"
}
_TIME[10] = _TIME[9]
_NAME: Final = {
    62: "write in upstream a name that the certificate has among its subjectAltNames (a common name alone is none), or have "
    "the receiver get one for this name"
}
_NAME[64] = _NAME[62]  # an address
_CHAIN: Final = dict.fromkeys(
    (20, 21), "; if from a public one, the receiver does not send its intermediate certificates"
)
# What OpenSSL's reasons come to: (what they look like, what is said, remedy).
_REASONS: Final = tuple(
    (re.compile(pattern), said, remedy)
    for pattern, said, remedy in (
        (
            r"ALERT_CERTIFICATE_REQUIRED|PEER_DID_NOT_RETURN_A_CERTIFICATE",
            "it asks for a client certificate, and the proxy has none",
            "write the address at which the receiver asks for none: callers show an ID token in its place",
        ),
        (
            r"UNSUPPORTED_PROTOCOL|ALERT_PROTOCOL_VERSION|UNSUPPORTED_SSL_VERSION|INAPPROPRIATE_FALLBACK",
            "it speaks no TLS of version 1.2 or later",
            "have the receiver speak TLS 1.2 or 1.3",
        ),
        (r"WRONG_VERSION_NUMBER|HTTPS?(_PROXY)?_REQUEST", "it answers in something else than TLS", _PORT),
        (r"UNRECOGNIZED_NAME", "it knows no receiver of that name", "see that upstream has the right name"),
        (
            r"ALERT_HANDSHAKE_FAILURE|NO_SHARED_CIPHER",
            "it takes no cipher that is offered, or asks for a client certificate, of which the proxy has none",
            "see in the receiver's log which of the two it is",
        ),
        (r"ALPN", "it chose another protocol than HTTP/1.1", "have the receiver speak HTTP/1.1 too"),
        (r"NO_APPLICATION_PROTOCOL", "it does not speak HTTP/1.1", "have the receiver speak HTTP/1.1 too"),
    )
)


_WORDS: Final = re.compile(r"(?:tlsv\d+|sslv\d+) alert [a-z ]*[a-z]")


@dataclass(frozen=True, slots=True)
class Hop:
    """`name` and `task` are for messages: who it is, and what it had to do in time. `host`: the name that is looked up.
    `remedy`: of whatever fails, where that has none of its own.
    """

    name: str
    host: str
    task: str = "accept a connection"
    fault: Fault = Fault.RECEIVER
    remedy: str | None = None
    certificate_remedy: str = _OWN_CA

    def late(self, seconds: float) -> UpstreamTimeout:
        error = UpstreamTimeout(
            f"{self.name} did not {self.task} within {seconds:g} s",
            remedy=self.remedy,
            limit="connect_timeout",
        )
        error.proxy_status = "connection_timeout"
        error.fault = self.fault
        return error

    def failed(self, error: OSError) -> UpstreamError:
        """As what the app, the log and `doctor` are told of it; ssl.SSLError and socket.gaierror are OSErrors too."""
        match error:
            case ssl.SSLCertVerificationError():
                return TlsFailed(
                    f"the certificate of {self.name} was not accepted: {error.verify_message}",
                    remedy=self._of_certificate(getattr(error, "verify_code", 0)),
                )
            case HandshakeBroken() | ssl.SSLZeroReturnError():
                return _no_tls(
                    f"{self.name} broke off the TLS handshake",
                    "connection_terminated",
                    f"{_PORT}, and in the receiver's log why",
                )
            case ssl.SSLError(reason="NO_HTTP2_BY_ALPN"):
                return NoHttp2(f"{self.name} does not speak HTTP/2", remedy=NO_HTTP2)
            case ssl.SSLError():
                said, remedy = told(error)
                return _no_tls(f"TLS with {self.name} failed: {said}", "tls_protocol_error", remedy)
            case socket.gaierror(errno=socket.EAI_AGAIN):
                # No name server answered, so that the name may well be right.
                return self.unreachable(
                    f"the name {self.host} cannot be looked up now: {error.strerror}",
                    "dns_error",
                    f"is this machine online? If so, see that its name servers answer: getent hosts {self.host.partition(' ')[0]}",
                )
            case socket.gaierror():
                return self.unreachable(
                    f"the name {self.host} cannot be resolved: {error.strerror}", "dns_error"
                )
            case ConnectionRefusedError():
                return self.unreachable(f"{self.name} refuses connections", "connection_refused")
            case _:
                why = error.strerror or type(error).__name__
                return self.unreachable(f"{self.name} cannot be reached: {why}", "destination_unavailable")

    def _of_certificate(self, code: int) -> str:
        return _TIME.get(code) or _NAME.get(code) or self.certificate_remedy + _CHAIN.get(code, "")

    def unreachable(self, detail: str, proxy_status: str, remedy: str | None = None) -> ConnectFailed:
        error = ConnectFailed(detail, proxy_status=proxy_status, remedy=remedy or self.remedy)
        error.fault = self.fault
        return error


def receiver(upstream: Upstream) -> Hop:
    """Reached directly."""
    return Hop(upstream.authority, upstream.host)


def egress_hop(egress: EgressProxy, upstream: Upstream) -> Hop:
    """The egress proxy, up to its answer to CONNECT."""
    user = " -U USER:PASSWORD" if egress.credentials is not None else ""
    return Hop(
        f"the egress proxy {egress}",
        f"{egress.host} of the egress proxy",
        f"open a way to {upstream.authority}",
        Fault.OPERATOR,
        f"see that egress_proxy names the right one, and that it answers: "
        f"curl -sv -x http://{egress}{user} {upstream.origin}/ -o /dev/null",
    )


def beyond(egress: EgressProxy, upstream: Upstream) -> Hop:
    """The receiver, at the far end of the tunnel."""
    return Hop(
        f"{upstream.authority} (through the egress proxy {egress})",
        upstream.host,
        certificate_remedy=f"{_OWN_CA}; if it is the egress proxy's, that opens TLS and would read the ID tokens: have "
        f"{upstream.authority} exempted there",
    )


def mute(hop: Hop) -> Hop:
    """It has accepted the connection, TLS included, and has yet to show that it speaks HTTP/2."""
    return replace(hop, task="speak HTTP/2 on the connection that it accepted", remedy=NO_HTTP2)


def told(error: ssl.SSLError) -> tuple[str, str | None]:
    """In words, with OpenSSL's own behind them, and the remedy."""
    # Of an alert that it has no name for (a receiver of HTTP/2 alone: no_application_protocol), Python tells the text.
    reason = getattr(error, "reason", None) or _named_in(str(error))
    for pattern, said, remedy in _REASONS:
        if pattern.search(reason):
            return f"{said} ({reason})", remedy
    return reason, None


def _named_in(text: str) -> str:
    """`[SSL] tlsv1 alert no application protocol (_ssl.c:1006)` -> TLSV1_ALERT_NO_APPLICATION_PROTOCOL"""
    words = _WORDS.search(text)
    return "handshake broken off" if words is None else words[0].upper().replace(" ", "_")


def _no_tls(detail: str, proxy_status: str, remedy: str | None) -> TlsFailed:
    """No certificate was the matter."""
    failed = TlsFailed(detail, remedy=remedy)
    failed.title = "TLS with the receiver failed"
    failed.proxy_status = proxy_status
    return failed
