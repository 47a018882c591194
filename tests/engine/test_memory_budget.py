from __future__ import annotations

from types import SimpleNamespace

import pytest

from idtoken_proxy.engine.memory_budget import AT_REST, EACH, MemoryBudget
from idtoken_proxy.engine.stats import Stats

KIB = 1024


class Connection:
    """Of HTTP/2: what each of its streams holds."""

    def __init__(self, *streams: int) -> None:
        self.streams = list(streams)
        self.holds = 0

    def look(self) -> int:
        return sum(self.streams)

    def relieve(self, octets: int) -> None:
        for one in sorted(self.streams, reverse=True):
            if octets <= 0:
                return
            self.streams.remove(one)
            octets -= one


class AdmissionContext:
    def __init__(self, most: int, *connections: object) -> None:
        self.max_connections = most
        self.connections = list(connections)
        self.tunnels: list[object] = []
        self.stats = Stats()
        self.budget = MemoryBudget(self, self.stats)
        for one in connections:
            if isinstance(one, Connection):
                self.budget.enter(one)


def test_what_all_may_hold_follows_from_the_number_of_connections() -> None:
    one, other = Connection(), Connection()
    house = AdmissionContext(10, one, other)
    assert house.budget.limit == 10 * EACH - 2 * AT_REST
    house.connections.append(SimpleNamespace())  # of HTTP/1.1
    house.tunnels.append(SimpleNamespace())
    assert house.budget.limit == 8 * EACH - 2 * AT_REST


def test_each_has_its_own_share_however_many_there_are() -> None:
    house = AdmissionContext(
        2, Connection(), Connection(), *(SimpleNamespace() for _ in range(5))
    )  # since a reload
    assert house.budget.limit == 2 * (EACH - AT_REST)


def test_up_to_the_limit_nobody_gives_way_and_beyond_it_who_holds_most() -> None:
    small = Connection(100 * KIB)
    large = Connection(*[256 * KIB] * 20, 4 * KIB)
    house = AdmissionContext(6, small, large)
    budget = house.budget
    budget.change(small, small.look())
    large.streams.append(budget.limit - budget.octets - large.look())
    budget.change(large, large.look())
    assert budget.octets == budget.limit
    assert len(large.streams) == 22
    large.streams.append(1)
    budget.change(large, large.look())
    assert small.streams == [100 * KIB]
    assert 4 * KIB in large.streams
    assert 1 in large.streams
    assert budget.limit * 3 // 4 < budget.octets <= budget.limit * 7 // 8
    assert budget.octets == small.look() + large.look()
    assert house.stats.limits["memory"] == 1


def test_who_grew_by_little_may_find_that_others_have_to_give_way() -> None:
    small, large = Connection(1), Connection(*[KIB * KIB] * 8)
    house = AdmissionContext(8, small, large)
    house.budget.change(large, 7 * KIB * KIB)  # it has told of no more
    small.streams.append(KIB * KIB)
    house.budget.change(small, small.look())
    assert small.streams == [1, KIB * KIB]
    assert len(large.streams) < 8


def test_what_has_been_written_since_it_was_told_of_is_nobodys_end() -> None:
    written, growing = Connection(*[KIB * KIB] * 5), Connection(*[256 * KIB] * 8)
    house = AdmissionContext(6, written, growing)
    house.budget.change(written, written.look())
    written.streams.clear()
    house.budget.change(growing, growing.look())
    assert len(growing.streams) == 8
    assert house.budget.octets == growing.look()


def test_a_stream_that_takes_much_from_the_beginning_is_let_in_where_there_is_room() -> None:
    one = Connection()
    budget = AdmissionContext(1, one).budget
    room = budget.limit
    assert budget.admits(one, room - 1)
    assert not budget.admits(one, 2)
    assert budget.admits(one, 1)
    assert budget.octets == one.holds == room


@pytest.mark.parametrize("held", [0, 5 * KIB])
def test_nothing_is_left_of_who_leaves(held: int) -> None:
    one = Connection(held)
    budget = AdmissionContext(1, one).budget
    budget.change(one, held)
    budget.leave(one)
    assert budget.octets == one.holds == 0
