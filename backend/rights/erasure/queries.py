"""Named reads: what became of somebody's wish to be erased."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import orjson
from django.db import connection

from backend.rights.erasure.models import Erasure


def under_way(participant_id: int) -> Erasure | None:
    """The erasure that participant waits for; None where there is none, or it was cancelled."""
    return Erasure.objects.filter(participant=participant_id, state__in=Erasure.OPEN).first()


@dataclass(frozen=True, slots=True)
class Told:
    """What an erasure's address tells whoever was given it."""

    id: UUID
    state: str
    erases_at: datetime
    receipt: dict[str, Any] | None
    signature: bytes | None


def told(id: UUID) -> Told | None:
    """What the erasure of that id came to; None where there is none."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT id, state, erases_at, receipt, signature FROM rights_told(%s)", [id])
        row = cursor.fetchone()
    if row is None:
        return None
    id_, state, erases_at, receipt, signature = row
    return Told(
        id=id_,
        state=state,
        erases_at=erases_at,
        receipt=receipt and orjson.loads(receipt),
        signature=signature and bytes(signature),
    )
