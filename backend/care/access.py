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
from backend.care.models import Membership
from backend.errors import Problem
from backend.wire import uuid

_FIELDS = (
    "p.id, p.public_id, p.clinic_id, c.missing_answers, p.pseudonym, p.timezone, p.enrolled_at, p.user_id"
)
_PARTICIPANTS = "care_participant p JOIN care_clinic c ON c.id = p.clinic_id"
# Care is given by a therapist, of the participant's own clinic, while both have not ended.
_IN_CARE = (
    "EXISTS (SELECT FROM care_carerelationship r JOIN care_membership m ON m.id = r.therapist_id"
    " WHERE r.participant_id = p.id AND m.user_id = %(user)s AND m.clinic_id = p.clinic_id"
    " AND m.role = 'therapist' AND r.started_at <= now() AND (r.ended_at IS NULL OR r.ended_at > now())"
    " AND m.started_at <= now() AND (m.ended_at IS NULL OR m.ended_at > now()))"
)


@dataclass(frozen=True, slots=True)
class SeenParticipant:
    """A participant somebody has been let through to, themselves included."""

    id: int
    public_id: UUID
    clinic_id: int
    missing_answers: str
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

    def user(self, id: int, email: str | None, second_factor: bool, *more: Any) -> Person:
        return Person(id, email, second_factor, SeenParticipant(*more) if more[0] is not None else None)


def who(request: Request) -> Person:
    """Who is signed in: by then `SignedIn` has let them pass."""
    user = request.user
    if not isinstance(user, Person):
        raise NotAuthenticated
    return user


def own_participant(user: Person) -> SeenParticipant:
    """The participant this user is. Raises Problem 403 `not_allowed` for anybody else."""
    if user.participant is None:
        raise Problem(403, "not_allowed", "Only a participant can do this.")
    return user.participant


def participant(user: Person, public_id: str, *, action: str) -> SeenParticipant:
    """The participant of that public id, for themselves or their therapist of today.

    Leaves an audit row naming the action when the reader is somebody else, and one that says
    `participant.refused` when the participant exists and the reader may not. Raises Problem 404.
    """
    wanted = uuid(public_id)
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT {_FIELDS}, p.user_id IS NOT DISTINCT FROM %(user)s, {_IN_CARE}"
            f" FROM {_PARTICIPANTS} WHERE p.public_id = %(wanted)s",
            {"user": user.id, "wanted": wanted},
        )
        row = cursor.fetchone()
    if row is None:
        raise Problem(404, "not_found")
    *fields, is_self, in_care = row
    seen = SeenParticipant(*fields)
    if is_self:
        return seen
    audit.record(
        actor=user.id,
        action=action if in_care else "participant.refused",
        participant=seen.id,
        clinic=seen.clinic_id,
    )
    if not in_care:
        raise Problem(404, "not_found")
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


def require_therapist(user: Person) -> None:
    """Nothing. Raises Problem 403 `not_allowed` for somebody who is no therapist today."""
    if not any(m.role == Membership.Role.THERAPIST for m in memberships(user)):
        raise Problem(403, "not_allowed", "Only a therapist has a caseload.")


def caseload(user: Person, *, after: int, limit: int) -> tuple[list[SeenParticipant], bool]:
    """The participants in the user's care today, by key, at most `limit` beyond the key `after`; and
    whether there are more.

    Leaves an audit row, `caseload.read`, for each of them.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT {_FIELDS} FROM {_PARTICIPANTS} WHERE {_IN_CARE} AND p.id > %(after)s"
            " ORDER BY p.id LIMIT %(limit)s",
            {"user": user.id, "after": after, "limit": limit + 1},
        )
        found = [SeenParticipant(*row) for row in cursor.fetchall()]
    seen = found[:limit]
    audit.record_each(
        actor=user.id,
        action="caseload.read",
        participants=[(s.id, s.clinic_id) for s in seen],
    )
    return seen, len(found) > limit
