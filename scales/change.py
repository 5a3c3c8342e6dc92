"""Whether a series of scores shows change that can be told from chance. Pure; time is an argument.

The rules are told in words in `docs/instruments.md`. Reliable change by Jacobson and Truax (1991),
doi 10.1037/0022-006X.59.1.12, with the smaller error of a baseline that is a mean of m administrations.
Slope by Theil-Sen, its interval by Sen (1968), doi 10.1080/01621459.1968.10480934.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from itertools import combinations
from math import sqrt
from statistics import NormalDist, fmean, median

from backend.care.timeline import Session, day, place
from scales.declared import Instrument, Reliability
from scales.scoring import Value, rounded

CRITICAL = 1.96
SLACK = 1e-9  # a change that equals the threshold on paper must not fall short by float noise
BASELINE_DAYS = (-28, -2)
BASELINE_APART = 7
SETTLED_DAY = 14  # earlier than this after a session it is too early to read a slope
SLOPE_POINTS = 5
SLOPE_DAYS = 56
Z_95 = NormalDist().inv_cdf(0.975)


@dataclass(frozen=True, slots=True)
class Observation:
    """One score of one administration: `at` aware, `on` its local date. `complete`: every item of that score
    was answered; `prorated`: the value stands although not.
    """

    administration: str
    at: datetime
    on: date
    version: int
    value: float | None
    complete: bool
    prorated: bool


@dataclass(frozen=True, slots=True)
class Norm:
    """What reliable change of one score rests on. `provisional`: a constant was not read in its source."""

    sd: float
    r: float
    r_kind: str
    mean: float | None
    interval: str | None
    population: str
    source: str
    provisional: bool

    @property
    def sem(self) -> float:
        """Standard error of measurement, in points of the score."""
        return self.sd * sqrt(1 - self.r)

    def threshold(self, m: int) -> float:
        """T_B: the least reliable change of one score from a mean of m. With m = 1 this is T_2."""
        return CRITICAL * self.sem * sqrt(1 + 1 / m)


@dataclass(frozen=True, slots=True)
class Baseline:
    """What change is counted from. `rule`: `mean of two`, `one`, `first` or `no_baseline`; `m` is 0 without a
    value; `day` is that of the last administration used, from session 1.
    """

    value: float | None
    rule: str
    m: int
    administrations: tuple[str, ...]
    day: int | None


@dataclass(frozen=True, slots=True)
class ReliableChange:
    """`status`: improved, none, deteriorated, no_norm, or None where there is nothing to compare.

    `rci` has the sign of the raw change; `threshold` (from the baseline) and `threshold_between_two` (single
    scores) are in points of the score.
    """

    status: str | None
    rci: float | None = None
    threshold: float | None = None
    threshold_between_two: float | None = None
    method: str | None = None
    source: str | None = None
    provisional: bool | None = None
    r_kind: str | None = None
    interval: str | None = None
    population: str | None = None
    expected_without_change: float | None = None


@dataclass(frozen=True, slots=True)
class Slope:
    """Points of the score per 30 days with its 95 % interval, or None with a `reason`: no_session,
    before_session, too_early, too_few_points, too_short or no_interval. `points` counts its administrations.
    """

    per_30_days: float | None
    low: float | None
    high: float | None
    points: int
    reason: str | None
    method: str = "theil-sen"


@dataclass(frozen=True, slots=True)
class Point:
    """An observation and where it falls: the session and the day from it, None without sessions."""

    observation: Observation
    session: Session | None
    day: int | None


@dataclass(frozen=True, slots=True)
class Series:
    """One score over time. Values and change are raw; only statuses are oriented."""

    points: tuple[Point, ...]
    baseline: Baseline
    latest: float | None
    change: float | None
    reliable_change: ReliableChange
    slope: Slope


def norm(instrument: Instrument, score_id: str) -> Norm | None:
    """The constants declared for a score, None where there are none."""
    declared = instrument.reliability.get(score_id)
    return _norm(declared) if declared else None


def _norm(declared: Reliability) -> Norm:
    return Norm(
        sd=declared.sd,
        r=declared.r,
        r_kind=declared.r_kind,
        mean=declared.mean,
        interval=declared.interval,
        population=declared.population,
        source=declared.source,
        provisional=not declared.read_in_source,
    )


def oriented(change: float, higher_is: str) -> float:
    """The change turned so that more is gentler, whichever way the score runs."""
    return -change if higher_is == "worse" else change


def worse(
    before: Mapping[str, Value], now: Mapping[str, Value], higher_is: Mapping[str, str]
) -> frozenset[str]:
    """The scores, by id, that point the worse way as shown: compared with those of the time before.

    Where either has no value there is nothing to compare. A word (a band of a total) has no direction of
    its own: it goes with the rest where it changed and any of them is worse.
    """
    found, words = set(), set()
    for score, value in now.items():
        earlier = before.get(score)
        if value is None or earlier is None:
            continue
        if isinstance(value, str) or isinstance(earlier, str):
            words |= {score} if value != earlier else set()
        elif oriented(float(rounded(value) or 0) - float(rounded(earlier) or 0), higher_is[score]) < 0:
            found.add(score)
    return frozenset(found | words) if found else frozenset()


def series(
    observations: Sequence[Observation], sessions: Sequence[Session], higher_is: str, norm: Norm | None
) -> Series:
    """One person's series of one numeric score; booleans have no trend and do not belong here.

    All observations become points. Baseline, latest, change and slope use only those of the newest
    administration's version: another version is another questionnaire.
    """
    in_time = sorted(observations, key=lambda one: (one.at, one.administration))
    comparable = [one for one in in_time if one.version == in_time[-1].version]
    start = baseline(comparable, sessions)
    last = next((one for one in reversed(comparable) if one.value is not None), None)
    latest = last.value if last else None
    change = None
    if last and latest is not None and start.value is not None:
        change = latest - start.value if last.administration not in start.administrations else None
    return Series(
        points=tuple(_point(one, sessions) for one in in_time),
        baseline=start,
        latest=latest,
        change=change,
        reliable_change=reliable_change(start, change, higher_is, norm),
        slope=slope(comparable, sessions),
    )


def _point(one: Observation, sessions: Sequence[Session]) -> Point:
    placed = place(one.on, sessions)
    return Point(one, placed[0], placed[1]) if placed else Point(one, None, None)


def baseline(observations: Sequence[Observation], sessions: Sequence[Session]) -> Baseline:
    """The baseline of observations of one version in time order.

    With a session: the last complete administration of day -28 to -2 before the first one, averaged with the
    latest there that is at least 7 days older. Without any: the first complete administration.
    """
    complete = [one for one in observations if one.complete and one.value is not None]
    if not sessions:
        used, rule = complete[:1], "first"
    else:
        low, high = BASELINE_DAYS
        window = [one for one in complete if low <= day(one.on, sessions[0]) <= high]
        apart = [one for one in window if (window[-1].on - one.on).days >= BASELINE_APART]
        used = apart[-1:] + window[-1:]
        rule = ("no_baseline", "one", "mean of two")[len(used)]
    values = [one.value for one in used if one.value is not None]
    return Baseline(
        value=fmean(values) if values else None,
        rule=rule,
        m=len(used),
        administrations=tuple(one.administration for one in used),
        day=day(used[-1].on, sessions[0]) if sessions and used else None,
    )


def reliable_change(
    start: Baseline, change: float | None, higher_is: str, norm: Norm | None
) -> ReliableChange:
    """Whether a raw change from a baseline is more than the measure's own error, at 1.96 standard errors."""
    if norm is None:
        return ReliableChange("no_norm")
    status = rci = None
    if change is not None:
        rci = change / (norm.sem * sqrt(1 + 1 / start.m))
        status = _status(oriented(change, higher_is), norm.threshold(start.m))
    expected = None
    if norm.mean is not None and start.value is not None:
        expected = norm.mean + norm.r * (start.value - norm.mean)
    return ReliableChange(
        status=status,
        rci=rci,
        threshold=norm.threshold(start.m) if start.m else None,
        threshold_between_two=norm.threshold(1),
        method="jacobson-truax",
        source=norm.source,
        provisional=norm.provisional,
        r_kind=norm.r_kind,
        interval=norm.interval,
        population=norm.population,
        expected_without_change=expected,
    )


