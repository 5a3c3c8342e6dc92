"""The key store in files: whole whatever happens, and the same for every process at once."""

import json
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from backend.keys.files import PARTS, FileStore
from backend.keys.store import Record, RecoveryKey, StoreFailed, Wrapped
from tests.running import ROOT

ONE = Wrapped("master", b"service", "recovery", b"recover")
HOLDER = UUID(int=3)


@pytest.fixture
def store(tmp_path: Path) -> FileStore:
    made = FileStore(tmp_path / "keys")
    made.make()
    return made


def put(store: FileStore, holder: UUID, record: Record) -> None:
    store.change(holder, lambda _: record)


def python(program: str, *arguments: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", program, *map(str, arguments)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )


def test_what_was_written_is_read_by_this_and_every_other_store(store: FileStore) -> None:
    record = Record(4, 2, {1: ONE, 2: Wrapped("m", b"\0\xff", "r", b"")})
    gone = Record(0, 1, {}, "2026-01-01T00:00:00+00:00")

    put(store, HOLDER, record)
    put(store, UUID(int=3 + PARTS), gone)

    for reader in (store, FileStore(store.folder)):
        assert reader.get(HOLDER) == record
        assert dict(reader.records()) == {HOLDER: record, UUID(int=3 + PARTS): gone}
        assert reader.get(UUID(int=4)) is None
    assert sorted(file.name for file in store.folder.glob("*.json")) == ["03.json"]


def test_only_the_service_can_look_at_it(store: FileStore) -> None:
    put(store, HOLDER, Record(0, 1, {1: ONE}))

    assert store.folder.stat().st_mode & 0o777 == 0o700
    assert {file.stat().st_mode & 0o777 for file in store.folder.iterdir()} == {0o600}


def test_recovery_keys_are_kept_by_clinic(store: FileStore) -> None:
    assert store.recovery_key(0) is None
    ours, theirs = RecoveryKey("one", b"1" * 32), RecoveryKey("two", b"2" * 32)

    store.set_recovery_key(0, ours)
    store.set_recovery_key(7, theirs)

    assert [FileStore(store.folder).recovery_key(clinic) for clinic in (0, 7, 8)] == [ours, theirs, None]


def test_a_store_that_is_not_there_is_no_empty_store(store: FileStore, tmp_path: Path) -> None:
    nowhere = FileStore(tmp_path / "nowhere")
    with pytest.raises(StoreFailed, match="there is no key store at"):
        nowhere.get(HOLDER)
    with pytest.raises(StoreFailed, match="cannot be written"):
        put(nowhere, HOLDER, Record(0, 1, {1: ONE}))
    (store.folder / "03.json").write_text("{half")
    with pytest.raises(StoreFailed, match=r"03\.json of the key store cannot be read: JSONDecodeError"):
        store.get(HOLDER)


WRITER = """
import sys
from uuid import UUID
from backend.keys.files import FileStore
from backend.keys.store import Record, Wrapped
store, first = FileStore(sys.argv[1]), int(sys.argv[2])
for number in range(first, first + 50):
    one = Wrapped("m", str(number).encode(), "r", b"")
    # All of them in two files, and one record that everybody counts up.
    store.change(UUID(int=number * 64 + number % 2), lambda _: Record(0, 1, {1: one}))
    store.change(UUID(int=64 * 10_000), lambda b: Record(0, b.current + 1 if b else 1, {1: one}))
"""


def test_eight_processes_at_once_lose_nothing(store: FileStore) -> None:
    writers = [python(WRITER, store.folder, 50 * number) for number in range(8)]

    assert [writer.wait(60) for writer in writers] == [0] * 8

    found = dict(store.records())
    counted = found.pop(UUID(int=64 * 10_000))
    assert counted.current == 400
    assert {holder: record.keys[1].service for holder, record in found.items()} == {
        UUID(int=number * 64 + number % 2): str(number).encode() for number in range(400)
    }


ENDLESS = """
import sys
from uuid import UUID
from backend.keys.files import FileStore
from backend.keys.store import Record, Wrapped
store, number = FileStore(sys.argv[1]), 0
while True:
    number += 1
    one = Wrapped("m", b"%d" % number * 20_000, "r", b"%d" % number)
    store.change(UUID(int=3), lambda _: Record(0, number, {1: one}))
    print(number, flush=True)
"""


def whole(record: Record | None) -> int:
    """The number of a record that the endless writer wrote, of one piece."""
    if record is None:
        return 0
    one = record.keys[1]
    assert one == Wrapped("m", str(record.current).encode() * 20_000, "r", str(record.current).encode())
    return record.current


def test_a_reader_never_sees_half_a_file_and_a_kill_leaves_a_whole_one(store: FileStore) -> None:
    acknowledged = seen = 0
    for kill in range(8):
        writer = python(ENDLESS, store.folder)
        assert writer.stdout is not None
        assert writer.stdout.readline() == "1\n"
        until = time.monotonic() + 0.02 * (kill + 1)
        looks = []
        while time.monotonic() < until:
            looks.append(whole(FileStore(store.folder).get(HOLDER)))
        os.kill(writer.pid, signal.SIGKILL)
        acknowledged = max(map(int, ["1", *writer.stdout.read().split()]))
        writer.wait()
        left = whole(store.get(HOLDER))
        assert left in (acknowledged, acknowledged + 1)
        assert looks == sorted(looks)
        seen += len(set(looks))
    assert seen > 8, "nobody looked while it was written"


def test_a_draft_that_a_kill_left_goes_with_the_next_change_of_its_file(store: FileStore) -> None:
    put(store, HOLDER, Record(0, 1, {1: ONE}))
    draft, other = store.folder / ".03.json.4242", store.folder / ".04.json.4242"
    for left in (draft, other):
        left.write_bytes((store.folder / "03.json").read_bytes())

    put(store, HOLDER, Record(0, 1, {}, "2026-01-01T00:00:00+00:00"))

    assert (draft.exists(), other.exists()) == (False, True)


def test_a_change_within_the_tick_of_the_clock_is_seen(store: FileStore) -> None:
    """Files are known by inode, time and size: an inode comes again, a record may be as long as before."""
    reader = FileStore(store.folder)
    for number in range(300):
        record = Record(0, 1, {1: Wrapped("m", f"{number:03}".encode(), "r", b"")})
        put(store, HOLDER, record)
        # The second of two changes has the inode of the file before them.
        if number % 2:
            assert reader.get(HOLDER) == record


def test_a_clock_that_goes_back_hides_nothing(store: FileStore) -> None:
    reader, path = FileStore(store.folder), store.folder / "03.json"
    put(store, HOLDER, Record(0, 1, {1: ONE}))
    future = time.time_ns() + 3600 * 10**9
    os.utime(path, ns=(future, future))
    reader.get(HOLDER)

    put(store, HOLDER, Record(0, 2, {1: ONE}))

    assert path.stat().st_mtime_ns > future
    found = reader.get(HOLDER)
    assert found is not None
    assert found.current == 2


def test_a_rewrite_takes_one_part_at_a_time_and_changes_it_together(store: FileStore) -> None:
    for number in (3, 3 + PARTS, 4):
        put(store, UUID(int=number), Record(0, 1, {1: ONE}))

    def only_two(holder: UUID, record: Record) -> Record:
        return Record(0, 2, record.keys) if holder == HOLDER else record

    assert [store.rewrite(part, only_two) for part in (3, 4)] == [1, 0]
    assert {holder.int: record.current for holder, record in store.records()} == {3: 2, 3 + PARTS: 1, 4: 1}

    def breaks(holder: UUID, record: Record) -> Record:
        if holder == HOLDER:
            return Record(0, 9, record.keys)
        raise LookupError

    before = json.loads((store.folder / "03.json").read_text())
    with pytest.raises(LookupError):
        store.rewrite(3, breaks)
    assert json.loads((store.folder / "03.json").read_text()) == before
    put(store, uuid4(), Record(0, 1, {1: ONE}))  # and the lock is free


def test_a_reader_waits_for_nobody(store: FileStore) -> None:
    put(store, HOLDER, Record(0, 1, {1: ONE}))
    looked: list[Record | None] = []

    def look(before: Record | None) -> Record:
        looked.append(FileStore(store.folder).get(HOLDER))
        return Record(0, 2, {1: ONE})

    store.change(HOLDER, look)

    assert looked == [Record(0, 1, {1: ONE})]


def test_two_threads_of_one_process_take_turns(store: FileStore) -> None:
    def count(_: int) -> None:
        store.change(HOLDER, lambda b: Record(0, b.current + 1 if b else 1, {1: ONE}))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(count, range(100)))

    found = store.get(HOLDER)
    assert found is not None
    assert found.current == 100
