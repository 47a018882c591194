"""What Google says when it says no, read once from whichever of its forms it comes in.

    {"error": {"code", "message", "status", "details": [...], "errors": [{"reason"}]}}    APIs: https://google.aip.dev/193
    {"error": "invalid_grant", "error_description", "error_subtype"}                     OAuth: RFC 6749 section 5.2; STS
    <Error><Code>SecurityPolicyViolated</Code><Message>...</Message></Error>             Cloud Storage's XML API

Nothing of an answer is kept that does not look like one of these, and nothing that may be a token.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from html import unescape
from types import MappingProxyType
from typing import Any, Final, Self

from idtoken_proxy.identity.redaction import is_identifier, redacted

UNKNOWN: Final = "unknown"

_WORD: Final = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_NAME: Final = re.compile(r"[A-Za-z0-9_./:@-]{1,200}")  # of a project, a service, a permission
_CONSTRAINT: Final = re.compile(r"\bconstraints/([A-Za-z]+(?:\.[A-Za-z]+)+)")
_IDENTIFIED: Final = re.compile(r"(?i:UniqueIdentifier)[\"']?[:=]? {0,2}[\"']?([A-Za-z0-9_-]{16,80})")
_PROJECT: Final = re.compile(r"\bprojects?[ /]\[?([a-z0-9][a-z0-9.:-]*[a-z0-9])")
_XML: Final = re.compile(r"<(Code|Message|Details)>([^<]*)</\1>")


@dataclass(frozen=True, slots=True)
class GoogleError:
    """`code`: `PERMISSION_DENIED`, `invalid_grant`, or UNKNOWN where what answered speaks none of Google's forms.
    `reason`: what tells one refusal of that code from another. `message`: Google's sentence, safe to show.
    `metadata`: of its ErrorInfo, names alone. `violated`: the types of its violations. `identifier`: VPC Service
    Controls' own of this refusal. `constraint`: the organization policy's, without `constraints/`.
    """

    status: int
    code: str = UNKNOWN
    reason: str | None = None
    message: str = ""
    metadata: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    violated: tuple[str, ...] = ()
    identifier: str | None = None
    constraint: str | None = None

    @classmethod
    def read(cls, status: int, body: bytes) -> Self:
        """Whatever the body is: an answer that is no refusal of Google's has the code UNKNOWN and nothing else."""
        try:
            return cls._of_json(status, json.loads(body))
        except (ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError):
            return cls._of_xml(status, body)

    @classmethod
    def _of_json(cls, status: int, answer: Any) -> Self:
        if isinstance(answer, list):  # the answer of a streaming method
            answer = answer[0]
        error = answer["error"] if "error" in answer else _bare_status(answer)
        if isinstance(error, str):
            return cls(
                status,
                _word(error) or UNKNOWN,
                _word(answer.get("error_subtype")),
                _sentence(answer.get("error_description")),
                constraint=_constraint(answer.get("error_description")),
                identifier=_identifier(answer.get("error_description")),
            )
        details = [one for one in _list(error.get("details")) if isinstance(one, dict)]
        legacy = [one for one in _list(error.get("errors")) if isinstance(one, dict)]
        info = next((one for one in details if _word(one.get("reason"))), {})
        violations = [
            violation
            for one in details
            for violation in _list(one.get("violations"))
            if isinstance(violation, dict)
        ]
        metadata = _names(info.get("metadata"))
        texts = [error.get("message"), *(one.get("description") for one in violations)]
        types = tuple(filter(None, (_name(one.get("type")) for one in violations)))
        return cls(
            status,
            _word(error.get("status")) or UNKNOWN,
            _word(info.get("reason")) or next(_reasons(legacy), None),
            _sentence(error.get("message")) or _sentence(next((one.get("message") for one in legacy), None)),
            metadata,
            types,
            _first(_identifier(text) for text in texts) or _uid(violations, info),
            _first(_constraint(text) for text in (*texts, *types, *metadata.values())),
        )

    @classmethod
    def _of_xml(cls, status: int, body: bytes) -> Self:
        found = dict(_XML.findall(body[:4096].decode("utf-8", "replace")))
        code = _word(found.get("Code"))
        if code is None:
            return cls(status)
        said = unescape(" ".join(found[part] for part in ("Message", "Details") if part in found))
        return cls(
            status, code, code, _sentence(said), identifier=_identifier(said), constraint=_constraint(said)
        )

    @property
    def said(self) -> str:
        """In brackets, behind what we say ourselves."""
        what = self.code if self.reason in (None, self.code) else f"{self.code}, {self.reason}"
        return f"({what}: {self.message})" if self.message else f"({what})"

    @property
    def permission(self) -> str | None:
        """The one that is missing, where Google names it."""
        return self.metadata.get("permission")

    @property
    def project(self) -> str | None:
        """The one that is charged, or spoken of: an ID or a number."""
        consumer = self.metadata.get("consumer", "") or self.metadata.get("containerInfo", "")
        if consumer:
            return consumer.rpartition("/")[2].rpartition(":")[2] or None
        found = _PROJECT.search(self.message)
        return found[1] if found else None

    @property
    def service(self) -> str | None:
        """The API's name, such as `iamcredentials.googleapis.com`."""
        return self.metadata.get("service")


def _bare_status(answer: Mapping[str, Any]) -> Mapping[str, Any]:
    """google.rpc.Status by itself, as some gateways send it."""
    if not isinstance(answer["message"], str):
        raise TypeError
    return answer


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _reasons(legacy: list[dict[str, Any]]) -> Iterator[str]:
    return filter(None, (_word(one.get("reason")) for one in legacy))


def _word(value: object) -> str | None:
    """A slug; never what may be a token."""
    if not isinstance(value, str) or _WORD.fullmatch(value) is None:
        return None
    return value if redacted(value) == value else None


def _name(value: object) -> str | None:
    if not isinstance(value, str) or _NAME.fullmatch(value) is None:
        return None
    return value if redacted(value) == value else None


def _names(metadata: object) -> Mapping[str, str]:
    if not isinstance(metadata, dict):
        return MappingProxyType({})
    named = {_word(key): _name(value) for key, value in metadata.items()}
    return MappingProxyType({key: value for key, value in named.items() if key and value})


def _sentence(value: object) -> str:
    return redacted(value) if isinstance(value, str) else ""


def _constraint(value: object) -> str | None:
    found = _CONSTRAINT.search(value) if isinstance(value, str) else None
    return found[1] if found else None


def _identifier(value: object) -> str | None:
    found = _IDENTIFIED.search(value) if isinstance(value, str) else None
    return found[1] if found else None


def _uid(violations: list[dict[str, Any]], info: Mapping[str, Any]) -> str | None:
    """The identifier stands bare in the violation's description, and as `uid` in the ErrorInfo."""
    for violation in violations:
        description = violation.get("description")
        if violation.get("type") == "VPC_SERVICE_CONTROLS" and isinstance(description, str):
            return description if is_identifier(description) else None
    metadata = info.get("metadata")
    uid = metadata.get("uid") if isinstance(metadata, dict) else None
    return uid if isinstance(uid, str) and is_identifier(uid) else None


def _first(found: Iterator[str | None]) -> str | None:
    return next((one for one in found if one), None)
