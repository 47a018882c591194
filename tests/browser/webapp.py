"""A web app with a login, as frameworks make them: it knows nothing but its own address, https://127.0.0.1:PORT for one,
gives its cookies its own host's name, and is strict about who posts to it. As a private service it lets nobody in without the
token; what the browser sends without one does not get to the pages.
"""

from __future__ import annotations

import secrets
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final, Literal
from urllib.parse import parse_qs

import aiohttp
from aiohttp import web

from idtoken_proxy.settings.model import Upstream

HOST: Final = "127.0.0.1"
PASSWORD: Final = "correct horse"
# What the browser shows only where the stylesheet has come.
COLOUR: Final = "rgb(20, 83, 45)"


@dataclass(frozen=True)
class Framework:
    """In what they differ, as far as a proxy can tell. `forwarded`: it goes by X-Forwarded-Host where there is one, else by
    Host. `null`: the Origin of a form in its pages is `null`, as it always is where they ask for `no-referrer`
    (https://fetch.spec.whatwg.org/#append-a-request-origin-header), and so it cannot be strict about that.
    """

    headers: Mapping[str, str]
    forwarded: bool = False
    null: bool = False


FRAMEWORKS: Final = {
    "Django": Framework(
        {
            "Referrer-Policy": "same-origin",
            "X-Frame-Options": "DENY",
            "X-Content-Type-Options": "nosniff",
            "Cross-Origin-Opener-Policy": "same-origin",
        }
    ),
    "Rails": Framework(
        {"Referrer-Policy": "strict-origin-when-cross-origin", "X-Frame-Options": "SAMEORIGIN"},
        forwarded=True,
    ),
    "Express with Helmet": Framework(
        {
            "Content-Security-Policy": (
                "default-src 'self'; base-uri 'self'; form-action 'self'; frame-ancestors 'self'; object-src 'none'; "
                "script-src 'self'; script-src-attr 'none'; upgrade-insecure-requests"
            ),
            "Cross-Origin-Opener-Policy": "same-origin",
            "Cross-Origin-Resource-Policy": "same-origin",
            "Origin-Agent-Cluster": "?1",
            "Referrer-Policy": "no-referrer",
            "Strict-Transport-Security": "max-age=31536000; includeSubDomains",
            "X-Content-Type-Options": "nosniff",
        },
        null=True,
    ),
}


@dataclass(frozen=True)
class Seen:
    """A request that came with the token."""

    method: str
    path: str
    cookies: Mapping[str, str]
    origin: str | None


