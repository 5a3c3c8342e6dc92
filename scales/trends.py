"""Trends: computed by a worker from rows that say what is behind, read as they were left."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import takewhile
from typing import Any, NamedTuple
from uuid import UUID

import orjson
import structlog
from django.db import connection
from django.db.models import F

from backend import scope
from backend.care import access
from backend.care.queries import timelines as timelines_of
from backend.care.timeline import Session, day, local_date
from backend.wire import rfc3339
from scales import change, queries
from scales.change import Observation, Point, Series
from scales.instrument import Instrument, Score
from scales.models import Trend
from scales.queries import Holding, Scored
from scales.scoring import rounded

log = structlog.get_logger()

# Any number, the same in every worker: one sweep at a time, the others have nothing to add.
_SWEEP = 7_261_530
# Bounds the memory of a page of people with years of answers.
_AT_A_TIME = 25


@dataclass(frozen=True, slots=True)
class Trends:
    """One instrument's trends of one person. `subscales` is JSON, ready for the wire."""

    computed_at: datetime | None
    up_to_date: bool
    subscales: bytes


def compute_behind(*, now: datetime, enough: Callable[[], bool] = lambda: False) -> int:
    """How many trends were computed: those that are behind, the longest waiting first, until `enough`.

    The count a trend was asked for is read before its administrations are: whatever was asked for
    meanwhile leaves it behind still. No row stays locked while it is computed, so that no
    submission waits for it; computing one twice gives the same.
    """
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_lock(%s)", [_SWEEP])
        if not cursor.fetchone()[0]:
            return 0
        try:
            return sum(_compute(page, now) for page in takewhile(lambda _: not enough(), _behind()))
        finally:
            cursor.execute("SELECT pg_advisory_unlock(%s)", [_SWEEP])


def _behind() -> Iterator[list[tuple[int, int]]]:
    """Pages of (trend, participant)."""
    behind = Trend.objects.filter(requested__gt=F("computed"))
    with scope.everything():
        longest_first = behind.order_by(F("computed_at").asc(nulls_first=True), "id")
        waiting = list(longest_first.values_list("id", "participant_id"))
    for start in range(0, len(waiting), _AT_A_TIME):
        yield waiting[start : start + _AT_A_TIME]


def _compute(page: Sequence[tuple[int, int]], now: datetime) -> int:
    """How many of these could be computed: a few statements, however many they are."""
    with access.participants_of_a_job(participant for _, participant in page) as participants:
        trends = list(Trend.objects.filter(id__in=[trend for trend, _ in page]).defer("result"))
        return _compute_seen(trends, participants, now)


def _compute_seen(
    page: Sequence[Trend], participants: Mapping[int, access.SeenParticipant], now: datetime
) -> int:
    zones = {key: participant.timezone for key, participant in participants.items()}
    timelines = timelines_of(zones)
    administrations = queries.scored([(trend.participant_id, trend.instrument_code) for trend in page])
    computed = []
    for trend in page:
        key = trend.participant_id
        try:
            result = _subscales(
                trend.instrument_code, administrations[key, trend.instrument_code], timelines[key], zones[key]
            )
        except (ArithmeticError, LookupError, TypeError, ValueError):
            # One person's trend must not keep everybody else's waiting. It stays behind, and is tried again.
            log.exception("trend_failed", trend=trend.pk)
        else:
            computed.append((trend.pk, trend.requested, orjson.dumps(result).decode()))
    _store(computed, now)
    return len(computed)


def _store(computed: list[tuple[int, int, str]], now: datetime) -> None:
    """Nothing. Rows are locked by key, as all do that lock several, so that none waits in a ring."""
    keys, seen, results = ([row[n] for row in computed] for n in range(3))
    with connection.cursor() as cursor:
        cursor.execute("SELECT id FROM scales_trend WHERE id = ANY(%s) ORDER BY id FOR UPDATE", [keys])
        cursor.execute(
            "UPDATE scales_trend t SET computed = done.seen, computed_at = %s, result = done.result"
            " FROM unnest(%s::bigint[], %s::bigint[], %s::text[]) AS done (id, seen, result)"
            " WHERE t.id = done.id AND t.computed < done.seen",
            [now, keys, seen, results],
        )


def read(
    participant: access.SeenParticipant, instrument: str, anchor: str | None, *, held_at: datetime | None
) -> Trends | None:
    """The trends of an instrument as last computed; with an anchor, days are counted from that session.

    For a reader from whom scores are held at that instant, computed anew without these. None where the
    anchor is no dosing session of this participant's.
    """
    held = queries.held(participant.id, instrument, held_at=held_at) if held_at else {}
    if held_at and held:
        computed = _Computed(held_at, True, _without(held, participant, instrument))
    else:
        computed = _last_computed(participant, instrument)
    result = computed.result
    if anchor is not None:
        sessions = timelines_of({participant.id: participant.timezone})[participant.id]
        session = next((s for s in sessions if s.id == anchor), None)
        if session is None:
            return None
        result = (
            result and orjson.dumps(_anchored(orjson.loads(result), session, participant.timezone)).decode()
        )
    subscales = result.encode() if result else _nothing_yet(instrument)
    return Trends(computed.at, computed.up_to_date, subscales)


