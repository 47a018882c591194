from __future__ import annotations

from typing import Any, Final

from idtoken_proxy.policy.fields import PASS, Field
from idtoken_proxy.policy.request import Request, Response
from tests.cases import for_each
from tests.policy.facts import facts_of

# One that is not the usual one, for each type of a fact.
OTHER: Final[dict[str, Any]] = {
    "bytes": b"other",
    "bytes | None": b"other",
    "int": 7,
    "int | None": 7,
    "float | None": 7.5,
    "list[bytes]": [b"other"],
    "tuple[bytes, ...]": (b"other",),
    "tuple[Field, ...]": (Field(b"other", b"1", b"other: 1\r\n", PASS),),
    "Any": ("other",),
}


def with_all_facts(message: Any, kinds: dict[str, str]) -> dict[str, Any]:
    facts = {
        name: not getattr(message, name) if kind == "bool" else OTHER[kind]
        for name, kind in kinds.items()
        if kind in OTHER or kind == "bool"
    }
    for name, value in facts.items():
        setattr(message, name, value)
    return facts


@for_each(
    ("content_length", "chunked", "has_body"),
    [(None, False, False), (0, False, False), (1, False, True), (None, True, True)],
)
def test_a_request_has_a_body_where_its_framing_says_so(
    content_length: int | None, *, chunked: bool, has_body: bool
) -> None:
    request = Request()
    request.content_length = content_length
    request.chunked = chunked
    assert request.has_body is has_body


def test_a_copy_of_a_request_says_all_that_it_says() -> None:
    request = Request()
    facts = with_all_facts(request, facts_of(Request))
    assert len(facts) == len(facts_of(Request))
    copied = request.copy()
    assert copied is not request
    assert {name: getattr(copied, name) for name in facts} == facts


def test_a_copy_of_a_usual_request_says_no_more() -> None:
    request, other = Request(), Request()
    for one in (request, other):
        one.method, one.target, one.passing = b"GET", b"/", []
    copied = other.copy()
    assert all(getattr(copied, name) == getattr(request, name) for name in facts_of(Request))


def test_an_answer_that_is_shared_is_copied_before_it_is_changed() -> None:
    response = Response()
    facts = with_all_facts(response, facts_of(Response))
    assert response.own() is response
    response.encoded = {}
    own = response.own()
    assert own is not response
    assert own.encoded is None
    assert {name: getattr(own, name) for name in facts} == facts
    own.passing.append(b"more")
    assert response.passing == OTHER["list[bytes]"]