@dataclass
class WebApp:
    """`trusted`: other origins that may post (Django's CSRF_TRUSTED_ORIGINS)."""

    token: str
    framework: Framework = FRAMEWORKS["Django"]
    trusted: tuple[str, ...] = ()
    scheme: Literal["http", "https"] = "https"
    port: int = 0
    seen: list[Seen] = field(default_factory=list)
    users: dict[str, str] = field(default_factory=dict)  # by session
    notes: list[str] = field(default_factory=list)

    @property
    def upstream(self) -> Upstream:
        return Upstream(self.scheme, HOST, self.port)

    def asked_for(self, path: str) -> list[Seen]:
        return [one for one in self.seen if one.path == path]

    # -- who may --------------------------------------------------------------------

    @web.middleware
    async def judge(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        if request.headers.getall("Authorization", []) != [f"Bearer {self.token}"]:
            return web.Response(status=403, text="This service is private: no token")
        assert request.host == f"{HOST}:{self.port}"
        self.seen.append(
            Seen(request.method, request.path, dict(request.cookies), request.headers.get("Origin"))
        )
        try:
            answer = await handler(request)
        except web.HTTPException as refused:
            answer = web.Response(status=refused.status, text=refused.reason)
        if not answer.prepared:  # a WebSocket's is
            answer.headers.update(self.framework.headers)
        return answer

    def address(self, request: web.Request) -> str:
        """Cloud Run says `X-Forwarded-Proto: https`, whatever came to it."""
        told = request.headers.get("X-Forwarded-Host") if self.framework.forwarded else None
        return f"{self.scheme}://{told or request.host}"

    def user(self, request: web.Request) -> str:
        user = self.users.get(request.cookies.get("session", ""))
        if user is None:
            raise web.HTTPUnauthorized(reason="Log in first")
        return user

    def check_origin(self, request: web.Request, *, form: bool = False) -> None:
        own, origin = self.address(request), request.headers.get("Origin")
        if origin in self.trusted:
            return
        if origin != ("null" if form and self.framework.null else own):
            raise web.HTTPForbidden(reason=f"Origin checking failed: {origin} is not {own}")
        referer = request.headers.get("Referer", "")
        if not self.framework.null and not referer.startswith(f"{own}/"):
            raise web.HTTPForbidden(reason=f"Referer checking failed: {referer} is not of {own}")

    def check_csrf(self, request: web.Request, sent: str | None, *, form: bool = False) -> None:
        self.check_origin(request, form=form)
        cookie = request.cookies.get("csrf")
        if not cookie:
            raise web.HTTPForbidden(reason="CSRF cookie not set")
        if sent is None or not secrets.compare_digest(sent, cookie):
            raise web.HTTPForbidden(reason="CSRF token missing or incorrect")

    # -- its pages ---------------------------------------------------------------------

    async def home(self, request: web.Request) -> web.Response:
        if request.cookies.get("session", "") not in self.users:
            return moved(f"{self.address(request)}/login?next=/")
        user, csrf = self.user(request), request.cookies.get("csrf", "")
        return page(
            "Home",
            f"<h1>Hello, {user}</h1>"
            '<p class=picture><img src="static/picture.svg" alt="A green leaf" width=72 height=72></p>'
            "<dl><dt>Note<dd id=posted>not kept yet<dt>Live<dd id=live>not connected yet</dl>"
            f'<p><a href="account/">Account</a></p>{form("logout", csrf, "<button>Log out</button>")}'
            '<script src="static/app.js" defer></script>',
        )

    async def login_page(self, request: web.Request) -> web.Response:
        csrf = secrets.token_urlsafe(16)
        fields = (
            "<label>Name <input name=user autocomplete=username></label>"
            "<label>Password <input name=password type=password autocomplete=current-password></label>"
            "<button>Log in</button>"
        )
        answer = page("Log in", f"<h1>Log in</h1>{form('', csrf, fields)}")
        cookie(answer, f"csrf={csrf}; Domain={HOST}; Path=/; Secure; SameSite=Lax")
        return answer

    async def log_in(self, request: web.Request) -> web.Response:
        sent = await fields_of(request)
        self.check_csrf(request, sent.get("csrf"), form=True)
        if sent.get("password") != PASSWORD:
            raise web.HTTPForbidden(reason="Wrong password")
        session = secrets.token_urlsafe(16)
        self.users[session] = sent["user"]
        answer = moved("/welcome", 303)
        cookie(answer, f"session={session}; Domain={HOST}; Path=/; HttpOnly; Secure; SameSite=Lax")
        cookie(answer, "__Host-device=laptop; Path=/; HttpOnly; Secure; SameSite=Strict")
        cookie(answer, "area=restricted; Path=/account; Secure")
        return answer

    async def welcome(self, request: web.Request) -> web.Response:
        self.user(request)
        return moved("./?welcome")

    async def account(self, request: web.Request) -> web.Response:
        user = self.user(request)
        return page(
            "Account", f'<h1>Account</h1><p id=user>{user}</p><p><a href="../">Home</a></p>', up="../"
        )

    async def log_out(self, request: web.Request) -> web.Response:
        sent = await fields_of(request)
        self.check_csrf(request, sent.get("csrf"), form=True)
        del self.users[request.cookies["session"]]
        answer = moved("login?bye", 303)
        cookie(answer, f"session=; Domain={HOST}; Path=/; Max-Age=0; HttpOnly; Secure; SameSite=Lax")
        cookie(answer, "__Host-device=; Path=/; Max-Age=0; HttpOnly; Secure; SameSite=Strict")
        cookie(answer, "area=; Path=/account; Max-Age=0; Secure")
        return answer

    # -- what they load ------------------------------------------------------------------

    async def style(self, request: web.Request) -> web.Response:
        return web.Response(text=STYLE, content_type="text/css")

    async def icon(self, request: web.Request) -> web.Response:
        return web.Response(text=PICTURE, content_type="image/svg+xml")

    async def script(self, request: web.Request) -> web.Response:
        self.user(request)
        return web.Response(text=SCRIPT, content_type="text/javascript")

    async def picture(self, request: web.Request) -> web.Response:
        self.user(request)
        return web.Response(text=PICTURE, content_type="image/svg+xml")

    async def me(self, request: web.Request) -> web.Response:
        return web.json_response({"user": self.user(request), "csrf": request.cookies.get("csrf")})

    async def note(self, request: web.Request) -> web.Response:
        user = self.user(request)
        self.check_csrf(request, request.headers.get("X-CSRF-Token"))
        self.notes.append((await request.json())["text"])
        return web.json_response({"by": user}, headers={"X-Notes": str(len(self.notes))})

    async def live(self, request: web.Request) -> web.WebSocketResponse:
        """A handshake has no Referer."""
        user = self.user(request)
        if request.headers.get("Origin") != self.address(request):
            raise web.HTTPForbidden(reason="Origin checking failed")
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        async for message in socket:
            if message.type is aiohttp.WSMsgType.TEXT:
                await socket.send_str(f"{message.data}, {user}")
        return socket

    @asynccontextmanager
    async def running(self, tls: ssl.SSLContext) -> AsyncIterator[WebApp]:
        app = web.Application(middlewares=[self.judge])
        app.add_routes(
            [
                web.get("/", self.home),
                web.get("/login", self.login_page),
                web.post("/login", self.log_in),
                web.get("/welcome", self.welcome),
                web.get("/account/", self.account),
                web.post("/logout", self.log_out),
                web.get("/static/style.css", self.style),
                web.get("/static/app.js", self.script),
                web.get("/static/icon.svg", self.icon),
                web.get("/static/picture.svg", self.picture),
                web.get("/api/me", self.me),
                web.post("/api/notes", self.note),
                web.get("/api/live", self.live),
            ]
        )
        async with listening(app, tls if self.scheme == "https" else None) as self.port:
            yield self


@asynccontextmanager
async def listening(app: web.Application, tls: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, HOST, 0, ssl_context=tls).start()
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


def moved(location: str, status: int = 302) -> web.Response:
    return web.Response(status=status, headers={"Location": location})


def cookie(answer: web.Response, line: str) -> None:
    answer.headers.add("Set-Cookie", line)


async def fields_of(request: web.Request) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(await request.text()).items()}


