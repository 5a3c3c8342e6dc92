"""Named reads of users and of their devices."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import date
from uuid import UUID

from django.contrib.sessions.models import Session
from django.db import connection
from django.db.models import Exists, OuterRef, QuerySet
from django.db.models.functions import Now

from backend.accounts import addresses
from backend.accounts.models import Device, TokenFamily, User
from backend.keys.envelope import Holder
from backend.keys.fields import sealed


@dataclass(frozen=True, slots=True)
class KnownAs:
    """How somebody is reached, and what they want to be called, as far as they said."""

    email: str | None
    name: str | None


def known_as(users: Collection[int]) -> dict[int, KnownAs]:
    """How each of these users is reached and called, in one statement. Raises Unreadable."""
    called = sealed(User, "name")
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT u.id, u.key, u.name, a.lookup, a.sealed FROM accounts_user u LEFT JOIN accounts_address a"
            " ON a.user_id = u.id AND a.lookup = u.email WHERE u.id = ANY(%s)",
            [list(users)],
        )
        return {
            user: KnownAs(
                email=None if address is None else addresses.opened(key, hidden, address),
                name=None if name is None else called.unseal(name, row=user, holder=Holder(key)),
            )
            for user, key, name, hidden, address in cursor.fetchall()
        }


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
    column = sealed(Device, "name")
    return [
        KnownDevice(
            pk,
            installation,
            None if name is None else column.unseal(bytes(name), row=pk, holder=Holder(key)),
            *seen,
        )
        for pk, installation, key, name, *seen in rows.values_list(
            "pk", "installation", "user__key", "name", "first_seen_on", "last_seen_on", Exists(families)
        )
    ]
