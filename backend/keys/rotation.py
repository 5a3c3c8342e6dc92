"""Turning everybody's data keys over while the service runs, whatever moment it is broken off at.

1. Everybody's data key has a next version, which seals from now on. The one before still opens.
2. Every sealed value there is, is sealed anew, a batch a transaction, if it is still what was read.
3. Transactions that were open after 1 are waited for: they may have sealed under the version before, and
   nobody else does. What they left is sealed anew.
4. Transactions open by now are waited for: they may have read what was sealed before. Then the versions
   before are retired, but for people of whom something did not open: they open copies of the database from
   before, for as long as such copies are kept.

Audit rows say where a turn-over stands, so the next call goes on. What is sealed or read outside of a
transaction is stored or opened with the next statement: `pause` is far longer than that.
"""

import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, TypeVar
from uuid import UUID

from django.db import connection
from django.db.models import BinaryField, F, Func, Value

from backend import scope
from backend.audit import services as audit
from backend.keys import envelope, sealing
from backend.keys.envelope import HEADER_BYTES, Holder
from backend.keys.fields import SealedField, sealed_fields
from backend.keys.ring import keyring

PAUSE = 5.0  # seconds
# How long a retired data key opens backups from before: longer than those are kept.
RETIRED_FOR = timedelta(days=35)
_BEGAN, _TURNED, _ENDED = "keys.rotation_began", "keys.rotation_turned", "keys.rotation_ended"
_LOCK = 0x6B657973  # "keys"
_LOOKED_AT, _AT_ONCE = 1000, 100
Say = Callable[[str], None]
Item = TypeVar("Item")


class AlreadyRunning(Exception):
    """Keys are being turned over already."""


@dataclass
class _Resealed:
    """How many values were sealed anew, and which (column and row) do not open, and whose those are."""

    values: int = 0
    unreadable: set[tuple[str, Any]] = field(default_factory=set)
    stuck: set[UUID] = field(default_factory=set)


@contextmanager
def alone(patience: float = 10.0) -> Iterator[None]:
    """Nothing; nobody else turns keys over meanwhile. Raises AlreadyRunning.

    Whoever was killed loses the lock with their connection, which may take the database a moment to see.
    """
    deadline = time.monotonic() + patience
    while not _one("SELECT pg_try_advisory_lock(%s)", [_LOCK]):
        if time.monotonic() > deadline:
            raise AlreadyRunning
        time.sleep(0.1)
    try:
        yield
    finally:
        _one("SELECT pg_advisory_unlock(%s)", [_LOCK])


def rotate_master(*, say: Say) -> int:
    """How many records are under a new master key; the one before is gone."""
    began = time.monotonic()
    changed = keyring().turn_master_over()
    _note("key.master_turned", changed)
    say(f"{changed} keys are under a new master key ({time.monotonic() - began:.1f} s).")
    return changed


def rotate_data_keys(*, say: Say, now: datetime, pause: float = PAUSE) -> int:
    """How many values did not open, and stay as they are. Everything else is under everybody's next data key,
    and the versions before are retired, but for the people of those values."""
    stands = _stands()
    if stands not in (_BEGAN, _TURNED):
        _note(_BEGAN)
    if stands != _TURNED:
        say(f"{keyring().next_versions()} people have a next data key.")
        _note(_TURNED)
    done, open_then = _Resealed(), _open_transactions()
    _reseal(done, say)
    _outlive(open_then, pause, say)
    turned = keyring().turning()
    _reseal(done, say)
    _outlive(_open_transactions(), pause, say)
    through = [(holder, record.clinic) for holder, record in turned.items() if holder not in done.stuck]
    for some in _sliced(through, _LOOKED_AT):
        _note_each("key.rotated", some)
    keyring().retire_older_of({holder for holder, _ in through}, at=now)
    _note(_ENDED)
    say(f"{len(through)} people's older data keys are in use no more.")
    return len(done.unreadable)


def take_back() -> int:
    """How many people's retired data keys are in use again, since values here are sealed under them.

    That is a database from before a turn-over, brought back; nowhere else may they open anything. The next
    turn-over seals those values anew.
    """
    retired = {holder: record.retired for holder, record in keyring().store.records() if record.retired}
    wanted: dict[UUID, set[int]] = {}
    for column in sealed_fields() if retired else ():
        for rows in _pages(column):
            for row in rows:
                holder, version = row[column.holder], envelope.version_in(bytes(row["header"]))
                if version is not None and version in retired.get(holder, ()):
                    wanted.setdefault(holder, set()).add(version)
    taken = keyring().take_back(wanted) if wanted else 0
    if taken:
        _note("keys.taken_back", taken)
    return taken


def forget_retired(*, now: datetime) -> int:
    """Of how many people data keys are gone that were retired so long ago that no copy needs them."""
    gone = keyring().forget_retired(before=now - RETIRED_FOR)
    if gone:
        _note("keys.retired_forgotten", gone)
    return gone


