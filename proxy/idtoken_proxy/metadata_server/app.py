"""The listener that answers as the metadata server does: its paths, its statuses, its bodies.

What it refuses it refuses in the real server's words, since it is a library that reads them; what mends it is in the log.
"""

from __future__ import annotations

import html
import time
from collections.abc import Callable, Mapping
from typing import Final, Protocol

import structlog
from aiohttp import web

from idtoken_proxy.admin.aiohttp_listener import LAST_ANSWERS, AiohttpListener
from idtoken_proxy.admin.place import Place
from idtoken_proxy.admin.unreadable import KEPT_TO_ITSELF, expect
from idtoken_proxy.engine.admission import unlisted
from idtoken_proxy.engine.listeners import peer_uid
from idtoken_proxy.engine.server_context import ServerContext
from idtoken_proxy.errors import Fault, TokenError
from idtoken_proxy.metadata_server.counts import Counts
from idtoken_proxy.metadata_server.guard import FLAVOR, Asked, Refusal, refusal
from idtoken_proxy.metadata_server.handed_out import HandedOut
from idtoken_proxy.metadata_server.tree import (
    DEFAULT,
    JSON,
    ROOT,
    TEXT,
    Directory,
    Minted,
    Query,
    found,
    tree,
    written,
)
from idtoken_proxy.settings.model import Address, Settings
from idtoken_proxy.settings.plausible import shown

_HEADERS: Final = {FLAVOR: "Google", "Server": "Metadata Server for VM", **KEPT_TO_ITSELF}
_TITLES: Final = {
    400: "Bad Request",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    417: "Expectation Failed",
    503: "Service Unavailable",
}
_ACCOUNTS: Final = "instance/service-accounts"
_OF_ANYBODY: Final = frozenset({"aliases", "identity", "scopes", "token"})
_ABOVE: Final = {"/": "computeMetadata/\n", "/computeMetadata/": "v1/\n"}

log = structlog.get_logger("idtoken_proxy.metadata")


class Hands(Protocol):
    """The server, as far as this listener needs it."""

    @property
    def settings(self) -> Settings:
        """Those in force."""

    @property
    def context(self) -> ServerContext: ...

    @property
    def handed_out(self) -> HandedOut | None:
        """By the settings in force; None where they have no metadata: any more."""

    @property
    def metadata_counts(self) -> Counts: ...

    @property
    def environ(self) -> Mapping[str, str]: ...


