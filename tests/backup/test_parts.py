"""The parts of a backup by themselves: copies of keys, the log's segments, ages, what a restore is asked."""

import json
import shutil
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import pytest
from django.db import connection, models
from django.test import Client
from django.test.utils import isolate_apps
from django.utils import timezone

from backend.backup import checks, keycopy, manifest, queries, wal
from backend.backup.keycopy import Kept
from backend.backup.manifest import Failed
from backend.backup.models import Run
from backend.backup.restoring import refuse_other_rows
from backend.keys.envelope import Holder
from backend.keys.fields import SealedField
from tests.conftest import as_owner

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)


@pytest.fixture
def kept(tmp_path: Path) -> Kept:
    """What a service keeps with its keys: files of them, an anchor, the secret; and two never copied."""
    for name in (
        "keys/00.json",
        "keys/01.json",
        "keys/.00.lock",
        "audit-anchors/anchors.jsonl",
        "secret-key",
    ):
        path = tmp_path / "state" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{name}\n")
    for name in keycopy.NEVER:
        (tmp_path / "state" / "keys" / name).write_text("opens everything")
    return Kept.by({}, tmp_path / "state")


def copied(folder: Path) -> dict[str, str]:
    files = [path for path in folder.rglob("*") if path.is_file() and path.name != manifest.NAME]
    return {str(path.relative_to(folder)): path.read_text() for path in files}


def test_a_copy_of_the_keys_holds_them_and_what_goes_with_them_and_no_master_key(
    kept: Kept, tmp_path: Path
) -> None:
    copy = keycopy.copy(kept, tmp_path / "copies", now=NOW, days=7)

    places = {
        "keys/00.json": "keys/00.json",
        "keys/01.json": "keys/01.json",
        "anchors.jsonl": "audit-anchors/anchors.jsonl",
        "secret-key": "secret-key",
    }
    assert copied(copy) == {name: f"{place}\n" for name, place in places.items()}
    assert {name: kept.place(name) for name in places} == {
        name: tmp_path / "state" / place for name, place in places.items()
    }


def test_of_anchors_only_whole_lines_are_copied(kept: Kept, tmp_path: Path) -> None:
    with kept.anchors.open("a") as file:
        file.write('{"half')
    copy = keycopy.copy(kept, tmp_path / "copies", now=NOW, days=7)

    assert copied(copy)["anchors.jsonl"] == "audit-anchors/anchors.jsonl\n"


def test_a_change_makes_a_new_copy_that_shares_what_stayed(kept: Kept, tmp_path: Path) -> None:
    to = tmp_path / "copies"
    first = keycopy.copy(kept, to, now=NOW, days=7)
    assert keycopy.copy(kept, to, now=NOW + timedelta(minutes=1), days=7) == first
    (kept.store / "00.json").write_text("changed")
    second = keycopy.copy(kept, to, now=NOW + timedelta(days=1), days=7)

    assert copied(second) == {**copied(first), "keys/00.json": "changed"}
    assert copied(first)["keys/00.json"] == "keys/00.json\n"
    same = [name for name in copied(second) if (first / name).samefile(second / name)]
    assert sorted(same) == ["anchors.jsonl", "keys/01.json", "secret-key"]


def test_a_copy_that_was_changed_is_copied_anew_and_never_shared(kept: Kept, tmp_path: Path) -> None:
    to = tmp_path / "copies"
    first = keycopy.copy(kept, to, now=NOW, days=7)
    (first / "keys" / "00.json").write_text("spoilt")
    second = keycopy.copy(kept, to, now=NOW + timedelta(days=1), days=7)

    assert second != first
    assert copied(second)["keys/00.json"] == "keys/00.json\n"
    manifest.checked(second)


def test_of_old_copies_the_last_of_each_day_stays_for_a_week_and_the_newest_for_ever(
    kept: Kept, tmp_path: Path
) -> None:
    to = tmp_path / "copies"
    for hours in range(0, 24 * 10, 12):
        (kept.store / "00.json").write_text(str(hours))
        keycopy.copy(kept, to, now=NOW - timedelta(days=10) + timedelta(hours=hours), days=7)

    last = NOW - timedelta(hours=12)
    assert [manifest.instant(path.name) for path in manifest.those(to, "keys")] == [
        *(NOW - timedelta(days=back) for back in range(7, 0, -1)),
        last,
    ]
    keycopy.prune(to, now=NOW + timedelta(days=400), days=7)
    assert [manifest.instant(path.name) for path in manifest.those(to, "keys")] == [last]


