"""A world's YAML -> World, or every mistake with its line. docs/emulator.md shows a file with everything in it."""

from __future__ import annotations

import difflib
import re
from collections.abc import Hashable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final

from idtoken_proxy.emulator.federation import POOL, Aws, Oidc, Provider
from idtoken_proxy.emulator.keys import public_pem
from idtoken_proxy.emulator.world import (
    ANY_ACCOUNT,
    ANYONE,
    PROJECT_NUMBER,
    Account,
    Iap,
    Service,
    World,
    service_account_email,
)
from idtoken_proxy.errors import ConfigError, Problem
from idtoken_proxy.settings.addresses import is_loopback, port, split_authority
from idtoken_proxy.settings.mistakes import Location, Mistake, Origin, dotted
from idtoken_proxy.settings.model import TcpAddress
from idtoken_proxy.settings.plausible import shown
from idtoken_proxy.settings.shape import (
    Entry,
    Items,
    Mistaken,
    Scalar,
    Section,
    Table,
    choice_of,
    key,
    without_nulls,
)
from idtoken_proxy.settings.values import boolean, printable, text
from idtoken_proxy.settings.yaml_lines import YamlError, read_yaml

NAME_SHAPE: Final = "lower-case letters, digits and hyphens, a letter first, belong here"
EMAIL_SHAPE: Final = "an email address belongs here"
DIGITS: Final = "12 digits, in quotes, belong here"


def _matching(pattern: str, shape: str) -> Scalar[str]:
    def parse(value: object) -> str:
        if not isinstance(value, str) or not re.fullmatch(pattern, value):
            raise ValueError(f"{shape}, not {shown(value)}")
        return value

    return Scalar(parse)


