"""What is measured, started for the occasion: the product as `make run` starts it, and the bare limit."""

import contextlib
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import psutil
import psycopg

from backend.stack.dsn import SEES_ALL, with_options
from backend.stack.postgres import wheel_folder
from backend.stack.process import free_port
from benchmarks import bare

ROOT = Path(__file__).parent.parent
# Ours to set: with the caller's, the stack would measure somebody else's servers.
OURS = (
    "DATABASE_URL", "REDIS_URL", "SECRET_KEY", "KEY_STORE", "MASTER_KEY_FILE", "STATE", "PORT", "DEMO",
    "PUBLIC_URL", "TRUSTED_PROXY",
)  # fmt: skip
PATIENCE = 120.0


@dataclass
class Stack:
    """The running product."""

    port: int
    pid: int
    state: Path
    environment: dict[str, str]

    @property
    def database_url(self) -> str:
        """As its owner, to whom every row is shown."""
        return with_options(self.environment["DATABASE_OWNER_URL"], SEES_ALL)

    def query(self, statement: str) -> Any:
        """The first value of the first row."""
        with psycopg.connect(self.database_url, autocommit=True) as connection:
            row = connection.execute(statement).fetchone()
            return row[0] if row else None

    def execute(self, statement: str) -> None:
        """Nothing, after that statement."""
        with psycopg.connect(self.database_url, autocommit=True) as connection:
            connection.execute(statement)

    def wall(self, *, stands: bool) -> None:
        """Nothing; row-level security holds on every table that has it, or on none."""
        word = "ENABLE" if stands else "DISABLE"
        with psycopg.connect(self.database_url, autocommit=True) as connection:
            for (table,) in connection.execute("SELECT DISTINCT tablename FROM pg_policies").fetchall():
                connection.execute(f'ALTER TABLE "{table}" {word} ROW LEVEL SECURITY'.encode())

    def people(self, count: int) -> dict[str, Any]:
        """So many new participants, signed in; and the statement that records an administration."""
        made = subprocess.run(
            [sys.executable, "-m", "benchmarks.people", str(count)],
            env=self.environment, cwd=ROOT, capture_output=True, text=True, check=True,
        )  # fmt: skip
        read: dict[str, Any] = json.loads(made.stdout)
        return read

    def sealing(self, times: int) -> dict[str, float]:
        """What it costs to seal and to open an entry, each done so often."""
        made = subprocess.run(
            [sys.executable, "-m", "benchmarks.sealing", str(times)],
            env=self.environment, cwd=ROOT, capture_output=True, text=True, check=True,
        )  # fmt: skip
        read: dict[str, float] = json.loads(made.stdout)
        return read

    def settle(self, patience: float = 60.0) -> float:
        """The seconds until every trend was up to date."""
        started = time.monotonic()
        while self.query("SELECT count(*) FROM scales_trend WHERE requested > computed"):
            if time.monotonic() - started > patience:
                raise TimeoutError("trends are not up to date")
            time.sleep(0.1)
        return time.monotonic() - started


