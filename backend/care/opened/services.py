"""Opening a participant's data in an emergency."""

from datetime import datetime
from uuid import uuid4

from django.db import transaction

from backend.audit import services as audit
from backend.care.access import SeenParticipant
from backend.care.opened.models import LASTS, EmergencyAccess
from backend.care.roles import Why
from backend.keys.fields import sealed
from backend.keys.sealing import Holder


@transaction.atomic
def open_in_emergency(
    *, participant: SeenParticipant, membership: int, reason: str, actor: int, now: datetime
) -> tuple[EmergencyAccess, bool]:
    """The emergency access that is open to that membership, and whether it is new.

    One that is open already stays as it is, its reason too. `now` is the database's: until when somebody may
    is decided by its clock.
    """
    id_ = uuid4()
    holder = Holder(participant.public_id, participant.clinic_id)
    wanted = EmergencyAccess(
        id=id_,
        clinic_id=participant.clinic_id,
        participant_id=participant.id,
        membership_id=membership,
        opened_at=now,
        until=now + LASTS,
        reason=sealed(EmergencyAccess, "reason").seal(reason, row=id_, holder=holder),
    )
    # Of several at once the constraint lets one through; the others wait for it, and find it.
    EmergencyAccess.objects.bulk_create([wanted], ignore_conflicts=True)
    kept = EmergencyAccess.objects.get(
        participant_id=participant.id, membership_id=membership, opened_at__lt=now + LASTS, until__gt=now
    )
    if kept.pk != id_:
        return kept, False
    audit.record(
        actor=actor,
        action="emergency.started",
        participant=participant.id,
        clinic=participant.clinic_id,
        subject=id_,
        why=Why.EMERGENCY,
    )
    return kept, True
