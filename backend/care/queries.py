"""Named reads. Each takes a participant that `access` let somebody through to."""

import json
from collections.abc import Mapping
from datetime import date, datetime

from django.db import connection

from backend.care.access import SeenParticipant
from backend.care.consent import queries as consent
from backend.care.consent.disclosure import EVERYTHING, NOTHING, Level
from backend.care.consent.text import Stream
from backend.care.models import Clinic, DosingSession
from backend.care.timeline import Session, local_date, order


def clock() -> datetime:
    """The database's time as this transaction began, by which access is decided: what ends now is over for
    the next request, however wrong the clock of the machine that asks."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT now()")
        at: datetime = cursor.fetchone()[0]
    return at


def clinic_name(clinic: int) -> str:
    """What the clinic is called."""
    return Clinic.objects.values_list("name", flat=True).get(pk=clinic)


def dosing_sessions(participant_id: int) -> list[DosingSession]:
    """A participant's dosing sessions, first to last."""
    return list(DosingSession.objects.filter(participant_id=participant_id).order_by("started_at"))


def session_times(participant_id: int) -> list[datetime]:
    """When a participant's dosing sessions are."""
    sessions = DosingSession.objects.filter(participant_id=participant_id)
    return list(sessions.values_list("started_at", flat=True))


def level(participant: SeenParticipant, *, reader: int) -> Level:
    """How much of a participant's dosing sessions a reader is shown.

    All of one's own; nothing but when they were without consent to care; else what the participant says.
    """
    if participant.user_id == reader:
        return EVERYTHING
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT care_agreed_to(p.id, %(stream)s),"
            " (SELECT d.in_force::text FROM care_disclosure d"
            " WHERE d.participant_id = p.id ORDER BY d.id DESC LIMIT 1)"
            " FROM care_participant p WHERE p.id = %(participant)s",
            {"participant": participant.id, "stream": Stream.CARE},
        )
        given, in_force = cursor.fetchone()
    return consent.levels(in_force and json.loads(in_force))["therapist"] if given else NOTHING


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
