"""The sealer: every entry in one seal, whoever writes at the same time and however late they commit."""

import random
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest
from django.db import IntegrityError, connection, transaction

from backend import scope
from backend.audit import sealing, services
from backend.audit.sealing import seal_all, seal_batch
from backend.proof.verify import examine
from tests.conftest import Copy, as_owner
from tests.proof.tampering import run
from tests.proof.trail import write

PENDING = "FROM audit_pending p\n"
WATERMARK = (
    "FROM (SELECT id AS entry FROM audit_entry WHERE id >"
    " (SELECT coalesce(max(k), 0) FROM audit_seal s, unnest(s.entries) k)) p\n"
)
MICROSECONDS = "(extract(epoch FROM e.at) * 1000000)::bigint"


def faults() -> set[str]:
    """The kinds of what is found wrong with the chains, without anchors."""
    with transaction.atomic():
        return {finding.kind for finding in examine([], trusted=()).findings}


def seals() -> list[tuple[Any, ...]]:
    return run("SELECT chain, number, cardinality(entries), total FROM audit_seal ORDER BY id")


@contextmanager
def instead(what: str, other: str) -> Iterator[None]:
    """With another piece of SQL in the sealer's statements: this test has teeth."""
    used = []

    def swapped(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        used.append(what in sql)
        return execute(sql.replace(what, other), params, many, context)

    with connection.execute_wrapper(swapped):
        yield
    assert any(used)


def test_entries_are_sealed_clinic_by_clinic(db: None) -> None:
    run("DELETE FROM audit_pending")
    for clinic, count in ((1, 2), (None, 1), (2, 1), (1, 1)):
        for _ in range(count):
            services.record(actor=1, action="trends.read", clinic=clinic)

    assert seal_all() == 5
    assert seals() == [(0, 1, 1, 1), (1, 1, 3, 3), (2, 1, 1, 1)]
    assert run("SELECT count(*) FROM audit_pending") == [(0,)]
    services.record(actor=1, action="trends.read", clinic=1)
    assert (seal_all(), seal_all()) == (1, 0)
    assert seals()[3:] == [(1, 2, 1, 4)]


def test_a_backlog_is_sealed_in_pieces(db: None) -> None:
    run("DELETE FROM audit_pending")
    run(
        "INSERT INTO audit_entry (action, subject, clinic)"
        " SELECT 'trends.read', '', mod(n, 2) + 1 FROM generate_series(1, 12001) n"
    )

    assert [seal_batch(), seal_batch(), seal_batch()] == [sealing.BATCH, 2001, 0]
    assert sorted(count for _, _, count, _ in seals()) == [1, *[1000] * 12]
    assert run("SELECT chain, max(number), max(total) FROM audit_seal GROUP BY 1 ORDER BY 1") == [
        (1, 6, 6000),
        (2, 7, 6001),
    ]


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE audit_seal SET total = 1",
        "DELETE FROM audit_seal",
        "TRUNCATE audit_seal",
        "UPDATE audit_pending SET entry = 1",
        "TRUNCATE audit_pending",
    ],
)
def test_seals_never_change_and_what_waits_only_shrinks(db: None, statement: str) -> None:
    write(random.Random(1), 3)
    seal_all()
    write(random.Random(1), 3)
    with as_owner(), pytest.raises(IntegrityError, match="append-only"), transaction.atomic():
        run(statement)


def test_no_two_seals_have_one_number(db: None) -> None:
    write(random.Random(1), 3)
    seal_all()
    with pytest.raises(IntegrityError), transaction.atomic():
        run(
            "INSERT INTO audit_seal (chain, number, layout, entries, total, sealed_at, previous, hash)"
            " SELECT chain, number, layout, entries, total, sealed_at, previous, hash FROM audit_seal LIMIT 1"
        )


def test_a_second_sealer_leaves_it_to_the_first(database_copy: Copy) -> None:
    write(random.Random(1), 3)
    with elsewhere() as other:
        other.execute("SELECT pg_advisory_lock(%s)", [sealing.LOCK])
        assert seal_all() == 0
        other.execute("SELECT pg_advisory_unlock(%s)", [sealing.LOCK])
    assert seal_all() >= 3


