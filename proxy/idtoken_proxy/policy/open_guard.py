"""Who may use the listener before an app: whoever has a token. So the forward path's guard has nothing to judge here.

That one keeps out who would act as the proxy's identity without one of his own: pages by DNS rebinding, other users. Here a
page has no token that its browser would send by itself, and the names under which the app is known are the app's affair.
"""

from __future__ import annotations

from idtoken_proxy.errors import MalformedRequest, Refused
from idtoken_proxy.policy.guard import Caller, Guard, name_of
from idtoken_proxy.policy.request import Request

_MEMO_LIMIT = 256
_UNNAMED = Caller("", b"", b"")


class OpenGuard(Guard):
    """`tls`: its connections are TLS, which the app is told (X-Forwarded-Proto)."""

    def __init__(self, *, tls: bool) -> None:
        super().__init__(forwards=False)
        self._tls = tls
        self._seen: dict[tuple[bytes, bool], Caller] = {}

    @property
    def remembered(self) -> int:
        return len(self._seen)

    def admit(self, request: Request, port: int | None = None) -> Caller:  # noqa: ARG002 -- any will do
        """Raises MalformedRequest, for a Host that is none."""
        if self._tls:
            request.over_tls = True
        host = request.host
        if host is None:  # of HTTP/1.0
            return _UNNAMED
        return self._seen.get((host, request.over_tls)) or self._caller(host, over_tls=request.over_tls)

    def admit_tunnel(self, request: Request, port: int | None = None) -> str:  # noqa: ARG002 -- nor does another
        raise Refused("an app's listener is no forward proxy", reason="host")

    def _caller(self, host: bytes, *, over_tls: bool) -> Caller:
        name = name_of(host)
        if not name:
            raise MalformedRequest("the Host header is not a host name with an optional port")
        origin = (b"https://" if over_tls else b"http://") + host.lower()
        caller = Caller(name, origin, b"X-Forwarded-Host: " + host + b"\r\n")
        if len(self._seen) >= _MEMO_LIMIT:
            self._seen.clear()
        self._seen[host, over_tls] = caller
        return caller
