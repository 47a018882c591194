"""The way to a server by Streamable HTTP: each message a POST, whose answer is JSON or a stream of events.

https://modelcontextprotocol.io/specification/2025-11-25/basic/transports#streamable-http. A stream that breaks off is taken up
again behind its last event. A session that the server has forgotten is begun anew, and what it refused for that is sent once
more: a refusal by 404 (by 400, of servers made from an SDK's example) means that nothing was done.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Awaitable, Callable
from typing import Final, TypeAlias

import aiohttp
import structlog

from idtoken_proxy.engine.kept_body import MAX_BODY
from idtoken_proxy.mcp import messages
from idtoken_proxy.mcp.event_stream import Event, EventStream
from idtoken_proxy.mcp.handshake import Handshake, session_id
from idtoken_proxy.mcp.messages import Kind, Malformed, Message
from idtoken_proxy.mcp.refusal import OUTCOME_UNKNOWN, Refused, no_connection
from idtoken_proxy.mcp.remote import EVENTS, JSON, MOST, Remote, body_of, events_of, is_events, read_of
from idtoken_proxy.mcp.routing_fields import VERSION, ToolSchemas, fields_of

SESSION: Final = "Mcp-Session-Id"
LAST_EVENT: Final = "Last-Event-ID"
_GOODBYE: Final = 0.5  # seconds for the DELETE: clients kill after two
_FORGOTTEN: Final = re.compile(r"session|not initialized", re.IGNORECASE)
_OFFERS_NONE: Final = frozenset({400, 404, 405, 406, 501})  # no stream of messages that answer nothing

Write: TypeAlias = Callable[[Message], Awaitable[None]]

log = structlog.get_logger("idtoken_proxy.mcp")


class _SessionLost(Exception):
    """The server does not know the session, and has done nothing with the message. `refusal`: in its words."""

    def __init__(self, refusal: Refused) -> None:
        super().__init__(refusal.detail)
        self.refusal = refusal


class StreamableHttp:
    """`write`: to the client, in the order in which each stream has it."""

    def __init__(self, remote: Remote, write: Write) -> None:
        self._remote = remote
        self._write = write
        self._handshake = Handshake()
        self._tools = ToolSchemas()
        self._said: str | None = None  # the revision of the last message that said one itself
        self._renewal: asyncio.Task[None] | None = None
        self._listener: asyncio.Task[None] | None = None

    # -- what the client says --------------------------------------------------------

    async def request(self, message: Message) -> None:
        """Until its answer has been written. Refused where there is none."""
        await self._renewed()
        if message.method == "initialize":
            await self._stop_listening()
            self._handshake = Handshake(asked=message)
        elif self._handshake.unsaid is not None:  # it was not taken, and servers refuse what comes without it
            await self.tell(self._handshake.unsaid)
        session = self._handshake.session

        async def write(each: Message) -> None:
            if each.kind is Kind.RESPONSE and each.key == message.key:
                self._note(message, each)
            await self._write(each)

        try:
            await self._in_time(message, write)
        except _SessionLost as lost:
            await self._renew(session, lost)
            try:
                await self._in_time(message, write)
            except _SessionLost as again:
                raise _lost_twice(again.refusal) from None

    async def tell(self, message: Message) -> None:
        """A notification, or the answer to what the server asked. Refused where it is not taken."""
        handshake = self._handshake
        if message.method == "notifications/initialized":
            handshake.is_complete = True
            handshake.unsaid = message
        session = handshake.session
        try:
            await self._post(message)
        except _SessionLost as lost:
            if handshake.unsaid is None:
                detail = (
                    f"with its session the server has forgotten what this is about: {lost.refusal.detail}"
                )
                raise Refused(detail, cause="session_lost") from None
            await self._renew(session, lost)

    async def close(self) -> None:
        """Ends the session, where there is one, as far as that takes no time."""
        await self._stop_listening()
        if self._renewal is not None:
            self._renewal.cancel()
            await asyncio.gather(self._renewal, return_exceptions=True)
        if self._handshake.session is None:
            return
        with contextlib.suppress(aiohttp.ClientError, Refused, TimeoutError, OSError):
            async with asyncio.timeout(_GOODBYE), self._ask("DELETE"):
                pass
        self._handshake.session = None

    def _note(self, message: Message, answer: Message) -> None:
        """What an answer says that later messages depend on: before the client has it."""
        if answer.is_error:
            return
        if message.method == "initialize":
            self._handshake.answered(answer)
        elif message.version is None:
            self._handshake.remember(message)
        elif message.method == "tools/list":
            self._tools.learn(answer)

    # -- one request -----------------------------------------------------------------

    def _ask(
        self, method: str, message: Message | None = None, last_event: str = ""
    ) -> contextlib.AbstractAsyncContextManager[aiohttp.ClientResponse]:
        fields = {"Accept": EVENTS if method == "GET" else f"{JSON}, {EVENTS}"}
        if last_event:
            fields[LAST_EVENT] = last_event
        handshake = self._handshake
        if message is None or (message.version is None and message.method != "initialize"):
            if handshake.session is not None:
                fields[SESSION] = handshake.session
            if handshake.version is not None:
                fields[VERSION] = handshake.version
            elif handshake.asked is None and self._said is not None:
                fields[VERSION] = self._said
        elif message.version is not None:
            self._said = message.version
            fields |= fields_of(message, message.version, self._tools)
        if message is None:
            return self._remote.ask(method, fields)
        return self._remote.ask(method, {**fields, "Content-Type": JSON}, message.text)

    async def _post(self, message: Message) -> None:
        """What has no answer. _SessionLost, Refused."""
        try:
            async with self._ask("POST", message) as response:
                if response.status >= 300:
                    raise await self._refusal(response, message)
        except (aiohttp.ClientError, OSError) as error:
            raise no_connection(type(error).__name__) from None
        if message.method == "notifications/initialized":
            self._handshake.unsaid = None
            if self._handshake.session is not None and self._listener is None:
                self._listener = asyncio.ensure_future(self._listen())

    async def _in_time(self, message: Message, write: Write) -> None:
        """As `_exchange`. With a token that has run out the engine sends again what it has kept; a larger message we have."""
        token = self._remote.token
        try:
            await self._exchange(message, write)
        except Refused as refused:
            if not refused.unseen or len(message.text) <= MAX_BODY:
                raise
            await self._remote.renew(token)
            await self._exchange(message, write)

    async def _exchange(self, message: Message, write: Write) -> None:
        """Until the answer has been written. _SessionLost, Refused."""
        stream = EventStream(MOST)
        try:
            async with self._ask("POST", message) as response:
                if response.status != 200:
                    raise await self._refusal(response, message)
                if message.method == "initialize":
                    self._handshake.session = session_id(response.headers.get(SESSION))
                if not is_events(response):
                    if not await _passed_on(await body_of(response), message, write):
                        raise Refused("the server's answer is to another request")
                    return
                async for event in events_of(response, stream):
                    if await _event_passed_on(event, message, write):
                        return
        except (aiohttp.ClientError, OSError) as error:
            raise no_connection(type(error).__name__) from None
        await self._resume(message, stream, write)

    async def _resume(self, message: Message, stream: EventStream, write: Write) -> None:
        """Likewise, out of what continues a stream. The server had begun, so there is no second time."""
        pace, loop = self._remote.pace, asyncio.get_running_loop()
        failures, deadline = 0, loop.time() + pace.patience
        last = no_connection("the stream had no event ID to take it up at")
        while stream.last_id:
            await asyncio.sleep(pace.wait(stream.retry, failures))
            stream = EventStream(MOST, stream.last_id, stream.retry)
            try:
                async with self._ask("GET", last_event=stream.last_id) as response:
                    if is_events(response):
                        failures, deadline = 0, loop.time() + pace.patience
                        async for event in events_of(response, stream):
                            if await _event_passed_on(event, message, write):
                                return
                        continue
                    last = await self._refusal(response)
            except _SessionLost as lost:
                detail = f"the server was replaced while it worked on this: {lost.refusal.detail}"
                raise Refused(detail, OUTCOME_UNKNOWN, cause="session_lost") from None
            except (aiohttp.ClientError, OSError) as error:
                last = no_connection(type(error).__name__)
            failures += 1
            if last.status in _OFFERS_NONE or loop.time() >= deadline:
                break
        raise last

    async def _refusal(self, response: aiohttp.ClientResponse, message: Message | None = None) -> Refused:
        """_SessionLost where it says so."""
        if response.status < 300:
            return Refused("the server takes a request for a notification", status=response.status)
        refusal = await self._remote.refusal(response)
        in_session = message is None or (message.version is None and message.method != "initialize")
        if in_session and self._handshake.is_complete and _is_forgotten(refusal, self._handshake.session):
            raise _SessionLost(refusal)
        return refusal

    # -- a session that is begun anew ------------------------------------------------

    async def _renewed(self) -> None:
        """Nothing is sent in a session that is not whole yet."""
        if self._renewal is not None and not self._renewal.done():
            await asyncio.shield(self._renewal)

    async def _renew(self, lost: str | None, why: _SessionLost) -> None:
        """Once, however many requests find out. Refused where it cannot be had."""
        if self._renewal is None or self._renewal.done():
            if self._handshake.session != lost:
                return
            self._renewal = asyncio.ensure_future(self._begin_anew(why.refusal))
            self._renewal.add_done_callback(lambda ended: ended.cancelled() or ended.exception())
        await asyncio.shield(self._renewal)  # whose client cancels a request, does not cancel this for all

    async def _begin_anew(self, why: Refused) -> None:
        handshake = self._handshake
        log.info("the server has forgotten the session, which is begun anew", said=why.detail)
        handshake.answered_again(await self._own(handshake.again()))
        await self._stop_listening()  # to the old one; had there been no new one, it would have tried again
        try:
            await self._post(messages.notification("notifications/initialized"))
        except _SessionLost as again:
            raise _lost_twice(again.refusal) from None
        for setting in tuple(handshake.settings.values()):
            with contextlib.suppress(Refused, _SessionLost):
                await self._own(messages.with_id(setting, handshake.own_id()))
        for change in handshake.changes():
            await self._write(change)

    async def _own(self, message: Message) -> Message:
        """The answer to a request of ours, of which the client hears nothing."""
        answers: list[Message] = []

        async def write(each: Message) -> None:
            if each.kind is Kind.RESPONSE and each.key == message.key:
                answers.append(each)
            else:
                await self._write(each)

        await self._exchange(message, write)
        return answers[0]

    # -- what the server says unasked ------------------------------------------------

    async def _listen(self) -> None:
        pace = self._remote.pace
        stream, failures = EventStream(MOST), 0
        while True:
            session, said = self._handshake.session, False
            try:
                async with self._ask("GET", last_event=stream.last_id) as response:
                    if not is_events(response):
                        refusal = await self._refusal(response)
                        if refusal.status in _OFFERS_NONE:
                            return
                    else:
                        async for event in events_of(response, stream):
                            said = True
                            with contextlib.suppress(Refused):
                                await _event_passed_on(event, None, self._write)
            except _SessionLost as lost:
                with contextlib.suppress(Refused):
                    await self._renew(session, lost)
                    return  # another listens
            except (aiohttp.ClientError, OSError, Refused) as error:
                log.debug("no stream of the server's own messages", reason=str(error))
            failures = 0 if said else failures + 1
            await asyncio.sleep(pace.wait(stream.retry, failures))
            stream = EventStream(MOST, stream.last_id, stream.retry)

    async def _stop_listening(self) -> None:
        listener, self._listener = self._listener, None
        if listener is not None:
            listener.cancel()
            await asyncio.gather(listener, return_exceptions=True)


async def _event_passed_on(event: Event, message: Message | None, write: Write) -> bool:
    """Whether it was the answer to `message`. Refused where it is no message."""
    if event.name != "message" or not event.data:
        return False
    return await _passed_on(event.data, message, write)


async def _passed_on(text: str | bytes, message: Message | None, write: Write) -> bool:
    answered, malformed = False, None
    for each in read_of(text):
        if isinstance(each, Malformed):
            malformed = each
            continue
        answered |= message is not None and each.kind is Kind.RESPONSE and each.key == message.key
        await write(each)
    if malformed is not None and not answered:
        raise Refused(f"the server sends what is no JSON-RPC message: {malformed}")
    return answered


def _is_forgotten(refusal: Refused, session: str | None) -> bool:
    if refusal.cause != "mcp_server":  # Google's word, or the engine's
        return False
    if refusal.status == 404:
        unknown = refusal.said is not None and refusal.said.error_code == messages.METHOD_NOT_FOUND
        return session is not None and not unknown
    return refusal.status == 400 and _FORGOTTEN.search(refusal.detail) is not None


def _lost_twice(refusal: Refused) -> Refused:
    return Refused(
        f"the server does not know a session that it has just begun: {refusal.detail}",
        "of several instances each knows its own sessions alone: gcloud run services update SERVICE --session-affinity, or "
        "--max-instances=1; or let the server be stateless",
        cause="session_lost",
        status=refusal.status,
    )
