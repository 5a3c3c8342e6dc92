"""Baseline, reliable change, and the series they are read from."""

from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, date, datetime, time, timedelta
from math import sqrt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.care.timeline import Session, order
from scales.change import (
    Baseline,
    Norm,
    Observation,
    ReliableChange,
    baseline,
    norm,
    oriented,
    reliable_change,
    series,
)
from tests.scales.shipped import SHIPPED

SESSION = date(2026, 6, 1)
SCS = SHIPPED["scs-26.v1"]


def noon(on: date) -> datetime:
    return datetime.combine(on, time(12), UTC)


def sessions(*days: int) -> list[Session]:
    """Sessions on these days, counted from the first."""
    dates = [SESSION + timedelta(days=number) for number in days]
    return order((f"session {number}", noon(on), on) for number, on in enumerate(dates, 1))


def seen(
    day: int, value: float | None, *, version: int = 1, complete: bool = True, hour: int = 0
) -> Observation:
    """An observation on a day counted from the first session, named after the day."""
    on = SESSION + timedelta(days=day)
    name = f"day {day}" + (f" {hour}h" if hour else "")
    at = noon(on) + timedelta(hours=hour)
    return Observation(name, at, on, version, value, complete, value is not None and not complete)


def facet(score_id: str) -> Norm:
    constants = norm(SCS, score_id)
    assert constants is not None
    return constants


def start(value: float | None, m: int) -> Baseline:
    return Baseline(value, "given", m, (), None)


@pytest.mark.parametrize(
    ("observations", "expected"),
    [
        ([], (None, "no_baseline", 0, (), None)),
        ([seen(-10, 2.4)], (2.4, "one", 1, ("day -10",), -10)),
        ([seen(-20, 2.4), seen(-10, 2.6)], (2.5, "mean of two", 2, ("day -20", "day -10"), -10)),
        # the last two that are at least 7 days apart, not the last two
        ([seen(-25, 2.0), seen(-12, 3.0), seen(-9, 4.0)], (3.0, "mean of two", 2, ("day -25", "day -9"), -9)),
        ([seen(-17, 2.0), seen(-10, 3.0)], (2.5, "mean of two", 2, ("day -17", "day -10"), -10)),
        ([seen(-16, 2.0), seen(-10, 3.0)], (3.0, "one", 1, ("day -10",), -10)),
        # three far enough apart: the last two
        ([seen(-28, 1.0), seen(-20, 2.0), seen(-2, 3.0)], (2.5, "mean of two", 2, ("day -20", "day -2"), -2)),
        # edges of the window
        ([seen(-29, 2.0)], (None, "no_baseline", 0, (), None)),
        ([seen(-28, 2.0)], (2.0, "one", 1, ("day -28",), -28)),
        ([seen(-2, 2.0)], (2.0, "one", 1, ("day -2",), -2)),
        ([seen(-1, 2.0)], (None, "no_baseline", 0, (), None)),
        ([seen(0, 2.0), seen(14, 2.0)], (None, "no_baseline", 0, (), None)),
        # incomplete administrations do not count, prorated ones neither
        ([seen(-10, 2.0, complete=False)], (None, "no_baseline", 0, (), None)),
        ([seen(-20, 2.0), seen(-10, None, complete=False)], (2.0, "one", 1, ("day -20",), -20)),
    ],
)
def test_baseline_before_the_first_session(
    observations: list[Observation], expected: tuple[float | None, str, int, tuple[str, ...], int | None]
) -> None:
    assert baseline(observations, sessions(0, 28)) == Baseline(*expected)


@pytest.mark.parametrize(
    ("observations", "expected"),
    [
        ([], (None, "first", 0, (), None)),
        ([seen(3, 2.0), seen(90, 3.0)], (2.0, "first", 1, ("day 3",), None)),
        ([seen(3, 2.0, complete=False), seen(9, 3.0)], (3.0, "first", 1, ("day 9",), None)),
    ],
)
def test_baseline_of_a_person_without_sessions(
    observations: list[Observation], expected: tuple[float | None, str, int, tuple[str, ...], None]
) -> None:
    assert baseline(observations, []) == Baseline(*expected)


# the table of the clinical rules: threshold with m = 1 and m = 2, expected at retest from 1.5 and from 4.5
TABLE = {
    "self_kindness": (0.7201, 0.6237, 1.686, 4.326),
    "self_judgment": (0.7586, 0.6569, 1.697, 4.337),
    "common_humanity": (0.9793, 0.8481, 1.798, 4.198),
    "isolation": (0.9877, 0.8553, 1.726, 4.276),
    "mindfulness": (0.8159, 0.7066, 1.784, 4.333),
    "over_identification": (0.9218, 0.7983, 1.686, 4.326),
    "total": (0.4584, 0.3969, None, None),
}


