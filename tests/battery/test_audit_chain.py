"""T24 at length: 1,200 tamperings, as many clean dumps as fit, 80,000 rows of 8 writers, 1,000,000 rows.

Each test prints one JSON line. Its short form is in tests/audit and tests/proof.
"""

import json
import os
import random
import statistics
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from io import StringIO
from pathlib import Path
from typing import Any

import psycopg
import pytest
from django.core.management import call_command
from django.db import transaction

from backend.accounts.services import create_user
from backend.audit.sealing import seal_all
from backend.keys import signing
from backend.proof import queries, services
from backend.proof.verify import examine, verify
from backend.stack.state import running_environment
from tests.conftest import Copy, as_owner
from tests.proof.dump import back_and_forth
from tests.proof.tampering import DATABASE, as_lines, edit_anchor, run
from tests.proof.trail import file_lines, fill, write
from tests.running import ROOT, SERVERS, Stack, eventually, stack

SEED = int(os.environ.get("SEED") or time.time())
EACH = 100
DUMPS, DUMP_SECONDS = 100, float(os.environ.get("SECONDS_OF_DUMPS") or 600)
WRITERS, ROWS = 8, 10_000
MILLION = int(os.environ.get("ROWS") or 1_000_000)
Say = Callable[[dict[str, Any]], None]


@pytest.fixture
def say(capsys: pytest.CaptureFixture[str]) -> Say:
    def said(measured: dict[str, Any]) -> None:
        with capsys.disabled():
            print("\n" + json.dumps({"seed": SEED, **measured}))

    return said


@pytest.fixture
def anchors_file(tmp_path: Path, settings: Any) -> Path:
    settings.AUDIT_ANCHORS = str(tmp_path / "anchors.jsonl")
    return tmp_path / "anchors.jsonl"


def test_twelve_hundred_tamperings_are_found(db: None, anchors_file: Path, say: Say) -> None:
    chance = random.Random(SEED)
    fill(chance, rounds=10, count=40)
    whole = file_lines(anchors_file)
    trusted = {signing.public_key()}
    assert examine(as_lines(whole), trusted=trusted).findings == []

    found: Counter[str] = Counter()
    for name, tamper in DATABASE.items():
        for _ in range(EACH):
            with transaction.atomic():
                tamper(chance)
                found[name] += bool(examine(as_lines(whole), trusted=trusted).findings)
                transaction.set_rollback(True)
    for _ in range(EACH):
        edited = edit_anchor(chance, whole)
        found["edit anchor"] += bool(examine(as_lines(edited), trusted=trusted).findings)

    assert examine(as_lines(whole), trusted=trusted).findings == []
    say({"test": "T24 tamperings", "found": found.total(), "of": 12 * EACH, "each": dict(found)})
    assert found == dict.fromkeys([*DATABASE, "edit anchor"], EACH)


def test_clean_dumps_and_restores_raise_no_alarm(
    database_copy: Copy, anchors_file: Path, tmp_path: Path, say: Say
) -> None:
    """Each in another locale, time zone and date style, with some more written and sealed before it."""
    chance, began, done, alarms = random.Random(SEED), time.monotonic(), 0, 0
    fill(chance, rounds=5, count=40)
    while done < DUMPS and time.monotonic() - began < DUMP_SECONDS:
        write(chance, chance.randint(1, 30))
        if chance.random() < 0.7:
            seal_all()
        if chance.random() < 0.3:
            services.anchor(now=datetime.now(UTC))
        alarms += bool(back_and_forth(database_copy.name, tmp_path, number=done))
        done += 1
    seconds = round(time.monotonic() - began, 1)
    say({"test": "T24 dumps", "restored": done, "false_alarms": alarms, "seconds": seconds})
    assert alarms == 0
    assert done >= 10


@pytest.fixture
def running(place: Path) -> Any:
    with stack(place, DEMO="0") as started:
        assert eventually(started.started, 60), started.lines()
        yield started


