"""What to do where a receiver is not reached, or does not speak as it should: in the 502 and 504, the log, the status page and `doctor`."""

from __future__ import annotations

from typing import Final

from idtoken_proxy.settings.model import Route

# By the error type of RFC 9209.
_REMEDIES: Final = {
    "dns_error": "Correct the name in upstream; a name of a private zone is known in its own network alone: "
    "getent hosts {host}",
    "connection_refused": "See that the receiver runs, and listens on that port: {host}:{port}",
    "connection_timeout": "Check the way there (firewall, VPN, VPC egress), or allow more: timeouts: {{connect: 15s}}",
    "destination_unavailable": "Check the way there (network, firewall, VPN): curl -sv{curl} {origin}/ -o /dev/null",
    "tls_protocol_error": "See what speaks there: openssl s_client{openssl} -connect {host}:{port} -servername {host}",
    "http_response_timeout": "See the receiver's log; a cold start may take long: "
    "gcloud run services update SERVICE --min-instances=1",
}
_BROKEN: Final = "See the receiver's log, and whether it speaks HTTP at {origin}"


def way_there(cause: str, route: Route) -> str:
    """`cause`: the error's type by RFC 9209."""
    upstream, egress = route.upstream, route.egress_proxy
    return _REMEDIES.get(cause, _BROKEN).format(
        host=upstream.host,
        port=upstream.port,
        origin=upstream.origin,
        curl="" if egress is None else f" -x http://{egress}",
        openssl="" if egress is None else f" -proxy {egress}",
    )
