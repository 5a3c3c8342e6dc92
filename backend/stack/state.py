"""The STATE folder: who holds it, and the secrets kept in it."""

import contextlib
import fcntl
import os
import secrets
import time
from collections.abc import Iterator
from pathlib import Path

from backend.disk import write_private

# How long a second start waits for a first one that is already stopping.
STOPPING_PATIENCE = 8.0
# In a STATE that was restored, until all that was to be checked in it held.
NOT_OPEN = "not-open"


class CannotStart(Exception):
    """The stack cannot run; the message is one line for the person who started it."""


def prepare(state: Path) -> Path:
    """The absolute path of STATE, made if it was not there.

    Only its owner may list it. Run by root, others may pass through it (never list it), as PostgreSQL
    refuses to run as root and its folder lies inside; every file and folder beside it is closed.
    """
    state = state.expanduser().absolute()
    try:
        state.mkdir(mode=0o711 if os.geteuid() == 0 else 0o700, parents=True, exist_ok=True)
        for name in ("logs", "mail", "run"):
            folder(state / name)
    except OSError as error:
        raise CannotStart(f"STATE={state} cannot be used: {error.strerror}.") from None
    return state


def folder(path: Path) -> Path:
    """The folder itself, made with mode 700 if it was not there."""
    path.mkdir(mode=0o700, exist_ok=True)
    return path


def secret(path: Path) -> str:
    """The secret kept in that file; 256 random bits the first time."""
    if not path.exists():
        write_private(path, secrets.token_urlsafe(32) + "\n")
    return path.read_text().strip()


class Hold:
    """The right to run on one STATE: one process at a time has it, and loses it when it dies."""

    def __init__(self, state: Path) -> None:
        self.file = (state / "lock").open("a+")
        (state / "lock").chmod(0o600)

    def take(self) -> bool:
        """Whether this process holds STATE now."""
        try:
            fcntl.flock(self.file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
        self.say(f"{os.getpid()} running")
        return True

    def say(self, word: str) -> None:
        """Nothing: whoever is refused STATE from now on reads this word."""
        self.file.truncate(0)
        self.file.write(word)
        self.file.flush()

    def holder(self) -> tuple[str, str]:
        """The process id of the holder and what it is doing (`running`, `stopping`)."""
        self.file.seek(0)
        pid, _, doing = self.file.read().partition(" ")
        return pid, doing


@contextlib.contextmanager
def held(state: Path) -> Iterator[Hold]:
    """The hold on STATE, or `CannotStart` if another stack runs on it."""
    hold = Hold(state)
    deadline = time.monotonic() + STOPPING_PATIENCE
    with hold.file:
        while not hold.take():
            pid, doing = hold.holder()
            if doing != "stopping" or time.monotonic() > deadline:
                raise CannotStart(f"Selfkind already runs on STATE={state} (process {pid or 'unknown'}).")
            time.sleep(0.1)
        yield hold


def running_environment(state: Path) -> dict[str, str]:
    """What the stack that runs on STATE wrote down: database addresses, REDIS_URL, PORT. Or nothing."""
    try:
        lines = (state / "environment").read_text().splitlines()
    except OSError:
        return {}
    return {name: value for name, _, value in (line.partition("=") for line in lines)}
