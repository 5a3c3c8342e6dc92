"""Twelve ways to tamper with the audit are found, and nothing is found where nobody did (T24)."""

import random
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from io import StringIO
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from django.core.management import CommandError, call_command
from django.db import connection, transaction

from backend.audit.sealing import seal_all
from backend.keys import signing
from backend.proof import anchors, services
from backend.proof.verify import GUARDS, KINDS, Verdict, examine
from tests.conftest import Copy
from tests.proof.dump import back_and_forth
from tests.proof.tampering import DATABASE, as_lines, edit_anchor, forget, run, unguarded
from tests.proof.trail import BEGAN, file_lines, fill, write


def kinds(found: Sequence[bytes]) -> set[str]:
    return {finding.kind for finding in verdict(found).findings}


def verdict(found: Sequence[bytes]) -> Verdict:
    return examine(as_lines(found), trusted={signing.public_key()})


@pytest.fixture
def kept(db: None, anchors_file: Path) -> list[bytes]:
    """A trail of a few rounds, and the lines of its anchors. It is whole."""
    fill(random.Random(24))
    found = file_lines(anchors_file)
    clean = verdict(found)
    assert (clean.findings, clean.notices, clean.anchors) == ([], [], 6)
    return found


# What each is found by: a few seeds, as most have several ways.
FOUND_BY = {
    "edit": {"altered"},
    "delete": {"altered", "entry_missing"},
    "insert": {"entry_unsealed", "out_of_time"},
    "reorder": {"altered"},
    "truncate tail": {"anchored_missing", "anchor_missing"},
    "truncate head": {"number", "previous", "total", "anchored_missing", "anchored_differs"},
    "swap time": {"altered"},
    "rewrite all and recompute": {"anchored_differs"},
    "replace table": {"altered", "unguarded"},
    "roll back to a backup": {"anchored_missing"},
    "disable trigger then edit": {"altered", "unguarded"},
}


@pytest.mark.parametrize("name", DATABASE)
def test_tampering_with_the_database_is_found(kept: list[bytes], name: str) -> None:
    seen: set[str] = set()
    for seed in range(8):
        with transaction.atomic():
            DATABASE[name](random.Random(seed))
            found = kinds(kept)
            transaction.set_rollback(True)
        assert found, f"{name}, seed {seed}, was not found"
        seen |= found
    assert seen <= FOUND_BY[name]
    assert seen >= FOUND_BY[name] - {"anchor_missing", "anchored_differs", "total", "previous"}
    assert verdict(kept).findings == [], "it was not undone"


def test_tampering_with_the_anchors_is_found(kept: list[bytes]) -> None:
    for seed in range(40):
        assert kinds(edit_anchor(random.Random(seed), kept)), seed


def test_anchors_of_another_key_are_none(kept: list[bytes]) -> None:
    """All made anew by somebody who can write the file and the database, and has not our key."""
    stranger = Ed25519PrivateKey.generate()
    key = stranger.public_key().public_bytes_raw()
    forged: list[bytes] = []
    for line in as_lines(kept):
        assert line is not None
        previous = anchors.hash_of(forged[-1]) if forged else anchors.BEGINNING
        own = replace(line.anchor, previous=previous, key=key.hex())
        forged.append(anchors.spelled(own, stranger.sign(own.content())))

    assert {"anchor_signature"} <= kinds(forged)
    trusted = examine(as_lines(forged), trusted={key}).findings
    assert {finding.kind for finding in trusted} == {"anchor_missing"}, "the audit tells of other lines"


def test_every_guard_is_missed(kept: list[bytes]) -> None:
    for table, trigger, _ in GUARDS:
        with transaction.atomic():
            with connection.cursor() as cursor:
                cursor.execute("SET ROLE NONE")
                cursor.execute(f"DROP TRIGGER {trigger} ON {table}")
                cursor.execute("SET ROLE selfkind_app")
            assert kinds(kept) == {"unguarded"}
            transaction.set_rollback(True)


def test_what_waits_and_is_gone_is_missed(kept: list[bytes]) -> None:
    write(random.Random(1), 1)
    with unguarded():
        run("DELETE FROM audit_entry WHERE id IN (SELECT max(entry) FROM audit_pending)")
    assert kinds(kept) == {"pending_missing"}


def test_what_was_taken_off_the_list_is_missed(kept: list[bytes]) -> None:
    run("DELETE FROM audit_pending")
    assert kinds(kept) == {"entry_unsealed"}


def test_what_is_sealed_again_is_found(kept: list[bytes]) -> None:
    run("INSERT INTO audit_pending SELECT entries[1] FROM audit_seal ORDER BY id DESC LIMIT 1")
    assert kinds(kept) == {"entry_sealed_twice"}


def test_an_instant_that_is_none_is_found(kept: list[bytes]) -> None:
    with unguarded():
        run("UPDATE audit_entry SET at = 'infinity' WHERE id IN (SELECT entries[1] FROM audit_seal)")
    assert kinds(kept) == {"altered"}


