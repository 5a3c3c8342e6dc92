"""Holders' data keys, made, opened and destroyed. Needs no Django: a store, a master file, and time given.

A data key is written down, wrapped twice, and opened again from what was written before anything is sealed
under it.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from uuid import UUID

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from backend.keys import wrapping
from backend.keys.envelope import CannotOpen, Holder
from backend.keys.master import MasterFile, Masters
from backend.keys.store import KeyStore, Record, RecoveryKey, StoreFailed, Wrapped

INSTALLATION = 0
# Keys of the installation itself, kept as everybody's are: what look-ups are hashed under, what signs.
BLIND = UUID(int=0)
SIGNING = UUID(int=1)
OURS = (BLIND, SIGNING)
_MOST_REMEMBERED = 10_000


class KeyDestroyed(Exception):
    """The holder's data keys were destroyed: nothing of theirs can be read, and nothing new is sealed."""


class NoSuchKey(CannotOpen):
    """The holder has no data key of that version, or none at all."""


class Keyring:
    """The data keys of one installation."""

    def __init__(self, store: KeyStore, master: MasterFile) -> None:
        self.store, self.master = store, master
        # By what it was opened from: the record is looked at every time, and no master key stays here.
        self._opened: dict[tuple[UUID, int, bytes], bytes] = {}

    def current(self, holder: Holder, *, made: Callable[[], None] = lambda: None) -> tuple[int, bytes]:
        """The version and data key that seals for the holder; a first one where there is none.

        `made` is called where it came to be just now. Raises KeyDestroyed.
        """
        record = self.store.get(holder.id)
        if record is None:
            new = False

            def first(before: Record | None) -> Record:
                nonlocal new
                new = before is None
                return before or self._first(holder)

            self.store.change(holder.id, first)
            if new:
                made()
            # From what lies on disk, as every later reader will.
            record = self._known(holder.id)
        self._living(record)
        return record.current, self.open(holder.id, record.current, record)

    def key(self, holder: UUID, version: int) -> bytes:
        """That version of the holder's data key. Raises KeyDestroyed, or NoSuchKey.

        A retired one is none: what it sealed was sealed anew, and something under it is an older value that
        was put back.
        """
        record = self._known(holder)
        if version in record.retired:
            raise NoSuchKey
        return self.open(holder, version, record)

    def open(self, holder: UUID, version: int, record: Record) -> bytes:
        """The data key in a record. Raises KeyDestroyed, NoSuchKey, or CannotOpen."""
        for again in (True, False):
            self._living(record)
            wrapped = record.keys.get(version)
            if wrapped is None:
                raise NoSuchKey
            opened = self._opened.get((holder, version, wrapped.service))
            if opened is not None:
                return opened
            master = self.master.masters().keys.get(wrapped.master)
            if master is not None:
                return self._remember(holder, version, wrapped, master)
            # Turned over between our two looks: the record is under the new one by now.
            record = self._known(holder) if again else record
        raise CannotOpen

    def next_versions(self) -> int:
        """How many people's data keys have a next version just now; all but our own do, from now on."""

        def add(holder: UUID, before: Record) -> Record:
            ours = holder in OURS or before.destroyed_at is not None
            return before if ours else self._with_next(holder, before)

        return sum(self.store.rewrite(part, add) for part in self.store.parts())

    def turning(self) -> dict[UUID, Record]:
        """Those of whose data keys more than one version is in use, and their records."""
        return {holder: record for holder, record in self.store.records() if len(record.living) > 1}

    def retire_older_of(self, holders: Collection[UUID], *, at: datetime) -> None:
        """Nothing; of those people's data keys only the current ones are in use. The others open older copies
        until `forget_retired` takes them."""
        for part in self.store.parts():
            self.store.rewrite(
                part, lambda holder, before: _retired(before, at) if holder in holders else before
            )

    def take_back(self, versions: Mapping[UUID, Collection[int]]) -> int:
        """How many people's retired data keys, of these versions, are in use again."""

        def again(holder: UUID, record: Record) -> Record:
            taken = versions.get(holder, ())
            return replace(record, retired={v: at for v, at in record.retired.items() if v not in taken})

        return sum(self.store.rewrite(part, again) for part in self.store.parts())

    def forget_retired(self, *, before: datetime) -> int:
        """Of how many people data keys that were retired before that instant are gone now."""
        return sum(
            self.store.rewrite(part, lambda _, record: _forgotten(record, before))
            for part in self.store.parts()
        )

    def destroy(self, holder: UUID, *, at: datetime) -> datetime:
        """When the holder's data keys were destroyed: now, or before. Their record says so for ever."""

        def end(before: Record | None) -> Record:
            if before is not None and before.destroyed_at is not None:
                return before
            clinic = before.clinic if before else INSTALLATION
            current = before.current if before else 0
            return Record(clinic, current, {}, at.astimezone(UTC).isoformat())

        return datetime.fromisoformat(self.store.change(holder, end).destroyed_at or "")

    def turn_master_over(self) -> int:
        """How many records went over to a new master key; the one before is gone for good.

        Whatever moment it is broken off at, the next call goes on: every record opens meanwhile.
        """
        masters = self.master.masters()
        if len(masters.keys) == 1:
            key = wrapping.new_key()
            id_ = wrapping.key_id(key)
            masters = Masters(id_, {**masters.keys, id_: key})
            self.master.write(masters)
        # Whoever makes a data key looks the current master key up under the lock of its part: what is made
        # after that part's turn is under the new one.
        changed = sum(self.store.rewrite(part, self._under_current_master) for part in self.store.parts())
        self.master.write(Masters(masters.current, {masters.current: masters.keys[masters.current]}))
        return changed

    def new_recovery_key(self, clinic: int, *, keep: Callable[[X25519PrivateKey], None]) -> int:
        """How many records went over to a new recovery key, whose private half `keep` was given first.

        A clinic's takes the place of the installation's for the clinic's own people.
        """
        private = wrapping.new_recovery_key()
        keep(private)
        public = wrapping.public_bytes(private)
        self.store.set_recovery_key(clinic, RecoveryKey(wrapping.key_id(public), public))
        return sum(self.store.rewrite(part, self._for_current_recovery) for part in self.store.parts())

    def recover(self, private: X25519PrivateKey) -> tuple[int, int]:
        """How many records that recovery key opened, now under the current master key; and how many it does
        not open that no master key here opens either.
        """
        opened = left = 0
        id_ = wrapping.key_id(wrapping.public_bytes(private))

        def reopen(holder: UUID, record: Record) -> Record:
            nonlocal opened, left
            if all(wrapped.master in self.master.masters().keys for wrapped in record.keys.values()):
                return record
            if any(wrapped.recovery_key != id_ for wrapped in record.keys.values()):
                left += 1
                return record
            opened += 1
            keys = {
                version: self._rewrapped(
                    wrapping.unwrap_for_recovery(
                        wrapped.recovery, private=private, holder=holder, version=version
                    ),
                    wrapped,
                    holder,
                    version,
                )
                for version, wrapped in record.keys.items()
            }
            return replace(record, keys=keys)

        for part in self.store.parts():
            self.store.rewrite(part, reopen)
        return opened, left

    def prepare(self) -> None:
        """Nothing; the installation's own keys are there. A master key and its recovery key must be."""
        # What was opened before opens without it, but nobody new could be given a key.
        self.master.masters()
        for ours in OURS:
            self.current(Holder(ours, INSTALLATION))

    def _remember(self, holder: UUID, version: int, wrapped: Wrapped, master: bytes) -> bytes:
        data_key = wrapping.unwrap(wrapped.service, master=master, holder=holder, version=version)
        if len(self._opened) >= _MOST_REMEMBERED:
            self._opened.clear()
        self._opened[holder, version, wrapped.service] = data_key
        return data_key

    def _known(self, holder: UUID) -> Record:
        record = self.store.get(holder)
        if record is None:
            raise NoSuchKey
        return record

    def _living(self, record: Record) -> None:
        if record.destroyed_at is not None:
            raise KeyDestroyed

    def _first(self, holder: Holder) -> Record:
        wrapped = self._wrap(wrapping.new_key(), holder.id, 1, holder.clinic)
        return Record(holder.clinic, 1, {1: wrapped})

    def _with_next(self, holder: UUID, before: Record) -> Record:
        """The record with a next version, tried out; as it is where a turn-over was broken off, which goes on
        with the key it made."""
        if len(before.living) > 1:
            return before
        version, data_key = before.current + 1, wrapping.new_key()
        wrapped = self._wrap(data_key, holder, version, before.clinic)
        after = replace(before, current=version, keys={**before.keys, version: wrapped})
        if self.open(holder, version, after) != data_key:
            raise CannotOpen
        return after

    def _wrap(self, data_key: bytes, holder: UUID, version: int, clinic: int) -> Wrapped:
        masters = self.master.masters()
        recovery = self._recovery_key(clinic)
        return Wrapped(
            masters.current,
            wrapping.wrap(data_key, master=masters.keys[masters.current], holder=holder, version=version),
            recovery.id,
            wrapping.wrap_for_recovery(data_key, public=recovery.public, holder=holder, version=version),
        )

    def _rewrapped(self, data_key: bytes, wrapped: Wrapped, holder: UUID, version: int) -> Wrapped:
        """The same key under the current master key, its recovery as it was."""
        masters = self.master.masters()
        master = masters.keys[masters.current]
        service = wrapping.wrap(data_key, master=master, holder=holder, version=version)
        return replace(wrapped, master=masters.current, service=service)

    def _under_current_master(self, holder: UUID, record: Record) -> Record:
        current = self.master.masters().current
        return replace(
            record,
            keys={
                version: wrapped
                if wrapped.master == current
                else self._rewrapped(self.open(holder, version, record), wrapped, holder, version)
                for version, wrapped in record.keys.items()
            },
        )

    def _for_current_recovery(self, holder: UUID, record: Record) -> Record:
        recovery = self._recovery_key(record.clinic)
        keys = {
            version: wrapped
            if wrapped.recovery_key == recovery.id
            else replace(
                wrapped,
                recovery_key=recovery.id,
                recovery=wrapping.wrap_for_recovery(
                    self.open(holder, version, record),
                    public=recovery.public,
                    holder=holder,
                    version=version,
                ),
            )
            for version, wrapped in record.keys.items()
        }
        return replace(record, keys=keys)

    def _recovery_key(self, clinic: int) -> RecoveryKey:
        """The clinic's own, or the installation's. Nothing is sealed that could not be recovered."""
        found = self.store.recovery_key(clinic) or self.store.recovery_key(INSTALLATION)
        if found is None:
            raise StoreFailed("there is no recovery key: run `manage.py keys init`")
        return found


def _retired(record: Record, at: datetime) -> Record:
    """The record with its current data key alone in use."""
    older = {version: at.astimezone(UTC).isoformat() for version in record.living - {record.current}}
    return replace(record, retired={**record.retired, **older})


def _forgotten(record: Record, before: datetime) -> Record:
    """The record without data keys that were retired before that instant."""
    gone = {version for version, at in record.retired.items() if datetime.fromisoformat(at) < before}
    return replace(
        record,
        keys={version: key for version, key in record.keys.items() if version not in gone},
        retired={version: at for version, at in record.retired.items() if version not in gone},
    )
