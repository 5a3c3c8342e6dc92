"""Keeps the archive: `python -m backend.backup.archive`, a child of the stack or a container of its own.

Every change reaches BACKUP_DIR within about a second, and every key BACKUP_KEYS_DIR; once a day it takes a
base backup and tries it out. What it does not get to while it is away, PostgreSQL keeps for it (a replication
slot) up to `max_slot_wal_keep_size`; beyond that the log has a gap, and a new base is taken at once.
Needs no Django.
"""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

import psycopg

from backend.backup import base, keycopy, manifest, wal
from backend.backup.keycopy import Kept
from backend.backup.manifest import Failed
from backend.backup.programs import BEHIND, environment, program
from backend.stack import process
from backend.stack.process import die_with_parent

ROOT = Path(__file__).resolve().parents[2]
SLOT = "selfkind_archive"
TICK, PAUSE = 0.5, 1.0
BASE_EVERY = 24 * 3600.0
RETRY_BASE = 600.0
KEY_DAYS = 7


class Archiver:
    """One archive of one server."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        try:
            self.url = environ["DATABASE_BACKUP_URL"]
            self.to, self.keys_to = Path(environ["BACKUP_DIR"]), Path(environ["BACKUP_KEYS_DIR"])
        except KeyError as missing:
            raise Failed("not_told", f"{missing.args[0]} is not set.") from None
        manifest.apart(self.to, self.keys_to)
        self.kept = Kept.by(environ, Path(environ.get("STATE") or ROOT / ".state"))
        self.archive = wal.Archive(self.to / "wal")
        self.receiver: subprocess.Popen[bytes] | None = None
        self.base: subprocess.Popen[bytes] | None = None
        self.base_tried = float("-inf")
        self.copied: keycopy.Seen | None = None
        self.stopping = False

    def run(self) -> None:
        """Nothing, once it was told to stop."""
        self.to.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.archive.folder.mkdir(mode=0o700, exist_ok=True)
        while not self.stopping:
            for step in (self.receive, self.seal, self.copy_keys, self.take_base):
                try:
                    step()
                except (Failed, OSError, psycopg.Error) as error:
                    say(f"{step.__name__}: {type(error).__name__}: {str(error).splitlines()[0]}")
                    time.sleep(PAUSE)
            time.sleep(TICK)
        children = [(child, signal.SIGINT) for child in (self.receiver, self.base) if child is not None]
        process.stop(children, 1.5)
        self.seal()

    def receive(self) -> None:
        """Nothing; the log is being received."""
        if self.receiver is not None:
            if self.receiver.poll() is None:
                return
            say(f"pg_receivewal ended with status {self.receiver.returncode}; starting it again.")
            self.receiver = None
            time.sleep(PAUSE)
        self.make_room()
        self.receiver = self.spawn(
            [
                program("pg_receivewal"), f"--directory={self.archive.folder}", f"--slot={SLOT}",
                "--synchronous", "--no-loop", "--no-password",
            ],
            environment(self.url),
        )  # fmt: skip

    def make_room(self) -> None:
        """Nothing; there is a slot, and what the archive holds goes on without a gap, or lies aside."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            system = base.system(connection)
            found = connection.execute(
                "SELECT wal_status = 'lost' OR restart_lsn IS NULL FROM pg_replication_slots"
                " WHERE slot_name = %s",
                [SLOT],
            ).fetchone()
            lost = found is None or found[0]
            other = self.archive.system.exists() and self.archive.system.read_text().strip() != system
            if (lost or other) and self.archive.segments():
                aside = f"wal-{manifest.stamp(datetime.now(UTC))}"
                wal.set_aside(self.archive, aside)
                self.base_tried = float("-inf")
                say(f"The log has a gap: what was archived before lies in {aside}.")
            if found is not None and lost:
                connection.execute("SELECT pg_drop_replication_slot(%s)", [SLOT])
            if lost:
                connection.execute("SELECT pg_create_physical_replication_slot(%s, true)", [SLOT])
            if not self.archive.system.exists():
                self.archive.system.write_text(system + "\n")

    def seal(self) -> None:
        """Nothing; every finished segment has its digest beside it."""
        self.archive.seal()

    def copy_keys(self) -> None:
        """Nothing; every change of the key store is in a copy of its own."""
        now = keycopy.seen(self.kept)
        if now != self.copied:
            keycopy.copy(self.kept, self.keys_to, now=datetime.now(UTC), days=KEY_DAYS)
            self.copied = now

    def take_base(self) -> None:
        """Nothing; a base backup is being taken and tried out where it is time for one."""
        if self.base is not None:
            if self.base.poll() is None:
                return
            if self.base.returncode != 0:
                say(f"The daily backup failed with status {self.base.returncode}; see above.")
            self.base = None
        if time.monotonic() - self.base_tried > RETRY_BASE and base.due(
            self.to, datetime.now(UTC), BASE_EVERY
        ):
            self.base_tried = time.monotonic()
            command = [sys.executable, "manage.py", "backup", "--base", "--verify"]
            self.base = self.spawn(command, os.environ)

    def spawn(self, command: Sequence[str | Path], env: Mapping[str, str]) -> "subprocess.Popen[bytes]":
        """A child that ends when we do, and says what it says where we do."""
        parent = os.getpid()

        def between_fork_and_exec() -> None:
            die_with_parent(signal.SIGINT, parent)
            os.nice(BEHIND)

        return subprocess.Popen(
            [os.fspath(part) for part in command],
            stdin=subprocess.DEVNULL,
            env=dict(env),
            cwd=ROOT,
            preexec_fn=between_fork_and_exec,
            umask=0o077,
            start_new_session=True,
        )


def say(line: str) -> None:
    """Nothing: the log of whoever started us has this line."""
    with contextlib.suppress(OSError):
        sys.stdout.write(line + "\n")
        sys.stdout.flush()


def main() -> int:
    """The exit status: 0 when it was asked to stop, 1 when it cannot start."""
    os.umask(0o077)
    try:
        archiver = Archiver(os.environ)
    except Failed as why:
        say(str(why))
        return 1

    def stop(*_: object) -> None:
        archiver.stopping = True

    for signal_number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signal_number, stop)
    archiver.run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
