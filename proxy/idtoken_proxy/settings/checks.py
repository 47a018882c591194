"""Checks that no key can make alone: keys that contradict each other, and keys that need another one."""

from __future__ import annotations

import os
import ssl
import sys
from collections.abc import Callable, Iterator, Mapping

from idtoken_proxy.plain_file import check_plain
from idtoken_proxy.settings.addresses import is_loopback, overlap, split_authority
from idtoken_proxy.settings.audience import derived_audience, signed_jwt_audience
from idtoken_proxy.settings.document import Document, Guard, Metadata, RouteSection
from idtoken_proxy.settings.identities import AutoIdentity, NoIdentity, SignedJwtIdentity
from idtoken_proxy.settings.mistakes import Location, Mistake
from idtoken_proxy.settings.model import Address, TcpAddress, UnixAddress
from idtoken_proxy.settings.names import is_iap_client, url_variable
from idtoken_proxy.settings.plausible import shown_path
from idtoken_proxy.settings.receive_checks import inbound_contradictions
from idtoken_proxy.settings.route_token import is_access, login_s_objections, objections, universe
from idtoken_proxy.settings.schema_dsl import Entry
from idtoken_proxy.settings.services import STAR

# `idtoken-proxy run` sets it beside the routes' variables.
_RESERVED_VARIABLE = "IDTOKEN_PROXY_URL"
_NONE_FOUND = "NO_CERTIFICATE_OR_CRL_FOUND"
_LONGEST_SOCKET = (
    103 if sys.platform == "darwin" else 107
)  # octets: sun_path holds 104, or 108, with the final NUL (unix(4), unix(7))
_METADATA_LISTEN = ("metadata", "listen")
_WITHOUT_ID_TOKENS = {
    NoIdentity.type: "has no tokens",
    SignedJwtIdentity.type: "signs what IAP takes and no library asks for",
}


def contradictions(
    document: Document, routes: Mapping[int, RouteSection], file_path: Callable[[str], str]
) -> Iterator[Mistake]:
    """`routes`: by position in the file. `file_path`: resolves a path of the configuration."""
    yield from _listeners(document, file_path)
    metadata = document.metadata
    listen = list(document.listen) if document.routes or not (document.receive or metadata) else []
    # A port before an app checks tokens. A socket there checks its users against the list, too.
    listen += [one.listen for one in document.receive if isinstance(one.listen, UnixAddress)]
    yield from _guard(document.guard, [*listen, *([] if metadata is None else [metadata.listen])])
    if metadata is not None:
        yield from _metadata(metadata, document)
    if document.identity is not None:
        yield from _identity(document.identity, ("identity",))
    yield from _loops(document, routes)
    yield from _names(routes)
    yield from _matches(routes)
    yield from _patterns(routes)
    for index, route in routes.items():
        if route.identity is not None:
            yield from _identity(route.identity, ("routes", index, "identity"))
        yield from _audience(document, route, ("routes", index))
    if document.tls.ca_file is not None:
        yield from _certificates(file_path(document.tls.ca_file))
    if document.receive:
        yield from inbound_contradictions(document, file_path)


def _listeners(document: Document, file_path: Callable[[str], str]) -> Iterator[Mistake]:
    places: list[tuple[Location, Address]] = [(("listen", i), a) for i, a in enumerate(document.listen)]
    if document.admin is not None:
        places.append((("admin",), document.admin))
    if document.metadata is not None:
        places.append((_METADATA_LISTEN, document.metadata.listen))
    places = [
        (at, UnixAddress(file_path(address.path)) if isinstance(address, UnixAddress) else address)
        for at, address in places
    ]
    for index, (location, address) in enumerate(places):
        if isinstance(address, UnixAddress):
            size = len(os.fsencode(address.path))
            if size > _LONGEST_SOCKET:
                yield (
                    location,
                    f"a socket's path may be {_LONGEST_SOCKET} bytes long, and this one has {size}; choose a shorter one",
                )
        elif location == _METADATA_LISTEN:
            if document.metadata is not None:
                yield from _remote_metadata(document.metadata, address)
        elif not document.allow_remote and not is_loopback(address.host):
            yield (
                location,
                (
                    f"{address.host} can be reached from other machines, and whoever reaches the proxy acts as its "
                    "identity; use localhost, or set allow_remote: true (without a file: --allow-remote --caller-token-file FILE)"
                ),
            )
        before = next((place for place, other in places[:index] if overlap(address, other)), None)
        if before is not None:
            other = "port" if isinstance(address, TcpAddress) else "path"
            taken_by = ".".join(str(part) for part in before if isinstance(part, str))
            yield location, f"{address} is already taken by {taken_by}; choose another {other}"
    if document.reuse_port:
        yield from _shared_ports(document)


