"""A host that is lost: its database and whoever archived it are killed at once, under writers."""

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import psycopg

from backend.stack.process import belonging_to
from tests.backup.clinic import Clinic, running
from tests.running import ROOT, alive, eventually

WRITERS = 4


@contextlib.contextmanager
def archiving(clinic: Clinic) -> Iterator["subprocess.Popen[bytes]"]:
    """The process that keeps the clinic's archive; it is killed in the end, with all it started."""
    mark = f"SELFKIND_DRILL={clinic.place}"
    with (clinic.place / "archive.log").open("a") as log:
        archive = subprocess.Popen(
            [sys.executable, "-m", "backend.backup.archive"],
            cwd=ROOT,
            env={**clinic.environ, "SELFKIND_DRILL": str(clinic.place)},
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        yield archive
    finally:
        archive.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            archive.wait(timeout=10)
        for pid in belonging_to(mark):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        archive.wait()


def runs(clinic: Clinic) -> list[dict[str, object]]:
    """What the clinic's database says of its backups."""
    with psycopg.connect(clinic.postgres.url) as connection:
        found = connection.execute("SELECT to_jsonb(r) FROM backup_run r ORDER BY id").fetchall()
    return [row for (row,) in found]


def archived(clinic: Clinic, patience: float) -> dict[str, object]:
    """The newest base, once the archive made one and tried it out."""

    def done() -> bool:
        return any(run["kind"] == "base" and run["verified_at"] for run in runs(clinic))

    log = (clinic.place / "archive.log").read_text
    assert eventually(done, patience), log()
    newest = [run for run in runs(clinic) if run["kind"] == "base"][-1]
    assert (newest["ok"], newest["failed"]) == (True, ""), log()
    return newest


@dataclass(frozen=True, slots=True)
class Loss:
    """What was acknowledged before the host was lost, and what of it the archive held."""

    acknowledged: int
    missing: int
    seconds: float


def lose_host(
    clinic: Clinic, archive: psutil.Process, to: Path, rng: random.Random, *, paused: float = 0.0
) -> Loss:
    """The loss by a kill -9 of everything at a random moment under writers, found by restoring the archive.

    `paused`: for so many seconds before, nothing was archived.
    """
    acknowledged: list[tuple[int, float]] = []
    turn = threading.Lock()
    over = threading.Event()

    def write(first: int) -> None:
        with (
            contextlib.suppress(psycopg.Error),
            psycopg.connect(clinic.postgres.url, autocommit=True) as connection,
        ):
            for number in range(first, first + 10_000_000):
                connection.execute("INSERT INTO kept VALUES (%s)", [number])
                with turn:
                    acknowledged.append((number, time.monotonic()))
                if over.is_set():
                    return

    with psycopg.connect(clinic.postgres.url, autocommit=True) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS kept (number bigint PRIMARY KEY)")
        connection.execute("TRUNCATE kept")
    writers = [threading.Thread(target=write, args=[n * 10_000_000]) for n in range(WRITERS)]
    for writer in writers:
        writer.start()
    time.sleep(rng.uniform(0.5, 3.0))
    keepers = [archive, *archive.children(recursive=True)]
    if paused:
        for one in keepers:
            one.suspend()
        time.sleep(paused)
    assert clinic.postgres.child is not None
    host = psutil.Process(clinic.postgres.child.pid)
    family = [host, *host.children(recursive=True), *keepers]
    rng.shuffle(family)
    for one in family:
        with contextlib.suppress(psutil.NoSuchProcess):
            one.kill()
    over.set()
    for writer in writers:
        writer.join()
    clinic.postgres.child.wait()
    assert eventually(lambda: not alive(family), 10)

    done = clinic.restore(to)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["recovered_to"]
    with running(to) as restored, psycopg.connect(restored.url) as connection:
        held = {number for (number,) in connection.execute("SELECT number FROM kept").fetchall()}
    missing = [at for number, at in acknowledged if number not in held]
    last = max(at for _, at in acknowledged)
    return Loss(len(acknowledged), len(missing), round(last - min(missing), 3) if missing else 0.0)
