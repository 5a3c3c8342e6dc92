"""Named reads. Each takes a participant that `access` let somebody through to."""

from django.db import connection

from backend.care.models import DosingSession
from backend.care.timeline import Session, local_date, order


def dosing_sessions(participant_id: int) -> list[DosingSession]:
    """A participant's dosing sessions, first to last."""
    return list(DosingSession.objects.filter(participant_id=participant_id).order_by("started_at"))


def timeline_sessions(participant_id: int, timezone: str) -> list[Session]:
    """The same sessions, as `timeline` counts from them: ordinal, and date in the person's zone."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT id, started_at FROM care_dosingsession WHERE participant_id = %s", [participant_id]
        )
        return order((str(id_), at, local_date(at, timezone)) for id_, at in cursor.fetchall())
