"""Writing audit rows. Each stands in the transaction of what it records."""

from collections.abc import Sequence

from django.db import connection

from backend.origin import device, request_id

# For statements that write what they record and its audit row in one: `INSERT ... SELECT`.
INSERT = "INSERT INTO audit_entry (actor, action, participant, clinic, subject, request, device)"


def record(
    *,
    actor: int | None,
    action: str,
    participant: int | None = None,
    clinic: int | None = None,
    subject: object = "",
) -> None:
    """Nothing; one audit row is written. `action` is noun and past verb: `trends.read`."""
    with connection.cursor() as cursor:
        cursor.execute(
            f"{INSERT} VALUES (%s, %s, %s, %s, %s, %s, %s)",
            [actor, action, participant, clinic, str(subject), request_id.get(), device.get()],
        )


def record_each(*, actor: int, action: str, participants: Sequence[tuple[int, int]]) -> None:
    """Nothing; one audit row for each (participant, clinic) is written, in one statement."""
    with connection.cursor() as cursor:
        cursor.execute(
            f"{INSERT} SELECT %s, %s, seen.participant, seen.clinic, '', %s, %s"
            " FROM unnest(%s::bigint[], %s::bigint[]) AS seen (participant, clinic)",
            [
                actor,
                action,
                request_id.get(),
                device.get(),
                [p for p, _ in participants],
                [c for _, c in participants],
            ],
        )
