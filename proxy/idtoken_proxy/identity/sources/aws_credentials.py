"""Credentials of an AWS workload, and why there are none."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final, Self

from idtoken_proxy.errors import Fault, TokenError
from idtoken_proxy.identity.sources.transport import EndpointRefused, Response

CAUSE: Final = "aws_credentials"
HOP_LIMIT: Final = "aws_hop_limit"


@dataclass(frozen=True, slots=True)
class AwsCredentials:
    access_key_id: str = field(repr=False)
    secret_access_key: str = field(repr=False)
    session_token: str | None = field(repr=False)

    @classmethod
    def of_json(cls, data: bytes) -> Self | None:
        """As an instance and a container's endpoint give them; None where these are none."""
        try:
            said: Any = json.loads(data)
            found = [said["AccessKeyId"], said["SecretAccessKey"], said.get("Token")]
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            return None
        if not all(isinstance(value, str) and value for value in found[:2]):
            return None
        return cls(found[0], found[1], found[2] if isinstance(found[2], str) else None)


def no_credentials(seen: str, remedy: str, *, cause: str = CAUSE) -> TokenError:
    return TokenError(
        f"no AWS credentials could be had: {seen}", cause=cause, fault=Fault.OPERATOR, remedy=remedy
    )


def asked(ask: Callable[[], Response], seen: str, remedy: str) -> bytes:
    """The answer's body. `seen`: what led there, such as `AWS_ROLE_ARN is set (IRSA)`: an error tells it, and not Google's
    remedies for Google's endpoints.
    """
    try:
        return ask().data
    except EndpointRefused as refused:
        code = f" ({refused.code})" if refused.code != "unknown" else ""
        raise no_credentials(f"{seen}, and it answered {refused.status}{code}", remedy) from None
    except TokenError as error:
        if error.cause in (CAUSE, HOP_LIMIT):
            raise  # `ask` knew better
        raise no_credentials(f"{seen}, and {error.detail}", remedy) from None
