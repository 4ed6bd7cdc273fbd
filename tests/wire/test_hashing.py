"""Items whose hashes were chosen are given up before they take long; honest ones, however regular, never are."""

from __future__ import annotations

import datetime
import fractions
import itertools
import random

import pytest

from elf_pysandbox_worker.wire import tags
from elf_pysandbox_worker.wire.hashing import Hashing
from elf_pysandbox_worker.wire.values import WireError, pack, unpack
from tests.wire.support import LIMIT

COUNT = 20_000
NUMBERS = random.Random(1)
HONEST = {
    "numbers": [*range(COUNT)],
    "negative numbers": [*range(-COUNT, 0)],
    "random numbers": [NUMBERS.getrandbits(60) for _ in range(COUNT)],
    "multiples": [i << 40 for i in range(COUNT)],
    "nanoseconds": [1_700_000_000_000_000_000 + i * 86_400_000_000_000 for i in range(COUNT)],
    "fractions of two": [i / 1024 for i in range(COUNT)],
    "random floats": [NUMBERS.random() for _ in range(COUNT)],
    "large numbers": [(1 << 80) + i for i in range(COUNT)],
    "fractions": [fractions.Fraction(i, 7) for i in range(COUNT)],
    "days": [datetime.date(1970, 1, 1) + datetime.timedelta(i) for i in range(COUNT)],
    "long pairs": [((i % 200 - 100,) * 100, (i // 200 - 50,) * 100) for i in range(COUNT)],
    "pairs": [(i % 200 - 100, i // 200 - 50) for i in range(COUNT)],
    "texts and numbers": [*map(str, range(COUNT)), *range(COUNT)],
}


@pytest.mark.parametrize("name", HONEST)
def test_honest_keys_and_members_cross_however_regular_they_are(name: str) -> None:
    items = HONEST[name]
    table = dict.fromkeys(items, 0)
    assert unpack(pack(table, max_bytes=LIMIT).data) == table
    assert unpack(pack(set(items), max_bytes=LIMIT).data) == set(items)


def chosen(bits: int) -> list[int]:
    """Return numbers for a table of 2**bits: most lie in a row, the others meet nothing but that row on their way."""
    mask = (1 << bits) - 1
    row, at = [], 1
    for _ in range((1 << bits) * 9 // 20):
        row.append(at)
        at = (at * 5 + 1) & mask  # the way of every item, in the end
    taken = set(row)

    def meets_the_row(number: int) -> bool:
        at, rest = number & mask, number
        while at in taken and rest:
            rest >>= 5
            at = (at * 5 + rest + 1) & mask
        return at in taken

    numbers = random.Random(1)
    walkers: set[int] = set()
    while len(walkers) < (1 << bits) * 3 // 20:
        number = numbers.getrandbits(bits + 12)
        if number > mask and meets_the_row(number):
            walkers.add(number)
    return [*row, *walkers]


def test_numbers_that_meet_each_other_on_their_way_are_given_up() -> None:
    keys = chosen(13)
    assert len(set(map(hash, keys))) == len(keys)  # no two have the same hash
    with pytest.raises(WireError, match="colliding"):
        Hashing(free_s=0.001, each_s=1e-7).dict_of(keys, keys)


SAME = [1 + i * ((1 << 61) - 1) for i in range(40_000)]
"""Numbers of one hash (Numeric Types, Hashing of numeric types): a minute of comparisons."""


def test_numbers_of_one_hash_may_come_in_a_list_and_not_as_keys_or_members() -> None:
    assert set(map(hash, SAME)) == {1}
    listed = pack(SAME, max_bytes=LIMIT).data
    assert len(unpack(listed)) == len(SAME)
    ones = tags.array_head(len(SAME)) + b"\x01" * len(SAME)
    for tag in (tags.ext(tags.DICT, b"\x92" + listed + ones), tags.ext(tags.SET, listed)):
        with pytest.raises(WireError, match="colliding"):
            unpack(tag)


def test_many_small_tables_share_the_time_of_their_message() -> None:
    table = tags.ext(tags.SET, pack(SAME[:2000], max_bytes=LIMIT).data)
    assert len(unpack(table)) == 2000  # one takes some hundredths of a second
    with pytest.raises(WireError, match="colliding"):
        unpack(tags.array_head(60) + table * 60)


def test_a_handful_may_collide_as_they_like() -> None:
    assert unpack(pack(dict.fromkeys(SAME[:64], 0), max_bytes=LIMIT).data) == dict.fromkeys(SAME[:64], 0)


def test_a_few_whose_comparison_takes_long_are_given_up_and_may_come_where_nothing_compares_them() -> None:
    """Numbers -1 and -2 have one hash, and so have tuples of them."""
    length = 100_000
    alike = [(1,) * length + end for end in itertools.product((-1, -2), repeat=6)]
    packed = [pack(item, max_bytes=LIMIT).data for item in alike]
    assert len(set(map(hash, alike))) == 1

    def table(count: int) -> bytes:
        return tags.ext(tags.SET, tags.array_head(count) + b"".join(packed[:count]))

    assert len(unpack(tags.array_head(64) + b"".join(packed))) == 64
    assert unpack(table(2)) == set(alike[:2])
    with pytest.raises(WireError, match="colliding"):
        unpack(table(64))


def test_items_that_take_long_to_hash_get_the_time_for_it() -> None:
    items = [(number,) * 2_000 for number in range(100)]
    assert Hashing(free_s=0.0, each_s=1e-6).set_of(items) == set(items)
