from __future__ import annotations

import functools
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import aiohttp
import pytest

from idtoken_proxy.emulator.emulator import Emulator
from idtoken_proxy.emulator.federation import SERVICE, Aws, Oidc, Provider, pool_path
from idtoken_proxy.emulator.keys import Keys, SigningKey
from idtoken_proxy.emulator.receivers import Seen
from idtoken_proxy.emulator.world import PROJECT_NUMBER, Account, Iap, Service, World, service_account_email

PROJECT = "test-project"
AMAZON = Aws("111122223333", "web", "eu-west-1")
LOGIN = Account(service_account_email("login", PROJECT), default=True)
POOL = f"{SERVICE}/{pool_path(PROJECT_NUMBER, 'outside')}"
INDEXER = Account(
    service_account_email("indexer", PROJECT),
    token_creators=frozenset(
        {
            LOGIN.member,
            f"principal:{POOL}/subject/{AMAZON.arn}",
            f"principalSet:{POOL}/attribute.repository/octo/app",
        }
    ),
)
DEV = Account("dev@example.com")
GITHUB = Oidc("https://github.example.com", workload=(("sub", "octo"), ("repository", "octo/app")))
CLIENT = "123-abc.apps.googleusercontent.com"
WORLD = World(
    project=PROJECT,
    accounts=(LOGIN, INDEXER, DEV),
    services=(
        Service(
            "profiles", frozenset({LOGIN.member, DEV.member}), audiences=("https://profiles.example.com",)
        ),
        Service("search", frozenset({INDEXER.member})),
        Service("members", frozenset({"allAuthenticatedUsers"})),
        Service("public", frozenset({"allUsers"})),
        Service("intranet", frozenset({LOGIN.member, DEV.member}), iap=Iap(CLIENT)),
        Service("managed", frozenset({LOGIN.member, INDEXER.member}), iap=Iap(None)),
        Service("resize", frozenset({LOGIN.member, DEV.member}), is_function=True),
    ),
    providers=(
        Provider("outside", "github", GITHUB, (("repository", "repository"), ("actor", "actor"))),
        Provider("outside", "azure", Oidc("https://azure.example.com", ("api://app", "api://other"))),
        Provider("outside", "amazon", AMAZON),
        Provider("outside", "elsewhere", Oidc("https://e.example.com", keys=(("k", "PEM"),))),
    ),
)


@dataclass
class FakeClock:
    """Starts at a whole second of no importance; stands still."""

    now: float = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Recorder:
    seen: list[Seen] = field(default_factory=list)

    def __call__(self, seen: Seen) -> None:
        self.seen.append(seen)


@functools.cache
def stranger() -> SigningKey:
    """A key that nobody here knows. RSA keys are slow to make."""
    return SigningKey.generate("stranger")


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


@pytest.fixture
async def emulator(keys: Keys, clock: FakeClock, recorder: Recorder) -> AsyncIterator[Emulator]:
    async with Emulator(WORLD, keys=keys, clock=clock, on_request=recorder) as running:
        yield running


@pytest.fixture
async def client() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session