@contextlib.contextmanager
def product() -> Iterator[Stack]:
    """The product on a new database in a temporary STATE, with shipped settings."""
    state = Path(tempfile.mkdtemp(prefix="selfkind-bench-"))
    state.chmod(0o711 if os.geteuid() == 0 else 0o700)
    port = free_port()
    environment = {key: value for key, value in os.environ.items() if key not in OURS}
    environment |= {"STATE": os.fspath(state), "PORT": str(port), "DEMO": "0"}
    process = subprocess.Popen(
        [sys.executable, "manage.py", "stack"],
        cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        said = ""
        while "Selfkind is at" not in said:
            line = process.stdout.readline()
            if not line:
                raise RuntimeError(f"the stack did not start:\n{said}")
            said += line
        lines = (state / "environment").read_text().splitlines()
        environment |= dict(line.split("=", 1) for line in lines)
        environment["DJANGO_SETTINGS_MODULE"] = "backend.settings"
        yield Stack(port, process.pid, state, environment)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(PATIENCE)
        shutil.rmtree(state, ignore_errors=True)


@contextlib.contextmanager
def limit(stack: Stack, people: list[dict[str, Any]]) -> Iterator[int]:
    """The port of the bare application, on a database of its own in the product's PostgreSQL."""
    with psycopg.connect(stack.database_url, autocommit=True) as connection:
        connection.execute("CREATE DATABASE bench_bare")
    url = urlsplit(stack.database_url)._replace(path="/bench_bare").geturl()
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(bare.TABLES)
        for person in people:
            hashed = hashlib.sha256(f"Bearer {person['token']}".encode()).digest()
            connection.execute("INSERT INTO person (token_hash) VALUES (%s)", [hashed])
    port = free_port()
    process = subprocess.Popen(
        [
            sys.executable, "-m", "granian", "--interface", "asgi", "--host", "127.0.0.1",
            "--port", str(port),
            "--workers", str(os.cpu_count() or 1), "--no-access-log", "--no-ws", "--log-level", "warning",
            "benchmarks.bare:app",
        ],
        cwd=ROOT, env={**os.environ, "BARE_DATABASE_URL": url}, start_new_session=True,
    )  # fmt: skip
    try:
        deadline = time.monotonic() + PATIENCE
        while not _listens(process.pid, port):
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError("the bare application did not start")
            time.sleep(0.1)
        time.sleep(0.5)  # its workers make their connections
        yield port
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(PATIENCE)


def bare_query(stack: Stack, statement: str, *values: object) -> Any:
    """The first value of the first row in the bare application's database, where there is one."""
    url = urlsplit(stack.database_url)._replace(path="/bench_bare").geturl()
    with psycopg.connect(url, autocommit=True) as connection:
        cursor = connection.execute(statement, values)
        row = cursor.fetchone() if cursor.description else None
        return row[0] if row else None


def _listens(pid: int, port: int) -> bool:
    with contextlib.suppress(psutil.Error):
        parent = psutil.Process(pid)
        return any(
            connection.laddr and connection.laddr.port == port and connection.status == psutil.CONN_LISTEN
            for process in (parent, *parent.children(recursive=True))
            for connection in process.net_connections("tcp")
        )
    return False


def pgbench(stack: Stack, script: Path, clients: int, seconds: float) -> tuple[int, float, list[float], int]:
    """Transactions, seconds, their latencies in seconds, and failures of this script on our database."""
    url = urlsplit(stack.database_url)
    with tempfile.TemporaryDirectory(prefix="selfkind-pgbench-") as folder:
        started = time.monotonic()
        done = subprocess.run(
            [
                os.fspath(wheel_folder() / "bin" / "pgbench"), "--no-vacuum", "--protocol=prepared",
                f"--file={script}", f"--client={clients}", "--jobs=1", f"--time={max(1, round(seconds))}",
                "--log", "-h", str(url.hostname), "-p", str(url.port), "-U", str(url.username),
                url.path.strip("/"),
            ],
            cwd=folder, env={**os.environ, "PGPASSWORD": unquote(url.password or ""), "PGOPTIONS": SEES_ALL},
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        took = time.monotonic() - started
        if done.returncode != 0:
            raise RuntimeError(f"pgbench: {done.stderr}")
        lines = [
            line for file in Path(folder).glob("pgbench_log.*") for line in file.read_text().splitlines()
        ]
    latencies = [int(line.split()[2]) / 1e6 for line in lines]
    tps = next(float(line.split()[2]) for line in done.stdout.splitlines() if line.startswith("tps"))
    failed = next(
        (int(line.split(":")[1].split()[0]) for line in done.stdout.splitlines() if "failed" in line), 0
    )
    return len(latencies), len(latencies) / tps if tps else took, latencies, failed


def kind(process: psutil.Process) -> str:
    """What a process of ours is, in a word."""
    name = str(process.name())
    if name in ("postgres", "valkey-server"):
        return name.removesuffix("-server")
    words = process.cmdline()
    for word in ("beat", "worker"):
        if word in words:
            return word
    return "bare" if "benchmarks.bare:app" in words else "web" if "granian" in words else "supervisor"


def everything(stack: Stack) -> list[psutil.Process]:
    """Every process of the product and of the bare application."""
    mine = psutil.Process().children(recursive=True)
    return [*mine, *(p for p in psutil.Process(stack.pid).children(recursive=True) if p not in mine)]


Spent = dict[tuple[int, float], tuple[str, float]]


def cpu(stack: Stack) -> Spent:
    """Kind and seconds of CPU so far, for each process by its number and birth."""
    spent: Spent = {}
    for process in everything(stack):
        with contextlib.suppress(psutil.Error):
            times = process.cpu_times()
            spent[process.pid, process.create_time()] = (kind(process), times.user + times.system)
    return spent


def between(before: Spent, after: Spent) -> dict[str, float]:
    """Seconds of CPU spent between two looks, by kind, by processes that lived to the second."""
    costs: dict[str, float] = {}
    for key, (name, seconds) in after.items():
        costs[name] = costs.get(name, 0.0) + seconds - before.get(key, (name, 0.0))[1]
    return costs


def memory(stack: Stack) -> dict[str, dict[str, float]]:
    """MiB by kind of process: resident, and resident with shared pages divided among their users."""
    found: dict[str, dict[str, float]] = {}
    for process in everything(stack):
        with contextlib.suppress(psutil.Error):
            full = process.memory_full_info()
            name = kind(process)
            entry = found.setdefault(name, {"processes": 0, "rss": 0.0, "pss": 0.0})
            entry["processes"] += 1
            entry["rss"] += full.rss / 2**20
            entry["pss"] += full.pss / 2**20
    return found
