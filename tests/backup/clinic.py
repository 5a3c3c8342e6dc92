"""A small clinic with a database of its own, that can be backed up, lost and brought back."""

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import psycopg

from backend.keys.envelope import Holder
from backend.keys.files import FileStore
from backend.keys.keyring import Keyring
from backend.keys.master import MasterFile
from backend.keys.setup import set_up
from backend.stack.dsn import SEES_ALL, with_options
from backend.stack.postgres import Postgres
from backend.stack.state import prepare, secret
from tests.running import ROOT


class Clinic:
    """A STATE with its servers' addresses, and where its backups go."""

    def __init__(self, place: Path, postgres: Postgres) -> None:
        self.place, self.state, self.postgres = place, postgres.state, postgres
        self.backups, self.keys = place / "backups", place / "keys"
        secret(self.state / "secret-key")
        set_up(
            store=self.state / "keys",
            master=self.state / "master-key",
            recovery=self.state / "recovery-key",
        )

    @property
    def environ(self) -> dict[str, str]:
        aside = ("DATABASE_", "SECRET_KEY", "KEY_STORE", "MASTER_KEY", "REDIS_URL", "STATE")
        return {
            **{name: value for name, value in os.environ.items() if not name.startswith(aside)},
            "STATE": str(self.state),
            "DATABASE_URL": self.postgres.app_url,
            "DATABASE_OWNER_URL": self.postgres.url,
            "DATABASE_BACKUP_URL": self.postgres.backup_url,
            "BACKUP_DIR": str(self.backups),
            "BACKUP_KEYS_DIR": str(self.keys),
        }

    def manage(self, *arguments: str | Path, **environ: str) -> "subprocess.CompletedProcess[str]":
        """What `manage.py` said to that."""
        return subprocess.run(
            [sys.executable, "manage.py", *map(str, arguments)],
            cwd=ROOT, env={**self.environ, **environ}, capture_output=True, text=True, check=False,
        )  # fmt: skip

    def new_key(self) -> None:
        """Nothing; one more person has a key."""
        Keyring(FileStore(self.state / "keys"), MasterFile(self.state / "master-key")).current(
            Holder(uuid4())
        )

    def restore(self, to: Path, *more: str, ledger: Path | None = None) -> "subprocess.CompletedProcess[str]":
        """What `manage.py restore` said, of the newest backup, on a machine that has the master key, and that
        ledger of erasures if any."""
        return self.manage(
            "restore", "--from", self.backups, "--keys-from", self.keys,
            "--master-key", self.state / "master-key", *more, to,
            **({"ERASURE_LEDGER": str(ledger)} if ledger else {}),
        )  # fmt: skip

    def contents(self) -> dict[str, list[str]]:
        """Every row of every table, as text."""
        return contents(self.postgres)


@contextlib.contextmanager
def running(state: Path) -> Iterator[Postgres]:
    """A PostgreSQL on that STATE."""
    postgres = Postgres(state)
    postgres.start()
    try:
        yield postgres
    finally:
        postgres.stop(60)


@contextlib.contextmanager
def clinic(place: Path, *, migrated: bool) -> Iterator[Clinic]:
    """A clinic in that place, with its tables or with none yet."""
    with running(prepare(place / "state")) as postgres:
        made = Clinic(place, postgres)
        if migrated:
            done = made.manage("migrate", "--no-input", "--skip-checks", "--verbosity=0")
            assert done.returncode == 0, done.stderr
        yield made


def contents(postgres: Postgres) -> dict[str, list[str]]:
    with psycopg.connect(with_options(postgres.url, SEES_ALL)) as connection:
        tables = connection.execute(
            "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'"
        ).fetchall()
        return {
            name: sorted(
                row[0] for row in connection.execute(f'SELECT t::text FROM "{name}" t'.encode()).fetchall()
            )
            for (name,) in tables
        }


def stored(folder: Path) -> dict[str, bytes]:
    """Every file below a folder, locks aside, with what is in it."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and not path.name.startswith(".")
    }


@contextlib.contextmanager
def flipped(path: Path, at: int | None = None) -> Iterator[None]:
    """One bit of that file is another meanwhile: the one in the middle, or at that place."""
    before = path.read_bytes()
    place = len(before) // 2 if at is None else at
    changed = bytearray(before)
    changed[place] ^= 0x04
    path.write_bytes(changed)
    try:
        yield
    finally:
        path.write_bytes(before)
