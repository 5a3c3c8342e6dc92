"""Making a backup, trying one out, and writing down what came of it."""

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any

import psycopg
from django.conf import settings
from django.db import DatabaseError, connection, transaction
from django.utils import timezone

from backend import scope
from backend.audit import services as audit
from backend.backup import keycopy, manifest
from backend.backup.base import base
from backend.backup.dump import Taken, dump
from backend.backup.keycopy import Kept
from backend.backup.manifest import Failed
from backend.backup.models import Run
from backend.proof.queries import heads_after

# What a restored service keeps for itself, whatever this one uses.
ITS_OWN = ("KEY_STORE", "AUDIT_ANCHORS", "ERASURE_LEDGER")
MAKERS: Mapping[str, Callable[..., Taken]] = {"dump": dump, "base": base}


def make_backup(
    *, kind: str, url: str, to: Path, keys_to: Path, keep: int, keep_keys_days: int, now: datetime
) -> tuple[Run, Path]:
    """The backup of the database, and the copy of the keys that opens all of it. Raises Failed.

    Keys are copied after the database: whoever joins in between has a key too many rather than none.
    """
    try:
        manifest.apart(to, keys_to)
        notes = {"audit_heads": _heads()}
        connection.close()  # it takes minutes, and what is not held cannot be lost meanwhile
        taken = MAKERS[kind](url, to, keep=keep, notes=notes)
        keys = keycopy.copy(_kept(), keys_to, now=timezone.now(), days=keep_keys_days)
    except psycopg.Error:
        # Nothing can be written down of it: this was the connection to the database.
        raise Failed("database_lost", "The database went away before the copy was made.") from None
    except Failed as why:
        _note_failed(kind, now, why.code)
        raise
    with transaction.atomic():
        run = Run.objects.create(
            name=taken.folder.name,
            kind=kind,
            taken_at=taken.taken_at,
            holds_until=taken.holds_until,
            size=taken.size,
            seconds=taken.seconds,
        )
        audit.record(actor=None, action="backup.made", subject=run.name)
    return run, keys


def _note_failed(kind: str, now: datetime, code: str) -> None:
    with contextlib.suppress(DatabaseError), transaction.atomic():
        name = f"{kind}-{manifest.stamp(now)}"
        Run.objects.create(name=name, kind=kind, taken_at=now, ok=False, failed=code)
        audit.record(actor=None, action="backup.failed", subject=f"{kind} {code}")


def verify_backup(*, backup: Path, keys_from: Path, scratch: Path) -> dict[str, Any]:
    """What restoring that backup into a STATE of its own found, which is thrown away again. Raises Failed."""
    began = time.monotonic()
    name, kind = backup.name, backup.name.partition("-")[0]
    try:
        facts = manifest.read(backup)
        connection.close()  # it takes minutes, and what is not held cannot be lost meanwhile
        report = _restored(backup, keys_from, scratch)
    except Failed as why:
        _note(name, kind, manifest.instant(name), began, ok=False, failed=why.code)
        raise
    taken_at = datetime.fromisoformat(facts["taken_at"])
    _note(name, kind, taken_at, began, holds_until=datetime.fromisoformat(facts["holds_until"]), ok=True)
    return report


def _restored(backup: Path, keys_from: Path, scratch: Path) -> dict[str, Any]:
    """The report of `manage.py restore` into a folder that is gone afterwards."""
    place = Path(tempfile.mkdtemp(prefix="restored-", dir=scratch))
    # Root's PostgreSQL runs as another account, which must be able to pass through.
    place.chmod(0o711 if os.geteuid() == 0 else 0o700)
    state = place / "state"
    own = {name: value for name, value in os.environ.items() if name not in ITS_OWN}
    try:
        done = subprocess.run(
            [sys.executable, "manage.py", "restore", "--from", backup, "--keys-from", keys_from, state],
            cwd=settings.BASE_DIR,
            env={**own, "MASTER_KEY_FILE": settings.MASTER_KEY_FILE},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
    finally:
        elsewhere = state / "database-folder"
        if elsewhere.exists():
            shutil.rmtree(elsewhere.read_text().strip(), ignore_errors=True)
        shutil.rmtree(place, ignore_errors=True)
    if done.returncode != 0:
        code, _, words = (done.stderr.strip().splitlines() or ["restore_failed: no word"])[-1].partition(": ")
        raise Failed(code, words)
    report: dict[str, Any] = json.loads(done.stdout)
    return report


def _note(name: str, kind: str, taken_at: datetime, began: float, **found: Any) -> None:
    with transaction.atomic():
        Run.objects.update_or_create(
            name=name,
            defaults={
                "verified_at": timezone.now(),
                "verify_seconds": time.monotonic() - began,
                "failed": "",
                **found,
            },
            create_defaults={
                "kind": kind,
                "taken_at": taken_at,
                "verified_at": timezone.now(),
                "verify_seconds": time.monotonic() - began,
                **found,
            },
        )
        action = "backup.verified" if found["ok"] else "backup.refused"
        audit.record(actor=None, action=action, subject=f"{name} {found.get('failed', '')}".strip())


def _heads() -> list[dict[str, Any]]:
    """How far each chain of the audit was sealed, a moment before the copy."""
    with scope.everything():
        return [asdict(head) for head in heads_after(0)]


def _kept() -> Kept:
    return Kept.by(os.environ, settings.STATE)