def test_every_changed_byte_of_a_manifest_is_noticed(tmp_path: Path) -> None:
    manifest.write(tmp_path, {"kind": "dump", "files": {}, "rows": {"care_clinic": 12}})
    path = tmp_path / manifest.NAME
    written = path.read_bytes()

    unnoticed = []
    for place in range(len(written)):
        changed = bytearray(written)
        changed[place] ^= 1
        path.write_bytes(changed)
        try:
            manifest.read(tmp_path)
        except Failed:
            continue
        unnoticed.append(place)
    path.write_bytes(written)
    assert unnoticed == []
    assert manifest.read(tmp_path)["rows"] == {"care_clinic": 12}


def test_a_backup_that_failed_half_way_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="disk"), manifest.drafted(tmp_path, "dump-x") as draft:
        (draft / "database.dump").write_text("half")
        raise OSError("disk is full")

    assert list(tmp_path.iterdir()) == []


def segment(archive: wal.Archive, number: int, filled: int, *, partial: bool = False) -> Path:
    path = archive.folder / f"00000001{0:08X}{number:08X}{'.partial' * partial}"
    path.write_bytes(b"\1" * filled + bytes(wal.SEGMENT_BYTES - filled))
    return path


@pytest.fixture
def archive(tmp_path: Path) -> wal.Archive:
    made = wal.Archive(tmp_path / "wal")
    made.folder.mkdir()
    made.system.write_text("42\n")
    for number in (3, 4, 5):
        segment(made, number, wal.SEGMENT_BYTES)
    segment(made, 6, 100, partial=True)
    made.seal()
    return made


def test_a_changed_or_missing_segment_is_named(archive: wal.Archive) -> None:
    assert [wal.number(path.name) for path in archive.from_segment(4)] == [4, 5, 6]
    spoilt = segment(archive, 4, wal.SEGMENT_BYTES - 1)
    with pytest.raises(Failed, match=f"{spoilt} is not what was written"):
        archive.from_segment(4)
    spoilt.unlink()
    with pytest.raises(Failed, match="Segment 4 of the log is missing"):
        archive.from_segment(3)
    assert [wal.number(path.name) for path in archive.from_segment(5)] == [5, 6]


def test_a_base_goes_on_in_the_archive_of_its_own_cluster(archive: wal.Archive) -> None:
    place = archive.folder.parent
    assert wal.archive_of(place, first=3, system="42") == archive
    for first, system in ((3, "43"), (2, "42"), (7, "42")):
        with pytest.raises(Failed, match="is not in"):
            wal.archive_of(place, first=first, system=system)
    aside = f"wal-{manifest.stamp(NOW)}"
    wal.set_aside(archive, aside)
    archive.system.write_text("42\n")
    segment(archive, 9, 10)
    assert wal.archive_of(place, first=3, system="42").folder == place / aside
    assert wal.archive_of(place, first=9, system="42") == archive


def test_pruning_keeps_what_the_oldest_base_goes_on_with(archive: wal.Archive) -> None:
    archive.prune(5)

    assert [wal.number(path.name) for path in archive.segments()] == [5, 6]
    assert [wal.number(path.name) for path in archive.sums.iterdir()] == [5]


END = 6 * wal.SEGMENT_BYTES + 128


def record(length: int, body: int) -> bytes:
    """The beginning of a record: its length, and so much of the rest."""
    return length.to_bytes(4, "little") + b"\1" * body


@pytest.mark.parametrize(
    ("behind", "lost"),
    [
        (b"", False),
        (record(200, 50), False),  # cut off in its middle
        (record(30_000, 20_000), False),
        (record(200, 196), True),  # whole, and does not read
        (record(200, 5_000), True),
        (record(2_000_000_000, 196) + bytes(8) + END.to_bytes(8, "little"), True),  # the next one knows it
        (bytes(300) + b"\1", True),
    ],
)
def test_what_follows_the_end_of_a_log_is_a_torn_record_or_a_loss(
    archive: wal.Archive, behind: bytes, lost: bool
) -> None:
    last = archive.segments()[-1]
    content = b"\1" * 128 + behind
    last.write_bytes(content + bytes(wal.SEGMENT_BYTES - len(content)))

    if lost:
        with pytest.raises(Failed, match="goes on behind a break"):
            wal.refuse_lost_tail(archive.segments(), END, archive.folder)
    else:
        wal.refuse_lost_tail(archive.segments(), END, archive.folder)


