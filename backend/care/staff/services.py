"""What happens to a clinic's staff and their caseloads.

Whatever happens to one clinic's staff happens one after the other, under a lock of the clinic's row: two
administrators cannot end each other's membership at once, and nobody is given a caseload while leaving.
`actor` is the user who did it: None at the machine.
"""

from collections.abc import Collection
from datetime import datetime

from django.db import IntegrityError, transaction

from backend.accounts import services as accounts
from backend.accounts.addresses import lookup, user_of
from backend.accounts.models import User
from backend.audit import services as audit
from backend.care import services as care
from backend.care.models import CareRelationship, Clinic, Cover, Membership, Participant
from backend.care.roles import Role
from backend.care.staff import queries
from backend.errors import Fault, Problem

MAY_COVER = (Role.THERAPIST, Role.SUPERVISOR)


@transaction.atomic
def add_staff(
    *, clinic_id: int, email: str, role: Role, now: datetime, actor: int | None
) -> tuple[Membership, bool]:
    """The open membership of whoever has that address, in that role, and whether it is new.

    Makes the user where the address is nobody's yet. Asked again, it changes nothing.
    """
    clinic = _one_at_a_time(clinic_id)
    user = _user_of(email)
    kept = Membership.objects.filter(clinic=clinic, user=user, role=role, ended_at__isnull=True).first()
    if kept is not None:
        return kept, False
    return care.add_member(clinic=clinic, user=user, role=role, started_at=now, actor=actor), True


@transaction.atomic
def end_membership(*, membership: Membership, now: datetime, actor: int | None) -> Membership:
    """The membership, which gives no right from that instant on. Asked again, it changes nothing.

    Raises Problem 409: `caseload_not_empty` while participants are in their care (hand them over first;
    to close the door at once, suspend), `last_admin` where nobody else could let anybody in again.
    """
    membership = _locked(membership)
    if not queries.is_open(membership, now=now):
        return membership
    if queries.open_care(membership, now=now).exists():
        raise Problem(409, "caseload_not_empty")
    _keep_an_admin(membership)
    membership.ended_at = max(now, membership.started_at)
    membership.save(update_fields=["ended_at"])
    _record(membership, "membership.ended", actor)
    return membership


@transaction.atomic
def suspend_membership(*, membership: Membership, now: datetime, actor: int | None) -> Membership:
    """The membership, which gives no right until it is restored. Care, and cover by others, stay as they are.

    Raises Problem 409 `last_admin`.
    """
    membership = _locked(membership)
    _require_open(membership, now=now)
    if membership.suspended_at is None:
        _keep_an_admin(membership)
        membership.suspended_at = now
        membership.save(update_fields=["suspended_at"])
        _record(membership, "membership.suspended", actor)
    return membership


@transaction.atomic
def restore_membership(*, membership: Membership, now: datetime, actor: int | None) -> Membership:
    """The membership, which gives its rights again. Raises Problem 409 `membership_ended`."""
    membership = _locked(membership)
    _require_open(membership, now=now)
    if membership.suspended_at is not None:
        membership.suspended_at = None
        membership.save(update_fields=["suspended_at"])
        _record(membership, "membership.restored", actor)
    return membership


@transaction.atomic
def reset_second_factor(
    *, membership: Membership, clinics: Collection[int], now: datetime, actor: int
) -> None:
    """Nothing; the member has no second factor any more, where they are staff of these clinics alone.

    Somebody who is also a participant, an operator or another clinic's is left as they were, which is
    recorded and not told: a clinic that adds an address must not gain power over what else it opens.
    Raises Problem 403 for oneself, and 409 `membership_ended`.
    """
    if _may_be_reset(membership, clinics, now=now, actor=actor):
        accounts.reset_second_factor(user=membership.user, by=User.objects.get(pk=actor))
    else:
        _record(membership, "second_factor.reset_refused", actor)


@transaction.atomic
def reset_password(
    *, membership: Membership, clinics: Collection[int], now: datetime, actor: int
) -> str | None:
    """A link for the member's own mailbox, under which they choose a new password; the old one is over.

    None, and nothing, for whoever is not staff of these clinics alone, as with a second factor. Raises
    Problem 403 for oneself, and 409 `membership_ended`.
    """
    if _may_be_reset(membership, clinics, now=now, actor=actor):
        return accounts.reset_password_link(user=membership.user, by=User.objects.get(pk=actor))
    _record(membership, "password.reset_refused", actor)
    return None


@transaction.atomic
def start_care(
    *, participant_id: int, therapist: Membership, now: datetime, actor: int | None
) -> tuple[CareRelationship, bool]:
    """The open care relationship between the two, and whether it is new. 422 for who cannot care today."""
    therapist = _locked(therapist)
    _require_role(therapist, (Role.THERAPIST,), place="/therapist")
    kept = queries.open_care(therapist, now=now).filter(participant=participant_id).first()
    if kept is not None:
        return kept, False
    person = Participant.objects.get(pk=participant_id)
    return care.start_care(participant=person, therapist=therapist, started_at=now, actor=actor), True


