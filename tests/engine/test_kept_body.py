from __future__ import annotations

import pytest

from idtoken_proxy.engine.kept_body import MAX_ALL, MAX_BODY, KeptBodies, KeptBody
from tests.cases import for_each


@pytest.fixture
def full() -> list[int]:
    return []


@pytest.fixture
def bodies(full: list[int]) -> KeptBodies:
    return KeptBodies(lambda: full.append(1))


@for_each("pieces", [[MAX_BODY], [1] * 100, [MAX_BODY - 1, 1], [0, 5], []])
def test_what_fits_is_kept_as_it_came(bodies: KeptBodies, pieces: list[int]) -> None:
    body = KeptBody(bodies)
    for number, size in enumerate(pieces):
        assert body.add(bytes((number,)) * size)
    assert body.octets == b"".join(bytes((number,)) * size for number, size in enumerate(pieces))
    assert bodies.octets == sum(pieces)
    body.free()
    assert (bodies.octets, body.octets) == (0, b"")


@pytest.mark.parametrize("pieces", [[MAX_BODY + 1], [MAX_BODY, 1], [1] * MAX_BODY + [1]])
def test_one_octet_more_is_an_upload(bodies: KeptBodies, full: list[int], pieces: list[int]) -> None:
    body = KeptBody(bodies)
    assert [body.add(b"x" * size) for size in pieces] == [True] * (len(pieces) - 1) + [False]
    assert bodies.octets == 0
    assert not full


def test_all_together_have_a_bound(bodies: KeptBodies, full: list[int]) -> None:
    kept = [KeptBody(bodies) for _ in range(MAX_ALL // MAX_BODY)]
    assert all(body.add(b"x" * MAX_BODY) for body in kept)
    assert bodies.octets == MAX_ALL == 16 * 1024 * 1024
    late = KeptBody(bodies)
    assert not late.add(b"x")
    assert full == [1]
    kept[0].free()
    assert KeptBody(bodies).add(b"x" * MAX_BODY)
    assert full == [1]


def test_one_that_grows_over_the_bound_gives_back_what_it_had(bodies: KeptBodies, full: list[int]) -> None:
    bodies.most = 10
    first, second = KeptBody(bodies), KeptBody(bodies)
    assert first.add(b"12345")
    assert second.add(b"123")
    assert not second.add(b"456")
    assert (bodies.octets, full) == (5, [1])
