"""Failures on demand: what goes wrong in real life, each by a name, at the issuers, in the tokens or at the receivers.

BREAKS is the table; `emulator.break_with("outage")` makes one happen, `emulator.mend()` ends it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from aiohttp import web

from idtoken_proxy.emulator import iam_credentials, metadata, sts, token_endpoint
from idtoken_proxy.emulator.refusals import (
    ApiRefusal,
    OAuthRefusal,
    account_not_found,
    consumer_suspended,
    organization_policy,
    perimeter,
    permission_denied,
    quota_project_denied,
    service_disabled,
)
from idtoken_proxy.emulator.world import World

Issuer: TypeAlias = Literal["metadata", "token", "sts", "iam"]
Claims: TypeAlias = dict[str, Any]

SLOW = 3.0  # seconds
SHORT_LIFE = 40  # seconds; a token with under 30 s left is never sent
CLOCKS_APART = 2 * 3600  # seconds
AGED_BY = 10  # requests
AGED_AFTER = 5.0  # seconds
PORTAL = (
    "<!DOCTYPE html><html><title>Sign in to the guest network</title><form action=/login></form></html>\n"
)


@dataclass(frozen=True, slots=True)
class Asked:
    """A request to one of Google's issuers."""

    issuer: Issuer
    request: web.Request
    world: World


Answer: TypeAlias = Callable[[Asked], Awaitable[web.StreamResponse | None]]


async def _as_always(_asked: Asked) -> None:
    return None


def _unchanged(claims: Claims) -> Claims:
    return claims


@dataclass(frozen=True, slots=True)
class Break:
    """`answer`: an issuer's, in place of its own unless it is None. `claims`: of a new ID token -> those that it has
    instead. `ahead`: seconds that Google's clock, issuers' and receivers', is ahead of this machine's.
    `receiver`: why it refuses those whom it should let through. `connections_age`: whether it sends those home that speak
    HTTP/2, after AGED_BY requests or AGED_AFTER seconds.
    """

    says: str
    answer: Answer = _as_always
    claims: Callable[[Claims], Claims] = _unchanged
    ahead: float = 0.0
    receiver: Literal["invalid_token", "no_invoker", "no_instance", "request_timeout"] | None = None
    connections_age: bool = False


class Broken:
    """What is broken now."""

    def __init__(self) -> None:
        self.now = WHOLE

    def claims(self, said: Claims) -> Claims:
        return self.now.claims(said)

    async def answer(self, request: web.Request, world: World) -> web.StreamResponse | None:
        issuer = issuer_of(request.path)
        return await self.now.answer(Asked(issuer, request, world)) if issuer else None


def issuer_of(path: str) -> Issuer | None:
    """None: public keys, and what is the emulator's own."""
    if path == "/" or path.startswith(metadata.ROOT):
        return "metadata"
    if path.startswith(iam_credentials.ROOT):
        return "iam"
    if path == token_endpoint.PATH:
        return "token"
    return "sts" if path == sts.PATH else None


# -- what the issuers answer ---------------------------------------------------


async def _hang(_asked: Asked) -> None:
    """Until the asker gives up, or the emulator ends."""
    await asyncio.Event().wait()


def late(seconds: float) -> Answer:
    async def answer(_asked: Asked) -> None:
        await asyncio.sleep(seconds)

    return answer


async def _outage(asked: Asked) -> web.Response:
    match asked.issuer:
        case "iam":
            return ApiRefusal(503, "The service is currently unavailable.").response()
        case "metadata":
            return web.Response(status=503, text="Service Unavailable\n", headers=metadata.FLAVOR)
        case _:
            return OAuthRefusal("internal_failure", "Backend Error", status=503).response()


