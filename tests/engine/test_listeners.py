"""Where apps reach the proxy: ports of both loopback families, and unix sockets that keep others out."""

from __future__ import annotations

import asyncio
import os
import socket
import stat
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import structlog

from idtoken_proxy.engine.listeners import Door, Listeners, ListenFailed, peer_uid
from idtoken_proxy.settings.model import TcpAddress, UnixAddress

ANY = TcpAddress("localhost", 0)


class Greeter(asyncio.Protocol):
    """Says who it thinks is calling, and closes."""

    def __init__(self, door: Door) -> None:
        self.door = door

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.WriteTransport) or hasattr(transport, "write")
        transport.write(str(peer_uid(transport)).encode())
        transport.close()


@pytest.fixture
async def listeners() -> AsyncIterator[Listeners]:
    made = Listeners(Greeter)
    yield made
    await made.close()


async def greeting(address: object) -> str:
    if isinstance(address, UnixAddress):
        reader, writer = await asyncio.open_unix_connection(address.path)
    else:
        assert isinstance(address, TcpAddress)
        reader, writer = await asyncio.open_connection(address.host, address.port)
    said = await reader.read()
    writer.close()
    await writer.wait_closed()
    return said.decode()


def port_of(listeners: Listeners) -> int:
    (port,) = {address.port for address in listeners.bound if isinstance(address, TcpAddress)}
    return port


@pytest.fixture
def short() -> Iterator[Path]:
    """No such directory yet. A unix socket's path has 107 octets at the most, and pytest's directories are deep."""
    with TemporaryDirectory(dir="/tmp") as made:
        yield Path(made) / "run"


async def test_localhost_is_both_families_on_one_port(listeners: Listeners) -> None:
    await listeners.listen([ANY])
    ports = {address.port for address in listeners.bound if isinstance(address, TcpAddress)}
    hosts = [address.host for address in listeners.bound if isinstance(address, TcpAddress)]
    assert len(ports) == 1
    assert hosts in (["127.0.0.1", "::1"], ["127.0.0.1"])
    for address in listeners.bound:
        assert await greeting(address) == "None"  # TCP does not tell who calls


async def test_a_port_that_another_has_on_ipv6_alone_is_an_error(listeners: Listeners) -> None:
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as taken:
        with pytest.raises(ListenFailed) as caught:
            await listeners.listen([TcpAddress("localhost", taken.getsockname()[1])])
        assert "in use" in caught.value.detail
    assert listeners.bound == ()


async def test_what_is_asked_for_again_stays_open_and_the_rest_closes(listeners: Listeners) -> None:
    one, other = TcpAddress("127.0.0.1", 0), TcpAddress("::1", 0)
    await listeners.listen([one, other])
    first, second = listeners.bound
    await listeners.listen([one])
    assert listeners.bound == (first,)
    assert await greeting(first) == "None"
    with pytest.raises(OSError, match=r"refused|Connect call failed"):
        await greeting(second)


async def test_what_cannot_be_opened_leaves_all_as_it_was(listeners: Listeners, short: Path) -> None:
    first = TcpAddress("127.0.0.1", 0)
    await listeners.listen([first])
    before = listeners.bound
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(ListenFailed):
        await listeners.listen(
            [UnixAddress(str(short / "a.sock")), TcpAddress("127.0.0.1", taken.getsockname()[1])]
        )
    assert listeners.bound == before
    assert not (short / "a.sock").exists()
    assert await greeting(before[0]) == "None"


async def test_what_is_prepared_lets_nobody_in_before_it_is_adopted(
    listeners: Listeners, short: Path
) -> None:
    path = UnixAddress(str(short / "proxy.sock"))
    old = TcpAddress("127.0.0.1", 0)
    await listeners.listen([old])
    before = listeners.bound
    prepared = await listeners.prepare([path, TcpAddress("127.0.0.2", 0)])
    fresh = [address for one in prepared.fresh for address in one.bound]
    assert len(fresh) == 2
    assert listeners.bound == before
    for address in fresh:
        with pytest.raises(OSError, match=r"refused|Connect call failed"):
            await greeting(address)
    assert await greeting(before[0]) == "None"
    await listeners.adopt(prepared)
    assert list(listeners.bound) == fresh
    assert [await greeting(address) for address in fresh] == [str(os.getuid()), "None"]
    with pytest.raises(OSError, match=r"refused|Connect call failed"):
        await greeting(before[0])


