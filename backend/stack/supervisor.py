"""Everything Selfkind needs, kept running on one machine: databases, web, worker, beat.

One process without threads. It starts PostgreSQL and Valkey (or uses yours), brings the tables up to
date, starts the rest, says where the product is, and then restarts whatever dies until it is told to stop.
"""

import contextlib
import http.client
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from backend.backup.manifest import Failed, apart
from backend.keys.setup import set_up
from backend.keys.store import StoreFailed
from backend.stack import process
from backend.stack.dsn import AS_APP, with_options
from backend.stack.postgres import Postgres
from backend.stack.process import HOST
from backend.stack.state import NOT_OPEN, CannotStart, Hold, held, prepare, secret, write_private
from backend.stack.valkey import Valkey

ROOT = Path(__file__).resolve().parents[2]
TICK = 0.05
FIRST_PAUSE, LONGEST_PAUSE, STEADY = 0.5, 30.0, 60.0
START_PATIENCE, TRIAL_PATIENCE, START_PAUSE = 60.0, 5.0, 2.0

# Somebody waits for web, nobody for worker and beat: on a busy machine, and at every start, web goes first.
BEHIND = 5

# Five seconds in all, from the signal to the last process gone.
PRODUCT_PATIENCE, SERVER_PATIENCE, LAST_PATIENCE = 2.5, 1.5, 0.4


@dataclass(frozen=True, slots=True)
class Options:
    """What the operator chose, from the environment."""

    port: int
    state: Path
    demo: bool
    database_url: str
    owner_url: str
    redis_url: str
    backup_url: str
    backup_dir: str
    backup_keys_dir: str
    workers: int
    threads: int


class Stopped(Exception):
    """Somebody asked us to stop."""


def options_from(environ: Mapping[str, str]) -> Options:
    """The options, or `CannotStart` naming the variable that cannot be read."""
    return Options(
        port=whole_number(environ, "PORT", 8000, 65_535),
        state=Path(environ.get("STATE") or ROOT / ".state"),
        demo=whole_number(environ, "DEMO", 1, 1, least=0) == 1,
        database_url=environ.get("DATABASE_URL", ""),
        owner_url=environ.get("DATABASE_OWNER_URL", ""),
        redis_url=environ.get("REDIS_URL", ""),
        backup_url=environ.get("DATABASE_BACKUP_URL", ""),
        backup_dir=environ.get("BACKUP_DIR", ""),
        backup_keys_dir=environ.get("BACKUP_KEYS_DIR", ""),
        workers=whole_number(environ, "WEB_WORKERS", os.cpu_count() or 1, 64),
        threads=whole_number(environ, "WEB_THREADS", 4, 64),
    )


def whole_number(environ: Mapping[str, str], name: str, default: int, most: int, least: int = 1) -> int:
    """The variable as a number, or its default where it is empty."""
    text = environ.get(name, "").strip()
    if not text:
        return default
    if not text.isdecimal() or not least <= int(text) <= most:
        raise CannotStart(f"{name}={text} is not a number from {least} to {most}.")
    return int(text)


def longer(pause: float, lived: float) -> float:
    """The seconds to wait before the next restart of a child that lived so long."""
    return FIRST_PAUSE if lived >= STEADY else min(pause * 2, LONGEST_PAUSE)


def reason(returncode: int) -> str:
    """How a process ended, in words."""
    if returncode >= 0:
        return f"ended with status {returncode}"
    with contextlib.suppress(ValueError):
        return f"was killed by {signal.Signals(-returncode).name}"
    return f"was killed by signal {-returncode}"


def failure(name: str, log: Path) -> str:
    """What the operator is told about a part that does not start."""
    return f"{name} fails: {process.last_line(log)} (all of it: {log})"


