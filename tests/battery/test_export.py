"""Ten years of a person's data, as a copy of their own: at most a minute (T23)."""

import json
import resource
import time
from datetime import UTC, datetime, timedelta

import pytest
from django.utils import timezone

from backend.care.models import Participant
from backend.rights.export.models import Export, ExportPart
from backend.rights.export.services import make_waiting
from scales.trends import compute_behind
from tests.conftest import submission
from tests.rights.filled import API, ask, fetch, signed_in
from tests.scales.test_corrections import correction

DAYS = 3_650
FIRST = datetime(2016, 1, 1, 9, tzinfo=UTC)
MOST_SECONDS = 60


def test_ten_years_are_ready_within_a_minute(ana: Participant, capsys: pytest.CaptureFixture[str]) -> None:
    client = signed_in(ana)
    for day in range(DAYS):
        body = submission(completed_at=(FIRST + timedelta(days=day)).isoformat(), answer=1 + day % 5)
        assert client.post(f"{API}/administrations", body, "application/json").status_code == 201
        if day % 100 == 0:
            address = f"{API}/administrations/{body['id']}/corrections"
            assert client.post(address, correction(), "application/json").status_code == 201
    compute_behind(now=timezone.now())
    asked = ask(ana)
    began, cpu = time.monotonic(), time.process_time()

    assert make_waiting(now=timezone.now) == 1

    made, cpu = time.monotonic() - began, time.process_time() - cpu
    began = time.monotonic()
    fetched = len(fetch(ana, asked).getvalue())
    measured = {
        "test": "T23 ten years",
        "administrations": DAYS,
        "seconds": round(made, 1),
        "cpu_seconds": round(cpu, 1),
        "fetched_in": round(time.monotonic() - began, 2),
        "megabytes": round(fetched / 1e6, 2),
        "pieces": ExportPart.objects.count(),
        "most_memory_megabytes": round(_most_memory()),
    }
    with capsys.disabled():
        print("\n" + json.dumps(measured))
    assert fetched == Export.objects.get().size
    assert cpu <= MOST_SECONDS


def _most_memory() -> float:
    """The most this process has held so far, in megabytes: server, client and test together."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
