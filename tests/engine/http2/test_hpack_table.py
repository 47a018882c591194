from __future__ import annotations

from hpack.table import HeaderTable

from idtoken_proxy.engine.http2.fields import HeaderField
from idtoken_proxy.engine.http2.hpack_table import STATIC_ENTRIES, STATIC_TABLE, DynamicTable


def field(octets: int) -> HeaderField:
    return HeaderField((b"x", b"y" * (octets - 33)), b"", 0, 0)


def test_the_static_table_is_another_implementations() -> None:
    assert STATIC_ENTRIES == 61
    assert list(STATIC_TABLE) == [tuple(pair) for pair in HeaderTable.STATIC_TABLE]


def test_the_oldest_leaves_first_and_only_as_far_as_it_must() -> None:
    table = DynamicTable(100)
    first, second, third = field(40), field(50), field(60)
    table.add(first)
    table.add(second)
    assert (table.entries, table.size) == ([first, second], 90)
    table.add(third)
    assert (table.entries, table.size) == ([third], 60)


def test_an_entry_that_fits_to_the_octet_stays() -> None:
    table = DynamicTable(100)
    table.add(field(100))
    assert table.size == 100
    table.add(field(33))
    assert table.size == 33


def test_an_entry_beyond_the_table_empties_it() -> None:
    """RFC 7541 section 4.4."""
    table = DynamicTable(100)
    table.add(field(40))
    table.add(field(101))
    assert (table.entries, table.size) == ([], 0)


def test_a_smaller_table_keeps_what_fits() -> None:
    table = DynamicTable(200)
    fields = [field(40), field(50), field(60)]
    for each in fields:
        table.add(each)
    table.resize(110)
    assert (table.entries, table.size) == (fields[1:], 110)
    table.resize(0)
    assert (table.entries, table.size) == ([], 0)
    table.resize(200)
    table.add(fields[0])
    assert table.size == 40
