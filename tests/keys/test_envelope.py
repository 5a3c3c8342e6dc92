"""One sealed value: what it is made of, how long it is, and that it opens in its own place alone."""

import struct
from dataclasses import replace
from uuid import UUID

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from backend.keys import envelope
from backend.keys.envelope import CannotOpen, Holder, Place

KEY = bytes(range(32))
ANA = Holder(UUID("8f14e45f-ceea-467f-a0f6-6d1b1a2c3d4e"), 7)
PLACE = Place("scales_correction", "reason", "0199f2c4-6d1e-7a63-9c1a-5b8f1f0e2d3c", ANA)
OVERHEAD = 1 + 4 + 12 + 16

# "I read it backwards." under KEY in version 3 with the nonce 00 to 0b, made by the description.
VECTOR = bytes.fromhex(
    "0100000003000102030405060708090a0b4702d60f8cc5b07eec25b7e2c5c91a0ce0bdf055821f2c523867e585"
    "1d6900b20110aefcafc1129874a47fed88872838ee59608d5ad6a3da3f972a1918e3f5ee664c35f761322666ab"
    "efd4be6f147531"
)


def by_hand(sealed: bytes, key: bytes) -> bytes:
    """What stands in a value sealed for PLACE, by the description alone and none of our code."""
    parts = (b"scales_correction", b"reason", b"0199f2c4-6d1e-7a63-9c1a-5b8f1f0e2d3c", ANA.id.bytes)
    about = sealed[:5] + b"".join(len(part).to_bytes(4, "big") + part for part in parts)
    padded = AESGCM(key).decrypt(sealed[5:17], sealed[17:], about)
    length = int.from_bytes(padded[:4], "big")
    assert set(padded[4 + length :]) <= {0}
    return padded[4 : 4 + length]


@pytest.mark.parametrize("text", ["", "I read it backwards.", "ä" * 250, "\0", "x" * 70_000])
def test_it_opens_by_its_description_alone_and_by_ours(text: str) -> None:
    sealed = envelope.seal(text.encode(), key=KEY, version=3, place=PLACE)

    assert sealed[:5] == b"\x01" + (3).to_bytes(4, "big")
    assert by_hand(sealed, KEY) == text.encode()
    assert envelope.unseal(sealed, key=KEY, place=PLACE) == text.encode()
    assert envelope.version_of(sealed) == 3


def test_what_was_sealed_long_ago_opens_still() -> None:
    assert envelope.unseal(VECTOR, key=KEY, place=PLACE) == b"I read it backwards."


def test_no_two_are_sealed_alike() -> None:
    many = {envelope.seal(b"the same", key=KEY, version=1, place=PLACE) for _ in range(1000)}

    assert len(many) == len({sealed[5:17] for sealed in many}) == 1000


@pytest.mark.parametrize(
    ("least", "most", "padded"),
    [
        (0, 60, 64),
        (61, 124, 128),
        (125, 252, 256),
        (253, 508, 512),
        (32_765, 65_532, 65_536),
        (65_533, 131_068, 131_072),
        (131_069, 196_604, 196_608),
    ],
)
def test_a_length_tells_the_bucket_and_no_more(least: int, most: int, padded: int) -> None:
    lengths = {
        len(envelope.seal(b"x" * size, key=KEY, version=1, place=PLACE)) for size in (least, most - 1, most)
    }

    assert lengths == {padded + OVERHEAD}


def test_every_length_has_room_and_none_more_than_it_needs() -> None:
    for length in range(5000):
        assert length + 4 <= envelope.padded_length(length) <= max(64, 2 * (length + 4))


MOVED = {
    "table": replace(PLACE, table="scales_quarantined"),
    "column": replace(PLACE, column="body"),
    "row": replace(PLACE, row="0199f2c4-6d1e-7a63-9c1a-5b8f1f0e2d3d"),
    "holder": replace(PLACE, holder=Holder(UUID(int=ANA.id.int + 1), ANA.clinic)),
    # The same bytes in a row, cut elsewhere.
    "a border": replace(PLACE, table="scales_correctionr", column="eason"),
}


@pytest.mark.parametrize("what", MOVED)
def test_moved_anywhere_else_it_does_not_open(what: str) -> None:
    sealed = envelope.seal(b"words", key=KEY, version=1, place=PLACE)

    assert envelope.unseal(sealed, key=KEY, place=PLACE) == b"words"
    with pytest.raises(CannotOpen):
        envelope.unseal(sealed, key=KEY, place=MOVED[what])


def test_another_format_or_version_in_its_header_or_another_key_does_not_open_it() -> None:
    sealed = envelope.seal(b"words", key=KEY, version=1, place=PLACE)
    for header in (b"\x02\0\0\0\x01", b"\x01\0\0\0\x02", b"\0\0\0\0\x01"):
        with pytest.raises(CannotOpen):
            envelope.unseal(header + sealed[5:], key=KEY, place=PLACE)
    with pytest.raises(CannotOpen):
        envelope.unseal(sealed, key=bytes(32), place=PLACE)


def test_one_bit_anywhere_is_noticed() -> None:
    sealed = envelope.seal(b"words", key=KEY, version=1, place=PLACE)

    for place in range(len(sealed) * 8):
        changed = bytearray(sealed)
        changed[place // 8] ^= 1 << place % 8
        with pytest.raises(CannotOpen):
            envelope.unseal(bytes(changed), key=KEY, place=PLACE)


@pytest.mark.parametrize("cut", [0, 1, 5, 16, 17, 33, 96])
def test_a_piece_of_it_does_not_open(cut: int) -> None:
    sealed = envelope.seal(b"words", key=KEY, version=1, place=PLACE)
    assert len(sealed) == 97

    for piece in (sealed[:cut], sealed[cut + 1 :], sealed + sealed[:cut] + b"\0"):
        with pytest.raises(CannotOpen):
            envelope.unseal(piece, key=KEY, place=PLACE)


def test_the_highest_version_has_its_four_bytes() -> None:
    sealed = envelope.seal(b"", key=KEY, version=2**32 - 1, place=PLACE)

    assert envelope.version_of(sealed) == 2**32 - 1
    with pytest.raises(struct.error):
        envelope.seal(b"", key=KEY, version=2**32, place=PLACE)
