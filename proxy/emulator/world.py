"""Who is there: the accounts and the private services of an emulated project, frozen.

Sources: https://cloud.google.com/run/docs/authenticating/service-to-service (the story that DEMO tells),
https://cloud.google.com/iam/docs/principal-identifiers (members).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

ANYONE = "allUsers"
ANY_ACCOUNT = "allAuthenticatedUsers"


@dataclass(frozen=True, slots=True)
class Account:
    """`default`: whose tokens the metadata server gives out. `token_creators`: members that may impersonate it."""

    email: str
    default: bool = False
    token_creators: frozenset[str] = frozenset()

    @property
    def name(self) -> str:
        return self.email.partition("@")[0]

    @property
    def is_service_account(self) -> bool:
        return self.email.endswith(".gserviceaccount.com")

    @property
    def member(self) -> str:
        return f"{'serviceAccount' if self.is_service_account else 'user'}:{self.email}"

    @property
    def subject(self) -> str:
        """The unique ID, 21 digits, the same at every start."""
        return f"1{int(hashlib.sha256(self.email.encode()).hexdigest(), 16) % 10**20:020d}"

    def is_among(self, members: frozenset[str]) -> bool:
        return not members.isdisjoint((self.member, ANYONE, ANY_ACCOUNT))


@dataclass(frozen=True, slots=True)
class Service:
    """`invokers`: members with roles/run.invoker. `audiences`: custom audiences, accepted besides its own URL.
    `port` 0 lets the kernel choose.
    """

    name: str
    invokers: frozenset[str] = frozenset()
    region: str = "us-central1"
    port: int = 0
    audiences: tuple[str, ...] = ()

    @property
    def is_public(self) -> bool:
        return ANYONE in self.invokers


@dataclass(frozen=True, slots=True)
class World:
    project: str
    accounts: tuple[Account, ...]
    services: tuple[Service, ...]

    @property
    def default_account(self) -> Account | None:
        return next((account for account in self.accounts if account.default), None)

    def account(self, name_or_email: str) -> Account | None:
        """`default` is the metadata server's alias for the account that is marked so."""
        if name_or_email == "default":
            return self.default_account
        return next((a for a in self.accounts if name_or_email in (a.email, a.name)), None)

    def account_of_subject(self, subject: str) -> Account | None:
        return next((account for account in self.accounts if account.subject == subject), None)


def service_account_email(name: str, project: str) -> str:
    return f"{name}@{project}.iam.gserviceaccount.com"


def _demo() -> World:
    project = "demo-project"
    login = Account(service_account_email("login", project), default=True)
    search_indexer = Account(service_account_email("search-indexer", project))
    return World(
        project=project,
        accounts=(login, search_indexer),
        services=(
            Service("user-profiles", invokers=frozenset({login.member})),
            Service("search", invokers=frozenset({search_indexer.member})),
            Service("billing", invokers=frozenset({login.member})),
        ),
    )


# As Google's documentation tells it: the login service may call user-profiles, and may not call search.
DEMO = _demo()
