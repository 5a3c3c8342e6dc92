"""T20: keys of 2,000 people turn over under 20 requests a second, by a rotator that is killed 10 times."""

import os
import time
from pathlib import Path

import pytest

from tests.keys.turning import turn_under_load
from tests.running import eventually, stack

SEED = int(os.environ.get("SEED") or time.time())
PEOPLE = 2000


def test_keys_turn_over_under_load_and_under_kills(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with capsys.disabled(), stack(place) as running:
        assert eventually(running.started, 60), running.lines()

        report = turn_under_load(
            running, people=PEOPLE, senders=40, kills=10, per_second=20, seconds=60, seed=SEED, say=print
        )

        print(f"\nT20 rotation, seed {SEED}: {report}")
    assert report.kills == 10
    assert not report.failed
    assert sum(report.requests.values()) >= 20 * 55
    assert report.found["values"] >= PEOPLE + report.requests["correction"]
    bad = ("unreadable", "wrong", "behind", "turning", "old_master")
    assert {name: report.found[name] for name in bad} == dict.fromkeys(bad, 0)
