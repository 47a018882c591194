"""May this caller use this proxy? Whoever reaches the port would be the service account.

Against DNS rebinding the name in `Host` must be one that is ours (MCP Inspector CVE-2025-49596, Ollama
CVE-2024-28224); against web pages, which may send requests to localhost without asking (Vite GHSA-vg6x-rcgg-rjx6),
`Origin` and `Sec-Fetch-Site` must not be another site's. Browsers send the latter to URLs that they trust alone (localhost,
*.localhost, loopback addresses): under any other name a request without either must show otherwise that no page sent it.
"""

from __future__ import annotations

import functools
import hmac
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from idtoken_proxy.errors import MalformedRequest, Refused
from idtoken_proxy.policy.cors import is_preflight
from idtoken_proxy.policy.request import Request
from idtoken_proxy.policy.services import NamedService, ServicePatterns
from idtoken_proxy.settings.addresses import is_loopback

LOOPBACK_NAMES: Final = frozenset({"localhost", "127.0.0.1", "[::1]"})
UNIX: Final = 0  # in place of a port: the app came by a unix socket

_ORIGIN: Final = re.compile(rb"[a-z][a-z0-9+.-]{0,30}://[A-Za-z0-9.-]{1,200}(:[0-9]{1,5})?")
_OWN_PAGES: Final = (
    "only pages that the proxy itself serves may send requests through it; open the page through the proxy"
)
_PLAIN: Final = (
    "use http:// URLs, so that the proxy can attach the token; it speaks TLS to the receiver itself"
)
# RFC 9110 section 7.2: uri-host [ ":" port ]; a user name has no place in it. No name in DNS is longer than 253.
_HOST: Final = re.compile(rb"(\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9._-]{1,253})(?::([0-9]{0,5}))?")
# `changeOrigin: true`, which the documentation of dev servers has one paste, sends the proxy's name as Host beside the page's
# own Origin (docs/dev-servers.md).
_LOCAL_PAGE: Final = re.compile(
    rb"https?://(?:[a-z0-9.-]+\.)?(?:localhost|127\.0\.0\.1|\[::1\])(?::[0-9]+)?$"
)
_DEV_SERVER: Final = (
    "; a dev server that forwards its page's requests here leaves Host as it is with changeOrigin: false"
)
_MEMO_LIMIT: Final = 256
_MOST_SHOWN: Final = 20


@dataclass(frozen=True, slots=True)
class Caller:
    """How the app addressed the proxy: `name` lower case and without port, `origin` as a browser would say it."""

    name: str
    origin: bytes
    forwarded_host: bytes  # the X-Forwarded-Host line
    upstream: str | None = None  # the receiver's authority, where the request's target names one of ours
    # A name under which browsers do not say what page a request is from (https://www.w3.org/TR/fetch-metadata/#framework,
    # "potentially trustworthy"): an <img> or a no-cors GET of any page looks like a program's request.
    untold: bool = field(default=False, compare=False)
    service: NamedService | None = None  # the one that it named, by its own name or by one of the proxy's


