"""Many cases in one test. What pytest does around each test costs several times what a case of a pure function does, and
as much as a request does that goes through a proxy; all workers pay for it. `pytest.mark.parametrize` remains for cases
that need fixtures of their own.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import wraps
from typing import Any, TypeVar, cast

import pytest
from _pytest.mark import ParameterSet

Result = TypeVar("Result")


def for_each(
    names: str | tuple[str, ...],
    cases: Iterable[Any],
    *,
    ids: Iterable[object] | Callable[[Any], object] | None = None,
) -> Callable[[Callable[..., Result]], Callable[..., Result]]:
    """As `pytest.mark.parametrize` is written, and stacked, for functions and coroutine functions. All cases run, one
    after the other, with the same fixtures and on the same event loop; those that failed are named in notes.
    """
    all_names = tuple(name.strip() for name in names.split(",")) if isinstance(names, str) else names
    sets = [ParameterSet.extract_from(case, force_tuple=len(all_names) == 1) for case in cases]
    assert sets, "no case"
    assert not any(one.marks for one in sets), "a mark is for a test of its own"
    labels = [None] * len(sets) if ids is None or callable(ids) else list(ids)
    assert len(labels) == len(sets), "an id for each"
    values = [dict(zip(all_names, one.values, strict=True)) for one in sets]
    told = [_told(one, label or set_.id) for one, label, set_ in zip(values, labels, sets, strict=True)]

    def decorate(test: Callable[..., Any]) -> Callable[..., Any]:
        def run_all(**outer: Any) -> None:
            failures = _Failures()
            for one, name in zip(values, told, strict=True):
                with failures.named(name):
                    test(**outer, **one)
            failures.tell(len(values))

        async def await_all(**outer: Any) -> None:
            failures = _Failures()
            for one, name in zip(values, told, strict=True):
                with failures.named(name):
                    await test(**outer, **one)
            failures.tell(len(values))

        made: Any = wraps(test)(await_all if inspect.iscoroutinefunction(test) else run_all)
        made.__signature__ = _without(test, all_names)
        return cast("Callable[..., Any]", made)

    return decorate


def and_thoroughly(some: Result, many: Result) -> list[Result | ParameterSet]:
    """For `pytest.mark.parametrize`: how much of it `make test` does, and how much `make thorough`."""
    return [some, pytest.param(many, marks=pytest.mark.thorough)]


class _Failures:
    def __init__(self) -> None:
        self._all: list[Exception] = []

    @contextmanager
    def named(self, case: str) -> Iterator[None]:
        """Keeps what a case fails with, so that the others run; what is no Exception, such as pytest's own, ends them."""
        try:
            yield
        except BaseException as error:
            error.add_note(f"case: {case}")
            if not isinstance(error, Exception):
                raise
            self._all.append(error)

    def tell(self, cases: int) -> None:
        if len(self._all) == 1:
            raise self._all[0]
        if self._all:
            raise ExceptionGroup(f"{len(self._all)} of {cases} cases", self._all)


def _told(values: Mapping[str, Any], label: object) -> str:
    return str(label) if label is not None else ", ".join(f"{k}={v!r:.200}" for k, v in values.items())


def _without(test: Callable[..., Any], names: tuple[str, ...]) -> inspect.Signature:
    """What is left for others to give: pytest would look for fixtures of these names."""
    signature = inspect.signature(test)
    missing = set(names) - set(signature.parameters)
    assert not missing, f"{test.__name__} takes no {', '.join(sorted(missing))}"
    return signature.replace(
        parameters=[one for name, one in signature.parameters.items() if name not in names]
    )