def test_a_log_that_ends_before_its_last_segment_is_lost(archive: wal.Archive) -> None:
    middle = archive.segments()[2]
    content = b"\1" * 64 + record(200, 196)
    middle.write_bytes(content + bytes(wal.SEGMENT_BYTES - len(content)))

    with pytest.raises(Failed, match="goes on behind a break"):
        wal.refuse_lost_tail(
            archive.segments(), wal.number(middle.name) * wal.SEGMENT_BYTES + 64, archive.folder
        )


def test_positions_and_numbers_of_the_log() -> None:
    assert wal.position("1/5000028") == 0x1_0500_0028
    assert wal.number("000000010000000100000005") == wal.position("1/5000028") // wal.SEGMENT_BYTES == 261


def test_a_table_with_another_number_of_rows_is_named() -> None:
    refuse_other_rows({"a": 1, "b": 0}, {"a": 1, "b": 0})
    for found in ({"a": 2, "b": 0}, {"a": 2}, {"a": 2, "b": 0, "c": 1}):
        with pytest.raises(Failed, match="a holds 2 rows, not 1"):
            refuse_other_rows({"a": 1, "b": 0}, found)


@pytest.fixture
def sealed() -> Iterator[SealedField]:
    """A sealed column of a table of its own, with three values of three people."""
    with isolate_apps("backend.backup"):

        class Note(models.Model):
            person = models.UUIDField()
            text = SealedField(holder="person", null=True)

            class Meta:
                app_label = "backup"
                db_table = "note"

            def __str__(self) -> str:
                return str(self.pk)

    field = Note._meta.get_field("text")
    assert isinstance(field, SealedField)
    with as_owner(), connection.cursor() as cursor:
        cursor.execute("CREATE TABLE note (id bigserial PRIMARY KEY, person uuid, text bytea)")
    for number in range(1, 4):
        person = uuid4()
        value = field.seal(f"words {number}", row=number, holder=Holder(person))
        with connection.cursor() as cursor:
            cursor.execute("INSERT INTO note (id, person, text) VALUES (%s, %s, %s)", [number, person, value])
    with connection.cursor() as cursor:
        cursor.execute("INSERT INTO note (id, person) VALUES (4, gen_random_uuid())")
    yield field


def test_sealed_values_are_opened_and_one_that_was_moved_is_named(db: None, sealed: SealedField) -> None:
    from backend.keys.ring import keyring

    assert checks.open_each([sealed]) == {"opened": 3, "erased": 0}
    assert checks.open_each([sealed], most=2) == {"opened": 2, "erased": 0}
    with connection.cursor() as cursor:
        cursor.execute("SELECT person FROM note WHERE id = 1")
        keyring().destroy(cursor.fetchone()[0], at=timezone.now())
    assert checks.open_each([sealed]) == {"opened": 2, "erased": 1}
    with connection.cursor() as cursor:
        cursor.execute("UPDATE note SET text = (SELECT text FROM note WHERE id = 3) WHERE id = 2")
    with pytest.raises(Failed, match=r"note.text 2: Unreadable"):
        checks.open_each([sealed])


def test_a_step_that_fails_says_its_own_name_and_no_word_of_why() -> None:
    with pytest.raises(Failed) as failed:
        checks.taken("uuid.UUID")

    assert (failed.value.code, str(failed.value)) == ("UUID", "TypeError")


def backed_up(days_ago: float, **fields: object) -> Run:
    at = timezone.now() - timedelta(days=days_ago)
    return Run.objects.create(
        **{"name": f"dump-{days_ago}", "kind": "dump", "taken_at": at, "holds_until": at, **fields}
    )


def test_the_age_of_backups_counts_those_that_were_made_and_those_that_held(db: None) -> None:
    now = timezone.now()
    assert (queries.age(now), queries.last_verified()) == (queries.Age(None, None, True), None)
    held = backed_up(7, ok=True, verified_at=now - timedelta(days=6))
    newest = backed_up(1)
    backed_up(0.5, ok=False, verified_at=now, failed="file_changed")
    backed_up(0.1, ok=False, holds_until=None, failed="dump_failed")

    made = timezone.now() - timedelta(days=0.5)
    age = queries.age(now)
    assert age.taken_at is not None and abs(age.taken_at - made) < timedelta(minutes=1)
    assert newest.taken_at < age.taken_at
    assert (age.verified_at, age.alarm) == (now - timedelta(days=6), False)
    assert queries.last_verified() == held.holds_until
    assert queries.age(now + timedelta(days=2, seconds=1)).alarm