@dataclass(slots=True)
class Service:
    """A child that is to run for as long as we do."""

    name: str
    spawn: Callable[[], subprocess.Popen[bytes]]
    stops_by: int = signal.SIGTERM
    child: subprocess.Popen[bytes] | None = None
    born: float = 0.0
    pause: float = field(default=FIRST_PAUSE / 2)
    due: float | None = 0.0

    def look_after(self, now: float) -> str:
        """A line for the operator if the child just died; it is started again when its pause is over."""
        if self.due is not None:
            if now < self.due:
                return ""
            self.child, self.born, self.due = self.spawn(), now, None
        if self.child is None or not process.exited(self.child):
            return ""
        self.pause = longer(self.pause, now - self.born)
        self.due = now + self.pause
        ended = reason(self.child.returncode)
        return f"{self.name} (process {self.child.pid}) {ended}; starting it again in {self.pause:g} s."


class Supervisor:
    """One run of the stack on one STATE."""

    def __init__(self, options: Options, state: Path, hold: Hold) -> None:
        self.options = options
        self.state = state
        self.hold = hold
        self.services: list[Service] = []
        self.one_off: subprocess.Popen[bytes] | None = None
        self.stopping = False
        where = state.stat()
        # The folder itself rather than its path, which may be written in several ways.
        self.mark = f"SELFKIND_STACK={where.st_dev}:{where.st_ino}"
        self.env = {**os.environ, "DJANGO_SETTINGS_MODULE": "backend.settings", "PYTHONUNBUFFERED": "1"}
        self.env["SELFKIND_STACK"] = self.mark.partition("=")[2]
        self.env["STATE"] = os.fspath(state)
        self.env["PORT"] = str(options.port)
        self.env["DEMO"] = str(int(options.demo))

    def run(self) -> None:
        """Nothing, ever, but by `Stopped` or `CannotStart`."""
        if (self.state / NOT_OPEN).exists():
            raise CannotStart(
                f"STATE={self.state} was being restored, and what must hold in it was not found to: see "
                f"{self.state / NOT_OPEN}."
            )
        self.stop_orphans()
        if process.taken(self.options.port):
            raise CannotStart(f"Port {self.options.port} is taken; choose another one with PORT=.")
        self.refuse_backup_without_place()
        if not self.env.get("SECRET_KEY"):
            self.env["SECRET_KEY"] = secret(self.state / "secret-key")
        with self.stage("PostgreSQL"):
            self.start_postgres()
        with self.stage("Valkey"):
            self.start_valkey()
        with self.stage("Keys"):
            self.set_up_keys()
        self.tell_other_commands()
        with self.stage("Migrations"):
            self.finish("migrate", "manage.py", "migrate", "--no-input", "--skip-checks")
            if Path(self.env.get("ERASURE_LEDGER") or self.state / "erasures" / "ledger.jsonl").exists():
                # In a database from an older copy, whoever was erased since is erased before it is served.
                self.finish("rights", "manage.py", "rights", "replay", "--skip-checks")
        if self.options.demo:
            with self.stage("Demo cast"):
                self.finish("demo", "manage.py", "demo", "--skip-checks")
        with self.stage("Web, worker, beat"):
            self.start_product()
        say(f"Selfkind is at http://{HOST}:{self.options.port}")
        tidied = time.monotonic()
        while True:
            self.tick()
            if time.monotonic() - tidied > STEADY:
                tidied = time.monotonic()
                for log in (self.state / "logs").glob("*.log"):
                    process.bound_log(log)

    @contextlib.contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Nothing: a line with the seconds it took once the block is over."""
        before = time.monotonic()
        yield
        say(f"{name:<18} {time.monotonic() - before:5.1f} s")

    def tick(self) -> None:
        """Nothing, a moment later: whatever died was reported, and started again if it was its time."""
        time.sleep(TICK)
        if self.stopping:
            raise Stopped
        now = time.monotonic()
        for service in self.services:
            line = service.look_after(now)
            if line:
                say(line)

    def stop_orphans(self) -> None:
        """Nothing: what a killed supervisor left behind has ended. The two servers see to their own."""
        left = {pid: process.started(pid) for pid in process.belonging_to(self.mark)}
        for number, patience in ((signal.SIGTERM, 3.0), (signal.SIGKILL, 2.0)):
            for pid in left:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, number)
            left = {pid: since for pid, since in left.items() if not process.wait_gone(pid, since, patience)}
        if left:
            raise CannotStart(f"Processes of an earlier run do not end: {', '.join(map(str, left))}.")

    def refuse_backup_without_place(self) -> None:
        """Nothing: an archive that was asked for has two places to go to, and a role to read with."""
        options = self.options
        if not options.backup_dir:
            return
        if not options.backup_keys_dir:
            raise CannotStart("BACKUP_DIR needs BACKUP_KEYS_DIR beside it: another place, for the keys.")
        if options.database_url and not options.backup_url:
            raise CannotStart("BACKUP_DIR needs DATABASE_BACKUP_URL beside DATABASE_URL.")
        try:
            apart(Path(options.backup_dir), Path(options.backup_keys_dir))
        except Failed as why:
            raise CannotStart(str(why)) from None

    def set_up_keys(self) -> None:
        """Nothing: there is a key store, a master key, and a recovery key to be taken away."""
        env, recovery = self.env, self.state / "recovery-key"
        try:
            made = set_up(
                store=Path(env.get("KEY_STORE") or self.state / "keys"),
                master=Path(env.get("MASTER_KEY_FILE") or self.state / "master-key"),
                recovery=recovery,
            )
        except StoreFailed as why:
            raise CannotStart(f"The key store cannot be used: {why}.") from None
        if made:
            say(f"A recovery key is in {recovery}: keep it somewhere else, and delete it there.")

    def start_postgres(self) -> None:
        """Nothing: DATABASE_URL and DATABASE_OWNER_URL are known to all later children.

        With one address for both, the product gives up what it owns as it connects.
        """
        url, owner_url, backup_url = (
            self.options.database_url,
            self.options.owner_url,
            self.options.backup_url,
        )
        if url and not owner_url:
            url, owner_url = with_options(url, AS_APP), url
        if not url:
            connections = self.options.workers * self.options.threads + 60
            postgres = Postgres(self.state, connections=connections)
            postgres.prepare()
            self.start(Service(postgres.name, postgres.spawn, postgres.stops_by), postgres.ready)
            postgres.provide()
            url, owner_url, backup_url = postgres.app_url, postgres.url, postgres.backup_url
        self.env["DATABASE_URL"], self.env["DATABASE_OWNER_URL"] = url, owner_url
        self.env["DATABASE_BACKUP_URL"] = backup_url

    def start_valkey(self) -> None:
        """Nothing: REDIS_URL is known to all later children."""
        url = self.options.redis_url
        if not url:
            valkey = Valkey(self.state)
            valkey.prepare()
            self.start(Service(valkey.name, valkey.spawn, valkey.stops_by), valkey.ready)
            url = valkey.url
        self.env["REDIS_URL"] = url

    def start(self, service: Service, ready: Callable[[], bool], *trial: str) -> None:
        """Nothing: the service runs, is ready and is looked after; `CannotStart` if it does not get there.

        The trial is a Python program that fails where the service cannot start. It is run once, when the
        service keeps us waiting: granian starts a failing process again and again without ending itself.
        """
        self.services.append(service)
        log = self.state / "logs" / f"{service.name}.log"
        before = time.monotonic()
        self.tick()
        while not ready():
            waited = time.monotonic() - before
            if service.pause > START_PAUSE or waited > START_PATIENCE:
                raise CannotStart(failure(service.name, log))
            if trial and waited > TRIAL_PATIENCE:
                self.finish(service.name, *trial)
                trial = ()
            self.tick()

    def tell_other_commands(self) -> None:
        """Nothing: `manage.py` run beside us finds the servers of this run, and where it is served."""
        names = ("DATABASE_URL", "DATABASE_OWNER_URL", "DATABASE_BACKUP_URL", "REDIS_URL", "PORT")
        write_private(self.state / "environment", "".join(f"{name}={self.env[name]}\n" for name in names))

    def python(self, name: str, *arguments: str, nice: int = 0) -> subprocess.Popen[bytes]:
        """A child that runs Python in the product's folder, with a log of its own."""
        return process.spawn(
            [sys.executable, *arguments],
            log=self.state / "logs" / f"{name}.log",
            env=self.env,
            cwd=ROOT,
            nice=nice,
        )

    def finish(self, name: str, *arguments: str) -> None:
        """Nothing: that Python program ended well, or `CannotStart`.

        Commands are run without the system checks, which look at the code rather than the data: they are
        `make lint`'s part, and cost every start two seconds.
        """
        self.one_off = self.python(name, *arguments)
        while not process.exited(self.one_off):
            self.tick()
        if self.one_off.returncode != 0:
            raise CannotStart(failure(name, self.state / "logs" / f"{name}.log"))
        self.one_off = None

    def start_product(self) -> None:
        """Nothing: web, worker and beat run, and web answers."""
        options = self.options
        celery = ("-m", "celery", "-A", "backend.celery")
        worker = self.service(
            "worker", *celery, "worker", "-P", "threads", "-c", "2",
            "--without-gossip", "--without-mingle", "--without-heartbeat", nice=BEHIND,
        )  # fmt: skip
        beat = self.service(
            "beat", *celery, "beat", "-S", "celery.beat:Scheduler", "--pidfile=", nice=BEHIND
        )  # fmt: skip
        web = self.service(
            "web", "-m", "granian", "--interface", "wsgi", "--host", HOST, "--port", str(options.port),
            "--workers", str(options.workers), "--blocking-threads", str(options.threads),
            "--respawn-failed-workers", "--respawn-interval", "0.2", "--workers-kill-timeout", "2",
            "--no-access-log", "--no-ws", "backend.wsgi:application",
        )  # fmt: skip
        self.services += [worker, beat]
        if options.backup_dir:
            self.services.append(self.service("archive", "-m", "backend.backup.archive", nice=BEHIND))
        self.start(web, lambda: answers(options.port), "-c", "import backend.wsgi")

    def service(self, name: str, *arguments: str, nice: int = 0) -> Service:
        """A service that is a Python program of the product."""
        return Service(name, lambda: self.python(name, *arguments, nice=nice))

    def stop(self) -> None:
        """Nothing: no process of this run is left. The product first, so that it can finish what it does."""
        self.hold.say(f"{os.getpid()} stopping")
        (self.state / "environment").unlink(missing_ok=True)
        children = [
            (service.child, service.stops_by) for service in self.services if service.child is not None
        ]
        if self.one_off is not None:
            children.append((self.one_off, signal.SIGTERM))
        servers = {service.child for service in self.services if service.name in (Postgres.name, Valkey.name)}
        process.stop([pair for pair in children if pair[0] not in servers], PRODUCT_PATIENCE)
        process.stop_politely([pair for pair in children if pair[0] in servers], SERVER_PATIENCE)
        process.stop([(child, signal.SIGQUIT) for child, _ in children if child in servers], LAST_PATIENCE)


