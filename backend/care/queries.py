"""Named reads. Each takes a participant that `access` let somebody through to."""

from collections.abc import Mapping
from datetime import date, datetime

from django.db import connection

from backend.care.models import DosingSession
from backend.care.timeline import Session, local_date, order


def dosing_sessions(participant_id: int) -> list[DosingSession]:
    """A participant's dosing sessions, first to last."""
    return list(DosingSession.objects.filter(participant_id=participant_id).order_by("started_at"))


def timelines(zones: Mapping[int, str]) -> dict[int, list[Session]]:
    """The sessions of several participants, as `timeline` counts from them: ordinal, and local date.

    `zones` is participant key to IANA zone.
    """
    found: dict[int, list[tuple[str, datetime, date]]] = {key: [] for key in zones}
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT participant_id, id, started_at FROM care_dosingsession WHERE participant_id = ANY(%s)",
            [list(zones)],
        )
        for key, id_, at in cursor.fetchall():
            found[key].append((str(id_), at, local_date(at, zones[key])))
    return {key: order(sessions) for key, sessions in found.items()}