@transaction.atomic
def end_care(*, relationship: CareRelationship, now: datetime, actor: int | None) -> CareRelationship:
    """The care relationship, over from that instant on. Asked again, it changes nothing."""
    _one_at_a_time(relationship.clinic_id)
    relationship.refresh_from_db()
    if relationship.ended_at is None or relationship.ended_at > now:
        care.end_care(care=relationship, ended_at=max(now, relationship.started_at), actor=actor)
    return relationship


@transaction.atomic
def hand_over(
    *, giver: Membership, taker: Membership, because: str | None, now: datetime, actor: int | None
) -> int:
    """How many participants went on from one therapist to the other, each with an audit row on both sides.

    Raises Problem 422 for a taker who is the giver, or cannot care for anybody today.
    """
    giver = _locked(giver)
    taker.refresh_from_db()
    if giver.pk == taker.pk or giver.clinic_id != taker.clinic_id:
        raise _misfit("/to")
    _require_role(taker, (Role.THERAPIST,), place="/to")
    moved = 0
    already = set(queries.open_care(taker, now=now).values_list("participant", flat=True))
    for old in queries.open_care(giver, now=now).select_related("participant").order_by("pk"):
        planned_end, at = old.ended_at, max(now, old.started_at)
        care.end_care(care=old, ended_at=at, because=because, actor=actor)
        if old.participant_id not in already:
            care.start_care(
                participant=old.participant,
                therapist=taker,
                started_at=at,
                ended_at=planned_end,
                actor=actor,
            )
        moved += 1
    audit.record(actor=actor, action="caseload.handed_over", clinic=giver.clinic_id, subject=giver.public_id)
    return moved


@transaction.atomic
def arrange_cover(
    *,
    therapist: Membership,
    covered_by: Membership,
    started_at: datetime,
    ended_at: datetime,
    now: datetime,
    actor: int | None,
) -> tuple[Cover, bool]:
    """The cover, and whether it is new. 422 for who cannot cover or be covered for, or a time that is over.

    Raises Problem 409 `conflict` where the two have another cover from the same instant on.
    """
    therapist = _locked(therapist)
    covered_by.refresh_from_db()
    if not queries.is_open(therapist, now=now) or therapist.role != Role.THERAPIST:
        raise _misfit("/therapist")
    if therapist.pk == covered_by.pk or therapist.clinic_id != covered_by.clinic_id:
        raise _misfit("/covered_by")
    _require_role(covered_by, MAY_COVER, place="/covered_by")
    if ended_at <= max(now, started_at):
        raise _misfit("/ended_at")
    kept = Cover.objects.filter(therapist=therapist, covered_by=covered_by, started_at=started_at).first()
    if kept is not None:
        if kept.ended_at != ended_at:
            raise Problem(409, "conflict")
        return kept, False
    arranged = care.arrange_cover(
        therapist=therapist, covered_by=covered_by, started_at=started_at, ended_at=ended_at, actor=actor
    )
    return arranged, True


@transaction.atomic
def end_cover(*, cover: Cover, now: datetime, actor: int | None) -> Cover:
    """The cover, over from that instant on. Asked again, it changes nothing."""
    _one_at_a_time(cover.clinic_id)
    cover.refresh_from_db()
    if cover.ended_at > max(now, cover.started_at):
        care.end_cover(cover=cover, ended_at=now, actor=actor)
    return cover


def _may_be_reset(membership: Membership, clinics: Collection[int], *, now: datetime, actor: int) -> bool:
    if membership.user_id == actor:
        raise Problem(403, "not_allowed", "A second member of staff does this, never oneself.")
    membership = _locked(membership)
    _require_open(membership, now=now)
    return queries.is_only_of(membership.user, clinics)


def _one_at_a_time(clinic_id: int) -> Clinic:
    """The clinic, held until this transaction ends. Rows that merely refer to it are not in the way."""
    return Clinic.objects.select_for_update(no_key=True).get(pk=clinic_id)


def _locked(membership: Membership) -> Membership:
    """The membership as it is now that nobody else can change it."""
    _one_at_a_time(membership.clinic_id)
    return Membership.objects.select_related("user", "clinic").get(pk=membership.pk)


def _user_of(email: str) -> User:
    """Whoever has that address: made now, if it is nobody's."""
    known = user_of(email)
    if known is not None:
        return known
    try:
        with transaction.atomic():
            return accounts.create_user(email=email, password=None)
    except IntegrityError:  # another clinic added the same address just now
        return User.objects.get(email=lookup(email))


def _keep_an_admin(membership: Membership) -> None:
    """Nothing. Raises Problem 409 where without this membership nobody would administer the clinic."""
    if membership.role == Role.CLINIC_ADMIN and not queries.other_admins(membership, now=queries.moment()):
        raise Problem(409, "last_admin")


def _require_open(membership: Membership, *, now: datetime) -> None:
    if not queries.is_open(membership, now=now):
        raise Problem(409, "membership_ended")


def _require_role(membership: Membership, allowed: Collection[str], *, place: str) -> None:
    if membership.role not in allowed or not queries.works(membership, now=queries.moment()):
        raise _misfit(place)


def _misfit(place: str) -> Problem:
    return Problem(422, "validation_failed", errors=[Fault(place, "invalid_value")])


def _record(membership: Membership, action: str, actor: int | None) -> None:
    audit.record(actor=actor, action=action, clinic=membership.clinic_id, subject=membership.public_id)
