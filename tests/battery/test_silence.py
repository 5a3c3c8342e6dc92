"""`make battery`: the whole product, used on a machine with nothing but itself, and with one call too many.

Where the kernel allows no namespaces of one's own this fails: nothing was proved then.
"""

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.running import reachable_folder
from tests.silence import SINK, may_be_alone, watched


def walked(place: Path, *env: str) -> dict[str, Any]:
    """What was seen while the product was used with these in its environment."""
    assert may_be_alone() == "", "no namespaces here, so silence cannot be proved"
    said = place / "said"
    found = watched(
        place / "seen", [sys.executable, "-m", "tests.silence", "walk", str(place), str(said), *env]
    )
    found |= json.loads(said.read_text())
    own = {f"tcp 127.0.0.1 {port}" for port in found["ports"]}
    # The drill restores to a PostgreSQL of its own, whose port is another each time.
    here = {served for served in found["served"] if served.startswith("tcp 127.0.0.1 ")}
    found["elsewhere"] = sorted(set(found["begun"]) - own - here)
    found["connections"] = {name: found["begun"].get(name, 0) for name in sorted(own)}
    return found


def test_nobody_is_asked_and_nobody_is_told(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = walked(place)

    with capsys.disabled():
        print(f"\nsilence: {len(found['queries'])} look-ups, {len(found['elsewhere'])} connections elsewhere;"
              f" {found['connections']} to our own servers; answers {found['answers']}")  # fmt: skip
    assert all(found["connections"].values()), "one of our own servers was never asked: nothing was watched"
    assert {"200", "201", "401", "404", "422"} <= set(found["answers"])
    assert (found["queries"], found["elsewhere"], found["foreign"]) == ([], [], [])


def test_one_call_too_many_is_seen(capsys: pytest.CaptureFixture[str]) -> None:
    with reachable_folder() as place:
        found = walked(place, "EMAIL_HOST=mail.tracker.example")

    with capsys.disabled():
        print(f"\nsabotage, a mail server elsewhere: {found['queries']}, {found['elsewhere']}")
    assert set(found["queries"]) == {"mail.tracker.example"}
    assert f"tcp {SINK} 587" in found["elsewhere"]
