"""A backup as an operator makes it, and back: what was there is there, and one changed byte is found first.

`make battery` does the same with 1 GB, and with hosts that are lost.
"""

import json
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from backend.backup import manifest
from backend.stack.dsn import SEES_ALL, with_options
from backend.stack.state import NOT_OPEN
from tests.backup.clinic import Clinic, clinic, contents, flipped, running, stored
from tests.running import ROOT, eventually, reachable_folder

BEGIN = """
import django; django.setup()
from datetime import timedelta
from django.utils import timezone
from backend import scope
from backend.accounts.services import create_user
from backend.care import access
from backend.care.models import Clinic, Participant
from backend.care.services import enrol_participant
from backend.rights.erasure.services import erase_due, request_erasure
"""
ENROL = """
with scope.everything():
    enrol_participant(
        clinic=Clinic.objects.get(), user=create_user(email="amber@words.example", password=None),
        pseudonym="amber heron", timezone="UTC", enrolled_at=timezone.now(),
    )
"""
ERASE = """
with scope.everything():
    one = Participant.objects.get()
with access.participants_of_a_job([one.pk]) as seen:
    request_erasure(participant=seen[one.pk], actor=one.user_id, now=timezone.now())
assert erase_due(now=timezone.now() + timedelta(days=8)) == 1
"""
CLINIC = "INSERT INTO care_clinic (public_id, name, created_at) VALUES (gen_random_uuid(), 'Linden', now())"


@pytest.fixture(scope="module")
def backed_up() -> Iterator[Clinic]:
    """A clinic with a row behind the wall and a person's key, right after its backup."""
    with reachable_folder() as place, clinic(place, migrated=True) as made:
        made.new_key()
        with psycopg.connect(with_options(made.postgres.url, SEES_ALL)) as connection:
            connection.execute(CLINIC)
        run(made, ENROL)
        done = made.manage("backup")
        assert (done.returncode, done.stderr) == (0, "")
        yield made


