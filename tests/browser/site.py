"""Web sites in a few lines: one behind the proxy, and one that means harm."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
from typing import Any, Final

from tests.engine.wire import Message, Wire, connect, ok

PATIENCE: Final = 45.0  # seconds for a browser to start and a page to report, on a busy machine

# Each way in which a page can make a request; every one ends by itself, well or not.
_COMMON: Final = """
const tell = {};
const within = (name, promise) => Promise.race([promise, new Promise(done => setTimeout(done, 4000, "silence"))])
  .then(value => { tell[name] = String(value); }, error => { tell[name] = "error"; });
const element = (tag, property, url) => new Promise((done, failed) => {
  const made = document.createElement(tag);
  made.onload = () => done("loaded"); made.onerror = () => failed("error");
  if (tag === "link") made.rel = "stylesheet";
  made[property] = url; document.body.append(made);
});
const form = (method, url) => new Promise(done => {
  const frame = document.createElement("iframe"), made = document.createElement("form"), field = document.createElement("input");
  frame.name = "frame" + Math.random(); frame.onload = () => { try {
    if (frame.contentWindow.location.href !== "about:blank") done("loaded"); } catch (error) { done("error"); } };
  made.method = method; made.action = url; made.target = frame.name; field.name = "a"; field.value = "b";
  made.append(field); document.body.append(frame, made); made.submit();
});
const socket = url => new Promise((done, failed) => {
  const made = new WebSocket(url.replace(/^http/, "ws"));
  made.onmessage = event => done(event.data); made.onerror = () => failed("error");
});
const events = url => new Promise((done, failed) => {
  const made = new EventSource(url); made.onmessage = event => { made.close(); done(event.data); };
  made.onerror = () => { made.close(); failed("error"); };
});
const got = options => url => fetch(url, options).then(answer => answer.type === "opaque" ? "opaque" : answer.ok ? answer.text() : "error");
const old = url => new Promise((done, failed) => { const made = new XMLHttpRequest(); made.open("PUT", url);
  made.onload = () => made.status === 200 ? done(made.responseText) : failed("error"); made.onerror = () => failed("error"); made.send("a"); });
const ways = target => [
  within("fetch", got({})(target + "/fetch")),
  within("no-cors", got({mode: "no-cors"})(target + "/no-cors")),
  within("post", got({method: "POST", mode: "no-cors", body: "a=b", headers: {"Content-Type": "text/plain"}})(target + "/post")),
  within("credentials", got({method: "POST", mode: "no-cors", credentials: "include", body: "{}"})(target + "/credentials")),
  within("preflight", got({method: "DELETE", headers: {"X-A": "a"}})(target + "/preflight")),
  within("json", got({method: "POST", body: "{}", headers: {"Content-Type": "application/json"}})(target + "/json")),
  within("xhr", old(target + "/xhr")),
  within("beacon", navigator.sendBeacon(target + "/beacon", "a") && new Promise(done => setTimeout(done, 500, "sent"))),
  within("form", form("post", target + "/form")),
  within("form by GET", form("get", target + "/form-get")),
  within("image", element("img", "src", target + "/image")),
  within("script", element("script", "src", target + "/script")),
  within("style", element("link", "href", target + "/style")),
  within("frame", element("iframe", "src", target + "/frame")),
  within("websocket", socket(target + "/websocket")),
  within("events", events(target + "/events")),
];
"""


def page(target: str) -> bytes:
    """Tries every way to `target`, "" for its own origin, and reports to its own server."""
    script = f"""{_COMMON}
Promise.all(ways({json.dumps(target)})).then(() => fetch("/report", {{method: "POST", body: JSON.stringify(tell)}}));"""
    return f"<!doctype html><meta charset=utf-8><title>page</title><body><script>{script}</script>".encode()


class Site:
    """Serves a page under /page that tries all it can, and whatever it asks for. Its script fits a Receiver."""

    def __init__(self, target: str = "") -> None:
        self.page = page(target)
        self.told: dict[str, str] = {}
        self.reported = asyncio.Event()

    async def report(self) -> dict[str, str]:
        async with asyncio.timeout(PATIENCE):
            await self.reported.wait()
        return self.told

    async def script(self, wire: Wire) -> None:
        while True:
            request = await wire.request()
            if not self.answer(wire, request):
                return

    def answer(self, wire: Wire, request: Message) -> bool:
        path = request.target.partition("?")[0]
        if request.one("upgrade") == "websocket":
            wire.send(_switch(request))
            return False
        if path == "/page":
            wire.send(ok(self.page, "Content-Type: text/html"))
        elif path == "/report":
            self.told = json.loads(request.body)
            self.reported.set()
            wire.send(ok())
        elif path == "/events":
            wire.send(ok(b"data: hello\n\n", "Content-Type: text/event-stream"))
        elif path == "/image":
            wire.send(ok(_IMAGE, "Content-Type: image/gif"))
        elif path in ("/form", "/form-get", "/frame"):
            wire.send(ok(b"<!doctype html><title>x</title>", "Content-Type: text/html"))
        elif path == "/style":
            wire.send(ok(b"p {}", "Content-Type: text/css"))
        elif path == "/script":
            wire.send(ok(b"// hello", "Content-Type: text/javascript"))
        else:
            wire.send(ok())
        return True


class Rebound(Site):
    """A site whose name comes to mean another server as soon as its page has been loaded (DNS rebinding): what is not
    the page's own is passed on to that server, octet by octet, as if the browser had connected there.
    """

    def __init__(self, port: int) -> None:
        super().__init__("")
        self._port = port

    async def script(self, wire: Wire) -> None:
        """One request a connection, so that each is looked at."""
        request = await wire.request()
        if request.target in ("/page", "/report"):
            self.answer(wire, request)
        else:
            there = await connect(self._port)
            there.send(bytes(wire.received))
            await there.response(to=request.method)
            wire.send(bytes(there.received))
            there.close()
        wire.close()


_IMAGE: Final = base64.b64decode("R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7")


def _switch(request: Message) -> bytes:
    """RFC 6455 section 4.2.2, and a text frame that says hello."""
    key: Any = request.one("sec-websocket-key")
    digest = hashlib.sha1(f"{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11".encode()).digest()
    accept = base64.b64encode(digest).decode()
    head = (
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        f"Sec-WebSocket-Accept: {accept}\r\n\r\n"
    )
    return head.encode() + b"\x81\x05hello"