def _remote_metadata(metadata: Metadata, address: TcpAddress) -> Iterator[Mistake]:
    """The top-level allow_remote is no consent here: its listeners may demand a secret, and return no token."""
    if not metadata.allow_remote and not is_loopback(address.host):
        yield (
            _METADATA_LISTEN,
            (
                f"{address.host} can be reached from other machines, and whoever reaches it is handed the identity's tokens; use "
                "localhost, or set metadata: {allow_remote: true} where the network lets in this app alone"
            ),
        )


def _metadata(metadata: Metadata, document: Document) -> Iterator[Mistake]:
    identity = metadata.identity or document.identity
    kind = AutoIdentity.type if identity is None else identity.tag
    if metadata.identity is not None:
        yield from _identity(metadata.identity, ("metadata", "identity"))
    if kind in _WITHOUT_ID_TOKENS:
        yield (
            ("metadata", "identity"),
            f"{kind} {_WITHOUT_ID_TOKENS[kind]}, so that there is nothing to hand out; name another, such as auto",
        )
    if "scopes" in vars(metadata) and not metadata.access_tokens:
        yield (
            ("metadata", "scopes"),
            "is about access tokens, and none are handed out; say access_tokens: true too, or remove it",
        )
    listen, asked = metadata.listen, document.google.metadata_host
    if asked is not None and isinstance(listen, TcpAddress):
        host, port = split_authority(asked)
        if overlap(TcpAddress(host, int(port or 80)), listen):
            yield (
                ("google", "metadata_host"),
                (
                    f"is the proxy itself (metadata.listen: {listen}), which would ask itself for its tokens; name "
                    "Google's, or the emulator's"
                ),
            )


def _shared_ports(document: Document) -> Iterator[Mistake]:
    if sys.platform != "linux":
        yield (
            ("reuse_port",),
            "only Linux spreads the connections of a port over the processes that share it; leave it out",
        )
    ports = [address for address in document.listen if isinstance(address, TcpAddress)]
    if not ports:
        yield ("reuse_port",), "has no use without a TCP port to listen on; a unix: socket is one process's"
    elif all(not address.port for address in ports):
        yield ("reuse_port",), "has no use with port 0, which is another port for each process; write a port"


def _loops(document: Document, routes: Mapping[int, RouteSection]) -> Iterator[Mistake]:
    """Routes that lead to the proxy itself: each request would become as many as there are connections."""
    own: dict[int, list[tuple[str, TcpAddress]]] = {}
    places = [("listen", address) for address in document.listen]
    places += [("admin", document.admin)] if document.admin is not None else []
    places += [("metadata.listen", document.metadata.listen)] if document.metadata is not None else []
    for key, address in places:
        if isinstance(address, TcpAddress):
            own.setdefault(address.port, []).append((key, address))
    for index, route in routes.items():
        receiver = TcpAddress(route.upstream.host, route.upstream.port)
        for key, address in own.get(receiver.port, ()):
            if overlap(receiver, address):
                yield (
                    ("routes", index, "upstream"),
                    (
                        f"is the proxy itself ({key}: {address}), which would call itself without end; write the receiver's "
                        f"address, or another port for {key}"
                    ),
                )
                break


def _guard(guard: Guard, listen: list[Address]) -> Iterator[Mistake]:
    ports = [address for address in listen if isinstance(address, TcpAddress)]
    if guard.allowed_uids is not None and len(ports) == len(listen):
        yield (
            ("guard", "allowed_uids"),
            (
                "has no use without a unix: listener, since a TCP port cannot tell users apart; write "
                "listen: unix:/run/idtoken-proxy/proxy.sock"
            ),
        )
    elif guard.allowed_uids is not None and ports:
        yield (
            ("guard", "allowed_uids"),
            (
                f"does not guard {ports[0]}: a TCP port cannot tell users apart, and any of them can reach it; listen "
                "on unix: sockets alone, or have callers send a secret (caller_token_file) in place of this"
            ),
        )
    if guard.caller_token_file is None and "caller_token_header" in vars(guard):
        yield (
            ("guard", "caller_token_header"),
            "has no use without caller_token_file, which holds the secret; add it, or remove this key",
        )


def _identity(identity: Entry, location: Location) -> Iterator[Mistake]:
    keys = vars(identity)
    if identity.tag == SignedJwtIdentity.type and "key_file" in keys and "source" in keys:
        yield (
            (*location, "source"),
            "has no use beside key_file: with its key at hand, nobody is asked to sign; remove one of the two",
        )


