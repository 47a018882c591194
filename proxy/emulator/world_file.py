"""A world's YAML -> World, or every mistake with its line.

A file with everything in it:

    project: my-project
    number: "123456789012"             # the project's; in the names of its pools
    accounts:
      - name: login                    # login@PROJECT.iam.gserviceaccount.com; email: for any other
        default: true                  # the metadata server gives out its tokens
      - name: search-indexer
        token_creators:                # who may impersonate it
          - login
          - principalSet://iam.googleapis.com/projects/123456789012/locations/global/workloadIdentityPools/outside/attribute.repository/octo/app
      - email: dev@example.com         # a user: has a refresh token in place of a key
    services:
      - name: user-profiles
        invokers: [login, dev@example.com]   # names, emails, serviceAccount:..., user:..., allUsers
        port: 8101                     # default: any that is free
        region: us-central1
        audiences: [https://profiles.example.com]   # custom ones, besides its own URL
      - name: intranet
        invokers: [login]
        iap: {client_id: 123-abc.apps.googleusercontent.com}   # or managed: Google's own client
      - name: resize
        invokers: [login]
        function: 1                    # a 1st-generation function: its name is its path
    pools:                             # who from outside Google Cloud may come in
      - name: outside
        providers:
          - name: github
            oidc:
              issuer: https://token.actions.githubusercontent.com
              workload: {sub: "repo:octo/app:ref:refs/heads/main", repository: octo/app}   # claims of its tokens
              attributes: {repository: repository}   # attribute.repository=assertion.repository
              # jwks: {keys: [...]}: the keys of a real issuer, which alone can sign then
          - name: azure
            oidc:
              issuer: https://sts.windows.net/00000000-0000-0000-0000-000000000001/
              audiences: [api://my-app]   # default: the provider's resource name
          - name: amazon
            aws: {account: "111122223333", role: web, region: eu-west-1}
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Hashable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Literal, TypeAlias

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_core import ErrorDetails

from proxy.emulator.federation import POOL, Aws, Oidc, Provider
from proxy.emulator.keys import public_pem
from proxy.emulator.world import (
    ANY_ACCOUNT,
    ANYONE,
    PROJECT_NUMBER,
    Account,
    Iap,
    Service,
    World,
    service_account_email,
)
from proxy.errors import ConfigError, Problem
from proxy.settings.mistakes import Location, Mistake, Origin, dotted
from proxy.settings.yaml_lines import YamlError, read_yaml

Name: TypeAlias = Annotated[str, StringConstraints(pattern=r"^[a-z]([-a-z0-9]{0,61}[a-z0-9])?$")]
Email: TypeAlias = Annotated[str, StringConstraints(pattern=r"^[^@\s/:]+@[^@\s/:]+$")]
Digits: TypeAlias = Annotated[str, StringConstraints(pattern=r"^\d{12}$")]
Text: TypeAlias = Annotated[str, StringConstraints(min_length=1)]


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


class _Iap(_Entry):
    """Without a client ID: Google manages the client."""

    client_id: Text | None = None


class _Service(_Entry):
    name: Name
    invokers: list[Text] = []
    region: Name = "us-central1"
    port: Annotated[int, Field(ge=0, le=65535)] = 0
    audiences: list[Text] = []
    iap: _Iap | None = None
    function: Literal[1] | None = None

    @field_validator("iap", mode="before")
    @classmethod
    def _managed(cls, value: object) -> object:
        return {} if value == "managed" else value

    @model_validator(mode="after")
    def _one_front_end(self) -> _Service:
        if self.iap is not None and self.function is not None:
            raise ValueError("iap and function are two front ends; one stands before it")
        return self

    @property
    def front_end(self) -> Iap | None:
        return Iap(self.iap.client_id) if self.iap else None


class _Jwk(BaseModel):
    model_config = ConfigDict(extra="ignore", strict=True, frozen=True)

    kty: Literal["RSA"]
    kid: Text
    n: Text
    e: Text

    @model_validator(mode="after")
    def _a_key(self) -> _Jwk:
        public_pem(self.n, self.e)
        return self


class _Jwks(_Entry):
    keys: Annotated[list[_Jwk], Field(min_length=1)]


class _Oidc(_Entry):
    issuer: Text
    audiences: list[Text] = []
    attributes: dict[str, Text] = {}
    workload: dict[str, Text] = {"sub": "workload"}
    jwks: _Jwks | None = None

    @property
    def trusts(self) -> Oidc:
        keys = tuple((jwk.kid, public_pem(jwk.n, jwk.e)) for jwk in (self.jwks.keys if self.jwks else ()))
        return Oidc(self.issuer, tuple(self.audiences), keys, tuple(self.workload.items()))


class _Aws(_Entry):
    account: Digits
    role: Text = "workload"
    region: Name = "us-east-1"

    @property
    def trusts(self) -> Aws:
        return Aws(self.account, self.role, self.region)


class _Provider(_Entry):
    name: Name
    oidc: _Oidc | None = None
    aws: _Aws | None = None

    @model_validator(mode="after")
    def _one_of_both(self) -> _Provider:
        if (self.oidc is None) == (self.aws is None):
            raise ValueError("either oidc or aws says whom it trusts")
        return self

    def in_pool(self, pool: str) -> Provider:
        trusted = self.oidc or self.aws
        assert trusted is not None
        attributes = tuple(self.oidc.attributes.items()) if self.oidc else ()
        return Provider(pool, self.name, trusted.trusts, attributes)


class _Pool(_Entry):
    name: Name
    providers: list[_Provider] = []


class _World(_Entry):
    project: Name = "demo-project"
    number: Digits = PROJECT_NUMBER
    accounts: list[_Account]
    services: list[_Service]
    pools: list[_Pool] = []


NAME_SHAPE = "lower-case letters, digits and hyphens, a letter first, belong here"
DIGITS = "12 digits, in quotes, belong here"
SHAPES = {"email": "an email address belongs here", "number": DIGITS, "account": DIGITS}
ENTRIES = (_World, _Account, _Service, _Iap, _Pool, _Provider, _Oidc, _Aws, _Jwks)
KEYS = [key for entry in ENTRIES for key in entry.model_fields]
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
        world, contradictions = _resolved(_World.model_validate(reading.tree))
    except ValidationError as mistakes:
        contradictions = [(m["loc"], _sentence(m)) for m in mistakes.errors()]
    problems += [origin.problem(location, said) for location, said in contradictions]
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
