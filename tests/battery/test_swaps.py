"""T19: 1,000 swaps of ciphertext by SQL, between rows, columns, participants, clinics; old ones put back."""

import json
import os
import time
from dataclasses import asdict
from pathlib import Path

import pytest

from tests.keys.conftest import own_keys
from tests.keys.swaps import KINDS, Report, Thief
from tests.keys.test_swaps import thief

SEED = int(os.environ.get("SEED") or time.time())
SWAPS = 1000
__all__ = ["own_keys", "thief"]


def test_a_thousand_swaps_are_all_refused_and_noted(
    thief: Thief,
    own_keys: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    began = time.monotonic()

    report = thief.swap(SWAPS, SEED)

    measured = {"test": "T19 moved ciphertext", "seed": SEED, **asdict(report)}
    with capsys.disabled():
        print("\n" + json.dumps({**measured, "seconds": round(time.monotonic() - began, 1)}))
    each = SWAPS // len(KINDS)
    assert report == Report(swaps=dict.fromkeys(KINDS, each), refused=SWAPS, audited=SWAPS, told=0)
