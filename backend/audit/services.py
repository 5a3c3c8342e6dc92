"""Writing audit rows. Each stands in the transaction of what it records."""

from collections.abc import Sequence

from django.db import connection

from backend.audit.actions import known
from backend.origin import device, request_id

# For statements that write what they record and its audit row in one: `INSERT ... SELECT`. Nothing looks at
# their action but a test, so it is spelt out in them.
_COLUMNS = "actor, action, participant, clinic, subject, request, device"
INSERT = f"INSERT INTO audit_entry ({_COLUMNS})"
INSERT_WITH_WHY = f"INSERT INTO audit_entry ({_COLUMNS}, why)"

Seen = tuple[int, int, str]  # a participant, their clinic, and how whoever saw them was entitled


def record(
    *,
    actor: int | None,
    action: str,
    participant: int | None = None,
    clinic: int | None = None,
    subject: object = "",
    why: str = "",
) -> None:
    """Nothing; one audit row is written. `action` is noun and past verb: `trends.read`."""
    with connection.cursor() as cursor:
        cursor.execute(
            f"{INSERT_WITH_WHY} VALUES (%s, %s, %s, %s, %s, %s, %s, %s)",
            [actor, known(action), participant, clinic, str(subject), request_id.get(), device.get(), why],
        )


def record_each(*, actor: int | None, action: str, participants: Sequence[Seen]) -> None:
    """Nothing; one audit row for each of these is written, in one statement."""
    with connection.cursor() as cursor:
        cursor.execute(
            f"{INSERT_WITH_WHY} SELECT %s, %s, seen.participant, seen.clinic, '', %s, %s, seen.why"
            " FROM unnest(%s::bigint[], %s::bigint[], %s::text[]) AS seen (participant, clinic, why)",
            [
                actor,
                known(action),
                request_id.get(),
                device.get(),
                [participant for participant, _, _ in participants],
                [clinic for _, clinic, _ in participants],
                [why for _, _, why in participants],
            ],
        )
