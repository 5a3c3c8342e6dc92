"""Named reads: how old the newest backup is, and the newest that was tried out."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import Max, Q

from backend.backup.models import Run

ALARM_AFTER = timedelta(days=8)


@dataclass(frozen=True, slots=True)
class Age:
    """When the newest backup was made, when one was last restored to see that it holds, and whether that
    is too long ago."""

    taken_at: datetime | None
    verified_at: datetime | None
    alarm: bool


def age(now: datetime) -> Age:
    """How old the backups are."""
    found = Run.objects.aggregate(
        taken_at=Max("taken_at", filter=Q(holds_until__isnull=False)),
        verified_at=Max("verified_at", filter=Q(ok=True)),
    )
    verified_at: datetime | None = found["verified_at"]
    return Age(
        taken_at=found["taken_at"],
        verified_at=verified_at,
        alarm=verified_at is None or now - verified_at > ALARM_AFTER,
    )


def last_verified() -> datetime | None:
    """The instant before which everything that came in is in a backup that was restored and held.

    None where there is no such backup.
    """
    found: datetime | None = Run.objects.filter(ok=True).aggregate(held=Max("holds_until"))["held"]
    return found
