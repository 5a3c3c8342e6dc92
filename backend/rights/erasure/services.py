"""What happens to a wish to be erased: it waits, is taken back or carried out, and done again where needed.

Carrying it out is four steps in this order, each of which can be repeated: a line in the ledger, the keys
destroyed, the rows deleted, the receipt signed. Whoever comes by after a crash goes on from the first.
"""

from datetime import datetime, timedelta
from uuid import UUID

import orjson
import structlog
from django.db import connection, transaction
from django.db.models import Q

from backend import scope
from backend.accounts import throttle
from backend.accounts.models import User
from backend.audit import services as audit
from backend.care.access import SeenParticipant
from backend.care.models import Membership, Participant
from backend.care.queries import session_times
from backend.care.timeline import suggestible_until
from backend.changes import tombstones
from backend.errors import Problem
from backend.keys import signing
from backend.keys.ring import available, keyring
from backend.rights.erasure import ledger, queries
from backend.rights.erasure.models import Erasure
from backend.rights.erasure.receipt import receipt_for

log = structlog.get_logger()

WAIT = timedelta(days=7)
# Whoever crashed half-way is followed within a minute of the time.
LEASE = timedelta(seconds=30)
MOST_AT_ONCE = 50


@transaction.atomic
def request_erasure(*, participant: SeenParticipant, actor: int, now: datetime) -> Erasure:
    """The participant's erasure, asked for now or before. It waits a week, and past suggestible days."""
    _one_at_a_time(participant)
    waiting = queries.under_way(participant.id)
    if waiting is not None:
        return waiting
    after = now + WAIT
    sessions = session_times(participant.id)
    ends = (suggestible_until(at, sessions) for at in (now, after))
    erasure = Erasure.objects.create(
        participant=participant.id,
        account=participant.user_id,
        clinic=participant.clinic_id,
        requested_at=now,
        erases_at=max([after, *(end for end in ends if end)]),
    )
    _record(erasure, "erasure.requested", actor=actor)
    return erasure


@transaction.atomic
def cancel_erasure(*, participant: SeenParticipant, actor: int, now: datetime) -> Erasure:
    """The erasure, which does not happen. Raises Problem 404 where none was asked for, 409 once it began."""
    _one_at_a_time(participant)
    erasure = queries.under_way(participant.id)
    if erasure is None:
        raise Problem(404, "not_found")
    # Whoever takes it up does so in one statement: only one of the two finds it waiting.
    cancelled = Erasure.objects.filter(pk=erasure.pk, state=Erasure.State.WAITING).update(
        state=Erasure.State.CANCELLED, cancelled_at=now
    )
    if not cancelled:
        raise Problem(409, "erasure_began")
    erasure.refresh_from_db()
    _record(erasure, "erasure.cancelled", actor=actor)
    return erasure


def erase_due(*, now: datetime) -> int:
    """How many erasures were carried out whose time had come, those a crash left half-way included."""
    done = 0
    while done < MOST_AT_ONCE and (erasure := _take_up(now)) is not None:
        _begin(erasure, now)
        _carry_out(erasure, now)
        done += 1
    return done


def replay(*, now: datetime) -> int:
    """How many erasures of the ledger were done again, since this database was from before them.

    The keys of everybody in the ledger are gone from the present key store afterwards, wherever that came
    from. Raises ledger.LedgerBroken.
    """
    lines = ledger.read()
    for line in lines:
        _destroy_keys(line.holders, now)
    done = 0
    for line in lines:
        if _stands_in_ledger(line):
            _carry_out(line.erasure, now)
            done += 1
    return done


def _take_up(now: datetime) -> UUID | None:
    """The next erasure whose time has come, which is ours for a while."""
    come = Q(state=Erasure.State.WAITING) | (
        Q(state__in=(Erasure.State.DUE, Erasure.State.DESTROYING)) & Q(leased_until__lt=now)
    )
    with scope.everything():
        erasure = (
            Erasure.objects.select_for_update(skip_locked=True)
            .filter(come, erases_at__lte=now)
            .order_by("erases_at")
            .first()
        )
        if erasure is None:
            return None
        if erasure.state == Erasure.State.WAITING:
            erasure.state = Erasure.State.DUE
        erasure.leased_until = now + LEASE
        erasure.save(update_fields=["state", "leased_until"])
        return erasure.pk