def test_an_entry_that_commits_late_is_sealed_late(database_copy: Copy) -> None:
    with elsewhere() as early:
        late = "INSERT INTO audit_entry (action, subject) VALUES ('trends.read', '') RETURNING id"
        early.autocommit = False
        (key,) = early.execute(late).fetchone() or (0,)
        write(random.Random(1), 3)
        seal_all()
        early.commit()
    assert run("SELECT count(*) FROM audit_seal WHERE %s = ANY (entries)", [key]) == [(0,)]
    seal_all()
    assert run("SELECT count(*) FROM audit_seal WHERE %s = ANY (entries)", [key]) == [(1,)]
    assert faults() == set()


def test_eight_writers_and_two_sealers_leave_each_entry_in_one_seal(database_copy: Copy) -> None:
    storm(writers=8, rows=60, sealers=2)
    assert faults() == set()


@pytest.mark.parametrize(
    "other",
    [
        "(extract(epoch FROM e.at)::float8 * 1e9)::bigint",  # nanoseconds, as a double has them
        "(extract(epoch FROM e.at) * 1000)::bigint",
        "e.at::text",  # another time in another zone
    ],
)
def test_an_instant_that_is_hashed_otherwise_never_verifies(db: None, other: str) -> None:
    with instead(MICROSECONDS, other):
        write(random.Random(1), 3)
        seal_all()
    assert faults() == {"altered"}


def test_a_watermark_would_lose_who_commits_late(database_copy: Copy) -> None:
    with instead(PENDING, WATERMARK), elsewhere() as early:
        early.autocommit = False
        early.execute("INSERT INTO audit_entry (action, subject) VALUES ('trends.read', '')")
        write(random.Random(1), 3)
        seal_all()
        early.commit()
        assert seal_all() == 0
    assert run("SELECT count(*) FROM audit_pending") == [(1,)]


def test_sealers_without_a_lock_would_fork(database_copy: Copy) -> None:
    """The unique constraint alone stops them: without both, a chain has two ends."""
    with as_owner():
        run("ALTER TABLE audit_seal DROP CONSTRAINT audit_seal_never_forks")
    for _ in range(20):
        storm(writers=4, rows=30, sealers=4, locked=False)
        if "number" in faults():
            break
    assert {"number", "entry_sealed_twice"} <= faults()


@contextmanager
def elsewhere() -> Iterator[psycopg.Connection[Any]]:
    """Another connection to the database at hand, in sight of everything."""
    parameters = connection.get_connection_params()
    own = {name: parameters[name] for name in ("dbname", "user", "password", "host", "port", "options")}
    with psycopg.connect(**own, autocommit=True) as other:
        yield other


def storm(*, writers: int, rows: int, sealers: int, locked: bool = True) -> None:
    """So many writers of rows of three chains while so many sealers seal, to the last."""
    stop = threading.Event()
    failed: list[BaseException] = []

    def write_rows(seed: int) -> None:
        chance = random.Random(seed)
        for _ in range(rows):
            with transaction.atomic():
                for _ in range(chance.randint(1, 3)):
                    services.record(actor=seed, action="trends.read", clinic=chance.choice([None, 1, 2]))
                if chance.random() < 0.1:
                    transaction.set_rollback(True)

    def keep_sealing(_: int) -> None:
        while not stop.is_set():
            if locked:
                seal_batch()
            else:
                with instead("pg_try_advisory_xact_lock(%s)", "%s::bigint IS NOT NULL"):
                    seal_batch()

    def thread(work: Callable[[int], None], seed: int) -> threading.Thread:
        def whole() -> None:
            try:
                work(seed)
            except BaseException as error:
                failed.append(error)
            finally:
                connection.close()

        started = threading.Thread(target=whole)
        started.start()
        return started

    sealing_now = [thread(keep_sealing, number) for number in range(sealers)]
    writing = [thread(write_rows, number) for number in range(writers)]
    for each in writing:
        each.join()
    stop.set()
    for each in sealing_now:
        each.join()
    assert failed == []
    with scope.everything():
        seal_all()