class _Computed(NamedTuple):
    """When a trend was computed, whether that is up to date, and the subscales as JSON, if there are any."""

    at: datetime | None
    up_to_date: bool
    result: str | None


def _last_computed(participant: access.SeenParticipant, instrument: str) -> _Computed:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT computed_at, computed >= requested, result FROM scales_trend"
            " WHERE participant_id = %s AND instrument_code = %s",
            [participant.id, instrument],
        )
        row = cursor.fetchone()
    return _Computed(*row) if row else _Computed(None, True, None)


def _without(held: Mapping[UUID, Holding], participant: access.SeenParticipant, code: str) -> str:
    """The subscales as if what is held had no value: nothing that is made of it may tell it."""
    key, zone = participant.id, participant.timezone
    administrations = [_less(a, held.get(a.id)) for a in queries.scored([(key, code)])[key, code]]
    subscales = _subscales(code, administrations, timelines_of({key: zone})[key], zone)
    for subscale in subscales:
        for point in subscale["points"]:
            holding = held.get(UUID(point["administration"]))
            if holding and subscale["subscale"] in holding.scores:
                point |= {"reason": "released_later", "release_at": rfc3339(holding.release_at)}
    return orjson.dumps(subscales).decode()


def _less(scored: Scored, holding: Holding | None) -> Scored:
    if holding is None:
        return scored
    scores = {
        id_: [None, answered] if id_ in holding.scores else [value, answered]
        for id_, (value, answered) in scored.scores.items()
    }
    return replace(scored, scores=scores)


def _nothing_yet(code: str) -> bytes:
    """The shape of a trend with nothing in it."""
    instrument = queries.newest(queries.instruments())[code]
    return orjson.dumps(
        [_shown(score, change.series([], [], score.higher_is, None), {}) for score in _trended(instrument)]
    )


def _trended(instrument: Instrument) -> list[Score]:
    return [score for score in instrument.reported if score.value_type == "number"]


def _subscales(
    code: str, administrations: Sequence[Scored], sessions: Sequence[Session], zone: str
) -> list[dict[str, Any]]:
    instrument = queries.recorded_under(code, administrations[-1].version)
    completed = {str(a.id): a.completed_at for a in administrations}
    return [
        _shown(
            score,
            change.series(
                [_observation(a, score, zone) for a in administrations if score.id in a.scores],
                sessions,
                score.higher_is,
                change.norm(instrument, score.id),
            ),
            completed,
        )
        for score in _trended(instrument)
    ]


def _observation(scored: Scored, score: Score, zone: str) -> Observation:
    # A clock that runs ahead must not make an old answer the latest for ever.
    at = scored.received_at if scored.clock == "in_the_future" else scored.completed_at
    value, answered = scored.scores[score.id]
    complete = answered == len(score.items)
    return Observation(
        administration=str(scored.id),
        at=at,
        on=local_date(at, zone),
        version=scored.version,
        value=value,
        complete=complete,
        prorated=value is not None and not complete,
    )


def _shown(score: Score, series: Series, completed: Mapping[str, datetime]) -> dict[str, Any]:
    changed, slope, start = series.reliable_change, series.slope, series.baseline
    return {
        "subscale": score.id,
        "higher_is": score.higher_is,
        "points": [_point(point, completed[point.observation.administration]) for point in series.points],
        "baseline": {
            "value": rounded(start.value),
            "rule": start.rule,
            "m": start.m,
            "administrations": list(start.administrations),
            "day": start.day,
        },
        "latest": rounded(series.latest),
        "change": rounded(series.change),
        "reliable_change": {
            "status": changed.status,
            "claim": None,
            "rci": rounded(changed.rci),
            "threshold": rounded(changed.threshold),
            "threshold_between_two": rounded(changed.threshold_between_two),
            "method": changed.method,
            "source": changed.source,
            "provisional": changed.provisional,
            "reliability": changed.r_kind,
            "interval": changed.interval,
            "population": changed.population,
            "expected_without_change": rounded(changed.expected_without_change),
        },
        "slope": {
            "per_30_days": rounded(slope.per_30_days),
            "low": rounded(slope.low),
            "high": rounded(slope.high),
            "method": slope.method,
            "points": slope.points,
            "reason": slope.reason,
        },
        "words": None,
    }


def _point(point: Point, completed_at: datetime) -> dict[str, Any]:
    seen = point.observation
    return {
        "administration": seen.administration,
        "completed_at": rfc3339(completed_at),
        "value": rounded(seen.value),
        "prorated": seen.prorated,
        "session": _place(point.session, point.day) if point.session else None,
    }


def _place(session: Session, days: int | None) -> dict[str, Any]:
    return {"id": session.id, "ordinal": session.ordinal, "day": days}


def _anchored(subscales: list[dict[str, Any]], session: Session, zone: str) -> list[dict[str, Any]]:
    for subscale in subscales:
        for point in subscale["points"]:
            on = local_date(datetime.fromisoformat(point["completed_at"]), zone)
            point["session"] = _place(session, day(on, session))
    return subscales
