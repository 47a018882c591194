"""What no key can know alone: keys that contradict each other, and what they leave unsaid."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterator, Mapping

from proxy.settings.addresses import is_loopback, overlap
from proxy.settings.audience import derived_audience
from proxy.settings.document import Document, RouteEntry
from proxy.settings.identities import Nobody
from proxy.settings.mistakes import Location, Mistake
from proxy.settings.model import Address, TcpAddress
from proxy.settings.names import is_iap_client, url_variable

# Set by `idtoken-proxy run` beside the routes' own.
_RESERVED_VARIABLE = "IDTOKEN_PROXY_URL"


def contradictions(
    document: Document, routes: Mapping[int, RouteEntry], file_path: Callable[[str], str]
) -> Iterator[Mistake]:
    """`routes` by their position in the file; `file_path` makes a path of the configuration one of the file system."""
    if not routes:
        yield ("routes",), "must not be empty; a route has at least a name and an upstream"
    yield from _listeners(document)
    yield from _names(routes)
    yield from _matches(routes)
    for index, route in routes.items():
        yield from _audience(document, route, ("routes", index))
    if document.tls.ca_file is not None:
        yield from _certificates(file_path(document.tls.ca_file))


def _listeners(document: Document) -> Iterator[Mistake]:
    places: list[tuple[Location, Address]] = [(("listen", i), a) for i, a in enumerate(document.listen)]
    if document.admin is not None:
        places.append((("admin",), document.admin))
    for index, (location, address) in enumerate(places):
        if not isinstance(address, TcpAddress):
            continue
        if not document.allow_remote and not is_loopback(address.host):
            yield (
                location,
                (
                    f"{address.host} can be reached from other machines, and whoever reaches the proxy acts as its "
                    "identity; use localhost, or set allow_remote: true"
                ),
            )
        before = next((place for place, other in places[:index] if overlap(address, other)), None)
        if before is not None:
            yield location, f"{address} is already taken by {before[0]}; choose another port"


def _names(routes: Mapping[int, RouteEntry]) -> Iterator[Mistake]:
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


def _matches(routes: Mapping[int, RouteEntry]) -> Iterator[Mistake]:
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


def _audience(document: Document, route: RouteEntry, location: Location) -> Iterator[Mistake]:
    here = (*location, "audience")
    if isinstance(route.identity or document.identity, Nobody):
        if route.audience is not None:
            yield (
                here,
                "has no use on a public route (identity: none), which gets no token; remove one of the two",
            )
        return
    if route.audience is None:
        try:
            derived_audience(route.upstream)
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


def _certificates(path: str) -> Iterator[Mistake]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        context.load_verify_locations(path)
    except ssl.SSLError:  # an OSError too
        yield ("tls", "ca_file"), f"{path} holds no certificate; it must be PEM (-----BEGIN CERTIFICATE-----)"
    except OSError as error:
        yield ("tls", "ca_file"), f"{path} cannot be read: {error.strerror}"
