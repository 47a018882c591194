"""Options of commands that stand for keys: what `serve --upstream URL` means without a file."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from idtoken_proxy.errors import ConfigError, Problem
from idtoken_proxy.settings.mistakes import Location
from idtoken_proxy.settings.plausible import shown

ONLY_ROUTE: Final = "default"  # the route that --upstream makes

# Options override variables, and these the file: what was said last and nearest counts.
KEYS: Final[Mapping[str, Location]] = {
    "--listen": ("listen",),
    "--admin": ("admin",),
    "--allow-remote": ("allow_remote",),
    "--allow-host": ("guard", "allowed_hosts"),
    "--allow-origin": ("guard", "allowed_origins"),
    "--caller-token-file": ("guard", "caller_token_file"),
    "--log-level": ("log", "level"),
}
# Allowed beside a file. The other options say what belongs in a file if there is one, such as who may use the proxy.
ANYWHERE: Final = frozenset({"--admin", "--log-level"})

_ROUTE: Final = re.compile(r"(?P<host>[^/=]*)(?P<path>/[^=]*)?=(?P<upstream>.+)", re.DOTALL)
_NOT_IN_A_NAME: Final = re.compile(r"[^A-Za-z0-9]+")


@dataclass(frozen=True, slots=True)
class CommandLine:
    """`routes`: each `/PATH=URL`, `HOST=URL` or `HOST/PATH=URL`. `keys`: by option, of KEYS. `identity`: the key's
    value for the route that `upstream` makes. `upstream_is`: the command's name for that option.
    """

    upstream: str | None = None
    audience: str | None = None
    routes: tuple[str, ...] = ()
    keys: Mapping[str, object] = field(default_factory=dict)
    identity: object = None
    upstream_is: str = "--upstream"

    def tree(self) -> tuple[dict[str, Any], dict[Location, str]]:
        """Returns the routes as a document, and for each part the option that said it. Raises ConfigError.

        A route's path is stripped, because receivers know nothing of it.
        """
        routes: list[dict[str, Any]] = []
        options: dict[Location, str] = {}
        for one in self.routes:
            options["routes", len(routes)] = "--route"
            routes.append(_route(one))
        if self.upstream is not None:
            at: Location = ("routes", len(routes))
            options |= {
                at: self.upstream_is,
                (*at, "audience"): "--audience",
                (*at, "identity"): "--identity",
            }
            only = {"name": ONLY_ROUTE, "upstream": self.upstream, "audience": self.audience}
            routes.append(only if self.identity is None else {**only, "identity": self.identity})
        options["routes",] = self.upstream_is if self.upstream is not None else "--route"
        return {"routes": routes}, options

    def lacking(self) -> Iterator[Problem]:
        """An option is soon pasted, while a file with `allow_remote: true` was thought about. So the option needs
        another beside it that keeps strangers out.
        """
        if self.keys.get("--allow-remote") and not self.keys.get("--caller-token-file"):
            yield Problem(
                "--allow-remote",
                0,
                "",
                "lets other machines act as the proxy's identity, so callers must send a secret; make one with "
                "openssl rand -hex 32 > caller.token, and add --caller-token-file caller.token",
            )


def _route(option: str) -> dict[str, Any]:
    before, divided, _ = option.partition("=")
    match = _ROUTE.fullmatch(option)
    if match is None or not before or "://" in before:
        # A URL may hold a secret, so it is not shown.
        hint = f", not {shown(before + '=...')}" if divided and "://" not in before else ""
        message = f"must be /PATH=URL or HOST=URL, such as /a=https://a.example.com{hint}"
        raise ConfigError((Problem("--route", 0, "", message),))
    host, path = match["host"], match["path"] or "/"
    where: dict[str, Any] = {"path": path} | ({"host": host} if host else {})
    # profiles.localhost/v1 becomes profiles-v1: it names a variable in a wrapped app.
    spelled = host.removesuffix(".localhost") + path
    return {
        "name": _NOT_IN_A_NAME.sub("-", spelled).strip("-")[:63] or "root",
        "upstream": match["upstream"],
        "match": where,
        "strip_prefix": True,
    }
