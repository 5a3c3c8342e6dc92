"""`manage.py restore --from DIR --keys-from DIR STATE`: from two copies to a service that may be opened.

Everything is checked before it is used, and again in what was restored. Until all of it holds, the file
`not-open` lies in STATE and the stack refuses it. The first half runs without Django, whose settings want
the database and the secret that are being brought back.
"""

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import psycopg

from backend.backup import base, dump, keycopy, manifest, wal
from backend.backup.dump import connected
from backend.backup.keycopy import Kept
from backend.backup.manifest import Failed
from backend.backup.programs import environment, program, run
from backend.disk import write_private
from backend.stack import process
from backend.stack.dsn import SEES_ALL, with_options
from backend.stack.postgres import DATABASE, SUPERUSER, Postgres
from backend.stack.process import HOST
from backend.stack.state import NOT_OPEN, CannotStart, prepare

ROOT = Path(__file__).resolve().parents[2]
STOPPING = 300.0
CHECKER = "amcheck"


@dataclass(frozen=True, slots=True)
class Wish:
    """What is to be restored, and where to."""

    source: Path
    keys: Path
    state: Path
    until: datetime | None
    master_key: Path | None


def wish(arguments: Sequence[str]) -> Wish:
    """What the command line asks for; argparse ends the program where it cannot be read."""
    parser = argparse.ArgumentParser(
        prog="manage.py restore",
        description="Restores a backup into an empty STATE, checks it, and only then lets it be opened.",
    )
    parser.add_argument("--from", dest="source", type=Path, required=True, help="the database's backups")
    parser.add_argument("--keys-from", dest="keys", type=Path, required=True, help="the keys' backups")
    parser.add_argument("--until", type=moment, help="go no further than this instant (base backups only)")
    parser.add_argument("--master-key", type=Path, help="a file to copy to STATE/master-key")
    parser.add_argument("state", type=Path, metavar="STATE", help="an empty folder, or none yet")
    found = parser.parse_args(arguments)
    return Wish(found.source, found.keys, found.state, found.until, found.master_key)


def moment(text: str) -> datetime:
    """An instant with its offset."""
    at = datetime.fromisoformat(text)
    if at.tzinfo is None:
        raise argparse.ArgumentTypeError("needs an offset: 2026-11-25T20:00:00+01:00")
    return at


