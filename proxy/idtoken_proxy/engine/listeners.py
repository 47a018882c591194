"""Where apps reach the proxy: loopback ports and unix sockets.

A unix socket is the better door on a machine with other users, who can all reach a loopback port: the kernel keeps them
out by the socket's mode, and it tells who is calling (SO_PEERCRED), which `guard.allowed_uids` is held against.
"""

from __future__ import annotations

import asyncio
import errno
import functools
import os
import socket
import struct
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import structlog

from idtoken_proxy.engine.socket_file import SocketFile, bind
from idtoken_proxy.errors import Fault, ProxyError
from idtoken_proxy.settings.model import Address, TcpAddress, UnixAddress
from idtoken_proxy.settings.plausible import shown_path

BACKLOG: Final = 4096
_PEER: Final = struct.Struct("3i")  # pid, uid, gid: unix(7)

_OWN_DIRECTORY: Final = (
    "choose a path in a directory of the proxy's own, such as unix:/run/idtoken-proxy/proxy.sock"
)
_NO_SUCH_FAMILY: Final = frozenset({errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT})

log = structlog.get_logger("idtoken_proxy.engine")


class ListenFailed(ProxyError):
    """An address that cannot be bound."""

    title = "Cannot listen"
    fault = Fault.OPERATOR


@dataclass(eq=False)
class Door:
    """A listener, as those who came by it know it: `open` until it is not asked for any more."""

    open: bool = True


@dataclass
class _Open:
    reuse_port: bool
    door: Door = field(default_factory=Door)
    bound: list[Address] = field(default_factory=list)
    servers: list[asyncio.AbstractServer] = field(default_factory=list)
    sockets: list[SocketFile] = field(default_factory=list)

    def stays(self, address: Address, reuse_port: bool) -> None:  # noqa: FBT001 -- as it is said of the next settings
        """ListenFailed, where it would have to be another kind of socket."""
        if isinstance(address, TcpAddress) and self.reuse_port is not reuse_port:
            raise ListenFailed(
                f"{address}: a port that is open stays {'shared' if self.reuse_port else 'unshared'}",
                remedy="restart the proxy for another reuse_port",
            )

    async def close(self) -> None:
        for server in self.servers:
            server.close()
        for one in self.sockets:
            await asyncio.to_thread(one.remove)


@dataclass
class Prepared:
    """`wanted`: what is to be open; `fresh`: what of it is new; `left`: what is not wanted any more."""

    left: list[tuple[Address, _Open]]
    wanted: list[tuple[Address, _Open]] = field(default_factory=list)
    fresh: list[_Open] = field(default_factory=list)

    async def discard(self) -> None:
        for one in self.fresh:
            await one.close()


