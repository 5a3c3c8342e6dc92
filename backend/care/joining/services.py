"""What happens on the way into care: inviting, joining, a new phone, recovery, and too many wrong codes.

`look_at`, `redeem` and `recover` take a code from somebody not signed in, and are all that reads or
writes for them, with `throttle` before and `count_wrong_code` after a code that was none. None of them
raises for such a code: what counted it is to be committed.
"""

import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from ipaddress import IPv6Address, ip_address, ip_network
from math import ceil
from uuid import UUID

from django.db import IntegrityError, connection, transaction
from django.utils.crypto import salted_hmac

from backend.accounts import by_code
from backend.accounts import services as accounts
from backend.accounts.models import User
from backend.audit import services as audit
from backend.care import codes, services
from backend.care.access import SeenParticipant
from backend.care.joining import queries
from backend.care.joining.models import CodeGuess, Invitation, RecoveryCode
from backend.care.models import Clinic, Membership, Participant
from backend.care.pseudonym import pseudonym
from backend.errors import Fault, Problem

RECOVERY_CODES = 8
Choose = Callable[[Sequence[str]], str]

_TRIES = 20  # at a pseudonym nobody in the clinic has; from the sixth on it has a word more
_PLAIN_TRIES = 5


@dataclass(frozen=True, slots=True)
class Redeemed:
    """What somebody is after redeeming a code; `recovery_codes` are known nowhere else."""

    user: User
    participant: Participant
    clinic: Clinic
    kind: str
    recovery_codes: list[str]


@dataclass(frozen=True, slots=True)
class Recovered:
    user: User
    participant: Participant
    clinic: Clinic
    codes_left: int


def invite(
    *,
    id: UUID,
    therapist: Membership,
    protocol: str | None,
    days: int,
    actor: int | None,
    now: datetime,
) -> tuple[Invitation, str | None]:
    """The invitation of that id for somebody new in the therapist's care; and its code, if it is new.

    The code is kept nowhere. So the same id with the same content is the same invitation, without it.
    Raises Problem 409 `conflict` for the same id with other content, or another's.
    """
    wanted = Invitation(
        id=id,
        kind=Invitation.Kind.JOIN,
        clinic_id=therapist.clinic_id,
        therapist=therapist,
        protocol=protocol,
    )
    return _make(wanted, days=days, actor=actor, now=now)


@transaction.atomic
def relink(
    *, id: UUID, participant: SeenParticipant, days: int, actor: int, now: datetime
) -> tuple[Invitation, str | None]:
    """The invitation of that id for the participant's new phone, as `invite` gives one.

    It takes the place of an open one the participant has. That somebody is also a member of staff is not
    told here: a code for them can be made, and never be used.
    """
    wanted = Invitation(
        id=id, kind=Invitation.Kind.RELINK, clinic_id=participant.clinic_id, participant_id=participant.id
    )
    _alone(f"relink {participant.id}")
    if not Invitation.objects.filter(pk=id).exists():
        earlier = Invitation.objects.filter(
            participant_id=participant.id,
            kind=Invitation.Kind.RELINK,
            withdrawn_at__isnull=True,
            redeemed_at__isnull=True,
        )
        for invitation in earlier.select_for_update():
            _withdraw(invitation, actor=actor, now=now)
    return _make(wanted, days=days, actor=actor, now=now)


def withdraw(*, invitation: Invitation, actor: int, now: datetime) -> None:
    """Nothing; the locked invitation's code is no longer good. Problem 409 where it was redeemed."""
    if invitation.redeemed_at is not None:
        raise Problem(409, "already_redeemed")
    if invitation.withdrawn_at is None:
        _withdraw(invitation, actor=actor, now=now)


def look_at(*, code: str, device: UUID | None, now: datetime) -> tuple[Invitation, Clinic] | None:
    """The invitation with that code, and whose it is; None for a code that is none. Uses nothing up."""
    invitation = queries.usable_invitation(digest(code), device=device, now=now, lock=False)
    return None if invitation is None else (invitation, Clinic.objects.get(pk=invitation.clinic_id))


