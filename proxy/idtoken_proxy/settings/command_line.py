"""Options of commands that stand for keys: what `serve --upstream URL` says in place of a file."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from idtoken_proxy.errors import ConfigError, Problem
from idtoken_proxy.settings.mistakes import Location
from idtoken_proxy.settings.plausible import shown

ONLY_ROUTE: Final = "default"  # the name of the route that --upstream makes

# An option counts before a variable and before the file: what is said last and nearest.
KEYS: Final[Mapping[str, Location]] = {
    "--listen": ("listen",),
    "--admin": ("admin",),
    "--allow-remote": ("allow_remote",),
    "--allow-host": ("guard", "allowed_hosts"),
    "--allow-origin": ("guard", "allowed_origins"),
    "--caller-token-file": ("guard", "caller_token_file"),
    "--log-level": ("log", "level"),
}
# Beside a file too. The others say what a file is there to say, who may use the proxy for one.
ANYWHERE: Final = frozenset({"--admin", "--log-level"})

_ROUTE: Final = re.compile(r"(?P<host>[^/=]*)(?P<path>/[^=]*)?=(?P<upstream>.+)", re.DOTALL)
_NOT_IN_A_NAME: Final = re.compile(r"[^A-Za-z0-9]+")


@dataclass(frozen=True, slots=True)
class CommandLine:
    """`routes`: each `/PATH=URL`, `HOST=URL` or `HOST/PATH=URL`. `keys`: by option, of KEYS. `identity`: of the route that
    `upstream` makes, as the key's value; `upstream_is`: how the command calls that one.
    """

    upstream: str | None = None
    audience: str | None = None
    routes: tuple[str, ...] = ()
    keys: Mapping[str, object] = field(default_factory=dict)
    identity: object = None
    upstream_is: str = "--upstream"

    def tree(self) -> tuple[dict[str, Any], dict[Location, str]]:
        """A document of the routes, and by which option each part of it was said. ConfigError.

        A route's path comes off, for a receiver knows nothing of it.
        """
        routes: list[dict[str, Any]] = []
        said: dict[Location, str] = {}
        for one in self.routes:
            said["routes", len(routes)] = "--route"
            routes.append(_route(one))
        if self.upstream is not None:
            at: Location = ("routes", len(routes))
            said |= {at: self.upstream_is, (*at, "audience"): "--audience", (*at, "identity"): "--identity"}
            only = {"name": ONLY_ROUTE, "upstream": self.upstream, "audience": self.audience}
            routes.append(only if self.identity is None else {**only, "identity": self.identity})
        said["routes",] = self.upstream_is if self.upstream is not None else "--route"
        return {"routes": routes}, said

    def lacking(self) -> Iterator[Problem]:
        """A file that says `allow_remote: true` was thought about. An option is soon pasted, so it wants what keeps
        strangers out said beside it.
        """
        if self.keys.get("--allow-remote") and not self.keys.get("--caller-token-file"):
            yield Problem(
                "--allow-remote",
                0,
                "",
                "lets other machines act as the proxy's identity, so callers must send a secret; make one with "
                "openssl rand -hex 32 > caller.token, and add --caller-token-file caller.token",
            )


def _route(said: str) -> dict[str, Any]:
    before, divided, _ = said.partition("=")
    match = _ROUTE.fullmatch(said)
    if match is None or not before or "://" in before:
        # A URL may hold what nobody else should read, so it is not shown.
        told = f", not {shown(before + '=...')}" if divided and "://" not in before else ""
        message = f"must be /PATH=URL or HOST=URL, such as /a=https://a.example.com{told}"
        raise ConfigError((Problem("--route", 0, "", message),))
    host, path = match["host"], match["path"] or "/"
    where: dict[str, Any] = {"path": path} | ({"host": host} if host else {})
    # profiles.localhost/v1 is profiles-v1: the name of a variable in a wrapped app.
    spelled = host.removesuffix(".localhost") + path
    return {
        "name": _NOT_IN_A_NAME.sub("-", spelled).strip("-")[:63] or "root",
        "upstream": match["upstream"],
        "match": where,
        "strip_prefix": True,
    }