def _reseal(done: _Resealed, say: Say) -> None:
    """Nothing; of those whose keys turn over, every value is under the newest, but for the stuck."""
    current = {holder: envelope.header(record.current) for holder, record in keyring().turning().items()}
    for column in sealed_fields():
        name, looked_at, before = _name(column), 0, done.values
        for rows in _pages(column):
            behind = [
                row["pk"]
                for row in rows
                if (name, row["pk"]) not in done.unreadable
                and bytes(row["header"]) != current.get(row[column.holder], bytes(row["header"]))
            ]
            for some in _sliced(behind, _AT_ONCE):
                _reseal_some(column, some, done)
            looked_at += len(rows)
            if looked_at % _LOOKED_AT == 0:
                say(f"{name}: {looked_at} values looked at so far.")
        say(f"{name}: {looked_at} values looked at, {done.values - before} sealed anew.")


def _name(column: SealedField) -> str:
    return f"{column.model._meta.db_table}.{column.attname}"


def _pages(column: SealedField) -> Iterator[list[dict[str, Any]]]:
    """Every row with a value there, with whose it is and what the value begins with, by key."""
    head = Func(
        F(column.attname), Value(1), Value(HEADER_BYTES), function="substring", output_field=BinaryField()
    )
    rows = (
        column.model._base_manager.filter(**{f"{column.attname}__isnull": False})
        .order_by("pk")
        .values("pk", column.holder, header=head)
    )
    page: list[dict[str, Any]] = []
    while True:
        with scope.everything():
            page = list((rows.filter(pk__gt=page[-1]["pk"]) if page else rows)[:_LOOKED_AT])
        if not page:
            return
        yield page


def _reseal_some(column: SealedField, keys: Sequence[Any], done: _Resealed) -> None:
    """Nothing; these rows' values are sealed anew, in one transaction, where they are what was read."""
    meta, names = column.model._meta, {"pk", column.row, column.holder, column.attname}
    if column.clinic:
        names.add(column.clinic)
    swaps = []
    with scope.everything():
        for row in column.model._base_manager.filter(pk__in=keys).order_by("pk").values(*names):
            holder = Holder(row[column.holder], (row[column.clinic] if column.clinic else None) or 0)
            place, old = column.place(row[column.row], holder), bytes(row[column.attname])
            try:
                swaps.append((sealing.seal_bytes(sealing.unseal_bytes(old, place), place), row["pk"], old))
            except sealing.Unreadable:
                done.unreadable.add((_name(column), row["pk"]))
                done.stuck.add(holder.id)
            except sealing.Destroyed:
                continue
        with connection.cursor() as cursor:
            cursor.executemany(
                f'UPDATE "{meta.db_table}" SET "{column.column}" = %s'
                f' WHERE "{meta.pk.column}" = %s AND "{column.column}" = %s',
                swaps,
            )
    done.values += len(swaps)


def _open_transactions() -> set[str]:
    """Every transaction that is open in this database just now, but our own."""
    with connection.cursor() as cursor:
        # Each holds a lock on its own number from its first statement on, and anybody may look.
        cursor.execute(
            "SELECT virtualtransaction FROM pg_locks JOIN pg_stat_activity USING (pid)"
            " WHERE locktype = 'virtualxid' AND datname = current_database() AND pid <> pg_backend_pid()"
        )
        return {row[0] for row in cursor.fetchall()}


def _outlive(transactions: Collection[str], pause: float, say: Say) -> None:
    """Nothing, once all of these transactions are over, and a pause at the least."""
    time.sleep(pause)
    waited = 0
    while left := _open_transactions() & set(transactions):
        if waited % 100 == 0:
            say(f"Waiting for {len(left)} transactions that were open when keys turned over.")
        waited += 1
        time.sleep(0.1)


def _stands() -> str:
    """The last that was noted of a turn-over; nothing where there was none yet."""
    with scope.everything():
        found = _one(
            "SELECT action FROM audit_entry WHERE action = ANY(%s) ORDER BY id DESC LIMIT 1",
            [[_BEGAN, _TURNED, _ENDED]],
        )
    return found or ""


def _note(action: str, subject: object = "") -> None:
    with scope.everything():
        audit.record(actor=None, action=action, subject=subject)


def _note_each(action: str, holders: Sequence[tuple[UUID, int]]) -> None:
    """Nothing; one audit row for each (holder, clinic) is written, in one statement."""
    with scope.everything(), connection.cursor() as cursor:
        cursor.execute(
            f"{audit.INSERT} SELECT NULL, %s, NULL, nullif(clinic, 0), holder, NULL, NULL"
            " FROM unnest(%s::text[], %s::bigint[]) AS turned (holder, clinic)",
            [action, [str(holder) for holder, _ in holders], [clinic for _, clinic in holders]],
        )


def _sliced(items: list[Item], size: int) -> Iterator[list[Item]]:
    return (items[first : first + size] for first in range(0, len(items), size))


def _one(statement: str, values: list[Any]) -> Any:
    with connection.cursor() as cursor:
        cursor.execute(statement, values)
        row = cursor.fetchone()
        return row[0] if row else None
