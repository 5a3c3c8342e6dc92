import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

from backend.stack import process
from backend.stack.process import HOST, bound_log, free_port, last_line, spawn, started, taken, wait_gone


def test_free_ports_lie_below_those_of_outgoing_connections() -> None:
    lowest = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])

    assert all(20_000 <= free_port() < lowest for _ in range(50))


def test_a_port_somebody_listens_on_is_taken() -> None:
    with socket.create_server((HOST, 0)) as server:
        port = server.getsockname()[1]
        assert taken(port)
    assert not taken(port)


def test_a_log_over_its_limit_is_kept_once_and_its_writer_goes_on(tmp_path: Path) -> None:
    log = tmp_path / "web.log"
    with log.open("a") as writer:
        writer.write("old" * 10)
        writer.flush()
        bound_log(log, limit=20)
        writer.write("new")

    assert (tmp_path / "web.log.1").read_text() == "old" * 10
    assert log.read_text() == "new"
    bound_log(log, limit=20)
    assert log.read_text() == "new"


def test_the_last_line_is_the_error_and_not_what_is_said_around_it(tmp_path: Path) -> None:
    log = tmp_path / "web.log"
    assert last_line(log) == ""
    traceback = "Traceback:\n  File\nOperationalError: no server\n\tIs it running?\n"
    log.write_text(f"{traceback}\n[ERROR] Unexpected exit from worker-1\n")

    assert last_line(log) == "OperationalError: no server"


def test_a_child_and_its_own_children_end_together(tmp_path: Path) -> None:
    program = (
        "import subprocess, time; print(subprocess.Popen(['sleep', '60']).pid, flush=True); time.sleep(60)"
    )
    log = tmp_path / "log"
    child = spawn([sys.executable, "-c", program], log=log, env=os.environ, cwd=tmp_path)
    while not log.read_text().strip():
        time.sleep(0.02)
    grandchild = int(log.read_text())
    born = started(grandchild)

    child.kill()
    while not process.exited(child):
        time.sleep(0.02)

    assert wait_gone(grandchild, born, 2.0)
    assert child.returncode == -signal.SIGKILL


def test_a_child_that_will_not_go_is_killed_when_patience_ends(tmp_path: Path) -> None:
    program = (
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "print('deaf', flush=True); time.sleep(60)"
    )
    log = tmp_path / "log"
    child = spawn([sys.executable, "-c", program], log=log, env=os.environ, cwd=tmp_path)
    while "deaf" not in log.read_text():
        time.sleep(0.02)

    before = time.monotonic()
    process.stop([(child, signal.SIGTERM)], 0.3)

    assert child.returncode == -signal.SIGKILL
    assert 0.3 <= time.monotonic() - before < 2.0


def test_children_are_known_by_the_mark_in_their_environment(tmp_path: Path) -> None:
    env = {**os.environ, "SELFKIND_STACK": "test:1"}
    marked = subprocess.Popen(["sleep", "60"], env=env)
    other = subprocess.Popen(["sleep", "60"], env={**env, "SELFKIND_STACK": "test:12"})
    try:
        while not process.belonging_to("SELFKIND_STACK=test:12"):
            time.sleep(0.02)
        assert process.belonging_to("SELFKIND_STACK=test:1") == [marked.pid]
    finally:
        for child in (marked, other):
            child.kill()
            child.wait()
