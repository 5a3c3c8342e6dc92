"""What was erased, by a hash of its id: asked before something is taken in."""

import hashlib
from uuid import UUID

from django.db import connection

from backend.errors import Problem

# For statements that take something in: a condition that it was not erased. One probe of an index.
NOT_ERASED = "NOT EXISTS (SELECT FROM changes_tombstone WHERE object = %(tombstone)s)"


def of_object(id: UUID) -> bytes:
    """The tombstone of something under the id its maker gave it. `rights_erase` makes the same."""
    return hashlib.sha256(id.bytes).digest()


def of_user(id: int) -> bytes:
    """The tombstone of somebody who could sign in."""
    return hashlib.sha256(f"selfkind user {id}".encode()).digest()


def is_erased(tombstone: bytes) -> bool:
    """Whether there is that tombstone."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT EXISTS (SELECT FROM changes_tombstone WHERE object = %s)", [tombstone])
        return bool(cursor.fetchone()[0])


def refuse_erased(tombstone: bytes) -> None:
    """Nothing. Raises Problem 410 `erased` where there is that tombstone."""
    if is_erased(tombstone):
        raise Problem(410, "erased")


def bury(tombstone: bytes) -> None:
    """Nothing; there is that tombstone from now on."""
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO changes_tombstone (object) VALUES (%s) ON CONFLICT DO NOTHING", [tombstone]
        )
