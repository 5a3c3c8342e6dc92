"""What a key store is. `files` is the one that ships; another needs these methods and a name in settings."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol
from uuid import UUID


@dataclass(frozen=True, slots=True)
class Wrapped:
    """One version of a data key, wrapped twice, each with the id of what opens it."""

    master: str
    service: bytes
    recovery_key: str
    recovery: bytes


@dataclass(frozen=True, slots=True)
class Record:
    """A holder's data keys by version, of which `current` seals; none of them once `destroyed_at` is set.

    A destroyed holder's record stays for ever, so that nothing makes it a new key. What a version in
    `retired` sealed was sealed anew, at that instant: it opens copies from before, and goes by and by.
    """

    clinic: int
    current: int
    keys: Mapping[int, Wrapped]
    destroyed_at: str | None = None
    retired: Mapping[int, str] = field(default_factory=dict)

    @property
    def living(self) -> frozenset[int]:
        """The versions that something in the service may still be sealed under."""
        return frozenset(self.keys) - frozenset(self.retired)


@dataclass(frozen=True, slots=True)
class RecoveryKey:
    """The public half of a recovery key."""

    id: str
    public: bytes


class StoreFailed(Exception):
    """The key store cannot be read or written just now, or is not there."""


class KeyStore(Protocol):
    """Where wrapped data keys lie. What a method returned is durable, and seen by every process at once."""

    def get(self, holder: UUID) -> Record | None:
        """The holder's record; None for one that has none."""

    def change(self, holder: UUID, make: Callable[[Record | None], Record]) -> Record:
        """What `make` makes of the holder's record, written. Nobody else writes it meanwhile."""

    def parts(self) -> Iterable[int]:
        """The parts that `rewrite` takes one at a time."""

    def rewrite(self, part: int, make: Callable[[UUID, Record], Record]) -> int:
        """How many records of that part became others; `make` is asked of each, and they change together."""

    def records(self) -> Iterator[tuple[UUID, Record]]:
        """Every holder and their record."""

    def recovery_key(self, clinic: int) -> RecoveryKey | None:
        """The clinic's recovery key, or with 0 the installation's; None where none was made."""

    def set_recovery_key(self, clinic: int, key: RecoveryKey) -> None:
        """Nothing; that key is the clinic's, or with 0 the installation's."""