class Listeners:
    """`factory` makes the protocol of each connection, for the door that it comes by."""

    def __init__(
        self, factory: Callable[[Door], asyncio.Protocol], localhost: tuple[str, ...] = ("127.0.0.1", "::1")
    ) -> None:
        """`localhost`: its addresses, of which a machine may lack one."""
        self._factory = factory
        self._localhost = localhost
        self._open: list[tuple[Address, _Open]] = []

    @property
    def bound(self) -> tuple[Address, ...]:
        """What was really bound: both families of localhost, the port that the kernel chose."""
        return tuple(address for _, one in self._open for address in one.bound)

    async def listen(self, addresses: Iterable[Address], *, reuse_port: bool = False) -> None:
        """Opens what is not open yet, then closes what is not asked for any more. ListenFailed: all stays as it was.
        A unix socket is its user's alone, until `share` says otherwise.
        """
        await self.adopt(await self.prepare(addresses, reuse_port=reuse_port))

    async def prepare(self, addresses: Iterable[Address], *, reuse_port: bool = False) -> Prepared:
        """Binds what is not open yet, and takes no connection there before `adopt`: until then nobody has decided who
        may come in. `reuse_port`: other processes of the same user may bind the same TCP ports likewise, and the kernel
        spreads new connections over all of them (SO_REUSEPORT, socket(7)). Raises ListenFailed, with nothing changed.
        """
        prepared = Prepared(left=list(self._open))
        try:
            for address in addresses:
                there = next((pair for pair in prepared.left if pair[0] == address), None)
                if there is not None:  # twice the same, with port 0, are two
                    there[1].stays(address, reuse_port)
                    prepared.left.remove(there)
                    prepared.wanted.append(there)
                    continue
                one = _Open(reuse_port)
                prepared.fresh.append(one)
                prepared.wanted.append((address, one))
                if isinstance(address, UnixAddress):
                    await self._unix(address, one)
                else:
                    await self._tcp(address, one)
        except BaseException:
            await prepared.discard()
            raise
        return prepared

    async def adopt(self, prepared: Prepared) -> None:
        self._open = prepared.wanted
        for _, one in prepared.left:
            one.door.open = False
        for one in prepared.fresh:
            for server in one.servers:
                await server.start_serving()
        for _, one in prepared.left:
            await one.close()

    async def share(self, *, shared: bool) -> None:
        """Whether other users may open the unix sockets: only once it is checked who they are, and no longer."""
        for _, one in self._open:
            for file in one.sockets:
                await asyncio.to_thread(file.share, shared=shared)

    async def close(self) -> None:
        for _, one in self._open:
            await one.close()
        self._open = []

    async def _tcp(self, address: TcpAddress, one: _Open) -> None:
        loop = asyncio.get_running_loop()
        factory = functools.partial(self._factory, one.door)
        port = address.port
        hosts = self._localhost if address.host == "localhost" else (address.host,)
        lacking: OSError | None = None
        for host in hosts:
            try:
                server = await loop.create_server(
                    factory, host, port, backlog=BACKLOG, reuse_port=one.reuse_port, start_serving=False
                )
            except OSError as error:
                # A machine may lack one of the families. A port that someone else has there is an error: an app that
                # says localhost would talk to that someone.
                if len(hosts) > 1 and error.errno in _NO_SUCH_FAMILY:
                    lacking = error
                    continue
                raise _failed(TcpAddress(host, port), error) from None
            one.servers.append(server)
            taken = server.sockets[0].getsockname()
            port = taken[1]  # with port 0, both families get the same one
            one.bound.append(TcpAddress(taken[0], port))
        if lacking is not None:
            if not one.bound:
                raise _failed(address, lacking)
            log.debug("one of the loopback addresses is not available", reason=lacking.strerror)

    async def _unix(self, address: UnixAddress, one: _Open) -> None:
        try:
            bound, file = await asyncio.to_thread(bind, Path(address.path))
        except OSError as error:
            taken = error.errno == errno.EADDRINUSE
            remedy = "stop it, or choose another path" if taken else _OWN_DIRECTORY
            told = f"unix:{shown_path(address.path)}: {error.strerror or error}"
            raise ListenFailed(told, remedy=remedy) from None
        one.sockets.append(file)
        one.servers.append(
            await asyncio.get_running_loop().create_unix_server(
                functools.partial(self._factory, one.door), sock=bound, backlog=BACKLOG, start_serving=False
            )
        )
        one.bound.append(address)


def _failed(address: TcpAddress, error: OSError) -> ListenFailed:
    return ListenFailed(
        f"{address}: {os.strerror(error.errno) if error.errno else error}",
        remedy="choose another address with listen: or --listen; port 0 takes a free one",
    )


def peer_uid(transport: asyncio.BaseTransport) -> int | None:
    """The user at the other end of a unix socket, -1 where the system does not tell; None for TCP."""
    connected = transport.get_extra_info("socket")
    if connected is None or connected.family != socket.AF_UNIX:
        return None
    if not hasattr(socket, "SO_PEERCRED"):  # pragma: no cover -- Linux alone has it
        return -1
    _, uid, _ = _PEER.unpack(connected.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size))
    return int(uid)
