"""`make battery`: the restore drill on 1 GB, both ways; spoilt copies; hosts that are lost (T27)."""

import json
import os
import random
import shutil
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil
import psycopg
import pytest

from backend.backup import manifest
from backend.stack.state import NOT_OPEN
from tests.backup.clinic import Clinic, clinic, flipped, running, stored
from tests.backup.hosts import archived, archiving, lose_host
from tests.running import alive, eventually, reachable_folder

SEED = int(os.environ.get("SEED") or time.time())
BYTES = int(os.environ.get("DRILL_BYTES") or 10**9)
ROW = 15 * 32  # characters of each row, which gzip does not make much of
PEOPLE = 500
LOSSES = int(os.environ.get("LOSSES") or 5)
PATIENCE = 900.0


@pytest.fixture(scope="module")
def full() -> Iterator[Clinic]:
    """A clinic with 1 GB in its database and 500 people's keys."""
    with reachable_folder() as place, clinic(place, migrated=True) as made:
        words = " || ".join(f"md5('{part}' || n)" for part in range(ROW // 32))
        rows = BYTES // (ROW + 60)
        with psycopg.connect(made.postgres.url, autocommit=True) as connection:
            series = f"SELECT n, {words} AS words FROM generate_series(1, {rows}) n"
            connection.execute(f"CREATE TABLE ballast AS {series}".encode())
            connection.execute("ALTER TABLE ballast ADD PRIMARY KEY (n)")
            size = connection.execute("SELECT pg_database_size(current_database())").fetchone()
        assert size is not None and size[0] >= BYTES
        for _ in range(PEOPLE):
            made.new_key()
        yield made


def fingerprint(url: str) -> tuple[Any, ...] | None:
    """One number for all of the ballast, and one for how much there is."""
    with psycopg.connect(url) as connection:
        return connection.execute("SELECT count(*), sum(hashtextextended(words, n)) FROM ballast").fetchone()


def drill(full: Clinic, place: Path) -> dict[str, Any]:
    """What a restore of the newest backup came to: rows and keys are what they were."""
    state = place / "state"
    done = full.restore(state)
    assert done.returncode == 0, done.stderr
    assert not (state / NOT_OPEN).exists()
    assert stored(state / "keys") == stored(full.state / "keys")
    with running(state) as postgres:
        assert fingerprint(postgres.url) == fingerprint(full.postgres.url)
    report: dict[str, Any] = json.loads(done.stdout)
    return report


def refused(full: Clinic, path: Path, at: int | None = None) -> bool:
    """Whether a restore from there stays shut and names the file, one bit of which is another."""
    with reachable_folder() as place:
        with flipped(path, at):
            done = full.restore(place / "state")
        shut = not (place / "state").exists() or (place / "state" / NOT_OPEN).exists()
        return done.returncode == 1 and shut and path.name.removesuffix(".partial") in done.stderr


def test_the_simple_drill(full: Clinic, place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    done = full.manage("backup")
    assert done.returncode == 0, done.stderr
    report = drill(full, place)
    backup, keys = manifest.newest(full.backups, "dump"), manifest.newest(full.keys, "keys")
    shard = next((keys / "keys").glob("*.json"))
    kinds = {
        "dump": backup / "database.dump",
        "manifest": backup / manifest.NAME,
        "shard of the key store": shard,
        "manifest of the keys": keys / manifest.NAME,
    }

    caught = {name: refused(full, path) for name, path in kinds.items()}
    with capsys.disabled():
        print(f"\ndrill, simple, {BYTES / 1e9:g} GB: {done.stdout.splitlines()[0].rpartition(': ')[2]}"
              f" {report['seconds']}; one byte changed, caught: {caught}")  # fmt: skip
    assert caught == dict.fromkeys(kinds, True)
    shutil.rmtree(backup)


def test_the_drill_of_a_server_of_ones_own(
    full: Clinic, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with archiving(full):
        base = archived(full, PATIENCE)
        with psycopg.connect(full.postgres.url, autocommit=True) as connection:
            # Three segments more of the log, and into a fourth.
            connection.execute(
                "INSERT INTO ballast SELECT -n, repeat(md5(n::text), 15) FROM generate_series(1, 90000) n"
            )
        wal = full.backups / "wal"
        with psycopg.connect(full.postgres.backup_url, autocommit=True) as connection:
            reached = "SELECT flush_lsn >= pg_current_wal_lsn() FROM pg_stat_replication"
            assert eventually(lambda: connection.execute(reached).fetchall() == [(True,)], 60)
        assert eventually(lambda: len(list((wal / "sums").iterdir())) == len(list(wal.glob("*[0-9A-F]"))), 30)
    report = drill(full, place)
    newest = manifest.newest(full.backups, "base")
    segments = sorted(path for path in wal.iterdir() if len(path.name) == 24)
    (last,) = wal.glob("*.partial")
    relations = (path for path in (newest / "data" / "base").rglob("*") if path.is_file())
    kinds: dict[str, tuple[Path, int | None]] = {
        "base file": (max(relations, key=lambda path: path.stat().st_size), None),
        "list of the base": (newest / "data" / "backup_manifest", None),
        "manifest": (newest / manifest.NAME, None),
        "finished segment": (segments[-2], None),
        "unfinished segment": (last, len(last.read_bytes().rstrip(b"\0")) // 2),
    }

    caught = {name: refused(full, path, at) for name, (path, at) in kinds.items()}
    aside = segments[-1].rename(full.place / "aside")
    with reachable_folder() as other:
        caught["missing segment"] = "wal_missing" in full.restore(other / "state").stderr
    aside.rename(segments[-1])
    with capsys.disabled():
        print(f"\ndrill, base and log, {BYTES / 1e9:g} GB: base in {base['seconds']:.1f} s, tried out in"
              f" {base['verify_seconds']:.1f} s; {report['seconds']}; caught: {caught}")  # fmt: skip
    assert caught == dict.fromkeys([*kinds, "missing segment"], True)


def test_what_was_acknowledged_outlives_its_host(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rng = random.Random(SEED)
    losses = []
    with clinic(place, migrated=True) as own:
        for number in range(LOSSES + 1):
            paused = 3.0 if number == LOSSES else 0.0
            with archiving(own) as archive:
                archived(own, PATIENCE)
                assert eventually(lambda: receiving(own), 60), (place / "archive.log").read_text()
                losses.append(
                    lose_host(own, psutil.Process(archive.pid), place / f"lost{number}", rng, paused=paused)
                )
            shutil.rmtree(place / f"lost{number}")
            own.postgres.start()

    *lost, sabotaged = losses
    with capsys.disabled():
        print(f"\nhosts lost: {len(lost)}, seed {SEED}; acknowledged {sum(x.acknowledged for x in lost)},"
              f" not in the archive {sum(x.missing for x in lost)}; RPO {max(x.seconds for x in lost)} s;"
              f" with the archive stopped 3 s before: {sabotaged}")  # fmt: skip
    assert max(loss.seconds for loss in lost) <= 60
    assert sabotaged.missing > 0 and sabotaged.seconds >= 2.5, "the drill has no teeth"


def receiving(own: Clinic) -> bool:
    """Whether the log is being received now."""
    with psycopg.connect(own.postgres.backup_url) as connection:
        return bool(
            connection.execute("SELECT FROM pg_stat_replication WHERE state = 'streaming'").fetchall()
        )


def test_a_restore_goes_back_to_an_instant(place: Path) -> None:
    with clinic(place, migrated=True) as own, archiving(own) as archive:
        archived(own, PATIENCE)
        with psycopg.connect(own.postgres.url, autocommit=True) as connection:
            connection.execute("CREATE TABLE kept AS SELECT 'before' AS word")
            time.sleep(1)
            instant = datetime.now(UTC)
            time.sleep(1)
            connection.execute("INSERT INTO kept VALUES ('after')")
        with psycopg.connect(own.postgres.backup_url, autocommit=True) as connection:
            reached = "SELECT flush_lsn >= pg_current_wal_lsn() FROM pg_stat_replication"
            assert eventually(lambda: connection.execute(reached).fetchall() == [(True,)], 60)
        done = own.restore(place / "then", "--until", instant.isoformat())
        assert done.returncode == 0, done.stderr
        with running(place / "then") as postgres, psycopg.connect(postgres.url) as connection:
            assert connection.execute("SELECT word FROM kept").fetchall() == [("before",)]
        never = own.restore(place / "never", "--until", "2999-01-01T00:00:00+00:00")
        assert (never.returncode, never.stderr.split(":")[0]) == (1, "recovery_failed")
        assert (place / "never" / NOT_OPEN).exists()
        assert alive([psutil.Process(archive.pid)])
