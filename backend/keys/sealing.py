"""Sealing what names people or tells of them, under their own data key; and opening it again."""

from django.db import connection, transaction
from psycopg.pq import TransactionStatus

from backend.audit import services as audit
from backend.errors import Problem
from backend.keys import envelope
from backend.keys.envelope import CannotOpen, Holder, Place
from backend.keys.keyring import KeyDestroyed
from backend.keys.ring import available, keyring

__all__ = ["Destroyed", "Holder", "Place", "Unreadable", "seal", "seal_bytes", "unseal", "unseal_bytes"]


class Destroyed(Problem):
    """The holder was erased: their key is gone, and with it whatever was sealed under it."""

    def __init__(self) -> None:
        super().__init__(410, "erased")


class Unreadable(Problem):
    """What is stored there is not what was sealed for that place."""

    def __init__(self) -> None:
        super().__init__(409, "unreadable")


def seal(text: str, place: Place) -> bytes:
    """The text, sealed for that place. Raises Destroyed."""
    return seal_bytes(text.encode(), place)


def unseal(sealed: bytes, place: Place) -> str:
    """The text sealed for that place. Raises Destroyed, or Unreadable, which leaves an audit row."""
    return unseal_bytes(sealed, place).decode()


def seal_bytes(content: bytes, place: Place) -> bytes:
    """The content, sealed for that place and opened once to make sure. Raises Destroyed."""
    holder = place.holder
    _begin()
    try:
        with available():
            version, key = keyring().current(holder, made=lambda: _key_made(holder))
            sealed = envelope.seal(content, key=key, version=version, place=place)
            opened = envelope.unseal(sealed, key=keyring().key(holder.id, version), place=place)
    except KeyDestroyed:
        raise Destroyed from None
    if opened != content:
        raise AssertionError("what was sealed does not open to what it was")
    return sealed


def unseal_bytes(sealed: bytes, place: Place) -> bytes:
    """The content sealed for that place. Raises Destroyed, or Unreadable, which leaves an audit row."""
    try:
        version = envelope.version_of(sealed)
        with available():
            return envelope.unseal(sealed, key=keyring().key(place.holder.id, version), place=place)
    except KeyDestroyed:
        raise Destroyed from None
    except CannotOpen:
        _refused(place)
        raise Unreadable from None


def _begin() -> None:
    """Nothing; the transaction that is to store what is sealed has begun.

    Before an older key is forgotten, all transactions that were open when it was followed by a newer one have
    ended. Django begins one with its first statement, and a key may be looked up before that.
    """
    if connection.in_atomic_block and connection.connection.info.transaction_status == TransactionStatus.IDLE:
        connection.connection.execute("SELECT 1")


def _key_made(holder: Holder) -> None:
    audit.record(actor=None, action="key.made", clinic=holder.clinic or None, subject=holder.id)


def _refused(place: Place) -> None:
    with transaction.atomic():
        audit.record(
            actor=None,
            action="sealed.unreadable",
            clinic=place.holder.clinic or None,
            subject=f"{place.table}.{place.column} {place.row}"[:64],
        )
