from __future__ import annotations

from idtoken_proxy.engine.http2.block_memo import BlockMemo


def test_a_block_is_found_by_its_octets_until_the_memo_is_cleared() -> None:
    memo: BlockMemo[str] = BlockMemo()
    memo.keep(b"block", "first head", 64)
    assert memo.get(b"block") is None  # it may never come again
    memo.keep(b"block", "head", 64)
    assert memo.get(b"block") == "head"
    assert memo.get(b"other") is None
    memo.clear()
    assert memo.get(b"block") is None


def test_a_memo_is_bounded_in_blocks_and_in_octets() -> None:
    memo: BlockMemo[int] = BlockMemo()
    for number in range(256):
        for _ in range(2):
            memo.keep(b"%d" % number, number, 64)
    assert memo.get(b"0") == 0
    for _ in range(2):
        memo.keep(b"256", 256, 64)
    assert memo.get(b"0") is None
    assert memo.get(b"256") == 256
    for _ in range(2):
        memo.keep(b"x" * 1024, 1, 64)
        memo.keep(b"x" * 1025, 2, 64)
    for number in range(1000):
        memo.keep(b"once %d" % number, number, 64)
        assert len(memo._once) <= 128
    assert memo.get(b"x" * 1024) == 1
    assert memo.get(b"x" * 1025) is None


def test_nor_is_more_than_48_kib_kept_decoded_nor_one_that_decodes_to_much() -> None:
    memo: BlockMemo[int] = BlockMemo()
    for number in range(12):
        for _ in range(2):
            memo.keep(b"%d" % number, number, 4096)
    assert memo.get(b"0") == 0
    for _ in range(2):
        memo.keep(b"12", 12, 1)
    assert memo.get(b"0") is None
    assert memo.get(b"12") == 12
    for _ in range(2):
        memo.keep(b"large", 1, 6 * 1024 + 1)
    assert memo.get(b"large") is None


def test_two_whose_hashes_name_the_same_place_are_kept_all_the_same() -> None:
    memo: BlockMemo[int] = BlockMemo()
    blocks = [b"%d" % number for number in range(2000)]
    first = next(one for one in blocks if hash(one) & 127 == 6)
    others = [one for one in blocks if hash(one) & 127 in {6, 7} and one != first]
    assert [memo.keep(one, 1, 64) for one in (first, others[0], first, others[0])] == [
        False,
        False,
        True,
        True,
    ]
    memo.clear()
    assert not any(memo.keep(one, 1, 64) for one in (first, others[0], others[1], others[2], first))
