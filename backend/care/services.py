"""What happens to people and their dosing sessions. `actor` is the user who did it: None at the machine."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import structlog
from django.db import IntegrityError, connection, transaction

from backend import scope
from backend.accounts.models import User
from backend.audit import services as audit
from backend.care import queries
from backend.care.access import SeenParticipant
from backend.care.consent.disclosure import disclosed
from backend.care.models import CareRelationship, Clinic, Cover, DosingSession, Membership, Participant
from backend.care.roles import Role
from backend.changes import services as changes
from backend.changes import tombstones
from backend.errors import Problem

log = structlog.get_logger()

# What makes two dosing sessions of one id the same; a field left out equals null.
_SESSION_CONTENT = ("started_at", "substance", "dose", "dose_unit", "route", "setting", "supervised")


# More people than anybody sees in an hour of work: a stolen sign-in, or somebody who reads through a clinic.
MANY_PEOPLE = 60
_LOOKED = """
SELECT e.actor, count(DISTINCT e.participant) FROM audit_entry e
WHERE e.at > %(since)s AND e.actor IS NOT NULL AND e.action LIKE '%%.read' AND e.action <> 'caseload.read'
    AND NOT EXISTS (SELECT FROM audit_entry n
        WHERE n.actor = e.actor AND n.action = 'reads.many' AND n.at > %(since)s)
GROUP BY e.actor HAVING count(DISTINCT e.participant) > %(many)s ORDER BY e.actor
"""


def note_many_reads(*, now: datetime) -> int:
    """How many users were newly found to have looked at more than MANY_PEOPLE people within the hour.

    Each leaves an audit row `reads.many` with the number, and a line in the log: nobody is shut out by it,
    since somebody may be covering for a whole clinic.
    """
    with scope.everything(), connection.cursor() as cursor:
        cursor.execute(_LOOKED, {"since": now - timedelta(hours=1), "many": MANY_PEOPLE})
        found = cursor.fetchall()
        for actor, people in found:
            audit.record(actor=actor, action="reads.many", subject=people)
            log.warning("reads_many", user=actor, people=people)
    return len(found)


def create_clinic(*, name: str, second_factor: bool = True) -> Clinic:
    """A new clinic with nobody in it. Its staff sign in with a second factor, but in a demo."""
    clinic = Clinic.objects.create(name=name, second_factor=second_factor)
    audit.record(actor=None, action="clinic.created", clinic=clinic.pk)
    return clinic


@transaction.atomic
def add_member(
    *, clinic: Clinic, user: User, role: Role, started_at: datetime, actor: int | None = None
) -> Membership:
    """The user's new membership of the clinic's staff."""
    membership = Membership.objects.create(clinic=clinic, user=user, role=role, started_at=started_at)
    audit.record(actor=actor, action="membership.started", clinic=clinic.pk, subject=membership.pk)
    return membership


@transaction.atomic
def enrol_participant(
    *,
    clinic: Clinic,
    user: User | None,
    pseudonym: str,
    timezone: str,
    enrolled_at: datetime,
    actor: int | None = None,
) -> Participant:
    """A new participant of the clinic, without a therapist yet."""
    person = Participant.objects.create(
        clinic=clinic, user=user, pseudonym=pseudonym, timezone=timezone, enrolled_at=enrolled_at
    )
    audit.record(actor=actor, action="participant.enrolled", participant=person.pk, clinic=clinic.pk)
    return person


@transaction.atomic
def start_care(
    *,
    participant: Participant,
    therapist: Membership,
    started_at: datetime,
    ended_at: datetime | None = None,
    actor: int | None = None,
) -> CareRelationship:
    """The new care relationship. Therapist and participant are of one clinic."""
    if participant.clinic_id != therapist.clinic_id:
        raise ValueError("A care relationship stays within one clinic.")
    care = CareRelationship.objects.create(
        clinic_id=participant.clinic_id,
        participant=participant,
        therapist=therapist,
        started_at=started_at,
        ended_at=ended_at,
    )
    audit.record(
        actor=actor,
        action="care.started",
        participant=participant.pk,
        clinic=participant.clinic_id,
        subject=care.pk,
    )
    return care


@transaction.atomic
def end_care(
    *, care: CareRelationship, ended_at: datetime, because: str | None = None, actor: int | None = None
) -> None:
    """Nothing; from that instant the therapist sees nothing of the participant."""
    care.ended_at = ended_at
    care.ended_because = because
    care.save(update_fields=["ended_at", "ended_because"])
    audit.record(
        actor=actor,
        action="care.ended",
        participant=care.participant_id,
        clinic=care.clinic_id,
        subject=care.pk,
    )


@transaction.atomic
def arrange_cover(
    *,
    therapist: Membership,
    covered_by: Membership,
    started_at: datetime,
    ended_at: datetime,
    actor: int | None = None,
) -> Cover:
    """The new cover: between these instants, whoever is in the therapist's care is in the other's too."""
    if therapist.clinic_id != covered_by.clinic_id:
        raise ValueError("Cover stays within one clinic.")
    cover = Cover.objects.create(
        clinic_id=therapist.clinic_id,
        therapist=therapist,
        covered_by=covered_by,
        started_at=started_at,
        ended_at=ended_at,
    )
    audit.record(actor=actor, action="cover.arranged", clinic=cover.clinic_id, subject=cover.pk)
    return cover


@transaction.atomic
def end_cover(*, cover: Cover, ended_at: datetime, actor: int | None = None) -> None:
    """Nothing; the cover is over from that instant, or as it was planned if that is sooner."""
    cover.ended_at = max(cover.started_at, min(cover.ended_at, ended_at))
    cover.save(update_fields=["ended_at"])
    audit.record(actor=actor, action="cover.ended", clinic=cover.clinic_id, subject=cover.pk)


def record_dosing_session(
    *,
    participant: SeenParticipant,
    actor: int,
    id: UUID,
    fields: Mapping[str, Any],
) -> tuple[DosingSession, bool]:
    """The dosing session of that id, and whether it is new.

    The same id with the same content is the same session: for somebody else than who recorded it, the same
    in all that they are shown. Raises Problem 409 `conflict` for the
    same id with other content (or another person's), and for a second session at the same instant; and 410
    `erased` for one that was erased.
    """
    tombstones.refuse_erased(tombstones.of_object(id))
    try:
        with transaction.atomic():
            session = DosingSession.objects.create(
                id=id, participant_id=participant.id, recorded_by_id=actor, **fields
            )
            changes.record(participant=participant.id, kind="dosing_session", object=id)
            audit.record(
                actor=actor,
                action="dosing_session.recorded",
                participant=participant.id,
                clinic=participant.clinic_id,
                subject=id,
            )
    except IntegrityError:
        kept = DosingSession.objects.filter(id=id, participant_id=participant.id).first()
        if kept is None or not _same_session(kept, fields, participant, actor):
            raise Problem(409, "conflict") from None
        return kept, False
    session.refresh_from_db()
    return session, True


def _same_session(
    kept: DosingSession, fields: Mapping[str, Any], participant: SeenParticipant, actor: int
) -> bool:
    """Whether these fields are the session's. Guessing at what is withheld must not tell."""
    sent = {name: fields.get(name) for name in _SESSION_CONTENT}
    held = {name: getattr(kept, name) for name in _SESSION_CONTENT}
    if actor == kept.recorded_by_id:
        return sent == held
    level = queries.level(participant, reader=actor)
    return disclosed(sent, level) == disclosed(held, level)