async def _rate_limit(asked: Asked) -> web.Response:
    match asked.issuer:
        case "iam":
            return ApiRefusal(
                429,
                "Quota exceeded for quota metric 'Generate credentials requests' and limit 'Generate credentials"
                f" requests per minute' of service 'iamcredentials.googleapis.com' for consumer"
                f" 'project_number:{asked.world.number}'.",
            ).response()
        case "metadata":
            return web.Response(status=429, text="Too Many Requests\n", headers=metadata.FLAVOR)
        case _:
            return OAuthRefusal("rate_limit_exceeded", "Rate Limit Exceeded", status=429).response()


async def _garbage(_asked: Asked) -> web.Response:
    return web.Response(text=PORTAL, content_type="text/html")


async def _permission_denied(asked: Asked) -> web.Response | None:
    if asked.issuer != "iam":
        return None
    method = asked.request.path.rpartition(":")[2]
    permission = iam_credentials.PERMISSIONS.get(method)
    return permission_denied(permission).response() if permission else None


async def _api_disabled(asked: Asked) -> web.Response | None:
    return service_disabled(asked.world.number).response() if asked.issuer == "iam" else None


def _of_iam(refusal: Callable[[str], ApiRefusal]) -> Answer:
    """`refusal`: of a project's number."""

    async def answer(asked: Asked) -> web.Response | None:
        return refusal(asked.world.number).response() if asked.issuer == "iam" else None

    return answer


async def _account_not_found(asked: Asked) -> web.Response | None:
    match asked.issuer:
        case "iam":
            email = asked.request.path.rpartition("/")[2].partition(":")[0]
            return account_not_found(email).response()
        case "metadata" if "/service-accounts/" in asked.request.path:
            return web.Response(status=404, text="no such service account here", headers=metadata.FLAVOR)
        case "token" if await _grant_type(asked) == token_endpoint.JWT_BEARER:
            return OAuthRefusal("invalid_grant", "Invalid grant: account not found").response()
        case _:
            return None


async def _metadata_absent(asked: Asked) -> web.Response | None:
    """Nobody there: the connection breaks before an answer."""
    if asked.issuer != "metadata":
        return None
    asked.request.protocol.force_close()
    return web.Response()


async def _metadata_foreign(asked: Asked) -> web.Response | None:
    """Some web server that has the address: it lacks Metadata-Flavor."""
    return web.Response(status=404, text="404 page not found\n") if asked.issuer == "metadata" else None


def _without_identity(status: int, said: str) -> Answer:
    """A metadata server that has an account, and refuses its ID tokens."""

    async def answer(asked: Asked) -> web.Response | None:
        if asked.issuer != "metadata" or not asked.request.path.endswith("/identity"):
            return None
        return web.Response(status=status, text=said, headers=metadata.FLAVOR)

    return answer


# In the words of GKE's metadata server: https://cloud.google.com/kubernetes-engine/docs/troubleshooting/authentication.
_NOT_ANNOTATED = (
    "Your Kubernetes service account (default/app) is not annotated with a target Google service account, which is a "
    "requirement for retrieving Identity Tokens using Workload Identity.\n"
)
_NOT_BOUND = (
    "Unable to generate token; IAM returned 403 Forbidden: Permission 'iam.serviceAccounts.getOpenIdToken' denied on "
    "resource (or it may not exist).\n"
)
_NO_POD = "Unable to find PodInfo for pod with IP 10.0.0.7\n"


async def _login_expired(asked: Asked) -> web.Response | None:
    if asked.issuer != "token" or await _grant_type(asked) != "refresh_token":
        return None
    return OAuthRefusal("invalid_grant", "Token has been expired or revoked.").response()


async def _login_again(asked: Asked) -> web.Response | None:
    """What an organisation's session length brings about: https://support.google.com/a/answer/9368756."""
    if asked.issuer != "token" or await _grant_type(asked) != "refresh_token":
        return None
    return OAuthRefusal(
        "invalid_grant",
        "reauth related error (invalid_rapt)",
        error_uri="https://support.google.com/a/answer/9368756",
        error_subtype="invalid_rapt",
    ).response()


async def _pool_gone(asked: Asked) -> web.Response | None:
    return sts.no_such_target().response() if asked.issuer == "sts" else None


