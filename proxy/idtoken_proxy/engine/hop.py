"""Who is at the other end of a step on the way to a receiver, and what a failure of that step is called."""

from __future__ import annotations

import socket
import ssl
from dataclasses import dataclass

from idtoken_proxy.errors import ConnectFailed, Fault, TlsFailed, UpstreamError, UpstreamTimeout
from idtoken_proxy.settings.model import EgressProxy, Upstream

_OWN_CA = "if the receiver's certificate comes from a CA of your own, name it: tls: {ca_file: ...}"


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
                    remedy=self.certificate_remedy,
                )
            case ssl.SSLError():
                failed = TlsFailed(f"TLS with {self.name} failed: {error.reason or 'handshake broken off'}")
                failed.proxy_status = "tls_protocol_error"
                return failed
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

    def unreachable(self, detail: str, proxy_status: str, remedy: str | None = None) -> ConnectFailed:
        error = ConnectFailed(detail, proxy_status=proxy_status, remedy=remedy or self.remedy)
        error.fault = self.fault
        return error


def receiver(upstream: Upstream) -> Hop:
    """Reached directly."""
    return Hop(upstream.authority, upstream.host)


def way_out(egress: EgressProxy, upstream: Upstream) -> Hop:
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
