"""Who is there: the accounts and the private services of an emulated project, frozen.

Sources: https://cloud.google.com/run/docs/authenticating/service-to-service (the story that DEMO tells),
https://cloud.google.com/iam/docs/principal-identifiers (members).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TypeAlias

from idtoken_proxy.emulator.federation import SERVICE, Aws, Federated, Oidc, Provider, pool_path
from idtoken_proxy.settings.model import CLOUD_PLATFORM

ANYONE = "allUsers"
ANY_ACCOUNT = "allAuthenticatedUsers"
PROJECT_NUMBER = "123456789012"
ORGANIZATION = "987654321098"


@dataclass(frozen=True, slots=True)
class Account:
    """`email`: of an agent, its SPIFFE ID (agent_id). `default`: whose tokens the metadata server gives out. `token_creators`: members that may impersonate it."""

    email: str
    default: bool = False
    token_creators: frozenset[str] = frozenset()

    @property
    def name(self) -> str:
        return self.email.rpartition("/")[2].partition("@")[0]

    @property
    def is_agent(self) -> bool:
        return self.email.startswith("spiffe://")

    @property
    def is_service_account(self) -> bool:
        return self.email.endswith(".gserviceaccount.com")

    @property
    def member(self) -> str:
        if self.is_agent:
            return f"principal{self.email.removeprefix('spiffe')}"
        return f"{'serviceAccount' if self.is_service_account else 'user'}:{self.email}"

    @property
    def subject(self) -> str:
        """The unique ID, 21 digits, the same at every start; an agent's is its SPIFFE ID."""
        if self.is_agent:
            return self.email
        return f"1{int(hashlib.sha256(self.email.encode()).hexdigest(), 16) % 10**20:020d}"

    def is_among(self, members: frozenset[str]) -> bool:
        return not members.isdisjoint((self.member, ANYONE, ANY_ACCOUNT))


Principal: TypeAlias = Account | Federated


@dataclass(frozen=True, slots=True)
class Iap:
    """What stands before a service in Cloud Run's place. `client_id`: of its own OAuth client; None: Google manages
    the client, and only JWTs that a service account signed itself are taken.
    """

    client_id: str | None = None


@dataclass(frozen=True, slots=True)
class Service:
    """`invokers`: members with roles/run.invoker (behind IAP: roles/iap.httpsResourceAccessor). `audiences`: custom
    audiences, accepted besides its own URL. `port` 0 lets the kernel choose. `iap`: it is behind IAP.
    `is_function`: it is a 1st-generation Cloud Function. `backend`: http://HOST:PORT of the app that stands in its
    container; None: the emulator's own, which tells what it received. `api`: it stands in for that API of Google's, such as
    `storage`, and takes access tokens of one of `scopes` in place of ID tokens.
    """

    name: str
    invokers: frozenset[str] = frozenset()
    region: str = "us-central1"
    port: int = 0
    audiences: tuple[str, ...] = ()
    iap: Iap | None = None
    is_function: bool = False
    backend: str | None = None
    api: str | None = None
    scopes: tuple[str, ...] = (CLOUD_PLATFORM,)

    @property
    def path(self) -> str:
        """Where it begins on its host: a function has its name for a path."""
        return f"/{self.name}" if self.is_function else ""

    @property
    def is_public(self) -> bool:
        return ANYONE in self.invokers


@dataclass(frozen=True, slots=True)
class World:
    """`number`: the project's, in the names of its workload identity pools; `providers`: of those pools."""

    project: str
    accounts: tuple[Account, ...]
    services: tuple[Service, ...]
    number: str = PROJECT_NUMBER
    providers: tuple[Provider, ...] = ()

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

    def provider(self, audience: str) -> Provider | None:
        """By its full resource name."""
        return next((p for p in self.providers if p.audience(self.number) == audience), None)


def agent_id(name: str, number: str = PROJECT_NUMBER) -> str:
    """https://cloud.google.com/iam/docs/agent-identity-overview."""
    return (
        f"spiffe://agents.global.org-{ORGANIZATION}.system.id.goog/resources/aiplatform/projects/{number}/locations/"
        f"us-central1/reasoningEngines/{name}"
    )


def service_account_email(name: str, project: str) -> str:
    return f"{name}@{project}.iam.gserviceaccount.com"


def _demo() -> World:
    project = "demo-project"
    pool = "outside"
    anyone_of_pool = f"principalSet:{SERVICE}/{pool_path(PROJECT_NUMBER, pool)}/*"
    developer = Account("developer@example.com")
    login = Account(
        service_account_email("login", project),
        default=True,
        token_creators=frozenset({developer.member, anyone_of_pool}),
    )
    search_indexer = Account(
        service_account_email("search-indexer", project), token_creators=frozenset({login.member})
    )
    return World(
        project=project,
        accounts=(login, search_indexer, developer),
        services=(
            Service("user-profiles", invokers=frozenset({login.member})),
            Service("search", invokers=frozenset({search_indexer.member})),
            Service("billing", invokers=frozenset({login.member})),
        ),
        providers=(
            Provider(
                pool,
                "github",
                Oidc(
                    "https://token.actions.githubusercontent.com",
                    workload=(("sub", "repo:octo/app:ref:refs/heads/main"), ("repository", "octo/app")),
                ),
                attributes=(("repository", "repository"),),
            ),
            Provider(
                pool,
                "azure",
                Oidc(
                    "https://sts.windows.net/00000000-0000-0000-0000-000000000001/", audiences=("api://demo",)
                ),
            ),
            Provider(pool, "amazon", Aws("111122223333")),
        ),
    )


# As Google's documentation tells it: the login service may call user-profiles, and may not call search. A developer,
# and workloads on GitHub, Azure and AWS, may impersonate login; login may impersonate search-indexer.
DEMO = _demo()