def test_eight_writers_beside_the_shipped_sealer(running: Stack, say: Say) -> None:
    """As shipped: PostgreSQL flushes each commit, beat wakes the worker, the worker seals and anchors."""
    own = {name: value for name, value in os.environ.items() if name not in SERVERS}
    env = {**own, **running_environment(running.state), "STATE": str(running.state)}
    address = env["DATABASE_URL"]
    began = time.monotonic()

    def write_rows(seed: int) -> None:
        chance = random.Random(SEED + seed)
        with psycopg.connect(address, autocommit=True) as database:
            for _ in range(ROWS):
                database.execute(
                    "INSERT INTO audit_entry (actor, action, participant, clinic, subject)"
                    " VALUES (%s, 'trends.read', %s, %s, '')",
                    [seed, chance.randint(1, 99), chance.choice([None, 1, 2, 3])],
                )

    threads = [threading.Thread(target=write_rows, args=(number,)) for number in range(WRITERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    written = time.monotonic() - began
    with psycopg.connect(address, autocommit=True) as database:
        database.execute("SELECT set_config('selfkind.everything', 'on', false)")

        def waiting() -> int:
            row = database.execute("SELECT count(*) FROM audit_pending").fetchone()
            return int(row[0]) if row else 0

        left = waiting()
        assert eventually(lambda: waiting() == 0, 60)
        drained = time.monotonic() - began - written
        forks = database.execute(
            "SELECT count(*) FROM (SELECT FROM audit_seal GROUP BY chain, previous HAVING count(*) > 1) f"
        ).fetchone()
        doubled = database.execute(
            "SELECT count(*) FROM (SELECT FROM audit_seal, unnest(entries) e GROUP BY e"
            " HAVING count(*) > 1) d"
        ).fetchone()
        anchors = database.execute(
            "SELECT count(*) FROM audit_entry WHERE action = %s", [queries.ANCHORED]
        ).fetchone()
    checked = subprocess.run(
        [sys.executable, "manage.py", "audit", "verify"],
        cwd=ROOT, env=env, capture_output=True, text=True, check=False,
    )  # fmt: skip
    say(
        {
            "test": "T24 writers",
            "rows": WRITERS * ROWS,
            "written_per_second": round(WRITERS * ROWS / written),
            "unsealed_at_the_end": left,
            "sealed_after_seconds": round(drained, 1),
            "forks": forks and forks[0],
            "doubled": doubled and doubled[0],
            "anchors": anchors and anchors[0],
            "verify": checked.stdout.splitlines()[-1:],
        }
    )
    assert (forks, doubled) == ((0,), (0,))
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_a_million_rows(database_copy: Copy, anchors_file: Path, say: Say) -> None:
    """Seconds, on whatever this runs on: printed, and compared with the goals where they are far away."""
    costs = _cost_of_the_trigger()
    user = create_user(email="reader@cast.example", password=None)
    # One in twenty is that user's; every third writes.
    run(
        "INSERT INTO audit_entry (at, actor, action, participant, clinic, subject, request)"
        " SELECT now() - interval '300 days' + n * interval '300 days' / %s::bigint,"
        " mod(abs(hashint8(n)::bigint), 20) + %s::bigint,"
        " CASE WHEN mod(n, 3) = 0 THEN 'consent.recorded' ELSE 'trends.read' END,"
        " mod(n * 31, 2000) + 1, nullif(mod(n, 5), 0), '', gen_random_uuid()"
        " FROM generate_series(1, %s::bigint) n",
        [MILLION, user.pk, MILLION],
    )
    run("ANALYZE audit_entry")
    began = time.monotonic()
    sealed = seal_all(batches=1_000)
    sealing = time.monotonic() - began
    services.anchor(now=datetime.now(UTC))

    began = time.monotonic()
    verdict = verify()
    verifying = time.monotonic() - began
    assert (verdict.findings, sum(c.entries for c in verdict.chains.values())) == ([], sealed)

    since = datetime.now(UTC) - timedelta(days=200)
    until = since + timedelta(days=31)
    said = StringIO()
    began = time.monotonic()
    call_command(
        "audit", "report", f"--actor={user.pk}", f"--since={since.isoformat()}",
        f"--until={until.isoformat()}", "--reads", stdout=said,
    )  # fmt: skip
    reporting = time.monotonic() - began
    began = time.monotonic()
    page = queries.of_member(clinic=1, user=user.pk, since=since, until=until, before=(until, 0), most=200)
    paging = time.monotonic() - began
    say(
        {
            "test": "T24 a million rows",
            "sealed_per_second": round(sealed / sealing),
            "verify_seconds": round(verifying, 1),
            "report_seconds": round(reporting, 2),
            "report_rows": said.getvalue().count("\n") - 1,
            "page_seconds": round(paging, 3),
            "page_rows": len(page),
            **costs,
        }
    )
    assert said.getvalue().count("\n") > 1_000
    assert len(page) == 200
    assert verifying <= 60
    assert reporting <= 5


def _cost_of_the_trigger(rows: int = 20_000, rounds: int = 5) -> dict[str, float]:
    """Microseconds an insert of one row takes with and without it, each the median of rounds in turn."""
    loop = (
        f"DO $$ BEGIN FOR n IN 1..{rows} LOOP INSERT INTO audit_entry (actor, action, participant, clinic,"
        " subject) VALUES (1, 'trends.read', 2, 3, ''); END LOOP; END $$"
    )
    took: dict[str, list[float]] = {"ENABLE": [], "DISABLE": []}
    for _ in range(rounds):
        for mode, seconds in took.items():
            with transaction.atomic():
                with as_owner():
                    run(f"ALTER TABLE audit_entry {mode} TRIGGER awaits_seal")
                began = time.monotonic()
                run(loop)
                seconds.append(time.monotonic() - began)
                transaction.set_rollback(True)
    return {
        "insert_us": round(statistics.median(took["ENABLE"]) / rows * 1e6, 1),
        "insert_us_without_trigger": round(statistics.median(took["DISABLE"]) / rows * 1e6, 1),
    }
