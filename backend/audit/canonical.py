"""The bytes that a seal is the hash of. Pure.

Equal rows give equal bytes in every time zone, locale, date style and version of the database; unequal
rows never do. So nothing here is text that somebody formats: an instant is whole microseconds since 1970
(what PostgreSQL keeps; finer ones would be lost on the way), a UUID its 16 bytes, and each value says how
long it is before it begins, so that no two rows run together into the same bytes.
"""

import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from uuid import UUID

# A released layout never changes: seals say theirs. A new column of an entry is the next layout.
LAYOUT = 1
COLUMNS = ("id", "at", "actor", "action", "participant", "clinic", "subject", "request", "device", "why")
# What the first seal of a chain follows.
BEGINNING = bytes(32)

Value = int | str | bytes | UUID | None

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NULL = b"\xff\xff\xff\xff"


def instant(microseconds: int) -> datetime:
    """The instant so many microseconds after 1970 began, in UTC."""
    return _EPOCH + timedelta(microseconds=microseconds)


def packed(value: Value) -> bytes:
    """The value after its length in four bytes. Nothing at all is no length that a value has."""
    if value is None:
        return _NULL
    if isinstance(value, int):
        return b"\x00\x00\x00\x08" + value.to_bytes(8, "big", signed=True)
    if isinstance(value, UUID):
        return b"\x00\x00\x00\x10" + value.bytes
    data = value.encode() if isinstance(value, str) else value
    return len(data).to_bytes(4, "big") + data


def seal_hash(
    *,
    layout: int,
    chain: int,
    number: int,
    total: int,
    sealed_at: int,
    previous: bytes,
    entries: Sequence[Sequence[Value]],
) -> bytes:
    """The 32 bytes of SHA-256 over a seal and all columns of its entries, in the order of COLUMNS.

    `sealed_at` is in microseconds, and so is each entry's `at`.
    """
    parts: list[Value] = [
        b"selfkind audit seal",
        layout,
        chain,
        number,
        total,
        sealed_at,
        previous,
        len(entries),
    ]
    digest = hashlib.sha256(b"".join(map(packed, parts)))
    for entry in entries:
        digest.update(b"".join(map(packed, entry)))
    return digest.digest()
