"""The way to a server of revision 2024-11-05: one stream of events for all that it says, and a POST for what the client says.

https://modelcontextprotocol.io/specification/2024-11-05/basic/transports#http-with-sse. The stream is the session: when it ends,
so does that, and another is begun with the same handshake. Whatever was under way is lost with it.
"""

from __future__ import annotations

import asyncio
from typing import Final

import aiohttp
import structlog

from idtoken_proxy.mcp import messages
from idtoken_proxy.mcp.event_stream import Event, EventStream
from idtoken_proxy.mcp.handshake import Handshake
from idtoken_proxy.mcp.messages import Kind, Malformed, Message
from idtoken_proxy.mcp.refusal import OUTCOME_UNKNOWN, Refused, no_connection
from idtoken_proxy.mcp.remote import EVENTS, JSON, MOST, Remote, events_of, is_events, read_of
from idtoken_proxy.mcp.streamable_http import Write

_HELLO: Final = 30.0  # seconds for the first event, a cold start included

log = structlog.get_logger("idtoken_proxy.mcp")


class HttpSse:
    def __init__(self, remote: Remote, write: Write) -> None:
        self._remote = remote
        self._write = write
        self._handshake = Handshake()
        self._waiting: dict[str, asyncio.Future[Message]] = {}  # by the request's key
        self._own: set[str] = set()  # of those, the ones that are ours
        self._to: str | None = None  # where messages go, while there is a stream
        self._reader: asyncio.Task[None] | None = None
        self._ready = asyncio.Event()
        self._again: asyncio.Task[None] | None = None  # the handshake of a new stream
        self._last: Refused | None = None  # why there is no stream
        self._broken: Refused | None = None  # why the one that there is will not do

    async def open(self) -> None:
        """Refused where the server is none of these."""
        first: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._reader = asyncio.ensure_future(self._read(first))
        try:
            async with asyncio.timeout(_HELLO):
                await asyncio.shield(first)
        except TimeoutError:
            raise Refused(f"the server's stream has said nothing for {_HELLO:g} s", cause="timeout") from None
        finally:
            if not first.done() or first.exception() is not None:
                await self.close()

    async def request(self, message: Message) -> None:
        """Until its answer has been written. Refused where there is none."""
        await self._open_stream()
        if message.method == "initialize":
            self._handshake = Handshake(asked=message)
        await self._answered(message)

    async def tell(self, message: Message) -> None:
        await self._open_stream()
        await self._post(message)
        if message.method == "notifications/initialized":
            self._handshake.is_complete = True

    async def close(self) -> None:
        tasks = [task for task in (self._reader, self._again) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _open_stream(self) -> None:
        """Waits for the next one. Refused where it does not come soon."""
        try:
            async with asyncio.timeout(self._remote.pace.patience):
                await self._ready.wait()
        except TimeoutError:
            raise self._last or no_connection("the stream does not come back") from None
        if self._broken is not None:
            raise self._broken

    async def _answered(self, message: Message) -> Message:
        answer: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
        self._waiting[message.key] = answer
        try:
            await self._post(message)
            return await answer
        finally:
            self._waiting.pop(message.key, None)

    async def _post(self, message: Message) -> None:
        if self._to is None:
            raise no_connection("the stream has ended")
        fields = {"Accept": JSON, "Content-Type": JSON}
        try:
            async with self._remote.ask("POST", fields, message.text, self._to) as response:
                if response.status >= 300:
                    raise await self._remote.refusal(response)
        except (aiohttp.ClientError, OSError) as error:
            raise no_connection(type(error).__name__) from None

    # -- the stream ------------------------------------------------------------------

    async def _read(self, first: asyncio.Future[None]) -> None:
        """One stream after another, to the end of the bridge; only the first, where that fails."""
        pace, failures = self._remote.pace, 0
        while True:
            try:
                async with self._remote.ask("GET", {"Accept": EVENTS}) as response:
                    if not is_events(response):
                        raise await self._remote.refusal(response)
                    async for event in events_of(response, EventStream(MOST)):
                        await self._take(event, first)
                        failures = 0
                self._last = no_connection("the server has ended its stream")
            except (aiohttp.ClientError, OSError) as error:
                self._last = no_connection(type(error).__name__)
            except Refused as refused:
                self._last = refused
            self._end()
            if not first.done():
                first.set_exception(self._last)
                return
            log.debug("the stream has ended", reason=str(self._last))
            await asyncio.sleep(pace.wait(None, failures))
            failures += 1

    def _end(self) -> None:
        self._to = self._broken = None
        self._ready.clear()
        if self._again is not None:
            self._again.cancel()
        for answer in self._waiting.values():
            if not answer.done():
                lost = f"the server's stream ended while it worked on this: {self._last}"
                answer.set_exception(Refused(lost, OUTCOME_UNKNOWN, cause="session_lost"))

    async def _take(self, event: Event, first: asyncio.Future[None]) -> None:
        if event.name == "endpoint" and self._to is None:
            self._to = self._remote.here(event.data, "the server's endpoint event")
            if first.done() and self._handshake.is_complete:
                self._again = asyncio.ensure_future(self._begin_anew())
            else:
                self._ready.set()
            if not first.done():
                first.set_result(None)
        elif not first.done():
            raise Refused("the server's stream does not begin with its endpoint")
        elif event.name == "message" and event.data:
            for message in read_of(event.data):
                if not isinstance(message, Malformed):
                    await self._pass_on(message)

    async def _pass_on(self, message: Message) -> None:
        waiting = self._waiting.get(message.key) if message.kind is Kind.RESPONSE else None
        asked = self._handshake.asked
        if asked is not None and waiting is not None and message.key == asked.key and not message.is_error:
            self._handshake.answered(message)
        if message.key not in self._own or message.kind is not Kind.RESPONSE:
            await self._write(message)
        if waiting is not None and not waiting.done():
            waiting.set_result(message)

    async def _begin_anew(self) -> None:
        """The handshake once more, as the new stream is a new session."""
        handshake = self._handshake
        hello = handshake.again()
        self._own.add(hello.key)
        try:
            handshake.answered_again(await self._answered(hello))
            await self._post(messages.notification("notifications/initialized"))
        except Refused as refused:
            self._broken = refused
            return
        finally:
            self._own.discard(hello.key)
            self._ready.set()
        for change in handshake.changes():
            await self._write(change)
