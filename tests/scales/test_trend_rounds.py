"""Many trends behind at once: in short rounds, the longest waiting first, with rests between."""

from datetime import UTC, datetime
from time import monotonic, sleep

import pytest
from django.db.models import F

from backend.care.models import Clinic
from scales import tasks
from scales.models import Trend
from scales.trends import compute_behind
from tests.conftest import ClientFor, enrol, submission
from tests.scales.phone import post

NOW = datetime(2026, 2, 1, tzinfo=UTC)
PAGE = 25


@pytest.fixture
def thirty(linden: Clinic, client_for: ClientFor) -> list[int]:
    """Thirty people with one answer each, and no trend yet: their trends' keys, first to last."""
    for number in range(30):
        assert post(client_for(enrol(f"person{number}", linden)), submission()).status_code == 201
    return list(Trend.objects.order_by("id").values_list("id", flat=True))


def behind() -> set[int]:
    return set(Trend.objects.filter(requested__gt=F("computed")).values_list("id", flat=True))


def one_page() -> int:
    """How many are computed when time is up after the first page."""
    answers = iter([False, True])
    return compute_behind(now=NOW, enough=lambda: next(answers))


def test_a_round_ends_when_it_is_enough_and_the_next_begins_with_the_longest_waiting(
    thirty: list[int],
) -> None:
    assert one_page() == PAGE
    never_computed = behind()
    assert len(never_computed) == 5
    Trend.objects.exclude(id__in=never_computed).update(requested=F("requested") + 1)

    assert one_page() == PAGE

    assert not behind() & never_computed
    assert len(behind()) == 5


def test_the_worker_rests_four_times_as_long_as_it_worked(thirty: list[int]) -> None:
    sleep(max(0.0, tasks._rest_until - monotonic()))
    began = monotonic()
    tasks.compute_trends()
    worked = monotonic() - began
    Trend.objects.filter(id=thirty[0]).update(requested=F("requested") + 1)

    tasks.compute_trends()

    assert behind(), f"no rest after {worked:.3f} s"
    assert tasks._rest_until - began == pytest.approx(5 * worked, rel=0.5)
    sleep(max(0.0, tasks._rest_until - monotonic()))
    tasks.compute_trends()
    assert not behind() & {thirty[0]}