class MetadataListener:
    def __init__(self, server: Hands, place: Place, wall: Callable[[], float] = time.time) -> None:
        """`place`: bound."""
        self.address = place.address
        self._server = server
        self._wall = wall
        self._listener = AiohttpListener(place, lambda: server.settings.timeouts.header, name="metadata")

    @property
    def addresses(self) -> tuple[Address, ...]:
        """What was really bound."""
        return self._listener.addresses

    async def start(self) -> None:
        # Without a router, which would answer by itself to targets that are no paths (CONNECT's, `*`), past the guard.
        server = web.Server(self._answered)
        await self._listener.start(
            web.ServerRunner(server, handle_signals=False, shutdown_timeout=LAST_ANSWERS)
        )

    async def share(self, *, shared: bool) -> None:
        await self._listener.share(shared=shared)

    async def stop(self) -> None:
        await self._listener.stop()

    async def _answered(self, request: web.BaseRequest) -> web.StreamResponse:
        return await self._listener.answered(request, self._answer)

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        handed_out = self._server.handed_out
        refused = self._refused(request)
        if refused is not None:
            return self._refuse("other", refused)
        try:
            if "Expect" in request.headers:
                await expect(request)
        except web.HTTPExpectationFailed:
            return self._refuse("other", Refusal(417, "", "expect", "send no Expect"))
        if handed_out is None:
            return self._not_found()
        if request.path in _ABOVE:
            self._server.metadata_counts.count("ping" if request.path == "/" else "directory", "answered")
            return _text(_ABOVE[request.path])
        if not f"{request.path}/".startswith(ROOT):
            return self._not_found()
        try:
            return await self._below(request, handed_out)
        except TokenError as error:
            return self._fail(request, error)

    async def _below(self, request: web.BaseRequest, handed_out: HandedOut) -> web.Response:
        path = "/".join(filter(None, request.path[len(ROOT) :].split("/")))
        email = await handed_out.email() if _tells_whose(path, request.query) else None
        project = handed_out.project_id(email, self._server.environ)
        if project is None and path.startswith("project"):
            project = handed_out.project_id(await handed_out.email(), self._server.environ)
        scopes = handed_out.settings.scopes
        entries: Directory = tree(email, scopes, project, self._server.settings.google.universe_domain)
        node = found(entries, path)
        if node is None:
            return self._not_found()
        if "wait_for_change" in request.query:
            return self._refuse(
                "other",
                Refusal(
                    400, "wait_for_change is not supported.", "wait", "nothing here changes; ask again later"
                ),
            )
        if node is Minted.IDENTITY:
            return await self._identity(request, handed_out)
        if node is Minted.TOKEN:
            return await self._token(request, handed_out)
        assert not isinstance(node, Minted)
        directory = isinstance(node, Mapping)
        if directory and not request.path.endswith("/"):
            raw = request.rel_url.raw_query_string  # decoded, it could not stand in a header
            query = f"?{raw}" if raw else ""
            self._server.metadata_counts.count("directory", "answered")
            place = f"{ROOT}{path}/" if path else ROOT
            return web.Response(status=301, headers={**_HEADERS, "Location": place + query})
        asked = Query(request.query.get("recursive", "").lower() == "true", request.query.get("alt"))
        body, media_type = written(node, asked)
        self._server.metadata_counts.count("directory" if directory else "value", "answered")
        return _text(body, media_type)

    async def _identity(self, request: web.BaseRequest, handed_out: HandedOut) -> web.Response:
        audience = request.query.get("audience", "")
        if not audience:
            return self._refuse(
                "identity",
                Refusal(
                    400,
                    "non-empty audience parameter required",
                    "audience_missing",
                    "say whom the token is for",
                ),
            )
        if request.query.get("format", "standard").lower() not in ("standard", "full"):
            return self._refuse(
                "identity",
                Refusal(
                    400, "format must be standard or full", "format", "ask for format=standard or format=full"
                ),
            )
        slot = handed_out.id_token(audience)
        if slot is None:
            return self._refuse(
                "identity",
                Refusal(
                    403,
                    "No token is handed out for this audience.",
                    "audience",
                    f"list {shown(audience)} under metadata.audiences, if this app is to have tokens for it",
                ),
            )
        token = await slot.get()
        self._server.metadata_counts.count("identity", "answered")
        return _text(token.value, "text/html")

    async def _token(self, request: web.BaseRequest, handed_out: HandedOut) -> web.Response:
        scopes = tuple(filter(None, request.query.get("scopes", "").replace(" ", ",").split(",")))
        slot = handed_out.access_token(scopes)
        if slot is None:
            listed = handed_out.settings.scopes is not None
            return self._refuse(
                "token",
                Refusal(
                    403,
                    "These scopes are not granted here.",
                    "scopes",
                    "list what is asked for in metadata.scopes",
                )
                if listed
                else Refusal(
                    403,
                    "No access token is handed out here.",
                    "access_tokens",
                    "say metadata: {access_tokens: true}, if this app is to call Google's APIs as the identity",
                ),
            )
        token = await slot.get()
        self._server.metadata_counts.count("token", "answered")
        return web.json_response(
            {
                "access_token": token.value,
                "expires_in": max(0, int(token.expires_at - self._wall())),
                "token_type": "Bearer",
            },
            headers=_HEADERS,
        )

    def _refused(self, request: web.BaseRequest) -> Refusal | None:
        transport = request.transport
        if transport is None:  # whoever asked is gone
            return Refusal(403, "", "gone", "")
        sockname, peername = transport.get_extra_info("sockname"), transport.get_extra_info("peername")
        by_tcp = isinstance(sockname, tuple)
        stranger = unlisted(self._server.context, peer_uid(transport))
        if stranger is not None:
            return Refusal(403, "Forbidden.", "uid", stranger.remedy or stranger.detail)
        hosts = request.headers.getall("Host", [])
        return refusal(
            Asked(
                method=request.method,
                path=request.path,
                host=hosts[0] if len(hosts) == 1 else None,
                target_host=request.host,
                headers=tuple(request.headers.items()),
                address=sockname[0] if by_tcp else None,
                peer=peername[0] if by_tcp and isinstance(peername, tuple) else None,
            ),
            self._server.settings.guard.allowed_hosts,
        )

    def _refuse(self, kind: str, refused: Refusal) -> web.Response:
        self._server.metadata_counts.count(kind, "refused")
        log.warning("metadata request refused", what=kind, cause=refused.cause, remedy=refused.remedy)
        return _error(refused.status, refused.told)

    def _not_found(self) -> web.Response:
        self._server.metadata_counts.count("other", "not_found")
        return _error(404, "The requested URL was not found on this server.")

    def _fail(self, request: web.BaseRequest, error: TokenError) -> web.Response:
        """What mends itself is 503, upon which the libraries ask again; what somebody has to mend is 403, as on GKE. A
        metadata server that is not there may be one that starts (GKE's takes up to 30 s).
        """
        kind = request.path.rpartition("/")[2]
        self._server.metadata_counts.count(kind if kind in ("identity", "token") else "value", "failed")
        told = error.detail if error.remedy is None else f"{error.detail}. {error.remedy}"
        stays = error.fault is Fault.OPERATOR and not error.cause.startswith("metadata_")
        return _error(403 if stays else 503, told)


def _tells_whose(path: str, query: Mapping[str, str]) -> bool:
    """Whether the answer depends on whose the tokens are, which is worth the fetch of one."""
    if path.startswith(_ACCOUNTS):
        account, _, entry = path[len(_ACCOUNTS) :].strip("/").partition("/")
        return account != DEFAULT or entry not in _OF_ANYBODY
    return "recursive" in query


def _text(body: str, media_type: str = TEXT) -> web.Response:
    charset = "utf-8" if media_type == JSON else None
    return web.Response(body=body.encode(), content_type=media_type, charset=charset, headers=_HEADERS)


def _error(status: int, told: str) -> web.Response:
    title = _TITLES[status]
    body = (
        f"<!DOCTYPE html>\n<html lang=en>\n<meta charset=utf-8>\n<title>Error {status} ({title})</title>\n"
        f"<p><b>{status}.</b> <ins>That&rsquo;s an error.</ins>\n<p>{html.escape(told)} <ins>That&rsquo;s all we know.</ins>\n"
    )
    return web.Response(text=body, status=status, content_type="text/html", headers=_HEADERS)
