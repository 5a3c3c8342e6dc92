"""Nothing is served where the ledger names somebody who is still here."""

from uuid import UUID

from django.core.exceptions import ImproperlyConfigured
from django.db import DatabaseError, connection

from backend.errors import Problem
from backend.rights.erasure import ledger


def refuse_undone() -> None:
    """Nothing. Raises ImproperlyConfigured where this database has not done what the ledger says was done.

    That is one brought back from an older copy. A database that does not answer yet is no reason to refuse.
    """
    try:
        erasures = [line.erasure for line in ledger.read()]
    except (ledger.LedgerBroken, Problem) as why:
        raise ImproperlyConfigured(f"ERASURE_LEDGER cannot be relied on: {why}.") from None
    try:
        undone = _undone(erasures)
    except DatabaseError:
        return
    finally:
        connection.close()
    if undone:
        raise ImproperlyConfigured(
            f"{undone} erasures that were done are not done in this database, which must be from an older"
            " copy: run `manage.py rights replay`."
        )


def _undone(erasures: list[UUID]) -> int:
    if not erasures:
        return 0
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM rights_undone(%s::uuid[])", [erasures])
        return int(cursor.fetchone()[0])
