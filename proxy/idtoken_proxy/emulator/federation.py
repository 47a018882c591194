"""Workload identity pools: who from outside Google Cloud may come in, and as whom; frozen.

Sources: https://cloud.google.com/iam/docs/workload-identity-federation (providers and attribute mapping),
https://cloud.google.com/iam/docs/principal-identifiers#v1 (principal:// and principalSet://),
https://cloud.google.com/iam/docs/workload-identity-federation-with-other-clouds (the defaults for AWS and Azure).
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

SERVICE = "//iam.googleapis.com"
# The name of a pool, as a pattern.
POOL = (
    r"//iam\.googleapis\.com/projects/(?P<number>\d+)/locations/global/workloadIdentityPools/(?P<pool>[^/]+)"
)


@dataclass(frozen=True, slots=True)
class Oidc:
    """An issuer of ID tokens. `audiences`: those allowed; none: the provider's own resource name, with or without
    `https:`. `keys`: (kid, PEM) of its public keys; none: the emulator is this issuer too, and gives out tokens with
    the claims of `workload`.
    """

    subject_token_types: ClassVar = (
        "urn:ietf:params:oauth:token-type:jwt",
        "urn:ietf:params:oauth:token-type:id_token",
    )
    issuer: str
    audiences: tuple[str, ...] = ()
    keys: tuple[tuple[str, str], ...] = ()
    workload: tuple[tuple[str, str], ...] = (("sub", "workload"),)


@dataclass(frozen=True, slots=True)
class Aws:
    """An AWS account, and the role of the instance in it that the emulator stands in for."""

    subject_token_types: ClassVar = ("urn:ietf:params:aws:token-type:aws4_request",)
    account: str
    role: str = "workload"
    region: str = "us-east-1"

    @property
    def arn(self) -> str:
        """As GetCallerIdentity tells it, of the instance."""
        return f"{self.role_arn}/i-0123456789abcdef0"

    @property
    def role_arn(self) -> str:
        return f"arn:aws:sts::{self.account}:assumed-role/{self.role}"

    @property
    def access_key_id(self) -> str:
        return "ASIA" + base64.b32encode(self._secret("id")).decode()[:16]

    @property
    def secret_access_key(self) -> str:
        return base64.b64encode(self._secret("key")).decode()[:40]

    @property
    def session_token(self) -> str:
        return base64.b64encode(self._secret("session")).decode()

    def _secret(self, purpose: str) -> bytes:
        """The same at every start, as an account's subject is."""
        return hashlib.sha256(f"{purpose} {self.role_arn}".encode()).digest()


@dataclass(frozen=True, slots=True)
class Provider:
    """`attributes`: (name, claim), as the mapping `attribute.name=assertion.claim` of an OIDC provider."""

    pool: str
    name: str
    trusts: Oidc | Aws
    attributes: tuple[tuple[str, str], ...] = ()

    def audience(self, project_number: str) -> str:
        """Its full resource name, which a token exchange names."""
        return f"{SERVICE}/{pool_path(project_number, self.pool)}/providers/{self.name}"

    def principal(self, project_number: str, claims: Mapping[str, object]) -> Federated:
        """Who comes in with these claims of an OIDC token; KeyError where the subject is missing."""
        attributes = {name: claims[claim] for name, claim in self.attributes if claim in claims}
        return self._federated(project_number, str(claims["sub"]), attributes)

    def aws_principal(self, project_number: str, aws: Aws) -> Federated:
        return self._federated(project_number, aws.arn, {"aws_role": aws.role_arn})

    def _federated(self, number: str, subject: str, attributes: Mapping[str, object]) -> Federated:
        pool = pool_path(number, self.pool)
        members = {f"principalSet:{SERVICE}/{pool}/*", f"principal:{SERVICE}/{pool}/subject/{subject}"}
        members |= {
            f"principalSet:{SERVICE}/{pool}/attribute.{name}/{value}" for name, value in attributes.items()
        }
        return Federated(subject, frozenset(members))


@dataclass(frozen=True, slots=True)
class Federated:
    """One from outside, let in. `members`: every name by which a policy may mean it."""

    subject: str
    members: frozenset[str]

    def is_among(self, members: frozenset[str]) -> bool:
        """Not by allAuthenticatedUsers: https://cloud.google.com/iam/docs/principals-overview#all-authenticated-users."""
        return not members.isdisjoint(self.members)


def pool_path(project_number: str, pool: str) -> str:
    return f"projects/{project_number}/locations/global/workloadIdentityPools/{pool}"
