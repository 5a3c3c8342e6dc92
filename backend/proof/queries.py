"""Named reads: how far the audit is sealed and anchored, and what somebody saw and did."""

from collections.abc import Iterable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import connection

from backend.accounts.addresses import user_of
from backend.accounts.models import User
from backend.proof import anchors
from backend.proof.anchors import Head
from backend.wire import instant

ANCHORED = "audit.anchored"
# Held by whoever writes an anchor, and shared by whoever compares the file with the database.
LOCK = 0x5EA1_0002


def anchors_file() -> Path:
    """Where the anchors are."""
    return Path(settings.AUDIT_ANCHORS)


def unsealed() -> tuple[int, datetime | None]:
    """How many entries wait to be sealed, and when the oldest of them was written. In sight of everything."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*), min((SELECT e.at FROM audit_entry e WHERE e.id = p.entry)) FROM audit_pending p"
        )
        count, oldest = cursor.fetchone()
    return count, oldest


def last_anchor_at() -> datetime | None:
    """When the newest anchor was made; None where there is none."""
    line = anchors.last(anchors_file())
    return instant(line.anchor.at) if line else None


def newest_seal() -> int:
    """The key of the newest seal; 0 where there is none. In sight of everything."""
    return int(_value("SELECT coalesce(max(id), 0) FROM audit_seal"))


def sealed_after(seal: int) -> int:
    """How many entries the seals beyond that key hold. In sight of everything."""
    return int(_value("SELECT coalesce(sum(cardinality(entries)), 0) FROM audit_seal WHERE id > %s", [seal]))


def heads_after(seal: int) -> tuple[Head, ...]:
    """The heads of the chains that have a seal beyond that key. In sight of everything."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT DISTINCT ON (chain) chain, number, encode(hash, 'hex'), total FROM audit_seal"
            " WHERE id > %s ORDER BY chain, number DESC",
            [seal],
        )
        return tuple(Head(*row) for row in cursor.fetchall())


def newest_anchored() -> int:
    """The greatest number of an anchor that the audit itself tells of. In sight of everything."""
    return int(
        _value(
            "SELECT coalesce(max(substring(subject FROM '^([0-9]{1,18}):')::bigint), 0) FROM audit_entry"
            " WHERE action = %s",
            [ANCHORED],
        )
    )


def user_by(text: str) -> User | None:
    """The user of that address, or of that number."""
    if text.isascii() and text.isdecimal() and len(text) < 19:
        return User.objects.filter(pk=int(text)).first()
    return user_of(text)


def of_actor(
    actor: int, *, since: datetime, until: datetime, reads: bool = False
) -> Iterator[tuple[Any, ...]]:
    """What a user saw and did from one instant until before another, first to last: at, action, clinic and
    participant by public id, pseudonym, subject, request, device, why. In sight of everything.

    With `reads`, only what they saw of others.
    """
    with connection.chunked_cursor() as cursor:
        cursor.execute(
            "SELECT e.at, e.action, c.public_id, p.public_id, p.pseudonym, e.subject, e.request, e.device,"
            " e.why FROM audit_entry e LEFT JOIN care_participant p ON p.id = e.participant"
            " LEFT JOIN care_clinic c ON c.id = e.clinic"
            " WHERE e.actor = %s AND e.at >= %s AND e.at < %s AND (NOT %s OR e.action LIKE '%%.read')"
            " ORDER BY e.at, e.id",
            [actor, since, until, reads],
        )
        yield from cursor


def of_member(
    *, clinic: int, user: int, since: datetime, until: datetime, before: tuple[datetime, int], most: int
) -> list[tuple[Any, ...]]:
    """What a user saw and did in a clinic, newest first, beyond an instant and key: key, at, action,
    participant, subject, request, device, why. `access` let somebody through to the clinic."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT * FROM audit_of_member(%s, %s, %s, %s, %s, %s, %s)",
            [clinic, user, since, until, *before, most],
        )
        return list(cursor.fetchall())


def called(participants: Iterable[int]) -> dict[int, tuple[UUID, str]]:
    """The public ids and pseudonyms of those in sight among these participants, by key."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT id, public_id, pseudonym FROM care_participant WHERE id = ANY(%s)", [list(participants)]
        )
        return {key: (id_, pseudonym) for key, id_, pseudonym in cursor.fetchall()}


def _value(statement: str, values: list[Any] | None = None) -> Any:
    with connection.cursor() as cursor:
        cursor.execute(statement, values)
        return cursor.fetchone()[0]
