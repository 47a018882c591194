from __future__ import annotations

import pytest

from idtoken_proxy.engine.kept_body import MAX_ALL, MAX_BODY, Body, KeptBodies
from tests.cases import for_each


@pytest.fixture
def full() -> list[int]:
    return []


@pytest.fixture
def bodies(full: list[int]) -> KeptBodies:
    return KeptBodies(lambda: full.append(1))


def kept_of(bodies: KeptBodies, *pieces: bytes) -> Body | None:
    kept: Body | None = b""
    for piece in pieces:
        assert kept is not None
        kept = bodies.add(kept, piece)
    return kept


@for_each("pieces", [[MAX_BODY], [1] * 100, [MAX_BODY - 1, 1], [0, 5], []])
def test_what_fits_is_kept_as_it_came(bodies: KeptBodies, pieces: list[int]) -> None:
    body = [bytes((number,)) * size for number, size in enumerate(pieces)]
    kept = kept_of(bodies, *body)
    assert kept == b"".join(body)
    assert bodies.octets == sum(pieces)
    bodies.free(kept)
    assert bodies.octets == 0


@pytest.mark.parametrize("pieces", [[MAX_BODY + 1], [MAX_BODY, 1], [1] * MAX_BODY + [1]])
def test_one_octet_more_is_an_upload(bodies: KeptBodies, full: list[int], pieces: list[int]) -> None:
    *fitting, last = [b"x" * size for size in pieces]
    kept = kept_of(bodies, *fitting)
    assert kept is not None
    assert bodies.add(kept, last) is None
    assert bodies.octets == 0
    assert not full


def test_all_together_have_a_bound(bodies: KeptBodies, full: list[int]) -> None:
    kept = [kept_of(bodies, b"x" * MAX_BODY) for _ in range(MAX_ALL // MAX_BODY)]
    assert None not in kept
    assert bodies.octets == MAX_ALL == 16 * 1024 * 1024
    assert kept_of(bodies, b"x") is None
    assert full == [1]
    bodies.free(kept[0] or b"")
    assert kept_of(bodies, b"x" * MAX_BODY) is not None
    assert full == [1]


def test_one_that_grows_over_the_bound_gives_back_what_it_had(bodies: KeptBodies, full: list[int]) -> None:
    bodies.most = 10
    assert kept_of(bodies, b"12345") is not None
    assert kept_of(bodies, b"123", b"456") is None
    assert (bodies.octets, full) == (5, [1])