async def _grant_type(asked: Asked) -> object:
    return (await asked.request.post()).get("grant_type")


# -- the table -----------------------------------------------------------------

WHOLE = Break("Nothing is broken.")
KINDS: dict[str, Break] = {
    "hang": Break("Google takes requests for tokens and never answers", answer=_hang),
    "slow": Break(f"Google takes {SLOW:.0f} seconds for each answer", answer=late(SLOW)),
    "outage": Break("Google answers 503 to every request for a token", answer=_outage),
    "rate-limit": Break("Google answers 429 to every request for a token", answer=_rate_limit),
    "garbage": Break("a guest network's sign-in page answers in Google's place", answer=_garbage),
    "wrong-audience": Break(
        "ID tokens are for another receiver than was asked",
        claims=lambda claims: claims | {"aud": "https://elsewhere.example.com"},
    ),
    "short-life": Break(
        f"ID tokens live for {SHORT_LIFE} seconds",
        claims=lambda claims: claims | {"exp": claims["iat"] + SHORT_LIFE},
    ),
    "expired": Break(
        "ID tokens have run out when they come",
        claims=lambda claims: claims | {"iat": claims["iat"] - 3660, "exp": claims["iat"] - 60},
    ),
    "clock-ahead": Break("Google's clock is two hours ahead of this machine's", ahead=CLOCKS_APART),
    "clock-behind": Break("Google's clock is two hours behind this machine's", ahead=-CLOCKS_APART),
    "permission-denied": Break("impersonation is not allowed", answer=_permission_denied),
    "api-disabled": Break("the project has not enabled the IAM Credentials API", answer=_api_disabled),
    "perimeter": Break(
        "a VPC Service Controls perimeter keeps the caller from IAM", answer=_of_iam(perimeter)
    ),
    "quota-project": Break(
        "the caller may not use the project that Google charges", answer=_of_iam(quota_project_denied)
    ),
    "org-policy": Break(
        "a policy of the organization forbids impersonation", answer=_of_iam(organization_policy)
    ),
    "project-suspended": Break("Google has suspended the project", answer=_of_iam(consumer_suspended)),
    "account-not-found": Break("the service account is gone", answer=_account_not_found),
    "metadata-absent": Break("there is no metadata server", answer=_metadata_absent),
    "metadata-foreign": Break(
        "another web server answers in the metadata server's place", answer=_metadata_foreign
    ),
    "cloud-build": Break(
        "the metadata server has no ID tokens, as on Cloud Build",
        answer=_without_identity(404, "Not Found\n"),
    ),
    "gke-not-annotated": Break(
        "the pod's Kubernetes service account names no Google one",
        answer=_without_identity(400, _NOT_ANNOTATED),
    ),
    "gke-not-bound": Break(
        "the pod may not act as its Google service account", answer=_without_identity(403, _NOT_BOUND)
    ),
    "gke-starting": Break(
        "the node's metadata server does not know the pod yet", answer=_without_identity(500, _NO_POD)
    ),
    "login-expired": Break("the user's login has been revoked or has run out", answer=_login_expired),
    "login-again": Break("the user's organisation demands a new login", answer=_login_again),
    "pool-gone": Break("the workload identity pool or provider is gone", answer=_pool_gone),
    "invalid-token": Break("receivers answer 401 invalid_token to good tokens", receiver="invalid_token"),
    "no-instance": Break("receivers answer 429: they have no instance free", receiver="no_instance"),
    "request-timeout": Break("receivers answer 504: their app takes too long", receiver="request_timeout"),
    "connection-age": Break(
        f"receivers end HTTP/2 connections by GOAWAY after {AGED_BY} requests or {AGED_AFTER:.0f} seconds",
        connections_age=True,
    ),
    "invoker-lost": Break("callers have lost the invoker role on every receiver", receiver="no_invoker"),
}
BREAKS: dict[str, str] = {kind: broken.says for kind, broken in KINDS.items()}
