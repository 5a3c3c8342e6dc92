"""The kill storm of `make battery`, in short."""

from pathlib import Path

from tests.running import eventually, stack
from tests.storm import storm


def test_a_short_storm_loses_and_doubles_nothing(place: Path) -> None:
    with stack(place, DEMO="1") as running:
        assert eventually(running.started, 60), running.lines()
        report = storm(running, kills=5, submissions=200, seed=5, ledger=place / "ledger")

    assert report.acknowledged == 200
    assert set(report.kills) == {"web", "web worker", "worker", "postgres", "valkey"}
    assert report.clean, report
