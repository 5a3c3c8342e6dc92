"""`manage.py stack` as an operator starts it, for tests that look at it from outside."""

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil

from backend.stack import process
from backend.stack.dsn import SEES_ALL, with_options
from backend.stack.state import running_environment

ROOT = Path(__file__).resolve().parents[1]
# What their command lines are known by.
CHILDREN = {
    "postgres": "postgres -D",
    "valkey": "valkey-server",
    "web": "granian",
    "worker": " worker ",
    "beat": " beat ",
}
SERVERS = ("DATABASE_URL", "REDIS_URL", "SECRET_KEY", "KEY_STORE")


class Stack:
    """A running `manage.py stack` and what it printed."""

    def __init__(self, place: Path, port: int, **env: str) -> None:
        self.place, self.state, self.port = place, place / "state", port
        self.output = place / "output"
        own = {name: value for name, value in os.environ.items() if name not in SERVERS}
        own |= {"STATE": str(self.state), "PORT": str(port), "DEMO": "0", "WEB_WORKERS": "2"}
        with self.output.open("w") as output:
            self.supervisor = subprocess.Popen(
                [sys.executable, "manage.py", "stack"],
                cwd=ROOT,
                env={
                    **own,
                    "STATE": str(self.state),
                    "PORT": str(port),
                    "DEMO": "0",
                    "WEB_WORKERS": "2",
                    **env,
                },
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def lines(self) -> list[str]:
        return self.output.read_text().splitlines()

    def started(self) -> bool:
        assert self.supervisor.poll() is None, self.lines()
        return self.address in self.lines()

    @property
    def address(self) -> str:
        return f"Selfkind is at http://127.0.0.1:{self.port}"

    def answers(self, path: str = "/readyz") -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=2) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def processes(self) -> list[psutil.Process]:
        """All of it, the supervisor included."""
        with contextlib.suppress(psutil.NoSuchProcess):
            supervisor = psutil.Process(self.supervisor.pid)
            return [supervisor, *supervisor.children(recursive=True)]
        return []

    def child(self, name: str) -> psutil.Process | None:
        """The supervisor's own child of that name, if it lives."""
        with contextlib.suppress(psutil.NoSuchProcess):
            for one in psutil.Process(self.supervisor.pid).children():
                with contextlib.suppress(psutil.NoSuchProcess):
                    if CHILDREN[name] in " ".join(one.cmdline()):
                        return one
        return None


def every_row(state: Path) -> str:
    """The address of a running stack's database for somebody who is to see all of it."""
    return with_options(running_environment(state)["DATABASE_OWNER_URL"], SEES_ALL)


def eventually(done: Callable[[], object], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while not done():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def alive(processes: list[psutil.Process]) -> list[psutil.Process]:
    """Those of them, and not others with their numbers, that still run."""
    return [one for one in processes if one.is_running() and one.status() != psutil.STATUS_ZOMBIE]


@contextlib.contextmanager
def stack(place: Path, **env: str) -> Iterator[Stack]:
    running = Stack(place, process.free_port(), **env)
    try:
        yield running
    finally:
        left = running.processes()
        running.supervisor.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            running.supervisor.wait(timeout=10)
        for one in alive(left):
            one.kill()


@contextlib.contextmanager
def reachable_folder() -> Iterator[Path]:
    """A folder that other accounts can pass through; pytest's own are closed to root's PostgreSQL."""
    folder = Path(tempfile.mkdtemp(prefix="selfkind-stack-"))
    folder.chmod(0o711)
    yield folder
    note = folder / "state" / "database-folder"
    if note.exists():
        shutil.rmtree(note.read_text().strip(), ignore_errors=True)
    shutil.rmtree(folder, ignore_errors=True)