def form(action: str, csrf: str, fields: str) -> str:
    where = f' action="{action}"' if action else ""
    return f'<form method=post{where}><input type=hidden name=csrf value="{csrf}">{fields}</form>'


def page(title: str, body: str, up: str = "") -> web.Response:
    return web.Response(
        text=(
            f"<!doctype html><html lang=en><meta charset=utf-8><title>{title}</title>"
            f'<link rel=icon href="{up}static/icon.svg">'
            f'<link rel=stylesheet href="{up}static/style.css"><main>{body}</main></html>'
        ),
        content_type="text/html",
    )


STYLE: Final = f"""
body {{ margin: 0; background: #f0fdf4; font: 17px/1.5 sans-serif; color: #1b2330; }}
main {{ max-width: 26rem; margin: 3rem auto; padding: 1.5rem 2rem; background: white; border: 1px solid #bbe5c8; border-radius: 12px; }}
h1 {{ margin: 0 0 1rem; color: {COLOUR}; }}
label, button {{ display: block; margin-top: 1rem; }}
input {{ display: block; width: 100%; box-sizing: border-box; font: inherit; padding: .3rem .5rem; }}
button {{ font: inherit; padding: .4rem 1.2rem; border: 0; border-radius: 6px; background: {COLOUR}; color: white; }}
dt {{ font-weight: bold; }} dd {{ margin: 0 0 .5rem; }}
"""
SCRIPT: Final = """
const csrf = document.cookie.split("; ").find(one => one.startsWith("csrf=")).slice(5);
const tell = (id, text) => { document.getElementById(id).textContent = text; };
fetch("api/notes", {method: "POST", body: JSON.stringify({text: "milk"}), headers: {"Content-Type": "application/json", "X-CSRF-Token": csrf}})
  .then(async answer => tell("posted", answer.ok ? "kept for " + (await answer.json()).by : await answer.text()), error => tell("posted", error));
const socket = new WebSocket(new URL("api/live", location).href.replace(/^http/, "ws"));
socket.onopen = () => socket.send("hello");
socket.onmessage = event => tell("live", event.data);
socket.onerror = () => tell("live", "broken");
"""
PICTURE: Final = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 24 24" width="72" height="72">'
    '<path fill="#14532d" d="M4 20C4 8 10 3 21 3c0 11-5 17-14 15l-2 3z"/></svg>'
)
