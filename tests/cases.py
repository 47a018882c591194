"""Many cases in one test. What pytest does around each test costs several times what a case of a pure function does, and
is paid by every worker; `pytest.mark.parametrize` remains for cases that need fixtures of their own.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from functools import wraps
from typing import Any, TypeAlias

from _pytest.mark import ParameterSet

Test: TypeAlias = Callable[..., None]


def for_each(
    names: str | tuple[str, ...],
    cases: Iterable[Any],
    *,
    ids: Iterable[object] | Callable[[Any], object] | None = None,
) -> Callable[[Test], Test]:
    """As `pytest.mark.parametrize` is written, and stacked. All cases run; those that failed are named in notes."""
    all_names = tuple(name.strip() for name in names.split(",")) if isinstance(names, str) else names
    sets = [ParameterSet.extract_from(case, force_tuple=len(all_names) == 1) for case in cases]
    assert sets, "no case"
    assert not any(one.marks for one in sets), "a mark is for a test of its own"
    labels = [None] * len(sets) if ids is None or callable(ids) else list(ids)
    assert len(labels) == len(sets), "an id for each"
    told = [
        _told(dict(zip(all_names, one.values, strict=True)), label or one.id)
        for one, label in zip(sets, labels, strict=True)
    ]

    def decorate(test: Test) -> Test:
        @wraps(test)
        def run_all(**outer: Any) -> None:
            failures = []
            for one, name in zip(sets, told, strict=True):
                try:
                    test(**outer, **dict(zip(all_names, one.values, strict=True)))
                except BaseException as error:
                    error.add_note(f"case: {name}")
                    if not isinstance(error, Exception):  # pytest's own, such as that nothing was raised
                        raise
                    failures.append(error)
            if len(failures) == 1:
                raise failures[0]
            if failures:
                raise ExceptionGroup(f"{len(failures)} of {len(sets)} cases", failures)

        run_all.__signature__ = _without(test, all_names)  # type: ignore[attr-defined]
        return run_all

    return decorate


def _told(values: Mapping[str, Any], label: object) -> str:
    return str(label) if label is not None else ", ".join(f"{k}={v!r:.200}" for k, v in values.items())


def _without(test: Test, names: tuple[str, ...]) -> inspect.Signature:
    """What is left for others to give: pytest would look for fixtures of these names."""
    signature = inspect.signature(test)
    missing = set(names) - set(signature.parameters)
    assert not missing, f"{test.__name__} takes no {', '.join(sorted(missing))}"
    return signature.replace(
        parameters=[one for name, one in signature.parameters.items() if name not in names]
    )
