"""Seven people in two clinics. Ana is Thea's; Theo was her therapist once; Carla is elsewhere."""

import secrets
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

from django.db import transaction

from backend.accounts.models import User
from backend.accounts.services import create_user
from backend.care import access, services
from backend.care.consent import queries as consent
from backend.care.consent.services import record_decision
from backend.care.consent.text import Stream
from backend.care.models import Clinic, Participant
from backend.care.roles import Role
from backend.demo.models import Mark

_ROLE = {
    "ana": "participant",
    "ben": "participant",
    "thea": "therapist",
    "theo": "therapist",
    "carla": "therapist",
    "rosa": "researcher",
    "adam": "clinic admin",
}


def is_demo() -> bool:
    """Whether the demo cast ever moved into this database."""
    return Mark.objects.exists()


def may_move_in() -> bool:
    """Whether nobody lives here yet."""
    return not User.objects.exists() and not Clinic.objects.exists()


@transaction.atomic
def move_in(*, now: datetime) -> dict[str, dict[str, Any]]:
    """The cast by name: role, e-mail, password, and the participants' public ids.

    Marks the database as a demo for good.
    """
    Mark.objects.create()
    people = {
        name: {"role": role, "email": f"{name}@demo.example", "password": secrets.token_urlsafe(18)}
        for name, role in _ROLE.items()
    }
    users = {name: create_user(email=p["email"], password=p["password"]) for name, p in people.items()}
    linden, rowan = (services.create_clinic(name=name, second_factor=False) for name in ("Linden", "Rowan"))
    long_ago = now - timedelta(days=2 * 365)
    ana = services.enrol_participant(
        clinic=linden,
        user=users["ana"],
        pseudonym="amber heron",
        timezone="Europe/Berlin",
        enrolled_at=long_ago,
    )
    ben = services.enrol_participant(
        clinic=linden,
        user=users["ben"],
        pseudonym="quiet maple",
        timezone="America/New_York",
        enrolled_at=long_ago,
    )
    thea = services.add_member(clinic=linden, user=users["thea"], role=Role.THERAPIST, started_at=long_ago)
    theo = services.add_member(clinic=linden, user=users["theo"], role=Role.THERAPIST, started_at=long_ago)
    services.add_member(clinic=rowan, user=users["carla"], role=Role.THERAPIST, started_at=long_ago)
    services.add_member(clinic=linden, user=users["rosa"], role=Role.RESEARCHER, started_at=long_ago)
    services.add_member(clinic=linden, user=users["adam"], role=Role.CLINIC_ADMIN, started_at=long_ago)
    services.start_care(participant=ana, therapist=thea, started_at=now - timedelta(days=300))
    former = services.start_care(participant=ana, therapist=theo, started_at=long_ago)
    services.end_care(care=former, ended_at=now - timedelta(days=300))
    for name, participant in (("ana", ana), ("ben", ben)):
        people[name]["participant"] = str(participant.public_id)
        for stream in (Stream.CARE, Stream.JOURNAL_THERAPIST):
            agree(participant, stream, actor=users[name].pk, at=long_ago)
    return people


def agree(participant: Participant, stream: Stream, *, actor: int, at: datetime) -> None:
    """Nothing; the participant has agreed to the stream's English words of today."""
    with access.participants_of_a_job([participant.pk]) as found:
        seen = found[participant.pk]
        text = next(t for t in consent.current() if (t.stream, t.language) == (stream, "en"))
        shown = text.shown(seen.clinic_hold_hours)
        record_decision(
            participant=seen,
            actor=actor,
            device=None,
            id=uuid4(),
            fields={
                "stream": stream,
                "version": text.version,
                "language": text.language,
                "text_hash": shown.hash,
                "decision": "given",
                "decided_at": at,
            },
            received_at=at,
        )