@transaction.atomic
def redeem(
    *,
    code: str,
    device: UUID | None,
    timezone: str,
    email: str | None,
    password: str | None,
    keep_other_devices: bool,
    now: datetime,
    choose: Choose = secrets.choice,
) -> Redeemed | None:
    """Who somebody is now who showed that code; None for a code that is none.

    Somebody new gets a user, a pseudonym and a therapist, and consents to nothing. On a new phone their
    history stays, and their other devices are signed out. The row lock lets one of two phones through.
    Raises Problem 422 where a new phone's code comes with an address or a password.
    """
    invitation = queries.usable_invitation(digest(code), device=device, now=now, lock=True)
    if invitation is None:
        return None
    new_phone = invitation.kind == Invitation.Kind.RELINK
    given = [place for place, value in (("/email", email), ("/password", password)) if value is not None]
    if new_phone and given:
        faults = [Fault(place, "only_when_joining") for place in given]
        raise Problem(422, "validation_failed", errors=faults)
    clinic = Clinic.objects.get(pk=invitation.clinic_id)
    again = invitation.redeemed_at is not None
    if invitation.participant_id is None:
        participant = _join(invitation, clinic, timezone=timezone, password=password, now=now, choose=choose)
    else:
        participant = Participant.objects.get(pk=invitation.participant_id)
    user = _user_of(participant)
    if new_phone and not keep_other_devices:
        accounts.end_sessions(user=user)
    if again:
        invitation.repeats += 1
    else:
        invitation.participant, invitation.redeemed_at, invitation.redeemed_by_device = (
            participant,
            now,
            device,
        )
        if new_phone:
            by_code.tell_of_new_phone(user=user)
    invitation.save()
    audit.record(
        actor=user.pk,
        action="invitation.redeemed",
        participant=participant.pk,
        clinic=clinic.pk,
        subject=invitation.pk,
    )
    made = _new_recovery_codes(participant=participant.pk, clinic=clinic.pk, actor=user.pk, now=now)
    return Redeemed(user, participant, clinic, invitation.kind, made)


@transaction.atomic
def make_recovery_codes(*, participant: SeenParticipant, actor: int, now: datetime) -> list[str]:
    """Eight new recovery codes, known nowhere else. Those there were are worth nothing any more."""
    return _new_recovery_codes(participant=participant.id, clinic=participant.clinic_id, actor=actor, now=now)


@transaction.atomic
def recover(*, code: str, device: UUID | None, now: datetime) -> Recovered | None:
    """Who somebody is who showed that recovery code, signed out everywhere else; None for no such code."""
    found = queries.usable_recovery_code(digest(code), device=device, now=now)
    if found is None:
        return None
    participant = Participant.objects.select_related("clinic", "user").get(pk=found.participant_id)
    user = _user_of(participant)
    accounts.end_sessions(user=user)
    if found.used_at is None:
        found.used_at, found.used_by_device = now, device
        by_code.tell_of_new_phone(user=user)
    else:
        found.repeats += 1
    found.save()
    audit.record(
        actor=user.pk,
        action="recovery.used",
        participant=participant.pk,
        clinic=participant.clinic_id,
        subject=found.pk,
    )
    return Recovered(user, participant, participant.clinic, queries.recovery_codes_left(participant.pk))


def throttle(*, client: str, now: datetime) -> None:
    """Nothing, where one more wrong code is allowed from that address, and in all. Else Problem 429.

    Until the transaction ends, other codes from that address wait: so a thousand at once are as many as
    one after another.
    """
    name = _client(client)
    _alone(name)
    if wait := queries.seconds_until_room(client=name, now=now):
        raise Problem(429, "too_many_requests", headers={"Retry-After": str(ceil(wait))})


def count_wrong_code(*, client: str, now: datetime) -> None:
    """Nothing; it counts against that address, and is audited: once more when it was the last one allowed."""
    name = _client(client)
    with connection.cursor() as cursor:
        # Whoever else is doing this takes the rest: two that wait for each other's rows never end.
        cursor.execute(
            "DELETE FROM care_codeguess WHERE id IN (SELECT id FROM care_codeguess WHERE at <= %s"
            " ORDER BY id LIMIT 1000 FOR UPDATE SKIP LOCKED)",
            [now - max(queries.WITHIN, queries.IN_ALL_WITHIN)],
        )
    CodeGuess.objects.create(client=name, at=now)
    audit.record(actor=None, action="code.wrong", subject=name[:16])
    if queries.seconds_until_room(client=name, now=now):
        audit.record(actor=None, action="code.refused", subject=name[:16])


def digest(code: str) -> str:
    """What is kept of a code. Without SECRET_KEY nobody can tell which code it is of."""
    return salted_hmac("selfkind.care.joining.code", code, algorithm="sha256").hexdigest()


