"""Data keys: made once, tried before they seal, turned over at any moment, destroyed for ever."""

import base64
import os
import shutil
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import orjson
import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from backend.keys import wrapping
from backend.keys.envelope import CannotOpen, Holder
from backend.keys.files import FileStore
from backend.keys.keyring import BLIND, INSTALLATION, OURS, SIGNING, KeyDestroyed, Keyring, NoSuchKey
from backend.keys.master import MasterFile, Masters
from backend.keys.setup import set_up
from backend.keys.store import Record, StoreFailed

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
ANA, BEN, CLEO = (Holder(UUID(int=number), clinic) for number, clinic in ((67, 1), (132, 1), (200, 2)))


class Killed(BaseException):
    """As a kill -9 at that moment: nothing after it is done."""


class Place:
    """An installation on disk; each look at it is another process's."""

    def __init__(self, folder: Path) -> None:
        self.store, self.master, self.recovery = (
            folder / "keys",
            folder / "master-key",
            folder / "recovery-key",
        )
        assert set_up(store=self.store, master=self.master, recovery=self.recovery)

    def ring(self) -> Keyring:
        return Keyring(FileStore(self.store), MasterFile(self.master))

    def recovery_key(self) -> X25519PrivateKey:
        return wrapping.read(self.recovery.read_text())

    def everything(self) -> str:
        """All that lies in the master file and the store."""
        return "".join(file.read_text() for file in [self.master, *sorted(self.store.glob("*.json"))])


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def keys_of(ring: Keyring) -> dict[tuple[UUID, int], bytes]:
    """Every data key there is, opened."""
    return {
        (holder, version): ring.open(holder, version, record)
        for holder, record in ring.store.records()
        for version in record.keys
    }


def test_the_first_look_makes_a_key_and_every_later_one_has_it(place: Place) -> None:
    made: list[bool] = []

    first = place.ring().current(ANA, made=lambda: made.append(True))
    again = place.ring().current(ANA, made=lambda: made.append(True))

    assert first == again == (1, place.ring().key(ANA.id, 1))
    assert made == [True]
    assert len(first[1]) == 32
    assert place.ring().current(BEN)[1] != first[1]
    record = place.ring().store.get(ANA.id)
    assert record is not None
    assert (record.clinic, record.current, set(record.keys)) == (1, 1, {1})
    assert base64.b64encode(first[1]).decode() not in place.everything()


def next_version(ring: Keyring, holder: UUID) -> int:
    """The version that seals for the holder, once everybody's keys began to turn over."""
    ring.next_versions()
    record = ring.store.get(holder)
    assert record is not None
    return record.current


def destroyed_at(ring: Keyring, holder: UUID) -> str | None:
    record = ring.store.get(holder)
    assert record is not None
    return record.destroyed_at


def test_a_key_that_is_not_there_is_not_made_by_looking(place: Place) -> None:
    for holder, version in ((ANA.id, 1), (BLIND, 2)):
        with pytest.raises(NoSuchKey):
            place.ring().key(holder, version)
    assert place.ring().next_versions() == 0
    assert {holder for holder, _ in place.ring().store.records()} == set(OURS)


def test_eight_first_looks_at_once_make_one_key(place: Place) -> None:
    made: list[int] = []
    barrier = threading.Barrier(8)

    def look(number: int) -> tuple[int, bytes]:
        ring = place.ring()
        barrier.wait()
        return ring.current(CLEO, made=lambda: made.append(number))

    with ThreadPoolExecutor(8) as pool:
        found = set(pool.map(look, range(8)))

    assert (len(found), len(made)) == (1, 1)


def test_what_was_written_wrongly_is_found_before_it_seals(place: Place) -> None:
    """The disk gives back something else than the wrap that was written."""

    class Corrupting(FileStore):
        def _write(self, name: str, content: dict[str, Any]) -> None:
            for holder, written in content.items():
                if holder == str(ANA.id):
                    wrap = bytearray(base64.b64decode(written["keys"]["1"][1]))
                    wrap[-1] ^= 1
                    written["keys"]["1"][1] = base64.b64encode(wrap).decode()
            super()._write(name, content)

    with pytest.raises(CannotOpen):
        Keyring(Corrupting(place.store), MasterFile(place.master)).current(ANA)


