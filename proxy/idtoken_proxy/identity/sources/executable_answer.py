"""What an executable of a credential file prints: a subject token, or why there is none.

https://google.aip.dev/auth/4117#determining-the-subject-token-in-executable-sourced-credentials and
https://cloud.google.com/iam/docs/workload-identity-federation-with-other-providers#executable-sourced_credentials.
Nothing of it is repeated but the code and the message that it gives for people, and those without what may be a secret.
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass, field
from typing import Any, Final

from idtoken_proxy.identity.redaction import redacted
from idtoken_proxy.settings.plausible import credential_in

VERSION: Final = 1
_JWT_TYPES: Final = ("urn:ietf:params:oauth:token-type:jwt", "urn:ietf:params:oauth:token-type:id_token")
_SAML_TYPE: Final = "urn:ietf:params:oauth:token-type:saml2"
_CODE: Final = re.compile(r"[A-Za-z0-9_.-]{1,40}")


class Unusable(Exception):
    """It is no answer as it should be. `what`: a sentence's end, such as `has no token_type`."""

    def __init__(self, what: str) -> None:
        super().__init__(what)
        self.what = what


class Unsuccessful(Exception):
    """It says itself that it has no token. `said`: its code and message, safe to show."""

    def __init__(self, said: str) -> None:
        super().__init__(said)
        self.said = said


@dataclass(frozen=True, slots=True)
class SubjectToken:
    """`expires_at`: Unix seconds, where it says so."""

    value: str = field(repr=False)
    expires_at: float | None


def subject_token(text: str, now: float, *, kept: bool) -> SubjectToken:
    """`kept`: the credential file names an output_file, for which an answer must say when it expires. Raises
    Unsuccessful, Unusable.
    """
    answer = _object(text)
    _check_version(answer)
    success = answer.get("success")
    if not isinstance(success, bool):
        raise Unusable("does not say whether it succeeded (success: true or false)")
    if not success:
        raise Unsuccessful(_reason(answer))
    expires_at = _expiration(answer, kept=kept)
    if expires_at is not None and expires_at <= now:
        raise Unusable(f"holds a token that expired {now - expires_at:.0f} s ago")
    return SubjectToken(_token(answer), expires_at)


def _object(text: str) -> dict[str, Any]:
    if not text.strip():
        raise Unusable("is empty")
    try:
        answer = json.loads(text)
    except (ValueError, RecursionError):
        raise Unusable("is not JSON") from None
    if not isinstance(answer, dict):
        raise Unusable("is no JSON object")
    return answer


def _check_version(answer: dict[str, Any]) -> None:
    version = answer.get("version")
    if version is None:
        raise Unusable("has no version")
    if type(version) is not int:  # a bool is an int too
        raise Unusable("has a version that is no number")
    if version != VERSION:
        shown = version if abs(version) < 10**6 else "out of range"
        raise Unusable(f"is of version {shown}, of which nothing is known here (only {VERSION})")


def _expiration(answer: dict[str, Any], *, kept: bool) -> float | None:
    end = answer.get("expiration_time")
    if end is None:
        if kept:
            raise Unusable("has no expiration_time, which output_file asks for")
        return None
    if isinstance(end, bool) or not isinstance(end, int | float) or not math.isfinite(end):
        raise Unusable("has an expiration_time that is no number (Unix seconds)")
    return end


def _token(answer: dict[str, Any]) -> str:
    kind = answer.get("token_type")
    if kind is None:
        raise Unusable("has no token_type")
    if kind in _JWT_TYPES:
        key = "id_token"
    elif kind == _SAML_TYPE:
        key = "saml_response"
    else:
        raise Unusable(f"has a token_type that is none of {', '.join((*_JWT_TYPES, _SAML_TYPE))}")
    value = answer.get(key)
    if not isinstance(value, str) or not value:
        raise Unusable(f"has no {key}, which its token_type asks for")
    return value


def _reason(answer: dict[str, Any]) -> str:
    code, message = answer.get("code"), answer.get("message")
    if isinstance(code, int) and not isinstance(code, bool):
        code = str(code)
    shown_code = (
        code if isinstance(code, str) and _CODE.fullmatch(code) and credential_in(code) is None else None
    )
    said = _message(message)
    if shown_code and said:
        return f"{shown_code}: {said}"
    return shown_code or said or "neither code nor message"


def _message(message: object) -> str:
    if not isinstance(message, str):
        return ""
    look = credential_in(" ".join(message.split()))
    return redacted(message) if look is None else f"(its message is not shown: it holds {look})"