async def test_what_is_prepared_and_not_wanted_any_more_leaves_nothing(
    listeners: Listeners, short: Path
) -> None:
    await listeners.listen([TcpAddress("127.0.0.1", 0)])
    before = listeners.bound
    prepared = await listeners.prepare([UnixAddress(str(short / "proxy.sock")), TcpAddress("127.0.0.2", 0)])
    (_, port) = (address for one in prepared.fresh for address in one.bound)
    await prepared.discard()
    assert not (short / "proxy.sock").exists()
    assert listeners.bound == before
    assert await greeting(before[0]) == "None"
    await listeners.listen([port])  # nobody has it


async def test_a_socket_that_has_gone_or_is_anothers_keeps_its_mode_and_stops_nothing(
    listeners: Listeners, short: Path
) -> None:
    gone, taken, ours = (short / name for name in ("gone", "taken", "ours"))
    await listeners.listen([UnixAddress(str(path)) for path in (gone, taken, ours)])
    gone.unlink()
    taken.rename(short / "moved")
    taken.write_text("another's")
    taken.chmod(0o640)
    with structlog.testing.capture_logs() as logged:
        await listeners.share(shared=True)
    (told,) = logged
    assert (told["path"], told["reason"]) == (str(gone), "No such file or directory")
    assert stat.S_IMODE(taken.stat().st_mode) == 0o640
    assert stat.S_IMODE(ours.stat().st_mode) == 0o666


async def test_a_unix_socket_is_its_users_alone_in_a_directory_of_its_own(
    listeners: Listeners, short: Path
) -> None:
    address = UnixAddress(str(short / "proxy.sock"))
    await listeners.listen([address])
    assert stat.S_IMODE(short.stat().st_mode) == 0o700
    assert stat.S_IMODE((short / "proxy.sock").stat().st_mode) == 0o600
    assert await greeting(address) == str(os.getuid())
    await listeners.close()
    assert not (short / "proxy.sock").exists()


async def test_where_it_is_checked_who_calls_the_socket_is_open_to_all_and_no_longer(
    listeners: Listeners, short: Path
) -> None:
    await listeners.listen([ANY, UnixAddress(str(short / "proxy.sock"))])
    for shared, directory, mode in ((True, 0o755, 0o666), (False, 0o700, 0o600)):
        await listeners.share(shared=shared)
        assert stat.S_IMODE(short.stat().st_mode) == directory
        assert stat.S_IMODE((short / "proxy.sock").stat().st_mode) == mode


async def test_a_directory_that_was_there_keeps_its_mode(listeners: Listeners, short: Path) -> None:
    short.mkdir(mode=0o750)
    await listeners.listen([UnixAddress(str(short / "proxy.sock"))])
    await listeners.share(shared=True)
    assert stat.S_IMODE(short.stat().st_mode) == 0o750


async def test_what_a_killed_proxy_left_is_replaced(listeners: Listeners, short: Path) -> None:
    short.mkdir()
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(short / "proxy.sock"))
    address = UnixAddress(str(short / "proxy.sock"))
    await listeners.listen([address])
    assert await greeting(address) == str(os.getuid())


async def test_a_socket_that_someone_listens_on_is_not(listeners: Listeners, short: Path) -> None:
    short.mkdir()
    with socket.socket(socket.AF_UNIX) as live:
        live.bind(str(short / "proxy.sock"))
        live.listen()
        with pytest.raises(ListenFailed, match="another process listens there"):
            await listeners.listen([UnixAddress(str(short / "proxy.sock"))])
    assert (short / "proxy.sock").exists()