def _names(routes: Mapping[int, RouteSection]) -> Iterator[Mistake]:
    first: dict[str, tuple[int, str]] = {_RESERVED_VARIABLE: (-1, "")}
    for index, route in routes.items():
        variable = url_variable(route.name)
        earlier, name = first.setdefault(variable, (index, route.name))
        location = ("routes", index, "name")
        if earlier == -1:
            yield (
                location,
                f"would set {variable}, which is the proxy's own URL in a wrapped app; choose another name",
            )
        elif name == route.name and earlier != index:
            yield location, f'"{name}" is already the name of routes[{earlier}]; names must be unique'
        elif earlier != index:
            yield (
                location,
                (
                    f'would set {variable} in a wrapped app, as routes[{earlier}] ("{name}") does; names must differ in '
                    'more than case, "-" and "_"'
                ),
            )


def _matches(routes: Mapping[int, RouteSection]) -> Iterator[Mistake]:
    first: dict[tuple[str | None, str], int] = {}
    for index, route in routes.items():
        key = (route.match.host, route.match.path)
        earlier = first.setdefault(key, index)
        if earlier != index:
            where = f"{route.match.host or 'any host'}, path {route.match.path}"
            yield (
                ("routes", index, "match"),
                (
                    f"matches the same requests as routes[{earlier}]: {where}; "
                    "give one of them another path or host"
                ),
            )


def _patterns(routes: Mapping[int, RouteSection]) -> Iterator[Mistake]:
    """Checks routes that stand for every service of a project."""
    for index, route in routes.items():
        by_name = route.match.host is not None and route.match.host.startswith(STAR)
        if by_name != route.upstream.host.startswith(STAR):
            yield (
                ("routes", index, "match", "host") if by_name else ("routes", index, "upstream"),
                (
                    "stands for every service, and so must the other: write match: {host: '*.run.localhost'} and upstream: "
                    "https://*-PROJECT_NUMBER.REGION.run.app"
                ),
            )
        elif by_name and route.match.path != "/":
            yield (
                ("routes", index, "match", "path"),
                "has no place beside a host for every service, each of which has all of its paths; remove it",
            )
        elif by_name and route.audience is not None:
            yield (
                ("routes", index, "audience"),
                "has no place beside an upstream for every service, each of which has an audience of its own; remove it",
            )


def _audience(document: Document, route: RouteSection, location: Location) -> Iterator[Mistake]:
    here = (*location, "audience")
    identity = route.identity or document.identity
    kind = AutoIdentity.type if identity is None else identity.tag
    yield from objections(route, kind, document.google, location)
    if identity is not None and is_access(route, kind, document.google):
        yield from login_s_objections(route, identity, location)
    if kind == SignedJwtIdentity.type and not is_access(route, kind, document.google):
        yield from _signed_jwt(route, location)
        return
    if kind == NoIdentity.type or is_access(route, kind, document.google):
        return
    if route.audience is None:
        try:
            derived_audience(route.upstream, universe(document.google))
        except ValueError as error:
            yield here, str(error)
    elif is_iap_client(route.audience) and route.token_header == "X-Serverless-Authorization":  # noqa: S105
        yield (
            (*location, "token_header"),
            (
                "is not read by IAP, whose client ID is this route's audience: IAP reads Authorization and "
                "Proxy-Authorization only; write one of them, or auto"
            ),
        )


def _signed_jwt(route: RouteSection, location: Location) -> Iterator[Mistake]:
    if route.audience is not None and is_iap_client(route.audience):
        yield (
            (*location, "audience"),
            (
                "is an OAuth client ID, for which IAP takes an ID token alone; for a signed JWT write the protected URL, "
                f"such as {signed_jwt_audience(route.upstream)}, or leave it out"
            ),
        )
    if route.token_header == "X-Serverless-Authorization":  # noqa: S105
        yield (
            (*location, "token_header"),
            (
                "is not read by IAP, for which this route's JWT is signed: IAP reads Authorization and "
                "Proxy-Authorization only; write one of them, or auto"
            ),
        )


def _certificates(path: str) -> Iterator[Mistake]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        check_plain(path)  # OpenSSL would wait for a writer
        context.load_verify_locations(path)
    except ssl.SSLError as error:  # an OSError too
        holds = (
            "no certificate"
            if error.reason == _NONE_FOUND
            else f"a certificate that is broken ({error.reason})"
        )
        yield (
            ("tls", "ca_file"),
            f"{shown_path(path)} holds {holds}; it must be PEM (-----BEGIN CERTIFICATE-----)",
        )
    except OSError as error:
        yield ("tls", "ca_file"), f"{shown_path(path)} cannot be read: {error.strerror}"