def answers(port: int) -> bool:
    """Whether the product on that port says that it lives."""
    connection = http.client.HTTPConnection(HOST, port, timeout=2)
    try:
        connection.request("GET", "/healthz")
        return connection.getresponse().status == http.HTTPStatus.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def say(line: str) -> None:
    """Nothing: the operator saw the line, if anybody still listens."""
    with contextlib.suppress(OSError):
        sys.stdout.write(line + "\n")
        sys.stdout.flush()


def main(environ: Mapping[str, str] = os.environ) -> int:
    """The exit status of a whole run: 0 when it was asked to stop, 1 when it cannot start."""
    try:
        options = options_from(environ)
        state = prepare(options.state)
        with held(state) as hold:
            return supervise(Supervisor(options, state, hold))
    except CannotStart as why:
        say(str(why))
    except OSError as error:
        say(f"Selfkind cannot start: {error}")
    return 1


def supervise(supervisor: Supervisor) -> int:
    """The exit status of a run that holds STATE; everything it started has ended."""

    def stop(*_: object) -> None:
        supervisor.stopping = True

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, stop)
    if "MAKELEVEL" in os.environ:
        # `make` passes a signal on but cannot when it is killed: without it, we would hold STATE unseen.
        process.die_with_parent(signal.SIGTERM, os.getppid())
    try:
        supervisor.run()
    except Stopped:
        return 0
    finally:
        supervisor.stop()
    return 1
