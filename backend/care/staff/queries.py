"""Named reads about a clinic's staff and who cares for whom. Each takes the clinics a right reaches."""

from collections.abc import Collection
from datetime import datetime

from django.db import connection
from django.db.models import Q, QuerySet

from backend.accounts.models import User
from backend.care.models import CareRelationship, Cover, Membership
from backend.care.queries import clock as clock
from backend.care.roles import Role


def moment() -> datetime:
    """The database's time at this very moment: what was decided while one waited for a lock is past."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        at: datetime = cursor.fetchone()[0]
    return at


def staff(clinics: Collection[int], *, after: int, limit: int) -> list[Membership]:
    """The clinics' memberships, ended ones too, in the order of their making."""
    rows = Membership.objects.select_related("user", "clinic").filter(clinic__in=clinics, pk__gt=after)
    return list(rows.order_by("pk")[:limit])


def care(clinics: Collection[int], *, after: int, limit: int) -> list[CareRelationship]:
    """The clinics' care relationships, ended ones too, in the order of their making."""
    rows = CareRelationship.objects.select_related("participant", "therapist", "clinic")
    return list(rows.filter(clinic__in=clinics, pk__gt=after).order_by("pk")[:limit])


def covers(clinics: Collection[int], *, after: int, limit: int) -> list[Cover]:
    """The clinics' covers, past ones too, in the order of their making."""
    rows = Cover.objects.select_related("therapist", "covered_by", "clinic")
    return list(rows.filter(clinic__in=clinics, pk__gt=after).order_by("pk")[:limit])


def open_care(therapist: Membership, *, now: datetime) -> QuerySet[CareRelationship]:
    """The therapist's care relationships that have not ended, those yet to begin among them."""
    return therapist.care_relationships.filter(Q(ended_at__isnull=True) | Q(ended_at__gt=now))


def is_open(membership: Membership, *, now: datetime) -> bool:
    """Whether the membership has not ended."""
    return membership.ended_at is None or membership.ended_at > now


def works(membership: Membership, *, now: datetime) -> bool:
    """Whether the membership gives rights today."""
    started = membership.started_at <= now
    return started and membership.suspended_at is None and is_open(membership, now=now)


def other_admins(membership: Membership, *, now: datetime) -> bool:
    """Whether somebody else administers the membership's clinic today."""
    return (
        Membership.objects.filter(Q(ended_at__isnull=True) | Q(ended_at__gt=now))
        .filter(
            clinic=membership.clinic_id,
            role=Role.CLINIC_ADMIN,
            started_at__lte=now,
            suspended_at__isnull=True,
            user__is_active=True,
        )
        .exclude(user=membership.user_id)
        .exists()
    )


def is_only_of(user: User, clinics: Collection[int]) -> bool:
    """Whether the user is staff of these clinics alone: no other's, no participant and no operator."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT * FROM care_works_elsewhere(%s, %s)", [user.pk, list(clinics)])
        (elsewhere,) = cursor.fetchone()
    return not (user.is_operator or elsewhere or _is_participant(user))


def awaits_welcome(user: User) -> bool:
    """Whether the user has yet to choose a first password: nobody ever signed in as them."""
    return user.last_login is None and not user.has_usable_password() and not _is_participant(user)


def _is_participant(user: User) -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT id IS NOT NULL FROM care_person(%s)", [user.pk])
        return bool(cursor.fetchone()[0])
