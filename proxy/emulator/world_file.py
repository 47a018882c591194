"""A world's YAML -> World, or every mistake with its line.

A file with everything in it:

    project: my-project
    accounts:
      - name: login                    # login@PROJECT.iam.gserviceaccount.com; email: for any other
        default: true                  # the metadata server gives out its tokens
      - name: search-indexer
        token_creators: [login]        # who may impersonate it
      - email: dev@example.com         # a user: has a refresh token in place of a key
    services:
      - name: user-profiles
        invokers: [login, dev@example.com]   # names, emails, serviceAccount:..., user:..., allUsers
        port: 8101                     # default: any that is free
        region: us-central1
        audiences: [https://profiles.example.com]   # custom ones, besides its own URL
"""

from __future__ import annotations

import difflib
from collections.abc import Hashable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, TypeAlias

import yaml
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator
from pydantic_core import ErrorDetails

from proxy.emulator.world import (
    ANY_ACCOUNT,
    ANYONE,
    Account,
    Service,
    World,
    service_account_email,
)
from proxy.errors import ConfigError, Problem

Name: TypeAlias = Annotated[str, StringConstraints(pattern=r"^[a-z]([-a-z0-9]{0,61}[a-z0-9])?$")]
Email: TypeAlias = Annotated[str, StringConstraints(pattern=r"^[^@\s/:]+@[^@\s/:]+$")]
Text: TypeAlias = Annotated[str, StringConstraints(min_length=1)]
Location: TypeAlias = tuple[int | str, ...]
Mistake: TypeAlias = tuple[Location, str]


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class _Account(_Entry):
    name: Name | None = None
    email: Email | None = None
    default: bool = False
    token_creators: list[Text] = []

    @model_validator(mode="after")
    def _one_of_both(self) -> _Account:
        if (self.name is None) == (self.email is None):
            raise ValueError("either name or email says who it is")
        return self


class _Service(_Entry):
    name: Name
    invokers: list[Text] = []
    region: Name = "us-central1"
    port: Annotated[int, Field(ge=0, le=65535)] = 0
    audiences: list[Text] = []


class _World(_Entry):
    project: Name = "demo-project"
    accounts: list[_Account]
    services: list[_Service]


NAME_SHAPE = "lower-case letters, digits and hyphens, a letter first, belong here"
SHAPES = {"email": "an email address belongs here"}
KEYS = [key for entry in (_World, _Account, _Service) for key in entry.model_fields]


def load_world(file: str) -> World:
    """ConfigError where it is wrong; OSError where it cannot be read."""
    return parse_world(Path(file).read_bytes(), file)


def parse_world(text: str | bytes, file: str) -> World:
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        entry = _World.model_validate(yaml.safe_load(text))
    except yaml.YAMLError as mistake:
        mark = getattr(mistake, "problem_mark", None)
        said = getattr(mistake, "problem", None) or "not a text"
        raise ConfigError((Problem(file, mark.line + 1 if mark else 0, "", f"no YAML: {said}"),)) from None
    except ValidationError as mistakes:
        raise _config_error(file, node, ((m["loc"], _sentence(m)) for m in mistakes.errors())) from None
    world, contradictions = _resolved(entry)
    if contradictions:
        raise _config_error(file, node, contradictions)
    return world


def _resolved(entry: _World) -> tuple[World, list[Mistake]]:
    """The world, and what its entries say against each other."""
    mistakes: list[Mistake] = []
    plain = [Account(a.email or service_account_email(str(a.name), entry.project)) for a in entry.accounts]
    members = {name: a.member for a in plain for name in (a.name, a.email, a.member)}
    members |= {ANYONE: ANYONE, ANY_ACCOUNT: ANY_ACCOUNT}

    def resolved(names: list[str], *location: int | str) -> frozenset[str]:
        for index, name in enumerate(names):
            if name not in members:
                mistakes.append(((*location, index), f"no such account: {_nearest(name, members)}"))
        return frozenset(members[name] for name in names if name in members)

    world = World(
        project=entry.project,
        accounts=tuple(
            Account(account.email, a.default, resolved(a.token_creators, "accounts", i, "token_creators"))
            for i, (account, a) in enumerate(zip(plain, entry.accounts, strict=True))
        ),
        services=tuple(
            Service(
                s.name, resolved(s.invokers, "services", i, "invokers"), s.region, s.port, tuple(s.audiences)
            )
            for i, s in enumerate(entry.services)
        ),
    )
    mistakes += _repeated("accounts", "name", [account.name for account in plain])
    mistakes += _repeated("accounts", "default", [account.default or None for account in world.accounts])
    mistakes += _repeated("services", "name", [service.name for service in world.services])
    mistakes += _repeated("services", "port", [service.port or None for service in world.services])
    return world, mistakes


def _repeated(entries: str, key: str, values: Sequence[Hashable]) -> Iterator[Mistake]:
    first: dict[Hashable, int] = {}
    for index, value in enumerate(values):
        if value is not None and first.setdefault(value, index) != index:
            yield (entries, index, key), f"{entries}[{first[value]}] has the same already"


def _sentence(mistake: ErrorDetails) -> str:
    match mistake["type"]:
        case "extra_forbidden":
            return f"no such key: {_nearest(str(mistake['loc'][-1]), KEYS)}"
        case "missing":
            return "is missing"
        case "model_type" | "model_attributes_type":
            return "a mapping of keys to values belongs here"
        case "string_pattern_mismatch":
            return f"{SHAPES.get(str(mistake['loc'][-1]), NAME_SHAPE)}, not {mistake['input']!r:.60}"
        case "value_error":
            return str(mistake["ctx"]["error"])
        case _:
            return f"{mistake['msg'][0].lower()}{mistake['msg'][1:]}, not {mistake['input']!r:.60}"


def _nearest(name: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    return f"{name!r}; {near[0]!r} is meant?" if near else repr(name)


def _config_error(file: str, root: yaml.Node | None, mistakes: Iterable[Mistake]) -> ConfigError:
    problems = [Problem(file, _line(root, at), _dotted(at), said) for at, said in mistakes]
    return ConfigError(tuple(sorted(problems)))


def _dotted(location: Location) -> str:
    path = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location)
    return path.removeprefix(".")


def _line(root: yaml.Node | None, location: Location) -> int:
    """Of the deepest part of `location` that is there; counted from 1."""
    place = node = root
    for part in location:
        place, node = _children(node).get(part, (place, node))
    return place.start_mark.line + 1 if place else 1


def _children(node: yaml.Node | None) -> dict[int | str, tuple[yaml.Node, yaml.Node]]:
    """Key or index -> where it stands, and its value."""
    if isinstance(node, yaml.MappingNode):
        return {key.value: (key, value) for key, value in node.value}
    items = node.value if isinstance(node, yaml.SequenceNode) else ()
    return {index: (item, item) for index, item in enumerate(items)}