class Restore:
    """One restore into one STATE."""

    def __init__(self, asked: Wish, environ: Mapping[str, str]) -> None:
        self.asked = asked
        self.environ = {name: value for name, value in environ.items() if not name.startswith("DATABASE_")}
        self.report: dict[str, Any] = {}
        self.postgres: Postgres | None = None

    def run(self) -> dict[str, Any]:
        """What was restored and how long each part took. Raises Failed, and STATE stays shut."""
        kinds = (base.KIND,) if self.asked.until else (base.KIND, dump.KIND)
        source = manifest.newest(self.asked.source, *kinds)
        keys = manifest.newest(self.asked.keys, keycopy.KIND)
        with self.timed("checked"):
            facts = manifest.checked(source)
            manifest.checked(keys)
            if facts["kind"] == base.KIND:
                base.verify(source)
        self.report |= {"from": source.name, "keys_from": keys.name, "taken_at": facts["taken_at"]}
        refuse_unless_empty(self.asked.state)
        state = prepare(self.asked.state)
        write_private(state / NOT_OPEN, f"{source.name} and {keys.name}: not checked yet\n")
        with self.timed("keys"):
            self.bring_keys(keys, state)
        try:
            with self.timed("database"):
                if facts["kind"] == dump.KIND:
                    self.bring_dump(source, state)
                else:
                    self.bring_base(source, facts, state)
            with self.timed("proved"):
                self.prove(facts, state)
            (state / NOT_OPEN).unlink()
        finally:
            if self.postgres is not None and self.postgres.child is not None:
                halt(self.postgres)
        return self.report

    def timed(self, name: str) -> "Timed":
        return Timed(self.report, name)

    def bring_keys(self, keys: Path, state: Path) -> None:
        """Nothing; keys, anchors and the secret are where the service looks for them.

        Anchors and a ledger that are there already are later than any copy, and stay.
        """
        kept = Kept.by(self.environ, state)
        if kept.store.exists() and any(kept.store.iterdir()):
            raise Failed("not_empty", f"The key store {kept.store} is not empty.")
        later = {name for name in keycopy.GROWING if kept.place(name).exists()}
        for name in manifest.read(keys)["files"]:
            if name in later:
                continue
            target = kept.place(name)
            target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            write_private(target, (keys / name).read_bytes())
        if self.asked.master_key is not None:
            write_private(state / "master-key", self.asked.master_key.read_bytes())
        self.environ |= {"STATE": os.fspath(state), "KEY_STORE": os.fspath(kept.store)}
        self.environ.setdefault("MASTER_KEY_FILE", os.fspath(state / "master-key"))
        if not Path(self.environ["MASTER_KEY_FILE"]).exists():
            raise Failed(
                "master_key_missing",
                "The master key is not in the backup: say where it is (--master-key, or MASTER_KEY_FILE).",
            )
        if not self.environ.get("SECRET_KEY") and not (state / keycopy.SECRET).exists():
            raise Failed("secret_key_missing", "SECRET_KEY is not in the backup, and not set.")

    def bring_dump(self, source: Path, state: Path) -> None:
        """Nothing; the dump is in a new cluster, and a server runs on it."""
        self.postgres = Postgres(state)
        self.postgres.start()
        url = self.superuser_url(DATABASE)
        run(
            [
                program("pg_restore"), "--exit-on-error", "--no-password", f"--jobs={os.cpu_count() or 1}",
                f"--dbname={DATABASE}", source / dump.FILE,
            ],
            environment(with_options(url, SEES_ALL)),
            code="restore_failed",
        )  # fmt: skip

    def bring_base(self, source: Path, facts: Mapping[str, Any], state: Path) -> None:
        """Nothing; the cluster went through its log, to the end or to the instant; a server runs on it."""
        archive = wal.archive_of(source.parent, first=facts["first_segment"], system=facts["system"])
        files = archive.from_segment(facts["first_segment"])
        postgres = self.postgres = Postgres(state)
        log = postgres.place / "wal-to-recover"
        shutil.copytree(source / base.FILES, postgres.data)
        copies = wal.copy_for_recovery(files, log)
        (postgres.data / "recovery.signal").touch(mode=0o600)
        hand_over(postgres, postgres.data, log)
        settings = dict(postgres.settings)
        postgres.settings |= {
            "restore_command": f'cp "{log}/%f" "%p"',
            "recovery_target_action": "promote",
            "recovery_target_timeline": "latest",
            "hot_standby": "off",
        }
        if self.asked.until:
            postgres.settings["recovery_target_time"] = self.asked.until.isoformat()
        begin(postgres)
        halt(postgres)
        postgres.settings = settings
        end = recovered_to(postgres)
        self.report["recovered_to"] = f"{end >> 32:X}/{end & 0xFFFFFFFF:X}"
        if not self.asked.until:
            wal.refuse_lost_tail(copies, end, archive.folder)
        shutil.rmtree(log)
        checked = process.run_as(
            postgres.account, [postgres.bin / "pg_checksums", "--check", "-D", postgres.data]
        )
        if checked.returncode != 0:
            raise Failed("checksums_differ", f"pg_checksums: {checked.stderr.strip().splitlines()[-1]}")
        take_over(postgres)
        postgres.start()

    def superuser_url(self, database: str) -> str:
        assert self.postgres is not None  # noqa: S101 - started just before
        return f"postgresql://{SUPERUSER}:{self.postgres.superuser_password}@{HOST}:{self.postgres.port}/{database}"

    def prove(self, facts: Mapping[str, Any], state: Path) -> None:
        """Nothing. Raises Failed where what was restored is not what was backed up, or does not hold."""
        assert self.postgres is not None  # noqa: S101
        with connected(self.superuser_url(DATABASE)) as connection:
            if "rows" in facts:
                refuse_other_rows(facts["rows"], dump.rows(connection))
            self.report["rows"] = sum(dump.rows(connection).values())
            connection.execute(f"CREATE EXTENSION {CHECKER}".encode())
            try:
                run(
                    [
                        program("pg_amcheck"), "--no-password", f"--database={DATABASE}",
                        f"--jobs={os.cpu_count() or 1}",
                    ],
                    environment(self.superuser_url(DATABASE)),
                    code="indexes_broken",
                )  # fmt: skip
            finally:
                connection.execute(f"DROP EXTENSION {CHECKER}".encode())
        self.environ |= {
            "DATABASE_URL": self.postgres.app_url,
            "DATABASE_OWNER_URL": self.postgres.url,
            "DJANGO_SETTINGS_MODULE": "backend.settings",
        }
        # A program of its own: what starts a server must have no threads, and settings are read once.
        self.django("-c", "import django; django.setup(); from backend.backup import checks; checks.main()")
        self.report["steps"] = json.loads((state / "proof.json").read_text())
        (state / "proof.json").unlink()

    def django(self, *arguments: str) -> None:
        """Nothing; that program, in the restored service, ended well. Raises Failed with its last line."""
        done = subprocess.run(
            [sys.executable, *arguments],
            cwd=ROOT,
            env=self.environ,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            code, _, words = (done.stderr.strip().splitlines() or ["proof: no word"])[-1].partition(": ")
            raise Failed(code, words)


class Timed:
    """How many seconds a part took, in the report."""

    def __init__(self, report: dict[str, Any], name: str) -> None:
        self.report, self.name = report, name

    def __enter__(self) -> None:
        self.began = time.monotonic()

    def __exit__(self, *_: object) -> None:
        seconds = self.report.setdefault("seconds", {})
        seconds[self.name] = round(time.monotonic() - self.began, 1)


def refuse_unless_empty(state: Path) -> None:
    """Nothing. Raises Failed where something is in STATE: a restore never takes the place of anything."""
    if state.exists() and any(state.iterdir()):
        raise Failed("not_empty", f"STATE={state} is not empty; a restore goes to an empty folder only.")


def refuse_other_rows(said: Mapping[str, int], found: Mapping[str, int]) -> None:
    """Nothing. Raises Failed naming a table that holds another number of rows than the backup says."""
    for table in sorted({*said, *found}):
        if said.get(table) != found.get(table):
            raise Failed("rows_differ", f"{table} holds {found.get(table)} rows, not {said.get(table)}.")


def hand_over(postgres: Postgres, *folders: Path) -> None:
    """Nothing; the folders are closed to others, and belong to whoever runs PostgreSQL."""
    for folder in folders:
        for path in [folder, *folder.rglob("*")]:
            path.chmod(0o700 if path.is_dir() else 0o600)
            if postgres.account.user is not None and postgres.account.group is not None:
                os.chown(path, postgres.account.user, postgres.account.group)


def begin(postgres: Postgres) -> None:
    """Nothing; recovery is over and the server answers. Raises Failed where it does not get there."""
    child = postgres.spawn()
    while not postgres.ready():
        if process.exited(child):
            raise Failed("recovery_failed", f"PostgreSQL: {process.last_line(postgres.log)}")
        time.sleep(0.05)


def halt(postgres: Postgres) -> None:
    """Nothing; the server has ended, with all it had to write written."""
    if postgres.child is not None:
        process.stop([(postgres.child, signal.SIGINT)], STOPPING)


def recovered_to(postgres: Postgres) -> int:
    """Where in the log recovery ended: a new timeline begins there, and its history says so."""
    histories = sorted((postgres.data / "pg_wal").glob("*.history"))
    if not histories:
        raise Failed("recovery_failed", "PostgreSQL began no new timeline.")
    lines = [line for line in histories[-1].read_text().splitlines() if line[:1].isdigit()]
    return wal.position(lines[-1].split("\t")[1])


def take_over(postgres: Postgres) -> None:
    """Nothing; the superuser of the restored cluster has the password of this STATE.

    Its own is in no backup. While nobody else can connect, PostgreSQL takes statements from its own terminal.
    """
    statement = f"ALTER ROLE {SUPERUSER} PASSWORD '{postgres.superuser_password}'\n"
    done = subprocess.run(
        [postgres.bin / "postgres", "--single", "-D", postgres.data, "postgres"],
        input=statement,
        capture_output=True,
        text=True,
        check=False,
        env=process.ENVIRONMENT,
        cwd=postgres.place,
        umask=0o077,
        user=postgres.account.user,
        group=postgres.account.group,
        extra_groups=postgres.account.groups,
    )
    if done.returncode != 0:
        raise Failed("recovery_failed", "The superuser's password could not be set.")


def main(arguments: Sequence[str], environ: Mapping[str, str] = os.environ) -> int:
    """The exit status: 0 once STATE may be opened; else 1, after one line that says why not."""
    # Whatever is private is made so by itself; the way through to it must be open to PostgreSQL's account.
    os.umask(0o022)
    asked = wish(arguments)
    restore = Restore(asked, environ)
    try:
        report = restore.run()
    except Failed as why:
        print(f"{why.code}: {why}", file=sys.stderr)  # noqa: T201
        return 1
    except (CannotStart, OSError, psycopg.Error) as why:
        print(f"{type(why).__name__}: {str(why).splitlines()[0]}", file=sys.stderr)  # noqa: T201
        return 1
    print(json.dumps(report, indent=1))  # noqa: T201
    return 0
