"""What a wrapped app finds in its environment: URLs through the proxy, in place of the receivers' own."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Final
from urllib.parse import urlsplit

from idtoken_proxy.errors import ConfigError, Problem
from idtoken_proxy.settings.command_line import ONLY_ROUTE
from idtoken_proxy.settings.model import Address, Settings, TcpAddress
from idtoken_proxy.settings.names import url_variable

OWN: Final = "IDTOKEN_PROXY_URL"
FORWARD: Final = ("HTTP_PROXY", "http_proxy")  # curl reads the lower case alone
DIRECT: Final = ("NO_PROXY", "no_proxy")  # likewise
_LOOPBACK: Final = ("localhost", ".localhost", "127.0.0.1", "::1")
_EVERYWHERE: Final = frozenset({"0.0.0.0", "::"})  # noqa: S104


# What every program finds in its environment (POSIX, XBD section 8.3), and the port that a container platform tells it.
_EVERYBODY_S: Final = frozenset(
    [
        "HOME",
        "HOSTNAME",
        "LANG",
        "LOGNAME",
        "PATH",
        "PORT",
        "PWD",
        "SHELL",
        "TEMP",
        "TERM",
        "TMP",
        "TMPDIR",
        "TZ",
        "USER",
        "XDG_CONFIG_HOME",
        "XDG_RUNTIME_DIR",
    ]
)


# Google's libraries obey these before they look for a metadata server, and then find another identity or none at all.
BEFORE_METADATA: Final = frozenset({"GOOGLE_APPLICATION_CREDENTIALS", "NO_GCE_CHECK"})


def metadata(bound: Sequence[Address]) -> dict[str, str]:
    """What leads Google's libraries to a metadata server there; nothing without a TCP port, for they know no unix socket.
    Python's library looks for one at GCE_METADATA_IP, and asks it at GCE_METADATA_HOST; gcloud at GCE_METADATA_ROOT.
    """
    taken = next((address for address in bound if isinstance(address, TcpAddress)), None)
    if taken is None:
        return {}
    at = str(TcpAddress("localhost", taken.port) if taken.host in _EVERYWHERE else taken)
    return {
        "GCE_METADATA_HOST": at,
        "GCE_METADATA_IP": at,
        "GCE_METADATA_ROOT": at,
        "METADATA_SERVER_DETECTION": "assume-present",  # gcp-metadata, Node.js
    }


def own(taken_in: Collection[str]) -> frozenset[str]:
    """Of the variables that the configuration takes in, those that are the proxy's alone unless somebody says otherwise."""
    return frozenset(taken_in) - _EVERYBODY_S


def check(settings: Settings, *, http_proxy: bool) -> None:
    """ConfigError where there is no port that a variable could name, or nothing that answers there."""
    if http_proxy and not settings.forward_proxy:
        message = "--http-proxy needs forward_proxy: on, and it is off; leave one of the two out"
        raise ConfigError((Problem("settings", 0, "forward_proxy", message),))
    if http_proxy and not any(isinstance(address, TcpAddress) for address in settings.listen):
        message = (
            "--http-proxy needs a TCP port, and only unix sockets are listened on; add listen: localhost:0"
        )
        raise ConfigError((Problem("settings", 0, "listen", message),))


def variables(
    settings: Settings, bound: Sequence[Address], *, http_proxy: bool, from_options: bool = False
) -> dict[str, str]:
    """`bound`: what is really listened on, in the settings' order. Without a TCP port there is no URL for a route. Nor is there one for every service of a project, or
    for the route that `--upstream` makes (`from_options`): nobody gave it its name, and it is the proxy's own.
    """
    named = next((address for address in settings.listen if isinstance(address, TcpAddress)), None)
    taken = next((address for address in bound if isinstance(address, TcpAddress)), None)
    if named is None or taken is None:
        return {OWN: str(bound[0])} if bound else {}  # listeners before apps alone have nothing to ask for
    # An address that was named stands for itself: localhost may lead to another family, where somebody else listens.
    host = "localhost" if named.host in _EVERYWHERE else named.host
    own = f"http://{TcpAddress(host, taken.port)}"
    told = {OWN: own}
    for route in settings.routes:
        if (from_options and route.name == ONLY_ROUTE) or route.is_pattern:
            continue
        origin = own if route.host is None else f"http://{route.host}:{taken.port}"
        told[url_variable(route.name)] = origin + (route.path if route.path != "/" else "")
    if http_proxy:
        told |= dict.fromkeys(FORWARD, own)
    return told


def direct(
    environ: Mapping[str, str], told: Mapping[str, str], receivers: Collection[str] = ()
) -> dict[str, str]:
    """NO_PROXY: a network's own http_proxy must not get what is for this machine, which it could not bring here. What is
    there stays. `told`: from variables. `receivers`: hosts that the app is to ask this proxy for, as it is told by
    HTTP_PROXY: a receiver on loopback would be asked past it.
    """
    own = urlsplit(told[OWN]).hostname
    wanted = [one for one in (*_LOOPBACK, *([own] if own else [])) if one not in receivers]
    found: dict[str, str] = {}
    for name, other in (DIRECT, DIRECT[::-1]):
        kept = [one.strip() for one in (environ.get(name) or environ.get(other) or "").split(",")]
        kept = [one for one in kept if one]
        if "*" not in kept:
            kept += [one for one in dict.fromkeys(wanted) if one not in kept]
        found[name] = ",".join(kept)
    return found
