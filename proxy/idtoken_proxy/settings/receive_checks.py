"""Keys of `receive:` that contradict each other, or the rest of the configuration."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterator

from idtoken_proxy.plain_file import check_plain
from idtoken_proxy.settings.addresses import is_remote, overlap
from idtoken_proxy.settings.document import Document, InboundSection
from idtoken_proxy.settings.invokers import ALL_USERS, issuer_named_by, who
from idtoken_proxy.settings.mistakes import Location, Mistake
from idtoken_proxy.settings.model import Address, TcpAddress, UnixAddress
from idtoken_proxy.settings.plausible import shown_path


def inbound_contradictions(document: Document, file_path: Callable[[str], str]) -> Iterator[Mistake]:
    """`file_path`: resolves a path of the configuration."""
    taken: list[tuple[str, Address]] = [("listen", one) for one in document.listen if document.routes]
    if document.admin is not None:
        taken.append(("admin", document.admin))
    if document.metadata is not None:
        taken.append(("metadata.listen", document.metadata.listen))
    for index, inbound in enumerate(document.receive):
        at: Location = ("receive", index)
        yield from _listener(inbound, at, taken, file_path)
        taken.append((f"receive[{index}].listen", inbound.listen))
        yield from _invokers(inbound, at)
        if inbound.tls is not None:
            yield from _certificate(file_path(inbound.tls.cert_file), file_path(inbound.tls.key_file), at)
    yield from _loops(document, taken)


def _listener(
    inbound: InboundSection, at: Location, taken: list[tuple[str, Address]], file_path: Callable[[str], str]
) -> Iterator[Mistake]:
    address = inbound.listen
    if is_remote(address) and inbound.tls is None and not inbound.allow_plaintext:
        yield (
            (*at, "listen"),
            (
                f"{address} can be reached from other machines, and tokens would cross the network in plain text; add "
                "tls: {cert_file: ..., key_file: ...}, or, where something else encrypts, allow_plaintext: true"
            ),
        )
    if isinstance(address, UnixAddress) and inbound.tls is not None:
        yield (*at, "tls"), "has no use on a unix: socket, which no network carries; remove it"
    mine = UnixAddress(file_path(address.path)) if isinstance(address, UnixAddress) else address
    for name, other in taken:
        theirs = UnixAddress(file_path(other.path)) if isinstance(other, UnixAddress) else other
        if overlap(mine, theirs):
            what = "port" if isinstance(address, TcpAddress) else "path"
            yield (*at, "listen"), f"{address} is already taken by {name}; choose another {what}"
            break


def _invokers(inbound: InboundSection, at: Location) -> Iterator[Mistake]:
    try:
        who(inbound.invokers)
    except ValueError as error:
        yield (*at, "invokers"), str(error)
    listed: list[tuple[Location, str]] = [
        ((*at, "invokers", number), one) for number, one in enumerate(inbound.invokers)
    ]
    for rule in inbound.paths.values():
        listed += [((*at, "paths"), one) for one in sorted(rule or ())]
    for place, one in listed:
        issuer = issuer_named_by(one)
        if issuer is not None and issuer not in inbound.issuers:
            yield place, f"is of an issuer whose tokens are not taken; add it: issuers: [{issuer}, ...]"
        elif issuer is None and one != ALL_USERS and not {"google", "iap"} & set(inbound.issuers):
            yield (
                place,
                "is an account of Google's, whose tokens are not taken; add it: issuers: [google, ...]",
            )


def _loops(document: Document, taken: list[tuple[str, Address]]) -> Iterator[Mistake]:
    for index, inbound in enumerate(document.receive):
        app = TcpAddress(inbound.upstream.host, inbound.upstream.port)
        for name, address in taken:
            if isinstance(address, TcpAddress) and overlap(app, address):
                message = f"is the proxy itself ({name}: {address}), and no app; write the app's address"
                yield ("receive", index, "upstream"), message
                break


def _certificate(cert_file: str, key_file: str, at: Location) -> Iterator[Mistake]:
    for key, path in (("cert_file", cert_file), ("key_file", key_file)):
        try:
            check_plain(path)  # OpenSSL would wait for a writer
        except OSError as error:
            yield (*at, "tls", key), f"{shown_path(path)} cannot be read: {error.strerror}"
            return
    try:
        # OpenSSL would ask on the terminal for an encrypted key's password.
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(cert_file, key_file, password=lambda: b"")
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            message = f"{shown_path(key_file)} is the key of another certificate than {shown_path(cert_file)}"
        else:
            message = (
                f"{shown_path(cert_file)} and {shown_path(key_file)} are no certificate and its key "
                f"({error.reason or 'no PEM'}); both must be PEM, and the key without a password"
            )
        yield (*at, "tls"), message