class Guard:
    """`secret`: (header name, value) that every request must carry; it goes no further than here. `upstreams`: the
    authorities that a request's target may name, without port 80. `routed`: the hosts that routes match, which it may
    name with any port. `unverified_pages`: requests that may be a page's are let in where nothing tells. `forwards`: whether
    it is a forward proxy's at all, whose requests name a receiver. `services`: the names that stand for one of a project's.
    """

    def __init__(
        self,
        allowed_hosts: Iterable[str] = (),
        allowed_origins: Iterable[str] = (),
        secret: tuple[str, bytes] | None = None,
        upstreams: Iterable[str] = (),
        routed: Iterable[str] = (),
        *,
        unverified_pages: bool = False,
        forwards: bool = True,
        services: ServicePatterns | None = None,
    ) -> None:
        self._services = services or ServicePatterns()
        self._secret = None if secret is None else (secret[0].lower().encode() + b":", secret[1])
        self._unverified_pages = unverified_pages
        self._secret_header = None if secret is None else secret[0]
        self._routed = frozenset(name.lower() for name in routed)
        self._names = LOOPBACK_NAMES | self._routed | {name.lower() for name in allowed_hosts}
        self._origins = frozenset(origin.lower().encode() for origin in allowed_origins)
        self._upstreams = frozenset(upstreams)
        self._forwards = forwards
        self._callers: dict[bytes, Caller] = {}  # of allowed names only, by the Host value as it came
        self._over_tls: dict[bytes, Caller] = {}  # likewise, where TLS ends in front of the proxy
        self._forwarded: dict[
            tuple[bytes, int | None, bytes], Caller
        ] = {}  # likewise, of targets that are URLs

    @property
    def remembered(self) -> int:
        """How many callers are known by what they called the proxy, in the largest of the tables."""
        return max(len(self._callers), len(self._over_tls), len(self._forwarded))

    def admit(self, request: Request, port: int | None = None) -> Caller:
        """`port`: the one that the app connected to, UNIX on a unix socket, None where any will do. Raises Refused (403), or
        MalformedRequest for a Host that is none.
        """
        host = request.host
        if request.absolute and host is not None:
            caller = self._forwarded.get((host, port, request.scheme)) or self._judge_target(
                host, port, request.scheme
            )
        elif host is None:  # HTTP/1.0 alone may leave it out, and no browser speaks that
            caller = _UNNAMED
        else:
            known = (self._over_tls if request.over_tls else self._callers).get(host)
            caller = known if known is not None else self._judge_host(host, port, over_tls=request.over_tls)
        if request.origin is not None or request.fetch_site is not None:
            self._judge_page(request, caller)
        elif caller.untold and self._secret is None:  # which no page knows
            self._judge_untold(request, caller, port)
        # A preflight cannot carry it; it asks whether it may be sent, and goes no further than here itself.
        if self._secret is not None and not request.preflight:
            self._judge_secret(request, *self._secret)
        return caller

    def admit_tunnel(self, request: Request, port: int | None = None) -> str:
        """A CONNECT to a receiver of ours, or to a name that a route matches: the authority that every request within must
        name, and is judged by as one in absolute form. No caller's secret is asked for: a CONNECT reaches nobody and mints
        nothing, and each of those requests must carry it. Raises Refused.
        """
        match = _HOST.fullmatch(request.target)
        if match is None or not match[2]:  # RFC 9110 section 9.3.6: "there is no default port"
            raise Refused("a CONNECT names a host and a port", reason="host", remedy=_PLAIN)
        name, number = _split(request.target)
        if not self._forwards:
            raise _not_forwarded(name)
        authority = _authority(name, number)
        if number == "443" and (
            authority in self._upstreams
            or name in self._upstreams | self._routed
            or self._services.by_authority(name) is not None
        ):
            raise Refused(
                f"the proxy itself speaks TLS to {name}, and could attach no token within an app's",
                reason="host",
                remedy=f"write http://{name}/ in place of https://{name}/",
            )
        caller = self._judge_target(request.target, port)
        if caller.upstream is None and caller.service is None and name not in self._routed:
            raise Refused(
                f'"{authority}" is the proxy itself',
                reason="host",
                remedy=f"the app need not ask a proxy for it: NO_PROXY={name}",
            )
        if request.host is not None and not _is_for(request.host, name, number):
            raise MalformedRequest("the request target names another host than the Host header")
        if request.origin is not None or request.fetch_site is not None:
            self._judge_page(request, caller)
        return authority

    def _judge_target(self, host: bytes, connected: int | None, scheme: bytes = b"http") -> Caller:
        """A forward proxy's request: to a receiver of ours, or to the proxy itself as any other request. `https` and `wss`
        are the app's way of naming a receiver, whose port is 443 then; the proxy itself speaks TLS to nobody's app.
        """
        name, port = _split(host)
        if not self._forwards:
            if (
                scheme == b"http"
                and self._is_own(name)
                and (not connected or port in ("", "80", str(connected)))
            ):
                return self._judge_host(host, None)
            raise _not_forwarded(name)
        secure = scheme in (b"https", b"wss")
        authority = _authority(name, "443" if secure and not port else port)
        known = authority in self._upstreams
        service = None if known else self._services.by_authority(authority)
        known = known or service is not None
        if scheme != b"http" and not known and self._is_own(name):
            if name not in self._routed:
                raise MalformedRequest(
                    "the request target is neither a path nor an http:// URL", remedy=f"write http://{name}"
                )
            authority = name if not port or (secure and port == "443") else authority
        own = self._is_own(name)
        # `http://localhost:3000/` of an app with HTTP_PROXY means another server of this machine. Were it ours because
        # the name is, a request for that server would go to a receiver that it was never meant for. Without a port it
        # is ours: `docker run -p 80:8080`.
        here = own and (name in self._routed or authority == name or not connected or port == str(connected))
        if known and not (here and authority == name):
            origin = b"https://" + _authority(name, port, "443").encode() if secure else None
            caller = Caller(
                name,
                origin or b"http://" + authority.encode(),
                b"X-Forwarded-Host: " + host + b"\r\n",
                authority,
                untold=True,
                service=service,
            )
        elif here:
            caller = self._judge_host(host, None)
        elif own:
            raise Refused(
                f'"{authority}" is another port of this machine than the proxy\'s own, {connected}',
                reason="host",
                remedy=f"the app need not ask a proxy for it: NO_PROXY={name}",
            )
        else:
            raise Refused(
                f'"{authority}" is no host that this proxy forwards to',
                reason="host",
                remedy=f"{self._known}; add a route whose upstream it is, or name it in the app's NO_PROXY",
            )
        if len(self._forwarded) >= _MEMO_LIMIT:
            self._forwarded.clear()
        self._forwarded[host, connected, scheme] = caller
        return caller

    @functools.cached_property
    def _known(self) -> str:
        """For every refusal the same, and dear where there are thousands of receivers."""
        # :443 is but another word for a receiver that is there without it.
        upstreams = {
            one for one in self._upstreams if not (one.endswith(":443") and one[:-4] in self._upstreams)
        }
        known = sorted(upstreams | (self._names - LOOPBACK_NAMES))
        more = f" and {len(known) - _MOST_SHOWN} more" if len(known) > _MOST_SHOWN else ""
        return f"it forwards to {', '.join(known[:_MOST_SHOWN])}{more}" if known else "it forwards to none"

    def _is_own(self, name: str) -> bool:
        # A trailing dot names the same host in DNS and another one to every check: not ours.
        return name in self._names or (name.endswith(".localhost") and _is_host_name(name))

    def _judge_host(self, host: bytes, connected: int | None, *, over_tls: bool = False) -> Caller:
        if connected == UNIX and not self._is_own(name_of(host)):
            return _foreign(host)
        name, port = _split(host)
        if not self._is_own(name):
            raise Refused(
                f'host "{name}" is not a name of this proxy',
                reason="host",
                remedy=f"use http://localhost, or add the name: guard: {{allowed_hosts: ['{name}']}}",
            )
        if over_tls:  # where browsers tell what page a request is from, under any name
            origin, memo, untold = b"https://" + _authority(name, port, "443").encode(), self._over_tls, False
        else:
            origin, memo = b"http://" + _authority(name, port).encode(), self._callers
            untold = not is_loopback(name.strip("[]"))
        # A route of that very name comes before one for all.
        service = None if name in self._routed else self._services.by_host(name)
        caller = Caller(name, origin, b"X-Forwarded-Host: " + host + b"\r\n", untold=untold, service=service)
        if len(memo) >= _MEMO_LIMIT:
            memo.clear()
        memo[host] = caller
        return caller

    def _judge_secret(self, request: Request, prefix: bytes, expected: bytes) -> None:
        size = len(prefix)
        sent = [line[size:].strip() for line in request.passing if line[:size].lower() == prefix]
        # In constant time, so that it cannot be guessed octet by octet.
        if len(sent) != 1 or not hmac.compare_digest(sent[0], expected):
            raise Refused(
                f"the header {self._secret_header} is missing or wrong",
                reason="caller_token",
                remedy="send the content of guard.caller_token_file in it",
            )
        request.passing = [line for line in request.passing if line[:size].lower() != prefix]
        # A head that HTTP/2 remembers from before this field was a secret has it among its shape's, which go upstream too.
        request.shape = None

    def _judge_page(self, request: Request, caller: Caller) -> None:
        origin = request.origin
        listed = False
        if origin is not None:
            lower = origin.lower()
            listed = lower in self._origins
            # No Host, no own origin. A form in a page with `Referrer-Policy: no-referrer` (Helmet's default) says `null`
            # for whatever origin it has (https://fetch.spec.whatwg.org/#append-a-request-origin-header); that it is the
            # proxy's own, Sec-Fetch-Site tells, which no page can set: `null` of a sandboxed frame, a file or a redirect
            # by way of elsewhere is never same-origin (https://www.w3.org/TR/fetch-metadata/#sec-fetch-site-header).
            own = bool(caller.origin) and (
                lower == caller.origin or (origin == b"null" and request.fetch_site == b"same-origin")
            )
            if listed and not own:
                request.listed = True
                request.preflight = is_preflight(request)
            elif not own:
                shown = origin.decode("ascii", "replace") if len(origin) <= 256 else "too long to show"
                # Said to the page's own author too, who cannot do it: the configuration is the operator's.
                listing = (
                    f", or list its origin: guard: {{allowed_origins: ['{shown}']}} (--allow-origin {shown})"
                )
                raise Refused(
                    f'a page of origin "{shown}" may not use this proxy',
                    reason="origin",
                    remedy=_OWN_PAGES
                    + (listing if _ORIGIN.fullmatch(origin) else "")
                    + (_DEV_SERVER if _LOCAL_PAGE.match(lower) else ""),
                )
        site = request.fetch_site
        if site is None or site in (b"same-origin", b"none") or listed:
            return
        # A link from elsewhere into a web app behind the proxy shows a page and gives the linking one nothing.
        if (
            request.method == b"GET"
            and origin is None
            and request.fetch_mode == b"navigate"
            and request.fetch_dest == b"document"
        ):
            return
        raise Refused(
            "the request comes from a page of another site (Sec-Fetch-Site)",
            reason="fetch_site",
            remedy=_OWN_PAGES,
        )

    def _judge_untold(self, request: Request, caller: Caller, port: int | None) -> None:
        """A page cannot say another's address in Referer, and can leave it out (`no-referrer`)."""
        origin = caller.origin
        if request.referers:
            if all(_is_of(referer.value, origin) for referer in request.referers):
                return
            raise Refused(
                "the request comes from a page of another site (Referer)", reason="referer", remedy=_OWN_PAGES
            )
        # A target with a host in it is what a client sends to a proxy that it was told to use: no page makes a browser do so.
        # Nor does one reach a unix socket.
        if self._unverified_pages or request.absolute or port == UNIX:
            return
        raise Refused(
            f'under the name "{caller.name}" a program cannot be told from a page of another site, of which browsers say '
            "nothing there",
            reason="unverified_page",
            remedy="use http://localhost or a name under .localhost; or ask callers for a secret: guard: "
            "{caller_token_file: ...}; or, where no browser runs, guard: {unverified_pages: allow}",
        )


