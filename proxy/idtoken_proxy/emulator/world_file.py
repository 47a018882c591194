"""A world's YAML -> World, or every mistake with its line. docs/emulator.md shows a file with everything in it."""

from __future__ import annotations

import difflib
import re
from collections.abc import Hashable, Iterable, Iterator, Sequence

from idtoken_proxy.emulator.federation import POOL
from idtoken_proxy.emulator.world import (
    ANY_ACCOUNT,
    ANYONE,
    Account,
    Service,
    World,
    agent_id,
    service_account_email,
)
from idtoken_proxy.emulator.world_entries import WorldEntry
from idtoken_proxy.errors import ConfigError, Problem
from idtoken_proxy.settings.load import read_file
from idtoken_proxy.settings.mistakes import Location, Mistake, Origin, dotted
from idtoken_proxy.settings.schema_dsl import ValidationError, without_nulls
from idtoken_proxy.settings.yaml_lines import YamlError, read_yaml

_PRINCIPAL = re.compile(rf"principal(?:Set)?:{POOL}/(?:\*|[^/]+/.+)")


def load_world(file: str) -> World:
    """ConfigError where it is wrong, or cannot be read. `-` is standard input."""
    return parse_world(read_file(file), file)


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
        world, mistakes = _resolved(WorldEntry.read(without_nulls(reading.tree)))
    except ValidationError as mistaken:
        mistakes = mistaken.mistakes
    problems += [origin.problem(location, said) for location, said in mistakes]
    if problems:
        raise ConfigError(tuple(sorted(problems)))
    return world


def _resolved(entry: WorldEntry) -> tuple[World, list[Mistake]]:
    """The world, and what its entries say against each other."""
    mistakes: list[Mistake] = []
    plain = [
        Account(
            agent_id(a.agent, entry.number)
            if a.agent
            else a.email or service_account_email(str(a.name), entry.project)
        )
        for a in entry.accounts
    ]
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
                s.api,
                tuple(s.scopes),
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
