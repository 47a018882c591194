"""What may come within a tunnel that a CONNECT opened: cleartext requests for the receiver that it named, and nothing else.

Clients ask for such tunnels that know no other way through a proxy (undici and Node's own proxy support, WebSocket clients).
What they send within is judged as if it had come in absolute form: by the authority, of which the guard has the last word.
"""

from __future__ import annotations

from idtoken_proxy.errors import MalformedRequest
from idtoken_proxy.policy.request import Request

_DIRECTLY = "send one request for each receiver, through a CONNECT of its own or as http://HOST/PATH"


class Tunnelled:
    """`authority`: as the guard spells it, without port 80. The spellings of Host that mean it are few, so each is
    compared whole.
    """

    __slots__ = ("_hosts", "authority")

    def __init__(self, authority: str) -> None:
        self.authority = authority
        port = authority.rpartition(":")[2]
        named = authority.encode("ascii")
        # A name without a port, or an IPv6 address, of which the last colon is none.
        self._hosts = (
            {named}
            if port.isdigit() and not authority.endswith("]")
            else {named, named + b":80", named + b":"}
        )

    def admit(self, request: Request) -> None:
        """Makes it one for the receiver. Raises MalformedRequest: the connection closes, since whoever sends anything else
        takes this for another connection than it is.
        """
        if request.method.upper() == b"CONNECT":
            raise MalformedRequest("a CONNECT within a CONNECT is not served", remedy=_DIRECTLY)
        if request.absolute:
            raise MalformedRequest(
                "within a CONNECT a request has a path for its target, and no URL",
                remedy="send the path, and the CONNECT's host in Host",
            )
        if request.host is None or request.host.lower() not in self._hosts:
            raise MalformedRequest(
                f"within a CONNECT to {self.authority}, Host is {self.authority}", remedy=_DIRECTLY
            )
        request.absolute = True