def _not_forwarded(name: str) -> Refused:
    return Refused(
        f'a request for "{name}" by way of a proxy is not served: forward_proxy is off',
        reason="forward_proxy",
        remedy="ask for a route's path at the proxy's own address, and name the receiver in the app's NO_PROXY; or say "
        "forward_proxy: on",
    )


def _is_of(url: bytes, origin: bytes) -> bool:
    return (
        bool(origin)
        and url[: len(origin)].lower() == origin
        and url[len(origin) : len(origin) + 1] in (b"", b"/", b"?")
    )


def _split(host: bytes) -> tuple[str, str]:
    """The name, lower case, and the port, "" for none. Raises MalformedRequest."""
    match = _HOST.fullmatch(host)
    if match is None:
        raise MalformedRequest("the Host header is not a host name with an optional port")
    return match[1].decode("ascii").lower(), (match[2] or b"").decode("ascii")


def _authority(name: str, port: str, default: str = "80") -> str:
    """As an origin has it: without the port that it would have anyway."""
    return name if port in ("", default) else f"{name}:{port}"


def _is_for(host: bytes, name: str, port: str) -> bool:
    """Whether a CONNECT's Host agrees with its target; undici and others leave the port out."""
    said, said_port = _split(host)
    return said == name and said_port in ("", port)


def name_of(host: bytes) -> str:
    """The name in a Host field, lower case, an IPv6 address in its brackets; "" where the whole of it is none."""
    match = _HOST.fullmatch(host)
    return "" if match is None else match[1].decode("ascii").lower()


def _foreign(host: bytes) -> Caller:
    """Of a unix socket: no browser reaches it, so that clients need not know a name of ours (`docker`, none at all as of
    RFC 9112 section 3.2, or the socket's path). Where a port is forwarded to it after all, pages are still refused: it is
    no page's own origin.
    """
    name = name_of(host)
    return Caller(name, b"", b"X-Forwarded-Host: " + host + b"\r\n") if name else _UNNAMED


def _is_host_name(name: str) -> bool:
    return all(label and not label.startswith("-") for label in name.split("."))


_UNNAMED: Final = Caller("", b"", b"")