def _begin(id: UUID, now: datetime) -> None:
    """Nothing; it is in the ledger for good, and its row says whose keys go."""
    with scope.everything():
        erasure = Erasure.objects.select_for_update().get(pk=id)
        if erasure.state != Erasure.State.DUE:
            return
        holders = [Participant.objects.get(pk=erasure.participant).public_id, *_leaving(erasure.account)]
        line = ledger.note(ledger.Line(id, now, erasure.participant, erasure.account, tuple(holders)))
        _destroying(erasure, line)


def _leaving(account: int | None) -> list[UUID]:
    """The key of the user, who goes too unless somebody works under that sign-in; [] where nobody goes."""
    if account is None or Membership.objects.filter(user_id=account).exists():
        return []
    return list(User.objects.filter(pk=account, is_operator=False).values_list("key", flat=True))


def _stands_in_ledger(line: ledger.Line) -> bool:
    """Whether the erasure was not done here. Its row stands as the ledger has it."""
    with scope.everything():
        person = Participant.objects.filter(pk=line.participant, public_id__in=line.holders).first()
        if person is not None:
            # One that they asked for and took back since, or before: this is the one that was done.
            Erasure.objects.filter(participant=person.pk, state__in=Erasure.OPEN).exclude(
                pk=line.erasure
            ).update(state=Erasure.State.CANCELLED, cancelled_at=line.at)
        erasure, _ = Erasure.objects.select_for_update().get_or_create(
            pk=line.erasure,
            defaults={
                "participant": line.participant,
                "account": line.account,
                "clinic": person.clinic_id if person else None,
                "state": Erasure.State.DESTROYING,
                "requested_at": line.at,
                "erases_at": line.at,
            },
        )
        if erasure.state == Erasure.State.DONE:
            return False
        _destroying(erasure, line)
        return True


def _destroying(erasure: Erasure, line: ledger.Line) -> None:
    """Nothing; from the next request on the user is out, and is told so for ever."""
    erasure.state, erasure.holders, erasure.cancelled_at = Erasure.State.DESTROYING, list(line.holders), None
    erasure.save(update_fields=["state", "holders", "cancelled_at"])
    if line.account is None:
        return
    of_that_number = User.objects.filter(pk=line.account)
    of_that_number.filter(key__in=line.holders).update(is_active=False)
    if not of_that_number.exclude(key__in=line.holders).exists():
        tombstones.bury(tombstones.of_user(line.account))


def _carry_out(id: UUID, now: datetime) -> None:
    with scope.everything():
        holders = Erasure.objects.values_list("holders", flat=True).get(pk=id)
    _destroy_keys(holders, now)
    with scope.everything():
        erasure = Erasure.objects.select_for_update().get(pk=id)
        if erasure.state != Erasure.State.DESTROYING:
            return
        if erasure.account is not None:
            throttle.recover(user=erasure.account)
        counts = _erase(id)
        for holder in erasure.holders:
            _record(erasure, "key.destroyed", subject=holder)
        _record(erasure, "erasure.done")
        erasure.state, erasure.done_at, erasure.leased_until = Erasure.State.DONE, now, None
        erasure.receipt = receipt_for(erasure, counts, at=now)
        erasure.signature = signing.sign(erasure.receipt.encode())
        erasure.save(update_fields=["state", "done_at", "leased_until", "receipt", "signature"])
    log.info("erased", erasure=str(id))


def _destroy_keys(holders: list[UUID] | tuple[UUID, ...], now: datetime) -> None:
    """Nothing; these holders' keys are gone, and none is ever made for them again."""
    with available():
        for holder in holders:
            keyring().destroy(holder, at=now)


def _erase(id: UUID) -> dict[str, int]:
    """How many rows of each kind were deleted: all there was of whom this erasure names."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT rights_erase(%s)::text", [id])
        counts: dict[str, int] = orjson.loads(cursor.fetchone()[0])
    return counts


def _one_at_a_time(participant: SeenParticipant) -> None:
    """Nothing; until the transaction ends, nobody else asks or takes back for this participant."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT FROM care_participant WHERE id = %s FOR NO KEY UPDATE", [participant.id])


def _record(erasure: Erasure, action: str, *, actor: int | None = None, subject: UUID | None = None) -> None:
    audit.record(
        actor=actor,
        action=action,
        participant=erasure.participant,
        clinic=erasure.clinic,
        subject=subject or erasure.pk,
    )
