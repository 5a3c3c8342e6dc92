"""The slope: when there is one, and that it is the one scipy computes."""

from datetime import UTC, date, datetime, time, timedelta

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from scipy.stats import theilslopes

from backend.care.timeline import Session, order
from scales.change import Observation, Slope, slope, theil_sen

SESSION = date(2026, 6, 1)


def sessions(*days: int) -> list[Session]:
    dates = [SESSION + timedelta(days=number) for number in days]
    return order((str(on), datetime.combine(on, time(12), UTC), on) for on in dates)


def seen(*points: tuple[int, float | None], version: int = 1) -> list[Observation]:
    """Observations by (day, value), in time order."""
    rows = []
    for number, (day, value) in enumerate(points):
        on = SESSION + timedelta(days=day)
        at = datetime.combine(on, time(12), UTC) + timedelta(minutes=number)
        rows.append(Observation(str(number), at, on, version, value, value is not None, False))
    return rows


FIVE = ((14, 3.0), (28, 3.2), (42, 3.1), (56, 3.4), (70, 3.3))


def test_five_points_over_56_days() -> None:
    expected = theilslopes([y for _, y in FIVE], [x for x, _ in FIVE], alpha=0.95)

    got = slope(seen(*FIVE), sessions(0))

    assert (got.points, got.reason, got.method) == (5, None, "theil-sen")
    assert (got.per_30_days, got.low, got.high) == pytest.approx(
        (expected.slope * 30, expected.low_slope * 30, expected.high_slope * 30)
    )


@pytest.mark.parametrize(
    ("points", "days", "expected"),
    [
        (FIVE, (), (0, "no_session")),
        (FIVE[:3], (), (3, "too_few_points")),
        ((), (0,), (0, "too_few_points")),
        (((14, None),), (0,), (0, "too_few_points")),
        (tuple((day, 3.0) for day in (-90, -70, -50, -30, -10)), (0,), (0, "before_session")),
        ((*((day, 3.0) for day in (-90, -70, -50, -10)), (13, 3.0)), (0,), (0, "too_early")),
        (((14, 3.0),), (0,), (1, "too_few_points")),
        (FIVE[:4], (0,), (4, "too_few_points")),
        # day 13 does not count, and what came before the session neither
        (((-20, 2.0), (-10, 2.0), (13, 3.0), *FIVE[1:]), (0,), (4, "too_few_points")),
        # 55 days, then 56
        (((15, 3.0), *FIVE[1:]), (0,), (5, "too_short")),
        # a second session ends the stretch: the newest observation's own one has too few
        ((*FIVE, (98, 3.0)), (0, 84), (1, "too_few_points")),
        ((*FIVE, (97, 3.0)), (0, 84), (0, "too_early")),
        # an answer that gave no score does not make a fifth
        ((*FIVE[:4], (70, None)), (0,), (4, "too_few_points")),
    ],
)
def test_why_there_is_no_slope(
    points: tuple[tuple[int, float | None], ...], days: tuple[int, ...], expected: tuple[int, str]
) -> None:
    assert slope(seen(*points), sessions(*days)) == Slope(None, None, None, *expected)


def test_a_second_session_starts_a_stretch_of_its_own() -> None:
    later = [(x + 84, y + 1.0) for x, y in FIVE]

    both = slope(seen(*FIVE, *later), sessions(0, 84))

    assert both == slope(seen(*later), sessions(0, 84))
    assert both.points == 5


def test_a_step_before_day_14_does_not_become_a_slope() -> None:
    """A step of 1.0 complete by day 14 and then flat: the points before it stay out."""
    flat = slope(seen((-20, 2.0), (-10, 2.0), *((day, 3.0) for day, _ in FIVE)), sessions(0))

    assert (flat.per_30_days, flat.low, flat.high) == (0.0, 0.0, 0.0)


# days and values on coarse grids, so that both tie often
POINTS = st.lists(
    st.tuples(st.integers(14, 60), st.integers(4, 20).map(lambda quarters: quarters / 4)),
    min_size=5,
    max_size=25,
).filter(lambda points: len({x for x, _ in points}) > 1)


@given(POINTS)
@example([(14, 1.0), (28, 1.0), (42, 1.0), (56, 1.0), (70, 1.0)])
@example([(14, 1.0), (14, 1.0), (42, 1.0), (56, 1.0), (70, 1.0)])
def test_theil_sen_is_scipys_also_with_ties(points: list[tuple[int, float]]) -> None:
    with np.errstate(invalid="ignore"):  # scipy takes the root of a negative variance; we say None
        expected = theilslopes([y for _, y in points], [x for x, _ in points], alpha=0.95)

    middle, low, high = theil_sen(points)

    assert middle == pytest.approx(expected.slope)
    if np.isnan(expected.low_slope):
        assert (low, high) == (None, None)
    else:
        assert (low, high) == pytest.approx((expected.low_slope, expected.high_slope))


def test_a_flat_series_with_two_points_on_one_day_has_no_interval() -> None:
    flat = seen((14, 3.0), (14, 3.0), *((day, 3.0) for day, _ in FIVE[1:]))

    assert slope(flat, sessions(0)) == Slope(None, None, None, 6, "no_interval")
