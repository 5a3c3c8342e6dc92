"""PostgreSQL's own programs, told whom to connect to by their environment. Needs no Django."""

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from psycopg import pq

from backend.backup.manifest import Failed
from backend.stack.postgres import wheel_folder
from backend.stack.state import CannotStart

BEHIND = 5  # whoever waits for an answer goes before a copy being made


def program(name: str) -> Path:
    """PostgreSQL's program of that name: the wheel's, or one on PATH. Raises Failed."""
    try:
        return wheel_folder() / "bin" / name
    except CannotStart:
        found = shutil.which(name)
    if found is None:
        raise Failed("programs_missing", f"PostgreSQL's {name} is not here: install PostgreSQL 18's client.")
    return Path(found)


def environment(url: str) -> dict[str, str]:
    """The address as variables that PostgreSQL's programs read: a command line is there for all to see."""
    known = {
        option.envvar.decode(): option.val.decode()
        for option in pq.Conninfo.parse(url.encode())
        if option.val is not None and option.envvar is not None
    }
    return {"PATH": os.environ.get("PATH", "/usr/bin:/bin"), "LC_ALL": "C.UTF-8", "TZ": "UTC", **known}


def run(command: Sequence[str | Path], env: Mapping[str, str], *, code: str) -> str:
    """What the program said once it ended well. Raises Failed with its last line."""
    done = subprocess.run(
        [os.fspath(part) for part in command],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
        env=dict(env),
        umask=0o077,
    )
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines() or done.stdout.strip().splitlines()
        raise Failed(code, f"{Path(command[0]).name}: {lines[-1] if lines else done.returncode}")
    return done.stdout