def run(clinic: Clinic, script: str) -> None:
    """Nothing; the script ran in that clinic."""
    done = subprocess.run(
        [sys.executable, "-c", BEGIN + script],
        cwd=ROOT,
        env={**clinic.environ, "DJANGO_SETTINGS_MODULE": "backend.settings"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def folder_of(backups: Path) -> Path:
    return manifest.newest(backups, "dump", "base", "keys")


def test_what_was_backed_up_is_what_comes_back(backed_up: Clinic, place: Path) -> None:
    before, keys = backed_up.contents(), stored(backed_up.state / "keys")
    state = place / "state"
    done = backed_up.restore(state)

    assert (done.returncode, done.stderr) == (0, "")
    assert not (state / NOT_OPEN).exists()
    assert stored(state / "keys") == keys
    assert (state / "secret-key").read_text() == (backed_up.state / "secret-key").read_text()
    with running(state) as postgres:
        after = contents(postgres)
    assert len(before["care_clinic"]) == len(before["backup_run"]) == 1
    # What the backup said of itself came after the copy was made; what the restore did is in the audit.
    gone = {table: len(set(rows) - set(after[table])) for table, rows in before.items()}
    new = {table: len(set(rows) - set(before[table])) for table, rows in after.items()}
    noted = {"audit_entry": 1}
    assert {table: count for table, count in gone.items() if count} == {**noted, "backup_run": 1}
    assert {table: count for table, count in new.items() if count} == noted
    anchors = (state / "audit-anchors" / "anchors.jsonl").read_text().splitlines()
    assert [json.loads(line)["restored"] for line in anchors] == [True]
    report = json.loads(done.stdout)
    assert report["rows"] == sum(map(len, after.values())) - 2


def test_a_backup_is_closed_to_others_and_holds_no_key_that_opens_it(backed_up: Clinic) -> None:
    copied = [*backed_up.backups.rglob("*"), *backed_up.keys.rglob("*")]
    open_to_others = [path for path in copied if stat.S_IMODE(path.stat().st_mode) & 0o077]
    master = json.loads((backed_up.state / "master-key").read_text())["keys"]
    recovery = (backed_up.state / "recovery-key").read_text().strip()
    everything = b"".join([*stored(backed_up.backups).values(), *stored(backed_up.keys).values()])

    assert open_to_others == []
    assert sorted(stored(folder_of(backed_up.backups))) == ["database.dump", "manifest.json"]
    assert sorted(stored(folder_of(backed_up.keys))) == sorted(
        ["manifest.json", "secret-key", *(f"keys/{name}" for name in stored(backed_up.state / "keys"))]
    )
    assert [key for key in [*master.values(), recovery] if key.encode() in everything] == []


def touched(clinic: Clinic) -> dict[str, Path]:
    """A file of each kind that a backup has."""
    keys = folder_of(clinic.keys)
    shard = max((keys / "keys").glob("*.json"), key=lambda path: path.stat().st_size)
    return {
        "the dump": folder_of(clinic.backups) / "database.dump",
        "its manifest": folder_of(clinic.backups) / "manifest.json",
        "a file of keys": shard,
        "the secret": keys / "secret-key",
        "the keys' manifest": keys / "manifest.json",
    }


def test_one_changed_byte_is_named_before_anything_is_opened(backed_up: Clinic, place: Path) -> None:
    found = {}
    for name, path in touched(backed_up).items():
        with flipped(path):
            done = backed_up.restore(place / "state")
        found[name] = (done.returncode, str(path) in done.stderr, (place / "state").exists())

    assert found == dict.fromkeys(touched(backed_up), (1, True, False))


def test_a_file_that_is_gone_is_named(backed_up: Clinic, place: Path) -> None:
    dump = folder_of(backed_up.backups) / "database.dump"
    aside = dump.rename(place / "aside")
    done = backed_up.restore(place / "state")
    shutil.move(aside, dump)

    assert (done.returncode, done.stderr) == (1, f"file_missing: {dump} is missing.\n")


def test_a_restore_takes_the_place_of_nothing(backed_up: Clinic) -> None:
    before = stored(backed_up.state / "keys")
    done = backed_up.restore(backed_up.state)

    assert done.returncode == 1
    assert done.stderr.startswith(f"not_empty: STATE={backed_up.state} is not empty")
    assert stored(backed_up.state / "keys") == before


def test_without_its_master_key_nothing_is_opened_and_the_stack_refuses_it(
    backed_up: Clinic, place: Path
) -> None:
    state = place / "state"
    done = backed_up.manage("restore", "--from", backed_up.backups, "--keys-from", backed_up.keys, state)
    refused = subprocess.run(
        [sys.executable, "manage.py", "stack"],
        cwd=ROOT, env={**backed_up.environ, "STATE": str(state)}, capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert (done.returncode, done.stderr.split(":")[0]) == (1, "master_key_missing")
    assert (refused.returncode, refused.stdout) == (
        1,
        f"STATE={state} was being restored, and what must hold in it was not found to: see"
        f" {state / NOT_OPEN}.\n",
    )


@pytest.mark.parametrize("keys_to", [".", "keys", ".."])
def test_database_and_keys_never_go_to_one_place(backed_up: Clinic, place: Path, keys_to: str) -> None:
    to = place / "one" / "two"
    done = backed_up.manage("backup", "--to", to, "--keys-to", (to / keys_to).resolve())

    assert done.returncode == 1
    assert "apart from the database's. (same_place)" in done.stderr
    assert not to.exists()


def test_whoever_copies_reads_past_the_wall_and_writes_nothing(backed_up: Clinic) -> None:
    with psycopg.connect(backed_up.postgres.backup_url, autocommit=True) as connection:
        assert connection.execute("SELECT name FROM care_clinic").fetchall() == [("Linden",)]
        connection.execute("SET default_transaction_read_only = off")
        for statement in (CLINIC, "DELETE FROM care_clinic", "CREATE TABLE own ()"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(statement)
        facts = connection.execute(
            "SELECT rolsuper, rolcreaterole, rolcreatedb, rolbypassrls, rolreplication"
            " FROM pg_roles WHERE rolname = current_user"
        ).fetchone()

    assert facts == (False, False, False, True, True)


def run_of(clinic: Clinic, kind: str) -> tuple[Any, ...] | None:
    """What the newest backup of that kind came to."""
    with psycopg.connect(clinic.postgres.url) as connection:
        return connection.execute(
            "SELECT ok, failed FROM backup_run WHERE kind = %s AND verified_at IS NOT NULL"
            " ORDER BY id DESC LIMIT 1",
            [kind],
        ).fetchone()


def test_the_archive_takes_a_base_and_tries_it_out_and_copies_new_keys_within_seconds(
    backed_up: Clinic, place: Path
) -> None:
    """Of a server of one's own: the base, the log behind it, and the keys beside it."""
    environ = {
        **backed_up.environ,
        "BACKUP_DIR": str(place / "archive"),
        "BACKUP_KEYS_DIR": str(place / "kept"),
    }
    with (place / "log").open("w") as log:
        archive = subprocess.Popen(
            [sys.executable, "-m", "backend.backup.archive"],
            cwd=ROOT, env=environ, stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip
    try:
        assert eventually(lambda: list((place / "kept").glob("keys-*")), 20), (place / "log").read_text()
        backed_up.new_key()
        newest = stored(backed_up.state / "keys")
        assert eventually(lambda: run_of(backed_up, "base"), 90), (place / "log").read_text()
    finally:
        archive.terminate()
        assert archive.wait(timeout=10) == 0

    assert run_of(backed_up, "base") == (True, ""), (place / "log").read_text()
    copied = stored(folder_of(place / "kept") / "keys")
    assert copied == newest
    with psycopg.connect(backed_up.postgres.backup_url, autocommit=True) as connection:
        slot = "SELECT active, wal_status FROM pg_replication_slots"
        assert eventually(lambda: connection.execute(slot).fetchall() == [(False, "reserved")], 10)


def test_what_a_killed_backup_left_is_taken_for_none(backed_up: Clinic) -> None:
    draft = backed_up.backups / ".dump-20300101T000000.000000Z.draft"
    draft.mkdir()
    before = folder_of(backed_up.backups)
    assert before != draft
    with manifest.alone(backed_up.backups):
        assert not draft.exists()
    assert folder_of(backed_up.backups) == before


def test_who_was_erased_since_is_erased_again_before_it_is_opened(backed_up: Clinic, place: Path) -> None:
    run(backed_up, ERASE)
    theirs = ("care_participant", "accounts_user", "accounts_address")
    assert [len(backed_up.contents()[table]) for table in theirs] == [0, 0, 0]
    ledger = place / "ledger.jsonl"
    shutil.copy(backed_up.state / "erasures" / "ledger.jsonl", ledger)

    forgotten = backed_up.restore(place / "forgotten")
    done = backed_up.restore(place / "state", ledger=ledger)

    assert (forgotten.returncode, done.returncode) == (0, 0), done.stderr
    steps = [
        json.loads(said.stdout)["steps"]["backend.rights.erasure.tasks.replay"] for said in (forgotten, done)
    ]
    assert steps == [0, 1]
    with running(place / "forgotten") as postgres:
        assert [len(contents(postgres)[table]) for table in theirs] == [1, 1, 1], "the backup held them"
    with running(place / "state") as postgres:
        assert [len(contents(postgres)[table]) for table in theirs] == [0, 0, 0]
