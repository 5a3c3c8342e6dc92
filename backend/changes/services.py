"""Writing change rows, in the transaction of the change."""

from uuid import UUID

from django.db import connection

# For statements that write what changed and its change row in one: `INSERT ... SELECT`.
INSERT = "INSERT INTO changes_change (participant, kind, object)"


def record(*, participant: int, kind: str, object: UUID) -> None:
    """Nothing; one change row is written. `kind` is the sync entry type: `administration`."""
    with connection.cursor() as cursor:
        cursor.execute(f"{INSERT} VALUES (%s, %s, %s)", [participant, kind, object])