def test_a_backlog_is_no_tampering(kept: list[bytes], anchors_file: Path) -> None:
    """The sealer was away for days; what it missed comes in the order of its writing."""
    for day in range(1, 6):
        run(
            "INSERT INTO audit_entry (at, action, subject, clinic) SELECT %s::timestamptz + n * interval"
            " '30 s', 'x.read', '', mod(n, 3) + 1 FROM generate_series(1, 2800) n",
            [datetime.now(UTC) + timedelta(days=day)],
        )
    seal_all()
    services.anchor(now=BEGAN)
    assert kinds(file_lines(anchors_file)) == set()


def test_a_restore_goes_on_from_the_backup(kept: list[bytes], anchors_file: Path) -> None:
    """What was sealed after it is lost and no finding; what it holds is held to all anchors before."""
    newest = run("SELECT max(number) FROM audit_seal WHERE chain = 1")[0][0]
    cut = run("SELECT sealed_at FROM audit_seal WHERE chain = 1 AND number = %s", [newest - 2])[0][0]

    def restore() -> None:
        forget(f"sealed_at > '{cut.isoformat()}'")
        with unguarded():
            run("DELETE FROM audit_entry e USING audit_pending p WHERE p.entry = e.id")
            run("DELETE FROM audit_pending")
        made = services.record_restore(now=BEGAN + timedelta(days=1))
        assert (made.number, made.restored, made.previous) == (7, True, anchors.hash_of(kept[-1]))

    restore()
    found = verdict(file_lines(anchors_file))
    assert (found.findings, len(found.notices)) == ([], 1)
    write(random.Random(2), 9)
    seal_all()
    services.anchor(now=BEGAN + timedelta(days=1))
    whole = file_lines(anchors_file)
    assert kinds(whole) == set()
    for damage in ("number = 1 AND chain = 1", "chain = 2"):
        with transaction.atomic():
            forget(damage)
            assert {"anchored_missing"} <= kinds(whole)
            transaction.set_rollback(True)
    with transaction.atomic():
        DATABASE["rewrite all and recompute"](random.Random(3))
        assert kinds(whole) == {"anchored_differs"}
        transaction.set_rollback(True)


def test_a_restore_without_the_anchors_begins_them_anew(kept: list[bytes], anchors_file: Path) -> None:
    seal_all()
    anchors_file.unlink()
    assert services.record_restore(now=BEGAN).number == 7
    found = verdict(file_lines(anchors_file))
    assert (found.findings, len(found.notices)) == ([], 1)
    seal_all()
    services.anchor(now=BEGAN)
    whole = file_lines(anchors_file)
    assert kinds(whole) == set()
    assert {"anchor_order", "anchor_missing"} <= kinds(whole[1:]), "without saying so, it is cut"


def test_a_restore_with_older_anchors_says_which_are_lost(kept: list[bytes], anchors_file: Path) -> None:
    seal_all()
    anchors_file.write_bytes(b"\n".join(kept[:4]) + b"\n")
    assert services.record_restore(now=BEGAN).number == 7
    assert kinds(file_lines(anchors_file)) == set()


def test_every_kind_is_explained() -> None:
    used = {kind for kinds in FOUND_BY.values() for kind in kinds}
    assert used <= set(KINDS)


def audit(*options: str) -> tuple[str, bool]:
    """What `manage.py audit` says, and whether it ends well."""
    said = StringIO()
    try:
        call_command("audit", *options, stdout=said)
    except CommandError:
        return said.getvalue(), False
    return said.getvalue(), True


def test_the_command_tells_of_every_chain(database_copy: Copy, anchors_file: Path) -> None:
    fill(random.Random(5), rounds=2)
    said, well = audit("verify")
    assert well, said
    assert said.splitlines()[-2:] == ["Anchors: 2.", "The audit trail is whole."]
    assert "no clinic: " in said
    assert "clinic 1: " in said
    assert "1 unsealed, the oldest for" in said

    line = anchors.last(anchors_file)
    assert line is not None
    assert audit("verify", f"--seen=2:{line.hash}")[1]
    assert not audit("verify", f"--seen=2:{'0' * 64}")[1]
    assert not audit("verify", f"--seen=3:{line.hash}")[1]
    key = audit("key")[0].strip()
    assert key == signing.public_key().hex()
    assert audit("verify", f"--key={'0' * 64}", f"--key={key}")[1]
    assert not audit("verify", f"--key={'0' * 64}")[1]
    assert audit("seal")[0] == "Sealed: 1. Anchored: 3.\n"
    assert audit("verify")[1]
    DATABASE["edit"](random.Random(1))
    said, well = audit("verify")
    assert not well
    assert "\naltered: 1. It means that a seal does not fit its entries" in said


def test_a_dump_and_restore_is_no_tampering(database_copy: Copy, anchors_file: Path, tmp_path: Path) -> None:
    fill(random.Random(6), rounds=3)
    write(random.Random(7), 5)
    assert back_and_forth(database_copy.name, tmp_path, number=1) == []