def test_readyz_tells_the_age_and_stays_ready(db: None) -> None:
    before = Client().get("/readyz")
    held = backed_up(1, ok=True, verified_at=timezone.now())
    after = Client().get("/readyz")

    assert [(a.status_code, a.json()["parts"]["database"]) for a in (before, after)] == [(200, "ok")] * 2
    assert before.json()["parts"]["backup"] == {"taken_at": None, "verified_at": None, "alarm": True}
    told = after.json()["parts"]["backup"]
    assert (datetime.fromisoformat(told["taken_at"]), told["alarm"]) == (held.taken_at, False)


def figures(text: str) -> dict[str, float]:
    return {
        name: float(value)
        for name, value in (line.split(" ") for line in text.splitlines() if not line.startswith("#"))
    }


def test_metrics_are_numbers_and_nothing_else(db: None) -> None:
    backed_up(2, ok=True, verified_at=timezone.now() - timedelta(hours=1))
    answer = Client().get("/metrics")
    found = figures(answer.content.decode())

    ages = {name: found.pop(name) for name in list(found) if name.endswith("_seconds")}
    assert answer["Content-Type"].startswith("text/plain; version=")
    assert {name: round(age, -2) for name, age in ages.items()} == {
        "selfkind_backup_taken_age_seconds": 172_800,
        "selfkind_backup_verified_age_seconds": 3_600,
    }
    failed = found.pop("selfkind_failed_wakes")
    assert failed >= 0
    assert found == {
        "selfkind_audit_unsealed": 0,
        "selfkind_backup_alarm": 0,
        "selfkind_quarantined": 0,
        "selfkind_trends_behind": 0,
    }


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE", "OPTIONS"])
@pytest.mark.parametrize(
    ("peer", "headers"),
    [
        ("192.0.2.7", {}),
        ("127.0.0.1", {"x-forwarded-for": "127.0.0.1"}),
        ("127.0.0.1", {"x-forwarded-proto": "https"}),
        ("127.0.0.1", {"forwarded": "for=127.0.0.1"}),
        ("127.0.0.1", {"x-real-ip": "127.0.0.1"}),
        ("127.0.0.1", {"via": "1.1 proxy"}),
    ],
)
def test_for_anybody_elsewhere_there_are_no_metrics(
    db: None, peer: str, headers: dict[str, str], method: str
) -> None:
    client = Client(REMOTE_ADDR=peer, headers=headers)

    def seen(path: str) -> tuple[object, ...]:
        answer = client.generic(method, path, secure=True)
        told = {k: v for k, v in json.loads(answer.content).items() if k not in ("reference", "instance")}
        kept = {k: v for k, v in answer.headers.items() if k not in ("X-Request-Id", "Content-Length")}
        return answer.status_code, told, kept

    assert seen("/metrics") == seen("/metricz")
    assert seen("/metrics")[0] == 404


def test_this_machine_is_answered_after_somebody_else_was_refused(db: None) -> None:
    assert Client(REMOTE_ADDR="192.0.2.7").get("/metrics", secure=True).status_code == 404
    assert Client().get("/metrics").status_code == 200


def test_a_log_that_grows_while_it_is_copied_has_no_hole(archive: wal.Archive, tmp_path: Path) -> None:
    last = archive.segments()[-1]
    last.write_bytes(bytes(wal.SEGMENT_BYTES))
    stop = threading.Event()

    def grow() -> None:
        with last.open("r+b", buffering=0) as file:
            for _ in range(wal.SEGMENT_BYTES // 4096):
                file.write(b"\1" * 4096)
                if stop.is_set():
                    return

    writer = threading.Thread(target=grow)
    writer.start()
    copied = []
    for number in range(20):
        folder = tmp_path / f"copy{number}"
        copied.append(wal.copy_for_recovery(archive.segments(), folder)[-1].read_bytes().rstrip(b"\0"))
        shutil.rmtree(folder)
    stop.set()
    writer.join()

    assert len({len(seen) for seen in copied}) > 1, "nothing grew meanwhile"
    assert [len(seen) for seen in copied if b"\0" in seen] == []
    finished = last.rename(last.with_suffix(""))
    (copy,) = wal.copy_for_recovery([last], tmp_path / "finished")
    assert copy.name == finished.name
