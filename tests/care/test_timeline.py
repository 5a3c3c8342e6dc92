"""Where a date falls among a person's sessions."""

from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.care.timeline import Session, day, local_date, order, place, suggestible_until

BERLIN = "Europe/Berlin"


def session(id_: str, at: datetime, zone: str = BERLIN) -> tuple[str, datetime, date]:
    return id_, at, local_date(at, zone)


MARCH = session("march", datetime(2026, 3, 27, 9, tzinfo=UTC))
APRIL = session("april", datetime(2026, 4, 24, 8, tzinfo=UTC))
TWO = order([APRIL, MARCH])


def test_sessions_are_numbered_by_time() -> None:
    assert [(one.id, one.ordinal, one.on) for one in TWO] == [
        ("march", 1, date(2026, 3, 27)),
        ("april", 2, date(2026, 4, 24)),
    ]
    assert order([]) == []


@pytest.mark.parametrize(
    ("on", "expected"),
    [
        (date(2026, 2, 27), ("march", -28)),
        (date(2026, 3, 26), ("march", -1)),
        (date(2026, 3, 27), ("march", 0)),
        (date(2026, 4, 3), ("march", 7)),
        (date(2026, 4, 23), ("march", 27)),
        (date(2026, 4, 24), ("april", 0)),
        (date(2027, 4, 24), ("april", 365)),
    ],
)
def test_a_date_belongs_to_the_latest_session_on_or_before_it(on: date, expected: tuple[str, int]) -> None:
    placed = place(on, TWO)

    assert placed is not None
    assert (placed[0].id, placed[1]) == expected


def test_a_person_without_sessions_has_no_days() -> None:
    assert place(date(2026, 4, 3), []) is None


def test_of_two_sessions_on_one_date_the_later_counts() -> None:
    evening = session("evening", MARCH[1] + timedelta(hours=8))

    placed = place(date(2026, 3, 27), order([evening, MARCH]))

    assert placed is not None
    assert (placed[0].id, placed[0].ordinal, placed[1]) == ("evening", 2, 0)


def test_any_session_can_be_the_anchor() -> None:
    assert day(date(2026, 4, 24), TWO[0]) == 28
    assert day(date(2026, 4, 24), TWO[1]) == 0
    assert day(date(2026, 4, 20), TWO[1]) == -4


@pytest.mark.parametrize(
    ("at", "zone", "expected"),
    [
        (datetime(2026, 3, 27, 23, 30, tzinfo=UTC), BERLIN, date(2026, 3, 28)),
        (datetime(2026, 3, 27, 23, 30, tzinfo=UTC), "America/New_York", date(2026, 3, 27)),
        (datetime(2026, 3, 27, 2, 0, tzinfo=UTC), "America/New_York", date(2026, 3, 26)),
        (datetime(2026, 3, 27, 9, 59, tzinfo=UTC), "Pacific/Kiritimati", date(2026, 3, 27)),
        (datetime(2026, 3, 27, 10, 0, tzinfo=UTC), "Pacific/Kiritimati", date(2026, 3, 28)),
    ],
)
def test_a_date_is_that_of_the_persons_zone(at: datetime, zone: str, expected: date) -> None:
    assert local_date(at, zone) == expected


def test_a_naive_instant_is_refused() -> None:
    with pytest.raises(ValueError, match="aware"):
        local_date(datetime(2026, 3, 27, 9), BERLIN)  # noqa: DTZ001  that it is naive is the point


def test_the_evening_before_is_the_day_before_however_few_hours_lie_between() -> None:
    only = order([session("early", datetime(2026, 3, 27, 5, tzinfo=UTC))])  # 06:00 in Berlin
    evening = local_date(datetime(2026, 3, 26, 22, 30, tzinfo=UTC), BERLIN)  # 23:30

    assert place(evening, only) == (only[0], -1)


def test_clock_changes_move_no_day() -> None:
    """Berlin goes forward on 29 March 2026 and back on 25 October: 23 and 25 hours are a day each."""
    only = order([session("noon", datetime(2026, 3, 28, 11, tzinfo=UTC))])
    after_spring = local_date(datetime(2026, 3, 28, 22, 30, tzinfo=UTC) + timedelta(hours=23), BERLIN)
    after_autumn = local_date(datetime(2026, 10, 24, 22, 30, tzinfo=UTC) + timedelta(hours=24), BERLIN)

    assert place(after_spring, only) == (only[0], 1)
    assert place(after_autumn, only) == (only[0], 211)


@given(
    st.dates(date(2020, 1, 1), date(2030, 1, 1)),
    st.lists(st.dates(date(2020, 1, 1), date(2030, 1, 1)), min_size=1, max_size=6),
)
def test_days_count_back_to_the_date(on: date, dates: list[date]) -> None:
    instants = [datetime(d.year, d.month, d.day, 12, tzinfo=UTC) for d in dates]
    sessions: list[Session] = order(session(str(n), at, "UTC") for n, at in enumerate(instants))

    placed = place(on, sessions)

    assert placed is not None
    assert placed[0].on + timedelta(days=placed[1]) == on
    assert placed[1] >= 0 or placed[0].ordinal == 1
    assert not [one for one in sessions if placed[0].on < one.on <= on]


DOSED = datetime(2026, 3, 27, 9, tzinfo=UTC)


@pytest.mark.parametrize(
    ("hours", "suggestible"),
    [(-24.001, False), (-24, True), (-1, True), (0, True), (71.999, True), (72, False), (500, False)],
)
def test_suggestible_days_go_from_24_hours_before_to_72_after(hours: float, suggestible: bool) -> None:
    until = suggestible_until(DOSED + timedelta(hours=hours), [DOSED])

    assert until == (datetime(2026, 3, 30, 9, tzinfo=UTC) if suggestible else None)


@pytest.mark.parametrize(
    ("days_between", "end"),
    [
        (1, datetime(2026, 3, 31, 9, tzinfo=UTC)),
        (4, datetime(2026, 4, 3, 9, tzinfo=UTC)),  # the next begin as these end
        (5, datetime(2026, 3, 30, 9, tzinfo=UTC)),  # a day lies between
    ],
)
def test_suggestible_days_that_meet_are_one_stretch(days_between: int, end: datetime) -> None:
    both = [DOSED + timedelta(days=days_between), DOSED]

    assert suggestible_until(DOSED, both) == end
    assert suggestible_until(DOSED, []) is None


@given(
    st.lists(st.integers(0, 2000), max_size=6),
    st.integers(-100, 2200),
)
def test_there_is_an_end_exactly_in_suggestible_days_and_it_lies_outside(hours: list[int], at: int) -> None:
    sessions = [DOSED + timedelta(hours=h) for h in hours]
    now = DOSED + timedelta(hours=at)

    until = suggestible_until(now, sessions)

    assert (until is not None) == any(-24 <= at - h < 72 for h in hours)
    assert until is None or (until > now and suggestible_until(until, sessions) is None)