def test_nothing_seals_without_a_recovery_key(place: Place) -> None:
    (place.store / "recovery.json").unlink()

    with pytest.raises(StoreFailed, match=r"there is no recovery key: run `manage\.py keys init`"):
        place.ring().current(ANA)


def test_a_destroyed_key_leaves_a_stone_and_is_never_made_again(place: Place) -> None:
    ring = place.ring()
    _, key = ring.current(ANA)
    next_version(ring, ANA.id)

    assert destroyed_at(ring, ANA.id) is None
    assert ring.destroy(ANA.id, at=NOON) == NOON
    assert ring.destroy(ANA.id, at=datetime(2027, 1, 1, tzinfo=UTC)) == NOON

    for process in (ring, place.ring()):
        assert destroyed_at(process, ANA.id) == NOON.isoformat()
        for look in (
            lambda p=process: p.current(ANA),
            lambda p=process: p.key(ANA.id, 1),
        ):
            with pytest.raises(KeyDestroyed):
                look()
        process.retire_older_of({ANA.id}, at=NOON)
        process.forget_retired(before=NOON + timedelta(days=1))
        assert process.store.get(ANA.id) == Record(1, 2, {}, NOON.isoformat())
    assert ring.next_versions() == 0
    ring.turn_master_over()
    ring.new_recovery_key(INSTALLATION, keep=lambda _: None)
    assert destroyed_at(place.ring(), ANA.id) == NOON.isoformat()
    assert key not in keys_of(place.ring()).values()


def test_somebody_who_never_had_a_key_can_be_barred_from_one(place: Place) -> None:
    place.ring().destroy(CLEO.id, at=NOON)

    with pytest.raises(KeyDestroyed):
        place.ring().current(CLEO)


def test_a_key_made_at_the_moment_of_its_destruction_is_destroyed(place: Place) -> None:
    ring = place.ring()

    def destroy() -> None:
        place.ring().destroy(ANA.id, at=NOON)

    with pytest.raises(KeyDestroyed):
        ring.current(ANA, made=destroy)
    assert place.ring().store.get(ANA.id) == Record(1, 1, {}, NOON.isoformat())


def test_a_next_version_seals_and_the_one_before_opens_until_it_is_forgotten(place: Place) -> None:
    ring, other = place.ring(), place.ring()
    first = ring.current(ANA)[1]

    assert next_version(ring, ANA.id) == 2
    assert next_version(ring, ANA.id) == 2, "a turn-over that was broken off goes on with its key"
    version, second = other.current(ANA)
    assert (version, second != first, other.key(ANA.id, 1)) == (2, True, first)

    ring.retire_older_of({ANA.id}, at=NOON)

    assert other.current(ANA) == (2, second)
    with pytest.raises(NoSuchKey):
        other.key(ANA.id, 1)
    assert next_version(ring, ANA.id) == 3


def test_a_retired_key_opens_nothing_until_it_is_taken_back_and_goes_by_and_by(place: Place) -> None:
    ring, other = place.ring(), place.ring()
    first = ring.current(ANA)[1]
    next_version(ring, ANA.id)
    ring.retire_older_of({ANA.id}, at=NOON)
    ring.turn_master_over()
    with pytest.raises(NoSuchKey):
        other.key(ANA.id, 1)

    assert (ring.take_back({ANA.id: {1}}), ring.take_back({ANA.id: {1}})) == (1, 0)
    assert (other.key(ANA.id, 1), set(other.turning())) == (first, {ANA.id})

    ring.retire_older_of({ANA.id}, at=NOON)
    kept = [ring.forget_retired(before=NOON + timedelta(seconds=n)) for n in (0, 1, 2)]
    record = place.ring().store.get(ANA.id)
    assert record is not None
    assert (kept, set(record.keys), record.retired) == ([0, 1, 0], {2}, {})
    assert ring.take_back({ANA.id: {1}}) == 0