def _status(gentler: float, threshold: float) -> str:
    if gentler >= threshold - SLACK:
        return "improved"
    return "deteriorated" if -gentler >= threshold - SLACK else "none"


def slope(observations: Sequence[Observation], sessions: Sequence[Session]) -> Slope:
    """The slope of the stretch that holds the newest observation: from day 14 after a session to the next.

    `observations` are of one version and in time order. A slope through a session would misdescribe a step,
    and with fewer than 5 points no 95 % interval exists.
    """
    valued = [one for one in observations if one.value is not None]
    if len(valued) < SLOPE_POINTS:
        return Slope(None, None, None, len(valued), "too_few_points")
    if not sessions:
        return Slope(None, None, None, 0, "no_session")
    session, newest_day = place(valued[-1].on, sessions) or (sessions[0], 0)
    if newest_day < 0:
        return Slope(None, None, None, 0, "before_session")
    if newest_day < SETTLED_DAY:
        return Slope(None, None, None, 0, "too_early")
    stretch = [(day(one.on, session), one.value) for one in valued if one.value is not None]
    stretch = [(x, y) for x, y in stretch if x >= SETTLED_DAY]
    if len(stretch) < SLOPE_POINTS:
        return Slope(None, None, None, len(stretch), "too_few_points")
    if stretch[-1][0] - stretch[0][0] < SLOPE_DAYS:
        return Slope(None, None, None, len(stretch), "too_short")
    middle, low, high = theil_sen(stretch)
    if low is None or high is None:
        return Slope(None, None, None, len(stretch), "no_interval")
    return Slope(middle * 30, low * 30, high * 30, len(stretch), None)


def theil_sen(points: Sequence[tuple[float, float]]) -> tuple[float, float | None, float | None]:
    """The median of the slopes between all pairs of (x, y), and its 95 % interval by Sen (1968), eq. 2.6.

    Pairs with the same x have no slope; ties in x and in y narrow the interval, and where they outweigh
    all else (a flat series with two points on one day) there is no interval: None.
    """
    slopes = sorted(
        (later[1] - earlier[1]) / (later[0] - earlier[0])
        for earlier, later in combinations(sorted(points), 2)
        if later[0] > earlier[0]
    )
    tied = [*Counter(x for x, _ in points).values(), *Counter(y for _, y in points).values()]
    variance = (_sen_term(len(points)) - sum(map(_sen_term, tied))) / 18
    if variance < 0:
        return median(slopes), None, None
    spread = Z_95 * sqrt(variance)
    low = max(round((len(slopes) - spread) / 2) - 1, 0)
    high = min(round((len(slopes) + spread) / 2), len(slopes) - 1)
    return median(slopes), slopes[low], slopes[high]


def _sen_term(n: int) -> int:
    return n * (n - 1) * (2 * n + 5)
