"""The only door to another person's data: it checks, and it records who came through.

What somebody may not see does not exist for them: the answer is the same `not_found` as for an id
that never was, whatever the reason.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeVar
from uuid import UUID

from django.db import connection
from django.db.models import Q
from django.db.models.functions import Now
from rest_framework.exceptions import NotAuthenticated
from rest_framework.request import Request

from backend import scope
from backend.accounts.authentication import AccessToken, SignedInUser, require_second_factor
from backend.audit import services as audit
from backend.audit.actions import known
from backend.care import roles
from backend.care.models import CareRelationship, Cover, Membership
from backend.errors import Fault, Problem
from backend.keys.envelope import Holder
from backend.origin import device, request_id
from backend.wire import uuid

_FIELDS = (
    "id, public_id, clinic_id, missing_answers, clinic_hold_hours, hold_hours, pseudonym, timezone,"
    " enrolled_at, user_id"
)


# Who came through the door and, in the same statement, that the room behind it is open to them.
_LEAVE_A_ROW = f"""
WITH recorded AS (
    {audit.INSERT_WITH_WHY}
    VALUES (%(actor)s, %(action)s, %(participant)s, %(clinic)s, %(subject)s, %(request)s, %(device)s, %(why)s)
)
SELECT {scope.SET_PARTICIPANTS.replace("%s", "%(shown)s")}
"""


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
    # Known of oneself: who takes no part sends nothing that is scored.
    withdrawn: bool = field(default=False, compare=False)

    @property
    def holder(self) -> Holder:
        """Whose key what they wrote is sealed under."""
        return Holder(self.public_id, self.clinic_id)


@dataclass(frozen=True, slots=True)
class Person(SignedInUser):
    """Who is signed in, whether on a clinic's staff, and the participant they are, if they are one."""

    staff: bool
    wants_second_factor: bool
    """Whether a clinic they work for shows nothing to a sign-in without one."""
    participant: SeenParticipant | None


class PersonToken(AccessToken):
    """An access token, and whose: one statement looks up both, and shows people themselves."""

    columns = (
        ", set_config('selfkind.participants', coalesce('{' || p.id || '}', ''), true)"
        f", p.staff, p.second_factor, {', '.join('p.' + name for name in _FIELDS.split(', '))}, p.withdrawn"
    )
    joins = "CROSS JOIN LATERAL care_person(u.id) p"

    def user(self, id: int, second_factor: bool, *more: Any) -> Person:
        _, staff, wants_second_factor, *fields = more
        own = SeenParticipant(*fields) if fields[0] is not None else None
        return Person(id, second_factor, staff, wants_second_factor, own)


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


def participant(user: Person, public_id: str, *, right: str, subject: object = "") -> SeenParticipant:
    """The participant of that public id, for whoever `roles.TABLE` gives that right. `subject` is the id of
    what of theirs is opened, where it is one thing.

    Leaves an audit row naming the right, and how they are entitled, when the reader is somebody else, one
    that says `participant.refused` when the participant exists and the reader may not, and one that says
    `participant.no_consent` when the reader might if the participant agreed. Raises Problem 404, and
    Problem 403 `no_consent` for the last: who is told so may know that the participant exists. So does the
    participant, who is told `not_allowed` of what is others' right; and 403 `second_factor_required` for
    staff who signed in without one, whoever it is they ask about.
    """
    wanted = uuid(public_id)
    if user.participant is None or user.participant.public_id != wanted:
        _hold_to_second_factor(user)
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT {_FIELDS}, own, held, tie, consented FROM care_door(%s, %s, %s)",
            [user.id, wanted, roles.NEEDS.get(right)],
        )
        row = cursor.fetchone()
        if row is None:
            raise Problem(404, "not_found")
        *fields, own, held, tie, consented = row
        seen = SeenParticipant(*fields)
        may = roles.may(right, own=own, held=held, in_care=tie is not None)
        let_through = may and (own or consented)
        if not own:
            refusal = "participant.no_consent" if may else "participant.refused"
            cursor.execute(
                _LEAVE_A_ROW,
                {
                    "actor": user.id,
                    "action": known(right) if let_through else refusal,
                    "participant": seen.id,
                    "clinic": seen.clinic_id,
                    "subject": str(subject),
                    "why": roles.why(right, tie=tie) if may else "",
                    "request": request_id.get(),
                    "device": device.get(),
                    "shown": scope.listed([seen.id] if let_through else []),
                },
            )
    if not may:
        raise Problem(403, "not_allowed") if own else Problem(404, "not_found")
    if not let_through:
        raise Problem(403, "no_consent")
    return seen


def may_still(*, user: int, participant: int, right: str) -> bool:
    """Whether that user, who did something yesterday, could do it today. Nobody sees anything: no audit."""
    held, tie = ties(user=user, participant=participant)
    return roles.may(right, own=False, held=held, in_care=tie is not None)