def test_everybody_has_a_next_version_but_the_installation_and_the_destroyed(place: Place) -> None:
    ring = place.ring()
    before = {holder: ring.current(holder)[1] for holder in (ANA, BEN, CLEO)}
    ours = [ring.key(BLIND, 1), ring.key(SIGNING, 1)]
    ring.destroy(CLEO.id, at=NOON)

    assert (ring.next_versions(), ring.next_versions()) == (2, 0)

    assert {h: (r.current, set(r.keys)) for h, r in place.ring().turning().items()} == {
        ANA.id: (2, {1, 2}),
        BEN.id: (2, {1, 2}),
    }
    ring.retire_older_of({ANA.id, CLEO.id}, at=NOON)
    other = place.ring()
    assert set(other.turning()) == {BEN.id}
    assert other.key(BEN.id, 1) == before[BEN]
    assert [other.key(BLIND, 1), other.key(SIGNING, 1)] == ours


def old_master_is_gone(place: Place, id_: str, key: bytes) -> bool:
    said = place.everything()
    return id_ not in said and base64.b64encode(key).decode() not in said


def test_a_master_key_turned_over_opens_the_same_keys_and_the_old_one_nothing(
    place: Place, tmp_path: Path
) -> None:
    for holder in (ANA, BEN, CLEO):
        place.ring().current(holder)
    before, masters = keys_of(place.ring()), place.ring().master.masters()
    (old,) = masters.keys.values()
    running = place.ring()
    keys_of(running)
    shutil.copy(place.master, tmp_path / "stolen")

    assert place.ring().turn_master_over() == 5

    assert keys_of(place.ring()) == keys_of(running) == before
    assert old_master_is_gone(place, masters.current, old)
    thief = Keyring(FileStore(place.store), MasterFile(tmp_path / "stolen"))
    with pytest.raises(CannotOpen):
        thief.key(ANA.id, 1)


def steps_of_a_turn_over(place: Place) -> int:
    """How many files it writes."""
    counted = 0

    class Counting(FileStore):
        def _write(self, name: str, content: dict[str, Any]) -> None:
            nonlocal counted
            counted += 1
            super()._write(name, content)

    Keyring(Counting(place.store), MasterFile(place.master)).turn_master_over()
    return counted + 2


@pytest.mark.parametrize("after", [False, True])
def test_broken_off_at_every_step_it_goes_on(tmp_path: Path, after: bool) -> None:
    """Killed right before and right after each write, of the store and of the master file."""
    place = Place(tmp_path)
    for holder in (ANA, BEN, CLEO):
        place.ring().current(holder)
    before = keys_of(place.ring())
    steps = steps_of_a_turn_over(place)
    assert steps == 7  # two of the master file, and a part each of five holders

    for step in range(steps):
        masters = place.ring().master.masters()
        left = step

        def count(write: Callable[[], None]) -> None:
            nonlocal left
            left -= 1
            if after or left >= 0:
                write()
            if left < 0:
                raise Killed

        class Store(FileStore):
            def _write(self, name: str, content: dict[str, Any]) -> None:
                count(lambda: FileStore._write(self, name, content))

        class Master(MasterFile):
            def write(self, masters: Any) -> None:
                count(lambda: MasterFile.write(self, masters))

        with pytest.raises(Killed):
            Keyring(Store(place.store), Master(place.master)).turn_master_over()

        assert keys_of(place.ring()) == before, step
        new = Holder(UUID(int=1000 + 2 * step + after))
        before[new.id, 1] = place.ring().current(new)[1]
        place.ring().turn_master_over()
        assert keys_of(place.ring()) == before
        for id_, key in masters.keys.items():
            assert old_master_is_gone(place, id_, key)


def test_keys_are_made_opened_and_turned_over_at_once(place: Place) -> None:
    """Seven make keys and look at them while the master key turns over and over."""
    over = threading.Event()
    made: dict[UUID, bytes] = {}

    def work(_: int) -> int:
        ring, done = place.ring(), 0
        while not over.is_set():
            holder = Holder(uuid4())
            made[holder.id] = ring.current(holder)[1]
            assert place.ring().key(holder.id, 1) == made[holder.id]
            done += 1
        return done

    def turn() -> None:
        try:
            for _ in range(3):
                place.ring().turn_master_over()
        finally:
            over.set()

    with ThreadPoolExecutor(8) as pool:
        turning = pool.submit(turn)
        done = list(pool.map(work, range(7)))
        turning.result()

    assert min(done) > 0
    found = keys_of(place.ring())
    assert {holder: found[holder, 1] for holder in made} == made
    assert len(place.ring().master.masters().keys) == 1


