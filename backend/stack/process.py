"""Child processes: started apart from us, stopped for certain, found again after a crash."""

import contextlib
import ctypes
import os
import pwd
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

HOST = "127.0.0.1"
PR_SET_PDEATHSIG = 1
ENVIRONMENT = {"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8", "TZ": "UTC"}
LOG_BYTES = 5 * 1024 * 1024

# Looked up once: nothing may be imported between fork and exec.
_libc = ctypes.CDLL(None) if sys.platform == "linux" else None


@dataclass(frozen=True, slots=True)
class Account:
    """Who a child runs as; the default is whoever we are."""

    user: int | None = None
    group: int | None = None

    @property
    def groups(self) -> list[int] | None:
        """No further groups for somebody else; our own for ourselves."""
        return None if self.user is None else []


def unprivileged_account() -> Account:
    """`nobody` when we are root, else ourselves: a normal user's children are the user's own."""
    if os.geteuid() != 0:
        return Account()
    nobody = pwd.getpwnam("nobody")
    return Account(user=nobody.pw_uid, group=nobody.pw_gid)


def run_as(
    account: Account, command: Sequence[str | Path], *, cwd: Path = Path("/")
) -> subprocess.CompletedProcess[str]:
    """The finished program and what it said, run as that account with next to no environment."""
    return subprocess.run(
        [os.fspath(part) for part in command],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        cwd=cwd,
        env=ENVIRONMENT,
        umask=0o077,
        start_new_session=True,
        user=account.user,
        group=account.group,
        extra_groups=account.groups,
    )


NO_OTHER = Account()


def die_with_parent(with_signal: int, parent: int) -> None:
    """Nothing: from now on the kernel sends this process the signal when its parent dies.

    Cleared by a change of user, so it is asked for after that, and by nothing else that we do. A parent
    that died just before is noticed too.
    """
    if _libc is not None:
        _libc.prctl(PR_SET_PDEATHSIG, with_signal)
        if os.getppid() != parent:
            os.kill(os.getpid(), with_signal)


def spawn(
    command: Sequence[str | Path],
    *,
    log: Path,
    env: Mapping[str, str],
    cwd: Path,
    account: Account = NO_OTHER,
    dies_by: int = signal.SIGTERM,
    nice: int = 0,
) -> subprocess.Popen[bytes]:
    """A child in a session of its own (a Ctrl-C in our terminal is ours alone), writing to a log.

    The caller must have no other threads: a function runs between fork and exec, and the kernel tells
    the child of the death of the thread that made it.
    """
    parent = os.getpid()

    def between_fork_and_exec() -> None:
        die_with_parent(dies_by, parent)
        os.nice(nice)

    with os.fdopen(os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600), "ab") as out:
        return subprocess.Popen(
            [os.fspath(part) for part in command],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            env=dict(env),
            cwd=cwd,
            start_new_session=True,
            preexec_fn=between_fork_and_exec,
            umask=0o077,
            user=account.user,
            group=account.group,
            extra_groups=account.groups,
        )


def signal_session(pid: int, number: int) -> None:
    """Nothing: the child's whole process group got the signal, if any of it is left."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, number)


def exited(child: subprocess.Popen[bytes]) -> bool:
    """Whether the child has ended. What it left behind in its group is killed before its number is free."""
    if child.returncode is not None:
        return True
    if hasattr(os, "waitid"):
        ended = os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
    else:
        ended = child.poll() is not None
    if not ended:
        return False
    signal_session(child.pid, signal.SIGKILL)
    child.wait()
    return True


def stop_politely(children: Iterable[tuple[subprocess.Popen[bytes], int]], patience: float) -> None:
    """Nothing: each child got its own signal, and had so many seconds to end."""
    children = list(children)
    for child, number in children:
        if not exited(child):
            child.send_signal(number)
    deadline = time.monotonic() + patience
    while any(not exited(child) for child, _ in children) and time.monotonic() < deadline:
        time.sleep(0.02)


def stop(children: Iterable[tuple[subprocess.Popen[bytes], int]], patience: float) -> None:
    """Nothing: all of them have ended, by their own signal or, at the end of patience, by SIGKILL."""
    children = list(children)
    stop_politely(children, patience)
    for child, _ in children:
        if not exited(child):
            signal_session(child.pid, signal.SIGKILL)
            child.wait()


def started(pid: int) -> str | None:
    """The moment the process began, in the kernel's ticks since boot; None when there is no such process.

    Number and beginning together name one process for as long as the machine is up.
    """
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else fields[19]


def wait_gone(pid: int, since: str | None, patience: float) -> bool:
    """Whether that process ended within so many seconds. It need not be a child of ours."""
    deadline = time.monotonic() + patience
    while since is not None and started(pid) == since:
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def end_stranger(pid: int, signals: Sequence[tuple[int, float]]) -> bool:
    """Whether a process that is not our child ended: each signal in turn, with its patience in seconds."""
    since = started(pid)
    for number, patience in signals:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
        if wait_gone(pid, since, patience):
            return True
    return False


def free_port() -> int:
    """A port on loopback that nobody listens on.

    Below the range that outgoing connections use: there, a client that keeps trying a dead server's
    port can be given that very port for its own end, and then it holds it.
    """
    for _ in range(200):
        port = random.SystemRandom().randint(20_000, 32_000)
        if not taken(port):
            return port
    raise OSError("no free port between 20000 and 32000")


def taken(port: int) -> bool:
    """Whether somebody listens on that loopback port already."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return True
    return False


def bound_log(log: Path, limit: int = LOG_BYTES) -> None:
    """Nothing: a log over the limit is now `<name>.1`, and its writers go on in an empty file.

    They append to the file they hold open, so it is emptied rather than moved. A line written between
    the copy and the emptying is lost.
    """
    if log.exists() and log.stat().st_size > limit:
        kept = log.with_name(log.name + ".1")
        kept.write_bytes(log.read_bytes())
        kept.chmod(0o600)
        os.truncate(log, 0)


def last_line(log: Path) -> str:
    """The last line of a log that begins with a word: in a traceback, the error itself. Empty without one.

    What the web server says about its processes ("[INFO] Stopped worker-1") comes after the error and
    explains nothing.
    """
    lines = log.read_text(errors="replace").splitlines() if log.exists() else []
    return next((line for line in reversed(lines) if line.strip() and line[0].isalnum()), "")


def belonging_to(mark: str) -> list[int]:
    """The processes, ours aside, that were started with this text in their environment.

    That is how a child's own children are known after both lost their parent.
    """
    needle = mark.encode()
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        pid = int(folder.name)
        try:
            marked = needle in (folder / "environ").read_bytes().split(b"\0")
        except OSError:
            continue
        if marked and pid != os.getpid() and started(pid) is not None:
            found.append(pid)
    return found