def ties(*, user: int, participant: int) -> tuple[list[str], str | None]:
    """That user's roles today in the participant's clinic, and what ties the two: or None."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT held, tie FROM care_ties(%s, %s)", [user, participant])
        row = cursor.fetchone()
    return row or ([], None)


@contextmanager
def participants_of_a_job(keys: Iterable[int]) -> Iterator[dict[int, SeenParticipant]]:
    """The participants of those keys, in a transaction that sees them and nobody else.

    For work that nobody asked for: no person sees what it reads.
    """
    wanted = sorted(set(keys))
    with scope.participants(wanted), connection.cursor() as cursor:
        cursor.execute(
            f"SELECT {_FIELDS} FROM care_participant JOIN (SELECT id AS clinic_id, missing_answers,"
            " hold_hours AS clinic_hold_hours FROM care_clinic) c USING (clinic_id),"
            " care_hold_hours(id, clinic_hold_hours) AS hold_hours WHERE id = ANY(%s)",
            [wanted],
        )
        yield {row[0]: SeenParticipant(*row) for row in cursor.fetchall()}


def memberships(user: Person) -> list[Membership]:
    """The user's memberships of today that are not suspended, with their clinics."""
    return list(
        Membership.objects.select_related("clinic")
        .filter(
            Q(ended_at__isnull=True) | Q(ended_at__gt=Now()),
            user_id=user.id,
            started_at__lte=Now(),
            suspended_at__isnull=True,
        )
        .order_by("id")
    )


def membership_in(user: Person, seen: SeenParticipant, *, right: str) -> int:
    """The key of the membership that gives the user that right over the participant's whole clinic."""
    giving = roles.clinic_wide(right)
    held = [m for m in memberships(user) if m.clinic_id == seen.clinic_id and m.role in giving]
    return min(held, key=lambda m: giving.index(m.role)).pk


def _hold_to_second_factor(user: Person) -> None:
    """Nothing; 403 for staff whose clinic wants a second factor behind the sign-in, where there is none.

    That is audited; who was asked about is not looked up for it.
    """
    if user.wants_second_factor:
        try:
            require_second_factor(user)
        except Problem:
            audit.record(actor=user.id, action="second_factor.missing")
            raise


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
    may = [a for a in acting_anywhere(user, right=right) if clinic in (None, a.clinic)]
    if not may:
        raise _refused(user, right)
    if len({m.clinic_id for m in may}) > 1:
        raise Problem(422, "validation_failed", errors=[Fault("/clinic", "required")])
    scope.grant_clinics([may[0].clinic_id])
    return may[0]


def acting_anywhere(user: Person, *, right: str) -> list[Acting]:
    """Every membership that gives the user that right over a whole clinic. Raises Problem 403 for none."""
    _hold_to_second_factor(user)
    may = [
        Acting(m.pk, m.clinic_id, m.clinic.public_id, m.role)
        for m in memberships(user)
        if m.role in roles.clinic_wide(right)
    ]
    if not may:
        raise _refused(user, right)
    scope.grant_clinics({a.clinic_id for a in may})
    return may


def _refused(user: Person, right: str, detail: str = "") -> Problem:
    """The 403 for somebody who has that right over no such clinic; audited."""
    audit.record(actor=user.id, action="clinic.refused", subject=right)
    return Problem(403, "not_allowed", detail)


Managed = TypeVar("Managed", Membership, CareRelationship, Cover)


def managed(user: Person, kind: type[Managed], public_id: str, *, right: str) -> Managed:
    """The membership, care relationship or cover of that public id, of a clinic the right reaches.

    Raises Problem 403 for somebody who has that right nowhere, and 404 for what no clinic of theirs has.
    """
    clinics = [a.clinic_id for a in acting_anywhere(user, right=right)]
    wanted = uuid(public_id)
    found = wanted and kind._default_manager.filter(public_id=wanted, clinic__in=clinics).first()
    if not found:
        raise Problem(404, "not_found")
    return found


def require_caseload(user: Person) -> None:
    """Nothing. Raises Problem 403 `not_allowed` for somebody in whose care nobody can be today."""
    _hold_to_second_factor(user)
    if not any(m.role in roles.TABLE["caseload.read"] for m in memberships(user)):
        raise _refused(user, "caseload.read", "Only those who care for participants have a caseload.")


def caseload(user: Person, *, after: int, limit: int) -> tuple[list[SeenParticipant], bool]:
    """The participants in the user's care today, or of the clinics they oversee, by key: at most `limit`
    beyond the key `after`; and whether there are more.

    Leaves an audit row, `caseload.read`, for each of them.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT {_FIELDS}, tie FROM care_caseload(%s, %s, %s, %s)",
            [user.id, roles.clinic_wide("caseload.read"), after, limit + 1],
        )
        found = [(SeenParticipant(*fields), tie) for *fields, tie in cursor.fetchall()]
    seen = found[:limit]
    audit.record_each(
        actor=user.id,
        action="caseload.read",
        participants=[(s.id, s.clinic_id, roles.why("caseload.read", tie=tie)) for s, tie in seen],
    )
    return [s for s, _ in seen], len(found) > limit
