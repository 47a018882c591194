"""Between a client's lines and a server's answers: every request gets one answer, be it the server's or why there is none."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final, Protocol

import structlog

from idtoken_proxy.mcp import messages
from idtoken_proxy.mcp.http_sse import HttpSse
from idtoken_proxy.mcp.messages import Kind, Malformed, Message
from idtoken_proxy.mcp.refusal import Refused
from idtoken_proxy.mcp.remote import Remote
from idtoken_proxy.mcp.streamable_http import StreamableHttp

# With which a server of 2024-11-05 refuses a POST (2025-11-25, "Backwards Compatibility").
_OF_2024: Final = frozenset({400, 404, 405})
_VERSION_UNKNOWN: Final = -32022  # 2026-07-28: the server has no handshakes any more

log = structlog.get_logger("idtoken_proxy.mcp")


class Transport(Protocol):
    """A way to the server. What it answers it writes itself; Refused is why there is no answer."""

    async def request(self, message: Message) -> None: ...

    async def tell(self, message: Message) -> None: ...

    async def close(self) -> None: ...


@dataclass
class _Pending:
    message: Message
    task: asyncio.Task[None]


class Bridge:
    """`write`: a line, to the client."""

    def __init__(self, remote: Remote, write: Callable[[str], Awaitable[None]]) -> None:
        self._remote = remote
        self._write_line = write
        self._transport: Transport = StreamableHttp(remote, self._write)
        self._pending: dict[str, _Pending] = {}  # by the request's key
        self._cancelled: set[asyncio.Task[None]] = set()  # those that end
        self._is_of_2026 = False  # the last request said its revision itself
        self._telling: asyncio.Task[None] | None = None  # the last of a chain: notifications have an order
        self._greeting: asyncio.Task[None] | None = (
            None  # `notifications/initialized`, before which nothing else is sent
        )

    async def take(self, line: str | bytes) -> None:
        """One line of the client's. Returns before it is answered. Those of a batch are answered one by one, as 2025-03-26
        lets a server do: nobody waits for the slowest.
        """
        if not line.strip():
            return
        try:
            found = messages.read_each(line)
        except Malformed as malformed:
            found = (malformed,)
        for message in found:
            if isinstance(message, Malformed):
                await self._write_line(messages.error(None, message.code, f"idtoken-proxy: {message}"))
            elif message.kind is Kind.REQUEST:
                self._request(message)
            elif not self._is_our_affair(message):
                self._tell(message)

    async def drain(self, limit: float) -> None:
        """What is under way may end within `limit` seconds."""
        tasks = [pending.task for pending in self._pending.values()]
        if self._telling is not None:
            tasks.append(self._telling)
        if tasks:
            await asyncio.wait(tasks, timeout=limit)

    async def close(self) -> None:
        tasks = [*self._cancelled, *(pending.task for pending in self._pending.values())]
        if self._telling is not None:
            tasks.append(self._telling)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._transport.close()

    # -- requests --------------------------------------------------------------------

    def _request(self, message: Message) -> None:
        self._is_of_2026 = message.version is not None
        task = asyncio.ensure_future(self._answer(message, self._greeting))
        if message.method == "initialize":
            self._greeting = task
        # Who uses an ID twice waits for the second answer.
        pending = self._pending[message.key] = _Pending(message, task)

        def ended(_task: asyncio.Task[None]) -> None:
            if self._pending.get(message.key) is pending:
                del self._pending[message.key]

        task.add_done_callback(ended)

    async def _answer(self, message: Message, greeting: asyncio.Task[None] | None) -> None:
        try:
            if greeting is not None:
                await asyncio.wait((greeting,))
            await self._asked(message)
        except Refused as refused:
            await self._say_why(message, refused)
        except Exception as error:  # a bug here is no reason to leave a client waiting
            log.exception("a request could not be passed on")
            await self._say_why(message, Refused(f"a fault of the bridge's own ({type(error).__name__})"))

    async def _asked(self, message: Message) -> None:
        try:
            await self._transport.request(message)
        except Refused as refused:
            if message.method != "initialize" or refused.status not in _OF_2024:
                raise
            if refused.cause != "mcp_server" or (
                refused.said is not None and refused.said.error_code == _VERSION_UNKNOWN
            ):
                raise
            older = HttpSse(self._remote, self._write)
            try:
                await older.open()
            except Refused as also:
                log.debug("no server of 2024-11-05 either", reason=str(also))
                raise refused from None
            log.debug("the server is of 2024-11-05")
            await self._transport.close()
            self._transport = older
            await older.request(message)

    async def _say_why(self, message: Message, refused: Refused) -> None:
        pending = self._pending.get(message.key)
        log.info("no answer", method=message.method, reason=refused.detail, remedy=refused.remedy)
        if pending is not None and pending.message is message:
            assert message.id is not None
            await self._write_line(refused.answer_to(message.id))

    # -- the rest --------------------------------------------------------------------

    def _is_our_affair(self, message: Message) -> bool:
        """A cancelled request's stream is not read on, and nothing of it gets to the client any more ("Cancellation"). The
        server is told all the same, as a connection that ends cancels nothing; from 2026-07-28 on it does, and HTTP has no
        other word for it.
        """
        if message.method != "notifications/cancelled":
            return False
        key = messages.cancelled_key(message)
        pending = self._pending.get(key)
        if pending is None:
            return message.version is not None or self._is_of_2026
        if pending.message.method == "initialize":  # which a client must not cancel
            return False
        del self._pending[key]
        self._cancelled.add(pending.task)
        pending.task.add_done_callback(self._cancelled.discard)
        pending.task.cancel()
        return pending.message.version is not None

    def _tell(self, message: Message) -> None:
        before = {task for task in (self._telling, self._greeting) if task is not None}
        if message.kind is Kind.RESPONSE:  # which a server may wait for before it answers
            before = set()
        task = asyncio.ensure_future(self._told(message, before))
        self._telling = task
        if message.method == "notifications/initialized":
            self._greeting = task

    async def _told(self, message: Message, before: set[asyncio.Task[None]]) -> None:
        if before:
            await asyncio.wait(before)
        try:
            await self._transport.tell(message)
        except Refused as refused:
            log.warning(
                "not taken by the server",
                method=message.method or "(an answer)",
                reason=refused.detail,
                remedy=refused.remedy,
            )

    async def _write(self, message: Message) -> None:
        """A client is answered once, and not at all where it has cancelled: of a server of 2024-11-05 an answer may still come."""
        if message.kind is Kind.RESPONSE and message.id is not None and message.key not in self._pending:
            log.debug("an answer that nobody waits for", key=message.key)
            return
        await self._write_line(message.text)
