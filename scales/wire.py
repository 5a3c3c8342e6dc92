"""Instruments and administrations as the wire shows them."""

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any

import orjson

from backend.wire import rfc3339
from scales.entry import Entry
from scales.instrument import Instrument, Item, Score
from scales.models import Administration, Correction
from scales.queries import Answer
from scales.scoring import Result, rounded


def definition(instrument: Instrument) -> dict[str, Any]:
    """An instrument's definition: all a phone needs to ask it, and what its scores mean."""
    return {
        "code": instrument.code,
        "version": instrument.version,
        "name": instrument.name,
        "abbreviation": instrument.abbreviation,
        "language": instrument.language,
        "construct": instrument.construct,
        "source": instrument.source.citation,
        "doi": instrument.source.doi,
        "licence": instrument.licence.statement,
        "attribution": instrument.attribution,
        "ready": instrument.ready,
        "requires": list(instrument.requires),
        "minutes": instrument.minutes,
        "instructions": instrument.instructions,
        "recall_period": instrument.recall_period,
        "responses": {
            "kind": instrument.responses.kind,
            "min": instrument.responses.min,
            "max": instrument.responses.max,
            "step": instrument.responses.step,
            "labels": dict(instrument.responses.labels),
        },
        "items": [_item(item) for item in instrument.items],
        "subscales": [{**_score(s), "items": list(s.items)} for s in instrument.subscales],
        "totals": [{**_score(s), "method": s.method, "default": s.default} for s in instrument.totals],
    }


def _item(item: Item) -> dict[str, Any]:
    shown: dict[str, Any] = {"id": item.id, "text": item.text}
    if not item.scored:
        shown["scored"] = False
    if item.labels is not None:
        shown["labels"] = dict(item.labels)
    return shown


def _score(score: Score) -> dict[str, Any]:
    return {
        "id": score.id,
        "name": score.name,
        "higher_is": score.higher_is,
        "range": list(score.range) if score.range else None,
        "disputed": score.disputed,
    }


def administration(
    entry: Entry,
    instrument: Instrument,
    results: Mapping[str, Result],
    *,
    received_at: datetime,
    clock: str | None,
) -> str:
    """The answer to a submission, as JSON. It is kept as text, and stays the same for ever.

    `started_at` and `completed_at` have the offset the phone completed it under.
    """
    started_at = entry.started_at and entry.started_at.astimezone(entry.completed_at.tzinfo)
    return _json(
        {
            "id": str(entry.id),
            "instrument": entry.instrument,
            "version": entry.version,
            "started_at": started_at and rfc3339(started_at),
            "completed_at": rfc3339(entry.completed_at),
            "received_at": rfc3339(received_at),
            "timezone": entry.timezone,
            "assessment": entry.assessment and str(entry.assessment),
            "clock": clock,
            "scores": _scores(results, instrument),
            "safety": None,
        }
    )


def corrected(answer: str, results: Mapping[str, Result], instrument: Instrument) -> str:
    """That answer with the scores of a correction in place of its own."""
    return _json({**orjson.loads(answer), "scores": _scores(results, instrument)})


def holding(answer: str, held: Collection[str], release_at: datetime) -> str:
    """That answer without the values of these scores, which come when they are released."""
    shown = orjson.loads(answer)
    for score in shown["scores"]:
        if score["subscale"] in held:
            score.pop("prorated", None)
            score |= {"value": None, "reason": "released_later", "release_at": rfc3339(release_at)}
    return _json(shown)


def current(answer: Answer) -> str:
    """An administration as it stands, corrections included: the answer and its revision, as JSON."""
    return f'{answer.text[:-1]},"revision":{answer.revision}}}'


def with_revisions(
    first: Administration, corrections: list[tuple[Correction, str]], held: Mapping[int, str]
) -> dict[str, Any]:
    """An administration as it stands, with its answers, and every revision it went through with its reason.

    `held` is how a revision is shown of which something is held from the reader.
    """
    revisions = [
        _revision(1, first.received_at, None, first.responses, held.get(1, first.answer)),
        *(
            _revision(c.revision, c.received_at, reason, c.responses, held.get(c.revision, c.answer))
            for c, reason in corrections
        ),
    ]
    newest = revisions[-1]
    return {
        **orjson.loads(first.answer),
        "scores": newest["scores"],
        "revision": newest["revision"],
        "responses": newest["responses"],
        "skipped": first.skipped,
        "revisions": revisions,
    }


def _revision(
    revision: int, received_at: datetime, reason: str | None, responses: dict[str, Any], answer: str
) -> dict[str, Any]:
    return {
        "revision": revision,
        "received_at": rfc3339(received_at),
        "reason": reason,
        "responses": responses,
        "scores": orjson.loads(answer)["scores"],
    }


def kept(entry: Entry) -> dict[str, Any]:
    """An administration that is kept and not scored: it waits for its instrument version, or its sender."""
    return {
        "id": str(entry.id),
        "instrument": entry.instrument,
        "version": entry.version,
        "completed_at": rfc3339(entry.completed_at),
        "outcome": "quarantined",
    }


def _scores(results: Mapping[str, Result], instrument: Instrument) -> list[dict[str, Any]]:
    return [_result(score, results[score.id]) for score in instrument.reported]


def _result(score: Score, result: Result) -> dict[str, Any]:
    shown = {
        "subscale": score.id,
        "value": rounded(result.value),
        "answered": result.answered,
        "of": result.of,
        "higher_is": score.higher_is,
    }
    if result.value is None:
        shown["reason"] = result.reason
    elif result.prorated:
        shown["prorated"] = True
    return shown


def _json(data: object) -> str:
    return orjson.dumps(data).decode()