def test_a_master_key_that_follows_within_the_tick_of_the_clock_is_seen(place: Place) -> None:
    """A turn-over writes twice, so that the inode of the file before comes again, and as many bytes."""
    reader, writer = MasterFile(place.master), MasterFile(place.master)
    for _ in range(100):
        for _ in range(2):
            key = wrapping.new_key()
            masters = Masters(wrapping.key_id(key), {wrapping.key_id(key): key})
            writer.write(masters)
        assert reader.masters() == masters


def test_a_master_key_is_newer_than_the_one_before_whatever_the_clock_says(place: Place) -> None:
    future = time.time_ns() + 3600 * 10**9
    os.utime(place.master, ns=(future, future))

    place.ring().turn_master_over()

    assert place.master.stat().st_mtime_ns > future


def test_everything_opens_again_with_the_recovery_key_when_the_master_key_is_lost(place: Place) -> None:
    for holder in (ANA, BEN, CLEO):
        place.ring().current(holder)
    next_version(place.ring(), BEN.id)
    place.ring().destroy(CLEO.id, at=NOON)
    before = keys_of(place.ring())
    place.master.unlink()
    with pytest.raises(StoreFailed, match="the master key cannot be read: FileNotFoundError"):
        place.ring().key(ANA.id, 1)
    assert place.ring().master.make()
    with pytest.raises(CannotOpen):
        place.ring().key(ANA.id, 1)

    assert place.ring().recover(wrapping.new_recovery_key()) == (0, 4)
    assert place.ring().recover(place.recovery_key()) == (4, 0)

    assert keys_of(place.ring()) == before
    assert place.ring().recover(place.recovery_key()) == (0, 0)
    assert destroyed_at(place.ring(), CLEO.id) == NOON.isoformat()


def test_a_clinics_own_recovery_key_opens_its_people_alone(place: Place) -> None:
    for holder in (ANA, CLEO):
        place.ring().current(holder)
    told: list[X25519PrivateKey] = []

    assert place.ring().new_recovery_key(2, keep=told.append) == 1
    later = Holder(UUID(int=500), 2)
    place.ring().current(later)
    before = keys_of(place.ring())
    place.master.unlink()
    place.ring().master.make()

    assert place.ring().recover(told[0]) == (2, 3)
    assert place.ring().key(later.id, 1) == before[later.id, 1]
    with pytest.raises(CannotOpen):
        place.ring().key(ANA.id, 1)
    assert place.ring().recover(place.recovery_key()) == (3, 0)
    assert keys_of(place.ring()) == before


def test_a_new_recovery_key_is_told_before_it_is_used_and_the_old_one_opens_nothing_any_more(
    place: Place,
) -> None:
    place.ring().current(ANA)
    old, told = place.recovery_key(), list[X25519PrivateKey]()

    def lost(private: X25519PrivateKey) -> None:
        raise Killed

    with pytest.raises(Killed):
        place.ring().new_recovery_key(INSTALLATION, keep=lost)
    record = place.ring().store.get(ANA.id)
    assert record is not None
    assert record.keys[1].recovery_key == wrapping.key_id(wrapping.public_bytes(old))

    assert place.ring().new_recovery_key(INSTALLATION, keep=told.append) == 3
    place.master.unlink()
    place.ring().master.make()
    assert place.ring().recover(old) == (0, 3)
    assert place.ring().recover(told[0]) == (3, 0)


def test_setting_up_again_changes_nothing(place: Place) -> None:
    before = place.everything()
    place.recovery.unlink()

    assert not set_up(store=place.store, master=place.master, recovery=place.recovery)

    assert place.everything() == before
    assert not place.recovery.exists()
    assert orjson.loads(place.master.read_bytes())["current"]
    assert place.master.stat().st_mode & 0o777 == 0o600
