"""Emergencies, as they were opened."""

from datetime import datetime
from typing import Any

from backend.care import access
from backend.care.models import EmergencyAccess, Membership, Participant
from backend.care.opened.services import open_in_emergency

API = "/api/v1"


def opened_in_emergency(
    person: Participant, membership: Membership, reason: str, *, now: datetime
) -> EmergencyAccess:
    """That participant's data, opened to that member of staff."""
    with access.participants_of_a_job([person.pk]) as found:
        opened, _ = open_in_emergency(
            participant=found[person.pk],
            membership=membership.pk,
            reason=reason,
            actor=membership.user_id,
            now=now,
        )
    return opened


def ask(client: Any, person: Participant, reason: str = "She called at night.") -> Any:
    """The answer to somebody who opens that participant's data."""
    address = f"{API}/participants/{person.public_id}/emergency-access"
    return client.post(address, {"reason": reason}, "application/json")
