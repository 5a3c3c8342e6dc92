"""Nothing is served where the ledger names somebody who is still here."""

from django.core.exceptions import ImproperlyConfigured
from django.db import DatabaseError, connection

from backend.errors import Problem
from backend.rights.erasure import ledger


def undone() -> int:
    """How many erasures of the ledger this database has neither done nor under way. Raises LedgerBroken."""
    erasures = [line.erasure for line in ledger.read()]
    if not erasures:
        return 0
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM rights_undone(%s::uuid[])", [erasures])
        return int(cursor.fetchone()[0])


def refuse_undone() -> None:
    """Nothing. Raises ImproperlyConfigured where this database has not done what the ledger says was done.

    That is one brought back from an older copy. A database that does not answer yet is no reason to refuse.
    """
    try:
        left = undone()
    except (ledger.LedgerBroken, Problem) as why:
        raise ImproperlyConfigured(f"ERASURE_LEDGER cannot be relied on: {why}.") from None
    except DatabaseError:
        return
    finally:
        connection.close()
    if left:
        raise ImproperlyConfigured(
            f"{left} erasures that were done are not done in this database, which must be from an older copy:"
            " run `manage.py rights replay`."
        )
