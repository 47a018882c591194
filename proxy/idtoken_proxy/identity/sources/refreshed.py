"""google-auth's credentials, just refreshed, as an access token of ours."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Mapping
from typing import Any, Final

from idtoken_proxy.identity.sources.credential_file import Document
from idtoken_proxy.identity.sources.transport import Transport
from idtoken_proxy.identity.token import UNTOLD_LIFE, AccessToken

_PROJECT: Final = re.compile(r"[A-Za-z0-9.:-]{1,100}")


def access_token_of(
    credentials: Any,
    transport: Transport,
    *,
    origin: str,
    email: str | None = None,
    subject: str | None = None,
    quota_project: str | None = None,
) -> AccessToken:
    """google-auth counts a token's life from when it has read the answer. It began no later than Google gave the answer, so
    that it is counted from when the request was sent here. `transport`: whose last conversation brought it. TokenError.
    """
    expiry: dt.datetime | None = credentials.expiry
    life = UNTOLD_LIFE
    if expiry is not None:
        life = expiry.replace(tzinfo=dt.UTC).timestamp() - transport.answered_at
    return AccessToken.of(
        credentials.token,
        origin=origin,
        asked=transport.asked_at,
        life=life,
        email=email,
        subject=subject,
        quota_project=quota_project,
    )


def quota_project_of(info: Mapping[str, Any], document: Document) -> str | None:
    """What a credential's file names. It goes into a header as it stands: TokenError where it is no project."""
    project = info.get("quota_project_id")
    if not isinstance(project, str) or not project:
        return None
    if _PROJECT.fullmatch(project) is None:
        raise document.invalid(
            "has a quota_project_id that is no project's ID or number",
            remedy="gcloud auth application-default set-quota-project PROJECT",
        )
    return project