def _port(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= 65535:
        raise ValueError(f"a port from 0 to 65535 belongs here, not {shown(value)}")
    return value


def _generation(value: object) -> int:
    if value != 1:
        raise ValueError(f"1 belongs here, as others are services, not {shown(value)}")
    return 1


def app_url(value: object) -> str:
    """`http://HOST:PORT`, as a container's is: the path is the request's, and TLS ends before it."""
    if not isinstance(value, bool) and re.fullmatch(r":?[0-9]{1,5}", str(value)):
        raise ValueError(f"must be a URL; write http://localhost:{str(value).removeprefix(':')}")
    url = text(value)
    match = re.fullmatch(r"(?:([A-Za-z][A-Za-z0-9+.-]*)://)?([^/?#@\\\s]+)(/?)", url)
    if match is None or match[1] not in (None, "http"):
        raise ValueError(f"must be http://HOST:PORT of an app, and no more, not {shown(url)}")
    host, number = split_authority(match[2])
    if not number:
        raise ValueError(f"says no port; write http://{TcpAddress(host, 3000)}")
    address = TcpAddress(host, port(number, lowest=1))
    if match[1] is None:
        raise ValueError(f"must be a URL; write http://{address}")
    return f"http://{address}"


NAME: Final = _matching(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?", NAME_SHAPE)
EMAIL: Final = _matching(r"[^@\s/:]+@[^@\s/:]+", EMAIL_SHAPE)
NUMBER: Final = _matching(r"[0-9]{12}", DIGITS)
TEXT: Final = Scalar(printable)
BOOLEAN: Final = Scalar(boolean)
APP: Final = Scalar(app_url)


class _Account(Entry):
    name: str | None = key(NAME, default=None)
    email: str | None = key(EMAIL, default=None)
    default: bool = key(BOOLEAN, default=False)
    token_creators: list[str] = key(Items(TEXT), default=[])

    def contradiction(self) -> str | None:
        return "either name or email says who it is" if (self.name is None) == (self.email is None) else None


class _Iap(Entry):
    """Without a client ID: Google manages the client."""

    client_id: str | None = key(TEXT, default=None)


class _Service(Entry):
    name: str = key(NAME)
    invokers: list[str] = key(Items(TEXT), default=[])
    region: str = key(NAME, default="us-central1")
    port: int = key(Scalar(_port), default=0)
    audiences: list[str] = key(Items(TEXT), default=[])
    iap: _Iap | None = key(Section(_Iap, word="managed"), default=None)
    function: int | None = key(Scalar(_generation), default=None)
    backend: str | None = key(APP, default=None)

    def contradiction(self) -> str | None:
        if self.iap is not None and self.function is not None:
            return "iap and function are two front ends; one stands before it"
        host, _, number = (self.backend or "").removeprefix("http://").rpartition(":")
        if self.port and number == str(self.port) and is_loopback(host.strip("[]")):
            return "backend is this service itself; the app needs a port of its own"
        return None

    @property
    def front_end(self) -> Iap | None:
        return Iap(self.iap.client_id) if self.iap else None


class _Jwk(Entry, lenient=True):
    """An issuer's public key as it publishes it (RFC 7517)."""

    kty: str = key(choice_of("RSA"))
    kid: str = key(TEXT)
    n: str = key(TEXT)
    e: str = key(TEXT)

    def contradiction(self) -> str | None:
        try:
            public_pem(self.n, self.e)
        except ValueError as error:
            return str(error)
        return None


class _Jwks(Entry):
    keys: list[_Jwk] = key(Items(Section(_Jwk), least=1))


class _Oidc(Entry):
    issuer: str = key(TEXT)
    audiences: list[str] = key(Items(TEXT), default=[])
    attributes: dict[str, str] = key(Table(TEXT), default={})
    workload: dict[str, str] = key(Table(TEXT), default={"sub": "workload"})
    jwks: _Jwks | None = key(Section(_Jwks), default=None)

    @property
    def trusts(self) -> Oidc:
        keys = tuple((jwk.kid, public_pem(jwk.n, jwk.e)) for jwk in (self.jwks.keys if self.jwks else ()))
        return Oidc(self.issuer, tuple(self.audiences), keys, tuple(self.workload.items()))


class _Aws(Entry):
    account: str = key(NUMBER)
    role: str = key(TEXT, default="workload")
    region: str = key(NAME, default="us-east-1")

    @property
    def trusts(self) -> Aws:
        return Aws(self.account, self.role, self.region)


class _Provider(Entry):
    name: str = key(NAME)
    oidc: _Oidc | None = key(Section(_Oidc), default=None)
    aws: _Aws | None = key(Section(_Aws), default=None)

    def contradiction(self) -> str | None:
        return "either oidc or aws says whom it trusts" if (self.oidc is None) == (self.aws is None) else None

    def in_pool(self, pool: str) -> Provider:
        trusted = self.oidc or self.aws
        assert trusted is not None
        attributes = tuple(self.oidc.attributes.items()) if self.oidc else ()
        return Provider(pool, self.name, trusted.trusts, attributes)


class _Pool(Entry):
    name: str = key(NAME)
    providers: list[_Provider] = key(Items(Section(_Provider)), default=[])


class _World(Entry):
    project: str = key(NAME, default="demo-project")
    number: str = key(NUMBER, default=PROJECT_NUMBER)
    accounts: list[_Account] = key(Items(Section(_Account)))
    services: list[_Service] = key(Items(Section(_Service)))
    pools: list[_Pool] = key(Items(Section(_Pool)), default=[])


_PRINCIPAL = re.compile(rf"principal(?:Set)?:{POOL}/(?:\*|[^/]+/.+)")


def load_world(file: str) -> World:
    """ConfigError where it is wrong; OSError where it cannot be read."""
    return parse_world(Path(file).read_bytes(), file)


def parse_world(text: str | bytes, file: str) -> World:
    try:
        reading = read_yaml(text if isinstance(text, str) else text.decode(), lambda value: value)
    except UnicodeDecodeError:
        raise ConfigError((Problem(file, 0, "", "not a text in UTF-8"),)) from None
    except YamlError as error:
        raise ConfigError((Problem(file, error.line, "", error.message),)) from None
    origin = Origin(file, reading.tree, reading.lines)
    problems = [Problem(file, line, dotted(location), said) for line, location, said in reading.mistakes]
    try:
        world, mistakes = _resolved(_World.read(without_nulls(reading.tree)))
    except Mistaken as mistaken:
        mistakes = mistaken.mistakes
    problems += [origin.problem(location, said) for location, said in mistakes]
    if problems:
        raise ConfigError(tuple(sorted(problems)))
    return world


def _resolved(entry: _World) -> tuple[World, list[Mistake]]:
    """The world, and what its entries say against each other."""
    mistakes: list[Mistake] = []
    plain = [Account(a.email or service_account_email(str(a.name), entry.project)) for a in entry.accounts]
    members = {name: a.member for a in plain for name in (a.name, a.email, a.member)}
    members |= {ANYONE: ANYONE, ANY_ACCOUNT: ANY_ACCOUNT}
    pools = {pool.name for pool in entry.pools}

    def resolved(names: list[str], *location: int | str) -> frozenset[str]:
        found = set()
        for index, name in enumerate(names):
            principal = _PRINCIPAL.fullmatch(name) if location[-1] == "token_creators" else None
            if principal is not None and (principal["number"], principal["pool"]) not in {
                (entry.number, pool) for pool in pools
            }:
                mistakes.append(((*location, index), f"no such workload identity pool: {name!r}"))
            elif principal is None and name not in members:
                mistakes.append(((*location, index), f"no such account: {_nearest(name, members)}"))
            else:
                found.add(members.get(name, name))
        return frozenset(found)

    world = World(
        project=entry.project,
        accounts=tuple(
            Account(account.email, a.default, resolved(a.token_creators, "accounts", i, "token_creators"))
            for i, (account, a) in enumerate(zip(plain, entry.accounts, strict=True))
        ),
        services=tuple(
            Service(
                s.name,
                resolved(s.invokers, "services", i, "invokers"),
                s.region,
                s.port,
                tuple(s.audiences),
                s.front_end,
                s.function is not None,
                s.backend,
            )
            for i, s in enumerate(entry.services)
        ),
        number=entry.number,
        providers=tuple(p.in_pool(pool.name) for pool in entry.pools for p in pool.providers),
    )
    mistakes += _repeated(("accounts",), "name", [account.name for account in plain])
    mistakes += _repeated(("accounts",), "default", [account.default or None for account in world.accounts])
    mistakes += _repeated(("services",), "name", [service.name for service in world.services])
    mistakes += _repeated(("services",), "port", [service.port or None for service in world.services])
    mistakes += _repeated(("pools",), "name", [pool.name for pool in entry.pools])
    for i, pool in enumerate(entry.pools):
        mistakes += _repeated(("pools", i, "providers"), "name", [p.name for p in pool.providers])
    return world, mistakes


def _repeated(entries: Location, key: str, values: Sequence[Hashable]) -> Iterator[Mistake]:
    first: dict[Hashable, int] = {}
    for index, value in enumerate(values):
        if value is not None and first.setdefault(value, index) != index:
            yield (*entries, index, key), f"{entries[-1]}[{first[value]}] has the same already"


def _nearest(name: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    return f"{name!r}; {near[0]!r} is meant?" if near else repr(name)
