"""`make battery`: T18, 300 people's words, hunted for in everything that is left behind."""

import os
import secrets
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from tests.canaries import Hunt, collect, hunt, look
from tests.running import Stack, eventually, every_row, stack

PREFIX = f"zq{secrets.token_hex(4)}"


@pytest.fixture
def running(place: Path) -> Iterator[Stack]:
    with stack(place) as one:
        assert eventually(one.started, 60), one.lines()
        yield one


def test_nothing_anybody_wrote_is_found_anywhere(
    running: Stack, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    people = int(os.environ.get("PEOPLE") or 300)

    report = hunt(running, place, people=people, signing_in=10, prefix=PREFIX)

    with capsys.disabled():
        print(f"\ncanary hunt: {report}")
    assert report.found == {}, report

    with psycopg.connect(every_row(running.state), autocommit=True) as database:
        database.execute("CREATE TABLE careless (words text)")
        database.execute("INSERT INTO careless VALUES (%s)", [f"{PREFIX}careless"])
    again = Hunt(people)
    careless = place / "careless"
    careless.mkdir()
    collect(running, careless)
    look(running, careless, again, PREFIX)
    with capsys.disabled():
        print(f"sabotage, one row in clear: {again.found}")
    found = " ".join(again.found)
    assert "/data/base/" in found and "/pg_wal/" in found and "/backups/" in found, again.found
