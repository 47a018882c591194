"""The tree of failures: each says whose fault it is, has the status that the contract names, and shows no secret."""

from __future__ import annotations

import inspect
import re

from idtoken_proxy import errors
from idtoken_proxy.errors import (
    ConfigError,
    Fault,
    MethodNotAllowed,
    NotHttp,
    NotInvoker,
    Problem,
    ProxyError,
    TokenError,
    Unauthenticated,
)
from tests.cases import for_each


def classes() -> list[type[ProxyError]]:
    return [
        value
        for value in vars(errors).values()
        if inspect.isclass(value) and issubclass(value, ProxyError) and value is not ProxyError
    ]


def make(kind: type[ProxyError]) -> ProxyError:
    if issubclass(kind, TokenError):
        return kind("what happened", cause="x", fault=Fault.GOOGLE)
    if issubclass(kind, Unauthenticated | NotInvoker):
        return kind("what happened", cause="x")
    if issubclass(kind, MethodNotAllowed):
        return kind("what happened", allow=("GET",))
    if issubclass(kind, ConfigError):
        return kind((Problem("proxy.yaml", 3, "routes", "what happened"),))
    if issubclass(kind, NotHttp):
        return kind("what happened", looks_like="tls", remedy="use http")
    return kind("what happened")


@for_each("kind", classes())
def test_each_can_be_answered_with(kind: type[ProxyError]) -> None:
    error = make(kind)
    assert error.status in (400, 401, 403, 404, 405, 429, 431, 500, 502, 503, 504, 505, 508)
    assert "what happened" in error.detail
    assert error.title
    assert isinstance(error.fault, Fault)
    assert re.fullmatch(r"[a-z_]+", error.proxy_status)  # an error type of RFC 9209 section 2.3


@for_each(("name", "status"), re.findall(r"^ {4,}(\w+) +(\d{3})\b", errors.__doc__ or "", re.MULTILINE))
def test_the_outline_on_top_is_true(name: str, status: str) -> None:
    kind = getattr(errors, name)
    assert make(kind).status == int(status)
    assert kind in classes()


def test_the_outline_names_them_all() -> None:
    named = set(re.findall(r"^ {4,}(\w+)", errors.__doc__ or "", re.MULTILINE))
    assert {kind.__name__ for kind in classes()} <= named


def test_a_problem_names_its_place() -> None:
    assert str(Problem("a.yaml", 3, "routes.0", "bad")) == "a.yaml:3: routes.0: bad"
    assert str(Problem("a.yaml", 0, "routes.0", "bad")) == "a.yaml: routes.0: bad"
    assert str(Problem("a.yaml", 3, "", "bad")) == "a.yaml:3: bad"


def test_a_configuration_error_tells_all_of_them() -> None:
    problems = (Problem("a.yaml", 1, "x", "one"), Problem("a.yaml", 2, "y", "two"))
    error = ConfigError(problems)
    assert error.problems == problems
    assert error.detail.splitlines() == ["a.yaml:1: x: one", "a.yaml:2: y: two"]


def test_what_is_for_the_log_alone_does_not_show() -> None:
    error = ProxyError("shown", log_detail="hidden")
    assert "hidden" not in str(error)
    assert "hidden" not in repr(error)
