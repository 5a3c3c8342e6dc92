"""What an operator's looking leaves behind."""

from collections.abc import Sequence

from django.db import connection

from backend.audit import services as audit
from backend.origin import device, request_id

Seen = tuple[str, int | None, int | None]  # what, and the participant and clinic it is of


def record_page(*, actor: int, page: str) -> None:
    """Nothing; one audit row says which page was looked at."""
    audit.record(actor=actor, action="operator.viewed", subject=page)


def record_seen(*, actor: int, seen: Sequence[Seen]) -> None:
    """Nothing; one audit row for each object says that it was seen, in one statement."""
    with connection.cursor() as cursor:
        cursor.execute(
            f"{audit.INSERT} SELECT %s, 'operator.viewed', s.participant, s.clinic, s.what, %s, %s"
            " FROM unnest(%s::text[], %s::bigint[], %s::bigint[]) AS s (what, participant, clinic)",
            [
                actor,
                request_id.get(),
                device.get(),
                [what for what, _, _ in seen],
                [participant for _, participant, _ in seen],
                [clinic for _, _, clinic in seen],
            ],
        )