@pytest.mark.parametrize("score_id", TABLE)
def test_thresholds_and_expected_scores_of_the_table(score_id: str) -> None:
    one, two, from_low, from_high = TABLE[score_id]
    low = reliable_change(start(1.5, 1), 0.0, "better", facet(score_id))
    high = reliable_change(start(4.5, 2), 0.0, "better", facet(score_id))

    assert low.threshold == pytest.approx(one, abs=5e-5)
    assert high.threshold == pytest.approx(two, abs=5e-5)
    assert low.threshold_between_two == high.threshold_between_two == low.threshold
    if from_low and from_high:
        assert low.expected_without_change == pytest.approx(from_low, abs=5e-4 + 1e-9)
        assert high.expected_without_change == pytest.approx(from_high, abs=5e-4 + 1e-9)


# the least change on the grid the items allow that reaches the threshold, and the next smaller one
@pytest.mark.parametrize(
    ("score_id", "steps", "least"),
    [
        ("self_kindness", 5, 0.8),
        ("self_judgment", 5, 0.8),
        ("common_humanity", 4, 1.0),
        ("isolation", 4, 1.0),
        ("mindfulness", 4, 1.0),
        ("over_identification", 4, 1.0),
    ],
)
def test_the_least_reliable_change_on_the_item_grid(score_id: str, steps: int, least: float) -> None:
    higher_is = SCS.score(score_id).higher_is
    gentler = {"better": 1.0, "worse": -1.0}[higher_is]

    def status(change: float) -> str | None:
        return reliable_change(start(3.0, 1), change, higher_is, facet(score_id)).status

    assert status(gentler * least) == "improved"
    assert status(gentler * (least - 1 / steps)) == "none"
    assert status(-gentler * least) == "deteriorated"


def test_everything_that_is_told_with_a_reliable_change() -> None:
    """The example of the contract; its rci of 3.1432 is a slip, the formula gives 3.1427."""
    got = reliable_change(start(2.4, 2), 1.0, "better", facet("self_kindness"))

    assert {name: value for name, value in asdict(got).items() if not isinstance(value, float)} == {
        "status": "improved",
        "method": "jacobson-truax",
        "source": "Neff 2003",
        "provisional": True,
        "r_kind": "test-retest",
        "interval": "about 3 weeks",
        "population": "US undergraduates",
    }
    assert got.threshold == pytest.approx(0.6237, abs=5e-5)
    assert got.threshold_between_two == pytest.approx(0.7201, abs=5e-5)
    assert got.expected_without_change == pytest.approx(2.478)
    assert got.rci == pytest.approx(1.0 / (0.75 * sqrt(0.12) * sqrt(1.5)))
    assert got.rci == pytest.approx(3.1427, abs=5e-5)


def test_rci_keeps_the_sign_of_the_raw_change() -> None:
    fall = reliable_change(start(4.0, 1), -1.0, "worse", facet("self_judgment"))

    assert fall.status == "improved"
    assert fall.rci == pytest.approx(-1.0 / (0.79 * sqrt(0.12) * sqrt(2)))


ROUND = Norm(1.0, 0.5, "alpha", None, None, "nobody", "nowhere", False)


@pytest.mark.parametrize("sign", [1, -1])
def test_a_change_that_equals_the_threshold_counts_despite_float_noise(sign: int) -> None:
    threshold = 1.96 * sqrt(0.5) * sqrt(2)
    noisy = threshold - 5e-10
    assert noisy < threshold

    status = {1: "improved", -1: "deteriorated"}[sign]
    assert reliable_change(start(3.0, 1), sign * noisy, "better", ROUND).status == status
    assert reliable_change(start(3.0, 1), sign * (threshold - 1e-6), "better", ROUND).status == "none"


def test_nothing_to_compare_has_no_status() -> None:
    got = reliable_change(start(None, 0), None, "better", ROUND)

    assert (got.status, got.rci, got.threshold, got.expected_without_change) == (None, None, None, None)
    assert (got.source, got.provisional) == ("nowhere", False)


def test_without_constants_there_is_no_norm() -> None:
    assert reliable_change(start(3.0, 1), 2.0, "better", None) == ReliableChange("no_norm")


