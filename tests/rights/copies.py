"""T21: people are erased, and then their words are looked for in copies from before."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.db import connection
from django.test import Client

from backend.accounts.models import User
from backend.care import access
from backend.care.models import Clinic, Participant
from backend.care.services import create_clinic
from backend.keys import envelope
from backend.keys.fields import sealed, sealed_fields
from backend.keys.files import FileStore
from backend.keys.keyring import KeyDestroyed, Keyring
from backend.keys.master import MasterFile
from backend.keys.ring import keyring
from backend.rights.erasure import ledger, services
from backend.rights.erasure.guard import undone
from backend.rights.erasure.models import Erasure
from backend.rights.plan import rows, tables, whose
from backend.stack.dsn import AS_APP, SEES_ALL, with_options
from backend.stack.postgres import wheel_folder
from tests.conftest import _maintain, enrol, sign_in, submission
from tests.scales.test_corrections import correction

NOW = datetime(2026, 5, 1, tzinfo=UTC)
DUE = NOW + timedelta(days=8)


@dataclass(slots=True)
class Report:
    """What was found where: counts of people and of sealed values."""

    people: int
    erased: int
    kills: int = 0
    sealed: int = 0
    opened_of_erased: int = 0
    unopened_of_others: int = 0
    opened_with_stolen_keys: int = 0
    sealed_of_erased: int = 0
    erased_in_dump: int = 0
    others_in_dump: int = 0
    rows_left: int = 0
    rows_left_after_replay: int = 0
    audit_rows_gone: int = 0
    others_rows_changed: int = 0
    undone_before_replay: int = 0
    replayed: int = 0
    ledger_lines: int = 0
    done: int = 0
    seconds: float = 0.0
    _began: float = field(default_factory=time.monotonic)

    def __str__(self) -> str:
        kept = {name: getattr(self, name) for name in self.__slots__ if not name.startswith("_")}
        return json.dumps({"test": "T21 erasure", **kept})


def erased_for_good(*, people: int, erased: int, kills: int, place: Path) -> Report:
    """What is left of those who were erased, in the database and in copies of everything from before."""
    report = Report(people, erased, kills)
    clinic = create_clinic(name="Linden")
    everybody = [_somebody(clinic, n) for n in range(people)]
    leaving = everybody[:: people // erased][:erased]
    others = [person for person in everybody if person not in leaving]
    old_keys = place / "old-keys"
    shutil.copytree(settings.KEY_STORE, old_keys)
    with _copied() as old:
        before = _everything()
        audit = before["audit.Entry"]
        _erase(leaving, kills)
        after = _everything()
        report.ledger_lines = len(ledger.read())
        report.done = Erasure.objects.filter(state="done").count()
        report.rows_left = _rows_of(leaving)
        report.audit_rows_gone = len(audit.keys() - after["audit.Entry"].keys())
        report.others_rows_changed = _changed(before, after, others)
        dump = _dump()
        report.erased_in_dump = sum(_called(p).encode() in dump for p in leaving)
        report.others_in_dump = sum(_called(p).encode() in dump for p in others)
        with _work_in(old):
            present, stolen = keyring(), Keyring(FileStore(old_keys), MasterFile(settings.MASTER_KEY_FILE))
            hers = {holder for p in leaving for holder in (p.public_id, p.user.key if p.user else None)}
            for value, holder, opens in _sealed_values():
                report.sealed += 1
                report.sealed_of_erased += holder in hers
                if holder in hers:
                    report.opened_of_erased += opens(present, value)
                    report.opened_with_stolen_keys += opens(stolen, value)
                else:
                    report.unopened_of_others += not opens(present, value)
            report.undone_before_replay = undone()
            report.replayed = services.replay(now=DUE + timedelta(days=30))
            report.rows_left_after_replay = _rows_of(leaving)
            report.others_rows_changed += _changed(before, _everything(), others)
            assert undone() == 0
    report.seconds = round(time.monotonic() - report._began, 1)
    return report


def _called(person: Participant) -> str:
    return person.pseudonym


def _somebody(clinic: Clinic, number: int) -> Participant:
    """A person with a word of theirs in everything that is sealed and in what is not."""
    word = f"canary{number:05}x"
    person = enrol(word, clinic)
    user = person.user
    assert user is not None
    user.name = sealed(User, "name").seal(word, row=user.pk, holder=user.holder)
    user.save(update_fields=["name"])
    client = Client(headers={"authorization": f"Bearer {sign_in(user)}"})
    sent = submission()
    for path, body, status in (
        ("administrations", sent, 201),
        (f"administrations/{sent['id']}/corrections", correction(reason=word), 201),
        ("administrations", submission(answer=9), 422),
    ):
        assert client.post(f"/api/v1/{path}", body, "application/json").status_code == status
    return person


def _erase(leaving: list[Participant], kills: int) -> None:
    """Nothing; they are erased, in processes that are killed at any moment, and then in this one."""
    for person in leaving:
        with access.participants_of_a_job([person.pk]) as found:
            services.request_erasure(participant=found[person.pk], actor=person.user_id or 0, now=NOW)
    at = DUE
    for n in range(kills):
        at += services.LEASE + timedelta(seconds=1)
        _killed(at, after=0.02 + 0.37 * n / kills)
    while Erasure.objects.filter(state__in=Erasure.OPEN).exists():
        at += services.LEASE + timedelta(seconds=1)
        services.erase_due(now=at)


_ERASER = """
import sys
from datetime import datetime
import django
django.setup()
from backend.rights.erasure import services
print("ready", flush=True)
services.erase_due(now=datetime.fromisoformat(sys.argv[1]))
"""


def _killed(at: datetime, *, after: float) -> None:
    """Nothing; another process erased for so many seconds, until kill -9."""
    url = with_options(os.environ["DATABASE_URL"], AS_APP)
    name = str(connection.settings_dict["NAME"])
    env = {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "backend.settings",
        "DATABASE_URL": urlsplit(url)._replace(path=f"/{name}").geturl(),
        "ERASURE_LEDGER": settings.ERASURE_LEDGER,
    }
    eraser = subprocess.Popen(
        [sys.executable, "-c", _ERASER, at.isoformat()],
        cwd=settings.BASE_DIR,
        env=env,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert eraser.stdout is not None
    assert eraser.stdout.readline() == "ready\n"
    time.sleep(after)
    eraser.send_signal(signal.SIGKILL)
    eraser.wait()


@contextmanager
def _copied() -> Iterator[str]:
    """The name of a copy of the database as it is now."""
    name = str(connection.settings_dict["NAME"])
    old = f"{name}_old"
    connection.close()
    _maintain(f'DROP DATABASE IF EXISTS "{old}" WITH (FORCE)', f'CREATE DATABASE "{old}" TEMPLATE "{name}"')
    try:
        yield old
    finally:
        _maintain(f'DROP DATABASE "{old}" WITH (FORCE)')


@contextmanager
def _work_in(name: str) -> Iterator[None]:
    """Nothing; what follows is done in that database."""
    before = connection.settings_dict["NAME"]
    connection.close()
    connection.settings_dict["NAME"] = name
    try:
        yield
    finally:
        connection.close()
        connection.settings_dict["NAME"] = before


def _everything() -> dict[str, dict[str, str]]:
    """Each row there is, as text, by table and key."""
    found = {}
    for model in tables():
        key = model._meta.pk
        assert key is not None
        with connection.cursor() as cursor:
            cursor.execute(f'SELECT t."{key.column}"::text, t::text FROM {model._meta.db_table} t')
            found[model._meta.label] = dict(cursor.fetchall())
    return found


def _of(person: Participant) -> Iterator[Any]:
    for model in tables():
        if not whose(model).kept:
            yield model, rows(model, participant=person.pk, user=person.user_id)


def _rows_of(people: list[Participant]) -> int:
    return sum(found.count() for person in people for _, found in _of(person))


def _changed(before: dict[str, dict[str, str]], after: dict[str, dict[str, str]], others: Any) -> int:
    """How many rows of the others, here now, are not what they were; and how many they have no more."""
    changed = 0
    for person in others:
        for model, found in _of(person):
            for pk in found.values_list("pk", flat=True):
                label = model._meta.label
                changed += before[label].get(str(pk)) != after[label].get(str(pk))
    # Theirs are all that are left, so that none may have gone missing either.
    for label in ("care.Participant", "accounts.User", "scales.Administration", "scales.Correction"):
        missing = len(after[label]) - len([1 for pk in after[label] if pk in before[label]])
        changed += abs(missing)
    return changed


def _sealed_values() -> Iterator[tuple[bytes, Any, Callable[[Keyring, bytes], bool]]]:
    """Each sealed value with its holder, and whether a keyring opens it."""
    for column in sealed_fields():
        found = column.model._default_manager.values_list(column.row, column.name, column.holder)
        for row, value, holder in found:
            if value is None:
                continue
            place = column.place(row, envelope.Holder(holder))

            def opens(ring: Keyring, value: bytes, place: envelope.Place = place) -> bool:
                try:
                    key = ring.key(place.holder.id, envelope.version_of(value))
                    envelope.unseal(value, key=key, place=place)
                except KeyDestroyed:
                    return False
                return True

            yield bytes(value), holder, opens


def _dump() -> bytes:
    """The database as its owner dumps it, who means all rows."""
    where = connection.settings_dict
    done = subprocess.run(
        [wheel_folder() / "bin" / "pg_dump", "--enable-row-security", "--dbname", str(where["NAME"])],
        env={
            **os.environ,
            "PGHOST": str(where["HOST"]),
            "PGPORT": str(where["PORT"]),
            "PGUSER": str(where["USER"]),
            "PGPASSWORD": str(where["PASSWORD"]),
            "PGOPTIONS": SEES_ALL,
        },
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-1000:]
    return done.stdout