async def test_a_file_is_not_a_stale_socket(listeners: Listeners, short: Path) -> None:
    short.mkdir()
    (short / "proxy.sock").write_text("precious")
    with pytest.raises(ListenFailed, match="something that is no socket"):
        await listeners.listen([UnixAddress(str(short / "proxy.sock"))])
    assert (short / "proxy.sock").read_text() == "precious"


async def test_a_successors_socket_is_left_alone(listeners: Listeners, short: Path) -> None:
    path = short / "proxy.sock"
    await listeners.listen([UnixAddress(str(path))])
    path.rename(short / "moved")  # so that the number of its inode stays taken
    with socket.socket(socket.AF_UNIX) as successor:
        successor.bind(str(path))
        await listeners.close()
        assert path.exists()


async def test_a_path_that_is_too_long_is_told(listeners: Listeners, short: Path) -> None:
    with pytest.raises(ListenFailed) as caught:
        await listeners.listen([UnixAddress(str(short / ("x" * 120)))])
    assert caught.value.detail.startswith("unix:")
    assert caught.value.remedy is not None


@pytest.mark.parametrize("localhost", [("240.0.0.1", "127.0.0.1"), ("127.0.0.1", "240.0.0.1")])
async def test_a_machine_without_one_of_the_loopback_families_listens_on_the_other(
    localhost: tuple[str, str],
) -> None:
    """240.0.0.1 is nobody's (RFC 1112 section 4), so it cannot be had here as ::1 cannot where there is no IPv6."""
    listeners = Listeners(Greeter, localhost)
    await listeners.listen([ANY])
    (bound,) = listeners.bound
    assert isinstance(bound, TcpAddress)
    assert bound.host == "127.0.0.1"
    assert await greeting(bound) == "None"
    await listeners.close()


async def test_a_machine_without_any_is_told() -> None:
    listeners = Listeners(Greeter, ("240.0.0.1", "240.0.0.2"))
    with pytest.raises(ListenFailed, match="localhost:0: "):
        await listeners.listen([ANY])


async def test_a_port_is_shared_where_both_say_so_and_otherwise_not(listeners: Listeners) -> None:
    await listeners.listen([ANY], reuse_port=True)
    shared = TcpAddress("localhost", port_of(listeners))
    others = [Listeners(Greeter) for _ in range(3)]
    try:
        with pytest.raises(ListenFailed, match="Address already in use"):
            await others[0].listen([shared])
        await others[1].listen([shared], reuse_port=True)
        assert others[1].bound == listeners.bound
        await listeners.close()
        assert await greeting(others[1].bound[0]) == "None"
        await others[1].close()
        await others[1].listen([shared])
        with pytest.raises(ListenFailed, match="Address already in use"):
            await others[2].listen([shared], reuse_port=True)
    finally:
        for one in others:
            await one.close()


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")
async def test_another_user_cannot_share_it(listeners: Listeners) -> None:
    await listeners.listen([ANY], reuse_port=True)
    bind = (
        "import os, socket, sys; os.setuid(65534); s = socket.socket(); "
        "s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1); s.bind(('127.0.0.1', int(sys.argv[1])))"
    )
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-I", "-S", "-c", bind, str(port_of(listeners))), stderr=asyncio.subprocess.PIPE
    )
    _, said = await process.communicate()
    assert b"Address already in use" in said


async def test_a_port_that_is_open_stays_as_it_is(listeners: Listeners) -> None:
    await listeners.listen([ANY], reuse_port=True)
    before = listeners.bound
    with pytest.raises(ListenFailed, match="stays shared") as caught:
        await listeners.listen([ANY])
    assert caught.value.remedy == "restart the proxy for another reuse_port"
    assert listeners.bound == before


async def test_a_socket_that_is_in_use_is_no_matter_of_directories(listeners: Listeners, short: Path) -> None:
    await listeners.listen([UnixAddress(str(short / "proxy.sock"))])
    other = Listeners(Greeter)
    with pytest.raises(ListenFailed, match="another process listens there") as caught:
        await other.listen([UnixAddress(str(short / "proxy.sock"))])
    assert caught.value.remedy == "stop it, or choose another path"