def _make(
    wanted: Invitation, *, days: int, actor: int | None, now: datetime
) -> tuple[Invitation, str | None]:
    code = codes.new_code(secrets.choice)
    wanted.digest, wanted.created_by_id = digest(code), actor
    wanted.created_at, wanted.expires_at = now, now + timedelta(days=days)
    try:
        with transaction.atomic():
            wanted.save(force_insert=True)
            audit.record(
                actor=actor,
                action="invitation.created",
                participant=wanted.participant_id,
                clinic=wanted.clinic_id,
                subject=wanted.pk,
            )
    except IntegrityError:
        kept = Invitation.objects.filter(pk=wanted.pk).first()
        if kept is None or _content(kept) != _content(wanted):
            raise Problem(409, "conflict") from None
        return kept, None
    return wanted, code


def _content(invitation: Invitation) -> tuple[object, ...]:
    """What makes two invitations of one id the same. Somebody new is nobody until they redeem theirs."""
    new_phone = invitation.kind == Invitation.Kind.RELINK
    return (
        invitation.kind,
        invitation.clinic_id,
        invitation.created_by_id,
        invitation.participant_id if new_phone else invitation.therapist_id,
        invitation.protocol,
        invitation.expires_at - invitation.created_at,
    )


def _withdraw(invitation: Invitation, *, actor: int, now: datetime) -> None:
    invitation.withdrawn_at = now
    invitation.save(update_fields=["withdrawn_at"])
    audit.record(
        actor=actor,
        action="invitation.withdrawn",
        participant=invitation.participant_id,
        clinic=invitation.clinic_id,
        subject=invitation.pk,
    )


def _join(
    invitation: Invitation,
    clinic: Clinic,
    *,
    timezone: str,
    password: str | None,
    now: datetime,
    choose: Choose,
) -> Participant:
    """The new participant, in the care of the invitation's therapist."""
    user = accounts.create_user(email=None, password=password)
    participant = _enrol(clinic, user, timezone=timezone, now=now, choose=choose)
    if invitation.therapist is None:  # a constraint of the table: never for somebody new
        raise ValueError("Somebody new has a therapist.")
    services.start_care(
        participant=participant, therapist=invitation.therapist, started_at=now, actor=user.pk
    )
    return participant


def _enrol(clinic: Clinic, user: User, *, timezone: str, now: datetime, choose: Choose) -> Participant:
    for attempt in range(1, _TRIES + 1):
        name = pseudonym(choose, adjectives=1 if attempt <= _PLAIN_TRIES else 2)
        try:
            return services.enrol_participant(
                clinic=clinic,
                user=user,
                pseudonym=name,
                timezone=timezone,
                enrolled_at=now,
                actor=user.pk,
            )
        except IntegrityError:
            # Taken by somebody, it may be at this very moment.
            if attempt == _TRIES or not Participant.objects.filter(clinic=clinic, pseudonym=name).exists():
                raise
    raise AssertionError("the last attempt returns or raises")


def _user_of(participant: Participant) -> User:
    """The participant's user; a new one for somebody enrolled without."""
    if participant.user is None:
        participant.user = accounts.create_user(email=None, password=None)
        participant.save(update_fields=["user"])
    return participant.user


def _new_recovery_codes(*, participant: int, clinic: int, actor: int, now: datetime) -> list[str]:
    # Two at once would each delete the set there was, and leave one each.
    Participant.objects.select_for_update(no_key=True).get(pk=participant)
    RecoveryCode.objects.filter(participant_id=participant).delete()
    made = [codes.new_code(secrets.choice) for _ in range(RECOVERY_CODES)]
    RecoveryCode.objects.bulk_create(
        RecoveryCode(clinic_id=clinic, participant_id=participant, digest=digest(code), made_at=now)
        for code in made
    )
    audit.record(actor=actor, action="recovery_codes.made", participant=participant, clinic=clinic)
    return made


def _alone(what: str) -> None:
    """Nothing; until the transaction ends, others who are about to do the same wait."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", [f"selfkind.care.joining {what}"]
        )


def _client(address: str) -> str:
    """A keyed hash of what one client can change its address within: itself, or its /64."""
    try:
        seen = ip_address(address)
    except ValueError:
        network = address
    else:
        if isinstance(seen, IPv6Address):
            mapped = seen.ipv4_mapped
            network = str(mapped) if mapped else str(ip_network((seen, 64), strict=False))
        else:
            network = str(seen)
    return salted_hmac("selfkind.care.joining.client", network, algorithm="sha256").hexdigest()