def test_which_scores_have_a_norm() -> None:
    with_norm = {
        name: [score.id for score in instrument.reported if norm(instrument, score.id)]
        for name, instrument in SHIPPED.items()
    }

    assert with_norm == {
        "dass-21.v1": ["depression", "anxiety", "stress"],
        "gad-7.v1": [],
        "pcl-5.v1": [],
        "phq-9.v1": [],
        "scs-26.v1": [
            "self_kindness",
            "self_judgment",
            "common_humanity",
            "isolation",
            "mindfulness",
            "over_identification",
            "total",
        ],
        "scs-sf-12.v1": ["total"],
        "wcs-19.v1": [],
    }


@pytest.mark.parametrize(
    ("name", "score_id", "threshold"),
    [
        ("scs-sf-12.v1", "total", 0.6482),
        ("dass-21.v1", "depression", 3.716),
        ("dass-21.v1", "anxiety", 3.4692),
        ("dass-21.v1", "stress", 3.6815),
    ],
)
def test_thresholds_of_the_other_instruments(name: str, score_id: str, threshold: float) -> None:
    constants = norm(SHIPPED[name], score_id)

    assert constants is not None
    assert constants.threshold(1) == pytest.approx(threshold, abs=5e-5)
    assert constants.provisional


@given(st.floats(-4, 4), st.sampled_from(["better", "worse"]), st.integers(1, 2), st.floats(0, 2))
def test_a_gentler_change_never_gets_a_harsher_word(
    change: float, higher_is: str, m: int, more: float
) -> None:
    rank = {"deteriorated": 0, "none": 1, "improved": 2}
    gentler = change + (more if higher_is == "better" else -more)
    was = reliable_change(start(3.0, m), change, higher_is, ROUND).status
    now = reliable_change(start(3.0, m), gentler, higher_is, ROUND).status

    assert rank[now or ""] >= rank[was or ""]
    assert oriented(gentler, higher_is) >= oriented(change, higher_is)


def read(observations: Sequence[Observation], days: Sequence[int] = (0,)) -> tuple[object, ...]:
    got = series(observations, sessions(*days), "better", facet("self_kindness"))
    return got.baseline.value, got.latest, got.change, got.reliable_change.status


@pytest.mark.parametrize(
    ("observations", "days", "expected"),
    [
        ([], (0,), (None, None, None, None)),
        ([], (), (None, None, None, None)),
        ([seen(3, 2.0)], (), (2.0, 2.0, None, None)),
        ([seen(-5, 2.0)], (0,), (2.0, 2.0, None, None)),
        ([seen(7, 2.0)], (0,), (None, 2.0, None, None)),
        ([seen(-5, 2.0), seen(7, 3.0)], (0,), (2.0, 3.0, 1.0, "improved")),
        ([seen(-5, 3.0), seen(7, 2.0)], (0,), (3.0, 2.0, -1.0, "deteriorated")),
        # no way to say when the newest is one of the two the baseline is made of
        ([seen(-20, 2.0), seen(-5, 3.0)], (0,), (2.5, 3.0, None, None)),
        # the newest without a value is passed over
        ([seen(-5, 2.0), seen(7, 3.0), seen(9, None, complete=False)], (0,), (2.0, 3.0, 1.0, "improved")),
        # given in any order
        ([seen(7, 3.0), seen(-5, 2.0)], (0,), (2.0, 3.0, 1.0, "improved")),
        # an older version is another questionnaire, also when only the newest has it
        ([seen(-5, 1.0), seen(7, 3.0, version=2)], (0,), (None, 3.0, None, None)),
        (
            [seen(-5, 1.0), seen(-4, 2.0, version=2), seen(7, 3.0, version=2)],
            (0,),
            (2.0, 3.0, 1.0, "improved"),
        ),
        ([seen(-5, 1.0), seen(8, None, version=2, complete=False)], (0,), (None, None, None, None)),
    ],
)
def test_series(observations: list[Observation], days: Sequence[int], expected: tuple[object, ...]) -> None:
    assert read(observations, days) == expected


def test_points_are_placed_in_time_order_whatever_their_version() -> None:
    got = series([seen(30, 3.0, version=2), seen(-5, 2.0), seen(0, 2.5)], sessions(0, 28), "better", None)

    assert [(p.observation.administration, p.session and p.session.ordinal, p.day) for p in got.points] == [
        ("day -5", 1, -5),
        ("day 0", 1, 0),
        ("day 30", 2, 2),
    ]
    assert got.reliable_change == ReliableChange("no_norm")


def test_points_of_a_person_without_sessions_have_no_day() -> None:
    got = series([seen(3, 2.0)], [], "better", None)

    assert [(point.session, point.day) for point in got.points] == [(None, None)]
