"""Named reads: what others did with a participant's data, and who opened whose in an emergency."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from uuid import UUID

from django.db import connection
from django.db.models import Q

from backend.accounts.queries import names
from backend.audit.models import Entry
from backend.care import roles
from backend.care.access import SeenParticipant
from backend.care.opened.models import EmergencyAccess
from backend.care.roles import Role, Why
from backend.errors import Problem
from backend.keys.fields import sealed
from backend.keys.sealing import Holder


@dataclass(frozen=True, slots=True)
class Acted:
    """One audit row about a participant; who they were who did it, then; and why, in an emergency."""

    entry: Entry
    role: str | None
    membership: UUID | None
    reason: str | None
    name: str | None = None
    """What a member of the clinic's staff wants to be called."""


@dataclass(frozen=True, slots=True)
class _Worked:
    """A membership somebody had."""

    key: int
    id: UUID
    role: str


def done_by_others(
    participant: SeenParticipant,
    *,
    since: datetime | None,
    until: datetime | None,
    after: tuple[datetime, int] | None,
    limit: int,
) -> list[Acted]:
    """What others read, wrote or tried of a participant's data, newest first.

    `since` is the first instant of interest and `until` the first after it. `after` says where a page ended:
    at that instant, and how many entries of it had been shown. Four statements, however many there are.
    """
    rows = Entry.objects.filter(participant=participant.id)
    if participant.user_id is not None:
        rows = rows.exclude(actor=participant.user_id, actor__isnull=False)
    if since is not None:
        rows = rows.filter(at__gte=since)
    if until is not None:
        rows = rows.filter(at__lt=until)
    shown = 0
    if after is not None:
        ended_at, shown = after
        rows = rows.filter(at__lte=ended_at)
    entries = list(rows.order_by("-at", "-id")[shown : shown + limit])
    worked = _worked(entries)
    reasons = _reasons(participant, entries)
    found = [_acted(entry, had, reasons) for entry, had in zip(entries, worked, strict=True)]
    called = names({acted.entry.actor for acted in found if acted.membership and acted.entry.actor})
    return [
        replace(acted, name=called.get(acted.entry.actor or 0)) if acted.membership else acted
        for acted in found
    ]


def emergencies(
    clinics: Collection[int], *, after: tuple[datetime, UUID] | None, limit: int
) -> list[EmergencyAccess]:
    """When data of the clinics' participants was opened in an emergency, newest first, beyond `after`."""
    rows = EmergencyAccess.objects.select_related("clinic", "participant", "membership")
    rows = rows.filter(clinic__in=clinics)
    if after is not None:
        at, id_ = after
        rows = rows.filter(Q(opened_at__lt=at) | Q(opened_at=at, id__lt=id_))
    return list(rows.order_by("-opened_at", "-id")[:limit])


def reason(emergency: EmergencyAccess, holder: Holder) -> str | None:
    """Why somebody opened a participant's data; None where it cannot be read, or was erased with them."""
    try:
        return sealed(EmergencyAccess, "reason").unseal(emergency.reason, row=emergency.pk, holder=holder)
    except Problem as gone:
        if gone.code in ("erased", "unreadable"):
            return None
        raise


def _worked(entries: Sequence[Entry]) -> list[list[_Worked]]:
    """For each entry, the memberships its actor had then, in the participant's clinic."""
    found: list[list[_Worked]] = [[] for _ in entries]
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT n, id, public_id, role FROM care_worked_as(%s, %s, %s)",
            [[e.actor for e in entries], [e.clinic for e in entries], [e.at for e in entries]],
        )
        for n, key, id_, role in cursor.fetchall():
            found[n - 1].append(_Worked(key, id_, role))
    return found


def _reasons(
    participant: SeenParticipant, entries: Sequence[Entry]
) -> list[tuple[EmergencyAccess, str | None]]:
    """The emergencies in which entries were made, with why; no statement where there are none."""
    times = [e.at for e in entries if e.why == Why.EMERGENCY]
    if not times:
        return []
    rows = EmergencyAccess.objects.filter(
        participant_id=participant.id, until__gt=min(times), opened_at__lte=max(times)
    )
    holder = Holder(participant.public_id, participant.clinic_id)
    return [(emergency, reason(emergency, holder)) for emergency in rows]


def _acted(
    entry: Entry, worked: Sequence[_Worked], reasons: Sequence[tuple[EmergencyAccess, str | None]]
) -> Acted:
    if entry.actor is None or entry.action.startswith("operator."):
        # At the machine, or on the pages of those who keep it running.
        return Acted(entry, Role.OPERATOR, None, None)
    role = roles.acted_as(entry.action, why=entry.why, held=[w.role for w in worked])
    membership = next((w.id for w in worked if w.role == role), None)
    theirs = {w.key for w in worked}
    why = next(
        (
            text
            for emergency, text in reasons
            if entry.why == Why.EMERGENCY
            and emergency.membership_id in theirs
            and emergency.opened_at <= entry.at < emergency.until
        ),
        None,
    )
    return Acted(entry, role, membership, why)
