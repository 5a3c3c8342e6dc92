"""The bytes that are hashed: no two rows the same, whatever stands in them."""

import hashlib
from itertools import product
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from backend.audit.canonical import COLUMNS, Value, instant, packed, seal_hash
from backend.audit.models import Entry

VALUES = st.one_of(st.none(), st.integers(-(2**63), 2**63 - 1), st.text(), st.uuids(), st.binary(max_size=40))
ZEROS = UUID(int=0)


def a_seal(entries: list[list[Value]], **other: int | bytes) -> bytes:
    fields: dict[str, int | bytes] = {
        "layout": 1, "chain": 3, "number": 7, "total": 2, "sealed_at": 1_700_000_000_000_001,
        "previous": b"p" * 32,
    }  # fmt: skip
    return seal_hash(**{**fields, **other}, entries=entries)  # type: ignore[arg-type]


def test_every_column_of_an_entry_is_hashed() -> None:
    """A new column fails here until there is a layout with it: until then, editing it would not show."""
    assert {field.attname for field in Entry._meta.concrete_fields} == set(COLUMNS)


def test_a_seal_is_these_bytes() -> None:
    """Written out by hand: what another program would have to hash to check us."""
    by_hand = (
        "00000013" + b"selfkind audit seal".hex()
        + "00000008" + "0000000000000001"  # layout
        + "00000008" + "0000000000000003"  # chain
        + "00000008" + "0000000000000007"  # number
        + "00000008" + "0000000000000002"  # total
        + "00000008" + "00060a24181e4001"  # sealed at
        + "00000020" + "70" * 32  # previous
        + "00000008" + "0000000000000001"  # entries
        + "00000008" + "0000000000000005" + "ffffffff" + "00000000" + "00000002" + "c3a9"
        + "00000010" + "00" * 16
    )  # fmt: skip
    assert a_seal([[5, None, "", "é", ZEROS]]) == hashlib.sha256(bytes.fromhex(by_hand)).digest()


@given(st.lists(VALUES, max_size=4), st.lists(VALUES, max_size=4))
def test_different_rows_give_different_bytes(one: list[Value], other: list[Value]) -> None:
    """A column's values are of one type, and UTF-8 of a text is its own."""
    together, apart = b"".join(map(packed, one)), b"".join(map(packed, other))
    kinds = [type(value) for value in one] == [type(value) for value in other]
    assert (together == apart) == (one == other) or not kinds


def test_where_one_value_ends_and_the_next_begins_tells() -> None:
    rows: list[list[Value]] = [["ab", ""], ["a", "b"], ["", "ab"], [None, "ab"], ["ab", None]]
    hashes = [a_seal([row]) for row in rows]
    hashes += [a_seal([["a"], ["b"]]), a_seal([["b"], ["a"]]), a_seal([["a"]])]
    assert len(set(hashes)) == len(hashes)


def test_everything_a_seal_says_is_hashed() -> None:
    others = product(("layout", "chain", "number", "total", "sealed_at"), (8, 9))
    hashes = [a_seal([]), a_seal([], previous=b"q" * 32), *(a_seal([], **{name: v}) for name, v in others)]
    assert len(set(hashes)) == 12


def test_an_instant_is_whole_microseconds() -> None:
    assert instant(1_772_352_000_000_001).isoformat() == "2026-03-01T08:00:00.000001+00:00"
