"""The one sealer: chains what was written since it last looked.

Entries are written by many transactions at once, which commit in no order of anything they were given.
So they are chained afterwards, by one at a time: in between an entry waits in `audit_pending`.
"""

from collections.abc import Sequence
from itertools import groupby
from typing import Any

from django.db import connection
from django.db.backends.utils import CursorWrapper

from backend import scope
from backend.audit import canonical

# Shared by every process on the database: two sealers would give a chain two ends.
LOCK = 0x5EA1_0001
# What one transaction seals at most, and one seal holds: neither's size has to do with the backlog's.
BATCH = 10_000
LARGEST = 1_000

MICROSECONDS = "(extract(epoch FROM {0}) * 1000000)::bigint"
# An instant that is none (`infinity`) is no number: it packs as null, and so fits no seal.
_AT = f"CASE WHEN isfinite(e.at) THEN {MICROSECONDS.format('e.at')} END"
ENTRY = ", ".join(_AT if column == "at" else f"e.{column}" for column in canonical.COLUMNS)
"""An entry's columns as `canonical` packs them, of `audit_entry e`."""

# OFFSET 0 keeps this a look-up by key for each that waits. Any other join may read the whole trail.
_WAITING = f"""
SELECT entry.* FROM audit_pending p
CROSS JOIN LATERAL (SELECT coalesce(e.clinic, 0), {ENTRY} FROM audit_entry e
    WHERE e.id = p.entry OFFSET 0) entry
ORDER BY p.entry LIMIT %s
"""
_HEADS = """
SELECT wanted, head.number, head.total, head.hash
FROM unnest(%s::bigint[]) wanted
CROSS JOIN LATERAL (SELECT number, total, hash FROM audit_seal
    WHERE chain = wanted ORDER BY number DESC LIMIT 1) head
"""
_SEAL = """
INSERT INTO audit_seal (chain, number, layout, entries, total, sealed_at, previous, hash)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s)
"""


def seal_all(*, batches: int = 20) -> int:
    """How many entries were sealed, until none waited or after so many batches. None waits for another
    sealer: what that leaves is for the next time."""
    sealed = 0
    for _ in range(batches):
        found = seal_batch()
        sealed += found
        if found < BATCH:
            break
    return sealed


def seal_batch() -> int:
    """How many of the entries that wait were sealed, BATCH at most: those with the lowest keys."""
    with scope.everything(), connection.cursor() as cursor:
        # A statement of its own: what the next ones see begins after the last sealer's commit.
        cursor.execute(
            f"SELECT pg_try_advisory_xact_lock(%s), {MICROSECONDS.format('clock_timestamp()')}", [LOCK]
        )
        alone, sealed_at = cursor.fetchone()
        if not alone:
            return 0
        cursor.execute(_WAITING, [BATCH])
        waiting = sorted(cursor.fetchall(), key=lambda row: row[0])
        if waiting:
            _write(cursor, waiting, sealed_at)
    return len(waiting)


def _write(cursor: CursorWrapper, waiting: Sequence[tuple[Any, ...]], sealed_at: int) -> None:
    """Nothing; these entries, sorted by chain, are sealed and wait no longer."""
    cursor.execute(_HEADS, [sorted({row[0] for row in waiting})])
    heads = {row[0]: (row[1], row[2], bytes(row[3])) for row in cursor.fetchall()}
    seals = []
    for chain, rows in groupby(waiting, key=lambda row: row[0]):
        entries = [row[1:] for row in rows]
        number, total, previous = heads.get(chain, (0, 0, canonical.BEGINNING))
        for first in range(0, len(entries), LARGEST):
            held = entries[first : first + LARGEST]
            number, total = number + 1, total + len(held)
            link = canonical.seal_hash(
                layout=canonical.LAYOUT,
                chain=chain,
                number=number,
                total=total,
                sealed_at=sealed_at,
                previous=previous,
                entries=held,
            )
            ids = [entry[0] for entry in held]
            at = canonical.instant(sealed_at)
            seals.append((chain, number, canonical.LAYOUT, ids, total, at, previous, link))
            previous = link
    cursor.executemany(_SEAL, seals)
    cursor.execute("DELETE FROM audit_pending WHERE entry = ANY(%s)", [[row[1] for row in waiting]])
