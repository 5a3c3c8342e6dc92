"""`make battery`: 20 kills -9 during 2,000 submissions, and the same with a promise broken."""

import os
from pathlib import Path

import psycopg
import pytest

from backend.stack.state import running_environment
from tests.running import Stack, eventually, stack
from tests.storm import storm

SEED = int(os.environ.get("SEED") or 20261123)


@pytest.fixture
def demo(place: Path) -> object:
    with stack(place, DEMO="1") as running:
        assert eventually(running.started, 60), running.lines()
        yield running


def test_no_acknowledged_answer_is_lost_or_doubled(
    demo: Stack, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = storm(demo, kills=20, submissions=2000, seed=SEED, ledger=place / "ledger")

    with capsys.disabled():
        print(f"\nkill storm: {report}")
    assert sum(report.kills.values()) == 20
    assert report.acknowledged == 2000
    assert report.clean, report


def test_the_storm_notices_a_database_that_acknowledges_before_it_writes(
    demo: Stack, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with psycopg.connect(running_environment(demo.state)["DATABASE_URL"], autocommit=True) as database:
        # The product's own role: a setting of this kind is everybody's to lower for themselves.
        database.execute("ALTER ROLE CURRENT_USER SET synchronous_commit = off")

    # Only the database can lose what it acknowledged: every kill is for it, and traffic is dense. Fewer
    # kills, because the supervisor waits twice as long before each restart of one that keeps dying.
    report = storm(
        demo,
        kills=6,
        submissions=3000,
        seed=SEED,
        ledger=place / "ledger",
        victims=("postgres",),
        pace=0.02,
    )

    with capsys.disabled():
        print(f"\nsabotage, synchronous_commit=off: {report}")
    assert report.lost > 0, "the storm has no teeth"
