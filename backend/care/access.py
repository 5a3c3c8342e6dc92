"""The only door to another person's data: it checks, and it records who came through.

What somebody may not see does not exist for them: the answer is the same `not_found` as for an id
that never was, whatever the reason.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import connection
from django.db.models import Q
from django.db.models.functions import Now
from rest_framework.exceptions import NotAuthenticated
from rest_framework.request import Request

from backend.accounts.authentication import AccessToken, SignedInUser
from backend.audit import services as audit
from backend.care import roles
from backend.care.consent import queries as consent
from backend.care.models import Membership
from backend.errors import Fault, Problem
from backend.wire import uuid

# How long a worse score waits for the therapist: no longer than the clinic says today, nor than the
# participant was told when they agreed; not at all without both.
_TOLD = consent.IN_FORCE.format(
    columns="CASE WHEN n.decision = 'given' AND n.rules->>'hold_hours' IS NOT NULL"
    " THEN least(c.hold_hours, (n.rules->>'hold_hours')::int) END",
    participant="p.id",
    stream="'care'",
)
_HOLD_HOURS = f"CASE WHEN c.hold_hours IS NOT NULL THEN ({_TOLD}) END"
_FIELDS = (
    f"p.id, p.public_id, p.clinic_id, c.missing_answers, c.hold_hours, {_HOLD_HOURS},"
    " p.pseudonym, p.timezone, p.enrolled_at, p.user_id"
)
_PARTICIPANTS = "care_participant p JOIN care_clinic c ON c.id = p.clinic_id"
# Care is given by a therapist, or by whoever covers for one, of the participant's own clinic, while none
# of it has ended: neither care, nor cover, nor either's membership.
_IN_CARE = """EXISTS (
    SELECT FROM care_carerelationship r
    JOIN care_membership t ON t.id = r.therapist_id AND t.role = 'therapist'
    LEFT JOIN care_cover v ON v.therapist_id = t.id AND v.started_at <= now() AND v.ended_at > now()
    JOIN care_membership m ON m.user_id = %(user)s AND m.id IN (t.id, v.covered_by_id)
        AND m.role IN ('therapist', 'supervisor')
    WHERE r.participant_id = p.id AND t.clinic_id = p.clinic_id AND m.clinic_id = p.clinic_id
        AND r.started_at <= now() AND (r.ended_at IS NULL OR r.ended_at > now())
        AND t.started_at <= now() AND (t.ended_at IS NULL OR t.ended_at > now())
        AND m.started_at <= now() AND (m.ended_at IS NULL OR m.ended_at > now()))"""
# Of a right that needs no consent, no stream is asked for.
_CONSENTED = f"(%(needs)s::text IS NULL OR {consent.given('p.id', '%(needs)s::text')})"
_ROLES = """ARRAY(
    SELECT m.role FROM care_membership m WHERE m.user_id = %(user)s AND m.clinic_id = p.clinic_id
        AND m.started_at <= now() AND (m.ended_at IS NULL OR m.ended_at > now()))"""


@dataclass(frozen=True, slots=True)
class SeenParticipant:
    """A participant somebody has been let through to, themselves included."""

    id: int
    public_id: UUID
    clinic_id: int
    missing_answers: str
    clinic_hold_hours: int | None
    hold_hours: int | None
    pseudonym: str
    timezone: str
    enrolled_at: datetime
    user_id: int | None


@dataclass(frozen=True, slots=True)
class Person(SignedInUser):
    """Who is signed in, and the participant they are, if they are one."""

    participant: SeenParticipant | None


class PersonToken(AccessToken):
    """An access token, and whose: one statement looks up both."""

    columns = f", {_FIELDS}"
    joins = f"LEFT JOIN ({_PARTICIPANTS}) ON p.user_id = u.id"

    def user(self, id: int, email: str, *more: Any) -> Person:
        return Person(id, email, SeenParticipant(*more) if more[0] is not None else None)


def who(request: Request) -> Person:
    """Who is signed in: by then `SignedIn` has let them pass."""
    user = request.user
    if not isinstance(user, Person):
        raise NotAuthenticated
    return user


def own_participant(user: Person, *, right: str) -> SeenParticipant:
    """The participant this user is, to do what is everybody's own right. Problem 403 for anybody else."""
    if user.participant is None or not roles.may(right, own=True, held=(), in_care=False):
        raise Problem(403, "not_allowed", "Only a participant can do this.")
    return user.participant


