"""E-mail addresses: found without being known, and opened where somebody is written to or shown their own.

No column holds one in clear. What the users' table and the sign-in package keep instead is a *lookup
address*: a hash of it under a key that is not in the database, in a domain that does not exist. The address
itself is sealed under its user's data key in `accounts_address`. An address that is being confirmed is
there too, before the package keeps it; `forget_unconfirmed` ends what was never confirmed.
"""

from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from allauth.account.models import EmailAddress
from django.db.models import Exists, F, OuterRef, Q
from django.utils import timezone

from backend.accounts.models import Address, User
from backend.keys import blind
from backend.keys.envelope import Holder
from backend.keys.fields import sealed
from backend.keys.sealing import Destroyed, Unreadable

SEALED = "@sealed.invalid"
CONFIRMED_WITHIN = timedelta(days=1)
_DIGITS = 40
_KELVIN = "\u212a"
# Said so, a user without any address has none in use: a null is not equal to anything, nor unequal.
_IN_USE = Q(user__email__isnull=False, lookup=F("user__email"))

_typed: ContextVar[str | None] = ContextVar("typed_address", default=None)


def normal(address: str) -> str:
    """The address in its one spelling: in small letters, without blanks around it.

    The Kelvin sign stays: its small letter is the `k` of another address (CVE-2019-19844).
    """
    return _KELVIN.join(part.lower() for part in address.strip().split(_KELVIN))


def lookup(address: str) -> str:
    """What stands for that address in the database: the same for each of its spellings, for ever."""
    return blind.fingerprint("email", normal(address).encode()).hex()[:_DIGITS] + SEALED


def user_of(address: str) -> User | None:
    """Who has confirmed that address, or was given it; None where it is nobody's."""
    hidden = lookup(address)
    confirmed = EmailAddress.objects.select_related("user").filter(email=hidden, verified=True).first()
    return confirmed.user if confirmed else User.objects.filter(email=hidden).first()


def address_of(user: User) -> str | None:
    """The user's own address; None for somebody without. Raises Unreadable."""
    found = Address.objects.filter(user_id=user.pk, lookup=F("user__email")).values_list(
        "user__key", "lookup", "sealed"
    )
    return next((opened(*row) for row in found), None)


def opened(key: UUID, lookup: str, ciphertext: Any) -> str:
    """The address in a row of that user key. Raises Destroyed and Unreadable."""
    return sealed(Address, "sealed").unseal(ciphertext, row=lookup, holder=Holder(key))


def whose_are(hidden: Collection[str]) -> dict[str, str]:
    """The addresses behind these lookup addresses, as far as they are kept and can be opened."""
    found: dict[str, str] = {}
    rows = Address.objects.filter(lookup__in=hidden).order_by("pk")
    for key, looked_up, ciphertext in rows.values_list("user__key", "lookup", "sealed"):
        # Whoever's row it is, behind one lookup address there is one address.
        if looked_up not in found:
            with suppress(Destroyed, Unreadable):
                found[looked_up] = opened(key, looked_up, ciphertext)
    return found


def keep(*, user: User, address: str, now: datetime) -> str:
    """The lookup address of an address that is kept for the user from now on, sealed."""
    hidden = lookup(address)
    ciphertext = sealed(Address, "sealed").seal(normal(address), row=hidden, holder=user.holder)
    Address.objects.bulk_create(
        [Address(user=user, lookup=hidden, sealed=ciphertext, made_at=now)],
        update_conflicts=True,
        unique_fields=["lookup", "user"],
        update_fields=["made_at"],
    )
    return hidden


def set_address(*, user: User, address: str) -> None:
    """Nothing; it is the address of a user who had none, and taken as confirmed."""
    user.email = keep(user=user, address=address, now=timezone.now())
    user.save(update_fields=["email"])
    EmailAddress.objects.create(user=user, email=user.email, verified=True, primary=True)


def forget(*, user: User, hidden: str) -> None:
    """Nothing; an address that is the user's no longer is kept no longer."""
    Address.objects.filter(user=user, lookup=hidden).exclude(_IN_USE).delete()


def forget_unconfirmed(*, now: datetime) -> None:
    """Nothing; an address that somebody gave a day ago and never confirmed is kept no longer."""
    theirs = EmailAddress.objects.filter(user=OuterRef("user"), email=OuterRef("lookup"))
    old = Address.objects.filter(made_at__lt=now - CONFIRMED_WITHIN).exclude(Exists(theirs))
    old.exclude(_IN_USE).delete()


@contextmanager
def typed(address: str | None) -> Iterator[None]:
    """Nothing; within, `just_typed` knows this address, which the sign-in package does not."""
    token = _typed.set(address)
    try:
        yield
    finally:
        _typed.reset(token)


def just_typed(hidden: str) -> str | None:
    """The address behind that lookup address, where the request at hand came with it."""
    address = _typed.get()
    return address if address is not None and lookup(address) == hidden else None
