"""Named reads of users' devices."""

from dataclasses import dataclass
from datetime import date
from uuid import UUID

from django.contrib.sessions.models import Session
from django.db.models import Exists, OuterRef, QuerySet
from django.db.models.functions import Now

from backend.accounts.models import Device, TokenFamily


@dataclass(frozen=True, slots=True)
class KnownDevice:
    """A device somebody has signed in on; whether they still are."""

    key: int
    installation: UUID
    name: str | None
    first_seen_on: date
    last_seen_on: date
    signed_in: bool


def devices(user: int, *, after: int, limit: int) -> list[KnownDevice]:
    """The user's devices, first come first, at most `limit` beyond that key."""
    return _known(Device.objects.filter(user_id=user, pk__gt=after).order_by("pk")[:limit])


def device(user: int, installation: UUID) -> KnownDevice | None:
    """The user's device of that installation; None for one that is not theirs."""
    return next(iter(_known(Device.objects.filter(user_id=user, installation=installation))), None)


def _known(rows: "QuerySet[Device]") -> list[KnownDevice]:
    living = Session.objects.filter(session_key=OuterRef("session_key"), expire_date__gt=Now())
    families = TokenFamily.objects.filter(Exists(living), device=OuterRef("pk"))
    return [
        KnownDevice(*row)
        for row in rows.values_list(
            "pk", "installation", "name", "first_seen_on", "last_seen_on", Exists(families)
        )
    ]
