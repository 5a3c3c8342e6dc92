"""Named reads of invitations, recovery codes and guesses.

Those a code is looked up by make the same statements whatever is wrong with it: how long a refusal takes
says nothing of why.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID

from django.db import connection
from django.db.models import Q

from backend.care import access
from backend.care.joining.models import CodeGuess, Invitation, RecoveryCode
from backend.care.models import Membership
from backend.care.roles import Role

# The phone that used a code and got no answer may use it again, so often and so long.
REPEATS_WITHIN = timedelta(minutes=15)
MOST_REPEATS = 5

MOST_WRONG, WITHIN = 10, timedelta(minutes=15)  # of one client
MOST_WRONG_IN_ALL, IN_ALL_WITHIN = 1000, timedelta(hours=1)

# Of everybody a code speaks of: the therapist still is one; the participant's user, if they have one, is
# not suspended, and is no member of any clinic's staff, who would be let in past their second factor.
_STANDS = """
SELECT (%(therapist)s::bigint IS NULL OR EXISTS (
    SELECT FROM care_membership m JOIN accounts_user u ON u.id = m.user_id AND u.is_active
    WHERE m.id = %(therapist)s::bigint AND m.role = 'therapist' AND m.suspended_at IS NULL
        AND m.started_at <= %(now)s AND (m.ended_at IS NULL OR m.ended_at > %(now)s)
)) AND (%(participant)s::bigint IS NULL OR EXISTS (
    SELECT FROM care_participant p LEFT JOIN accounts_user u ON u.id = p.user_id
    WHERE p.id = %(participant)s::bigint AND (u.id IS NULL OR u.is_active) AND NOT EXISTS (
        SELECT FROM care_membership m
        WHERE m.user_id = p.user_id AND (m.ended_at IS NULL OR m.ended_at > %(now)s))))
"""


def usable_invitation(digest: str, *, device: UUID | None, now: datetime, lock: bool) -> Invitation | None:
    """The invitation with that code while it can be redeemed, or redeemed again by the device that did.

    With `lock`, nobody else redeems or withdraws it until the transaction ends.
    """
    usable = Q(withdrawn_at__isnull=True, redeemed_at__isnull=True, expires_at__gt=now)
    if device is not None:
        usable |= Q(redeemed_at__gt=now - REPEATS_WITHIN, redeemed_by_device=device, repeats__lt=MOST_REPEATS)
    rows = Invitation.objects.filter(usable, digest=digest)
    found = next(iter(rows.select_for_update() if lock else rows), None)
    stands = _stands(
        therapist=found.therapist_id if found else None,
        participant=found.participant_id if found else None,
        now=now,
    )
    # A code for somebody's new phone is worth what its maker may do today.
    relink = found if found and found.kind == Invitation.Kind.RELINK else None
    may = access.may_still(
        user=(relink.created_by_id if relink else None) or 0,
        participant=(relink.participant_id if relink else None) or 0,
        right="participant.relinked",
    )
    return found if stands and (relink is None or may) else None


def usable_recovery_code(digest: str, *, device: UUID | None, now: datetime) -> RecoveryCode | None:
    """The recovery code while it can be used, or used again by the device that did. Locked."""
    usable = Q(used_at__isnull=True)
    if device is not None:
        usable |= Q(used_at__gt=now - REPEATS_WITHIN, used_by_device=device, repeats__lt=MOST_REPEATS)
    rows = RecoveryCode.objects.filter(usable, digest=digest, participant__user__isnull=False)
    found = next(iter(rows.select_for_update(of=("self",))), None)
    stands = _stands(therapist=None, participant=found.participant_id if found else None, now=now)
    return found if stands else None


def recovery_codes_left(participant: int) -> int:
    """How many unused recovery codes the participant has."""
    return RecoveryCode.objects.filter(participant_id=participant, used_at__isnull=True).count()


def open_invitations(
    places: Sequence[access.Acting],
    *,
    user: int,
    now: datetime,
    after: tuple[datetime, UUID] | None,
    limit: int,
) -> list[Invitation]:
    """The invitations somebody may see that can still be redeemed, newest first, beyond `after`.

    A therapist sees whom they made a new phone's code for, and of others' not even that there is one.
    """
    rows = (
        Invitation.objects.filter(_visible(places, user))
        .filter(withdrawn_at__isnull=True, redeemed_at__isnull=True, expires_at__gt=now)
        .select_related("clinic", "therapist")
    )
    if after is not None:
        at, id_ = after
        rows = rows.filter(Q(created_at__lt=at) | Q(created_at=at, id__lt=id_))
    return list(rows.order_by("-created_at", "-id")[:limit])


def lock_invitation(places: Sequence[access.Acting], *, user: int, id: UUID) -> Invitation | None:
    """The invitation of that id, if it is one somebody may see. Nobody else redeems or withdraws it now."""
    return Invitation.objects.filter(_visible(places, user), id=id).select_for_update(of=("self",)).first()


def therapist(
    *, clinic: int, now: datetime, public_id: UUID | None = None, user: int | None = None
) -> Membership | None:
    """The therapist's membership of that clinic today, by its public id or by whose it is."""
    whose = Q(public_id=public_id) if public_id is not None else Q(user_id=user)
    return (
        Membership.objects.filter(whose, clinic_id=clinic, role=Role.THERAPIST, started_at__lte=now)
        .filter(
            Q(ended_at__isnull=True) | Q(ended_at__gt=now), user__is_active=True, suspended_at__isnull=True
        )
        .first()
    )


def seconds_until_room(*, client: str, now: datetime) -> float:
    """How long until one more wrong code is allowed, from that client and in all; 0 for now."""
    mine = CodeGuess.objects.filter(client=client, at__gt=now - WITHIN)
    everybodys = CodeGuess.objects.filter(at__gt=now - IN_ALL_WITHIN)
    waits = [0.0]
    for guesses, most, within in ((mine, MOST_WRONG, WITHIN), (everybodys, MOST_WRONG_IN_ALL, IN_ALL_WITHIN)):
        # The limit-th newest: when it leaves the window, there is room.
        for at in guesses.order_by("-at").values_list("at", flat=True)[most - 1 : most]:
            waits.append(max(1.0, (at + within - now).total_seconds()))
    return max(waits)


def _stands(*, therapist: int | None, participant: int | None, now: datetime) -> bool:
    with connection.cursor() as cursor:
        cursor.execute(_STANDS, {"therapist": therapist, "participant": participant, "now": now})
        return bool(cursor.fetchone()[0])


def _visible(places: Sequence[access.Acting], user: int) -> Q:
    """The invitations of these memberships' clinics that they may see."""
    seen = Q(pk__in=())
    for place in places:
        mine = Q(clinic_id=place.clinic_id)
        if place.role == Role.THERAPIST:
            mine &= Q(kind=Invitation.Kind.JOIN) | Q(created_by_id=user)
        seen |= mine
    return seen