def participant(user: Person, public_id: str, *, right: str) -> SeenParticipant:
    """The participant of that public id, for whoever `roles.TABLE` gives that right.

    Leaves an audit row naming the right when the reader is somebody else, one that says
    `participant.refused` when the participant exists and the reader may not, and one that says
    `participant.no_consent` when the reader might if the participant agreed. Raises Problem 404, and
    Problem 403 `no_consent` for the last: who is told so may know that the participant exists. So does the
    participant, who is told `not_allowed` of what is others' right.
    """
    wanted = uuid(public_id)
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT {_FIELDS}, p.user_id IS NOT DISTINCT FROM %(user)s, {_ROLES}, {_IN_CARE}, {_CONSENTED}"
            f" FROM {_PARTICIPANTS} WHERE p.public_id = %(wanted)s",
            {"user": user.id, "wanted": wanted, "needs": roles.NEEDS.get(right)},
        )
        row = cursor.fetchone()
    if row is None:
        raise Problem(404, "not_found")
    *fields, own, held, in_care, consented = row
    seen = SeenParticipant(*fields)
    let_through = roles.may(right, own=own, held=held, in_care=in_care)
    if not own:
        action = right if consented else "participant.no_consent"
        audit.record(
            actor=user.id,
            action=action if let_through else "participant.refused",
            participant=seen.id,
            clinic=seen.clinic_id,
        )
    if not let_through:
        raise Problem(403, "not_allowed") if own else Problem(404, "not_found")
    if not (own or consented):
        raise Problem(403, "no_consent")
    return seen


def participants_of_a_job(keys: Sequence[int]) -> dict[int, SeenParticipant]:
    """The participants of those keys, for work that nobody asked for: no person sees what it reads."""
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {_FIELDS} FROM {_PARTICIPANTS} WHERE p.id = ANY(%s)", [list(keys)])
        return {row[0]: SeenParticipant(*row) for row in cursor.fetchall()}


def memberships(user: Person) -> list[Membership]:
    """The user's memberships of today, with their clinics."""
    return list(
        Membership.objects.select_related("clinic")
        .filter(Q(ended_at__isnull=True) | Q(ended_at__gt=Now()), user_id=user.id, started_at__lte=Now())
        .order_by("id")
    )


@dataclass(frozen=True, slots=True)
class Acting:
    """The membership somebody acts under, and of which clinic."""

    membership_id: int
    clinic_id: int
    clinic: UUID
    role: str


def acting(user: Person, *, right: str, clinic: UUID | None = None) -> Acting:
    """What gives the user a right over a whole clinic: over this one, or over the only one.

    Raises Problem 403 `not_allowed` for somebody without it, there or anywhere, and 422 at `/clinic` for
    somebody with it in several clinics who names none.
    """
    may = [
        Acting(m.pk, m.clinic_id, m.clinic.public_id, m.role)
        for m in memberships(user)
        if m.role in roles.clinic_wide(right) and clinic in (None, m.clinic.public_id)
    ]
    if not may:
        raise Problem(403, "not_allowed")
    if len({m.clinic_id for m in may}) > 1:
        raise Problem(422, "validation_failed", errors=[Fault("/clinic", "required")])
    return may[0]


def require_caseload(user: Person) -> None:
    """Nothing. Raises Problem 403 `not_allowed` for somebody in whose care nobody can be today."""
    if not any(m.role in roles.TABLE["caseload.read"] for m in memberships(user)):
        raise Problem(403, "not_allowed", "Only those who care for participants have a caseload.")


def caseload(user: Person, *, after: int, limit: int) -> tuple[list[SeenParticipant], bool]:
    """The participants in the user's care today, or of the clinics they oversee, by key: at most `limit`
    beyond the key `after`; and whether there are more.

    Leaves an audit row, `caseload.read`, for each of them.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT {_FIELDS} FROM {_PARTICIPANTS}"
            f" WHERE ({_IN_CARE} OR {_ROLES} && %(oversee)s::varchar[])"
            " AND p.id > %(after)s ORDER BY p.id LIMIT %(limit)s",
            {
                "user": user.id,
                "oversee": roles.clinic_wide("caseload.read"),
                "after": after,
                "limit": limit + 1,
            },
        )
        found = [SeenParticipant(*row) for row in cursor.fetchall()]
    seen = found[:limit]
    audit.record_each(
        actor=user.id,
        action="caseload.read",
        participants=[(s.id, s.clinic_id) for s in seen],
    )
    return seen, len(found) > limit
