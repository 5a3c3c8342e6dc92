"""Named reads: which instruments there are, and what was answered."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, timezone
from functools import cache
from pathlib import Path
from typing import Any
from uuid import UUID

import orjson
from django.db import connection

from scales.instrument import Instrument, load, parse, with_wording
from scales.models import Administration, Correction, LoadedFile, Quarantined

RELEASED_FILES = Path(__file__).parent / "instruments"


@cache
def released() -> Mapping[tuple[str, int], Instrument]:
    """The instruments that ship, by code and version."""
    files = sorted(RELEASED_FILES.glob("*.toml"))
    return {(i.code, i.version): i for i in map(load, files)}


def instruments() -> dict[tuple[str, int], Instrument]:
    """Every instrument there is, an operator's own and loaded wordings included."""
    found = dict(released())
    for file in LoadedFile.objects.order_by("kind", "code", "version"):
        key = (file.code, file.version)
        name = f"{file.code}.v{file.version}.toml"
        if file.kind == LoadedFile.Kind.INSTRUMENT:
            found[key] = _parsed(file.text, name)
        else:
            found[key] = with_wording(found[key], file.text, name)
    return dict(sorted(found.items()))


def instrument_of(recorded: "Recorded") -> Instrument:
    """The instrument an administration was recorded under: it is never unloaded."""
    found = instrument(recorded.instrument, recorded.version)
    if found is None:
        raise LookupError("an administration outlived its instrument version")
    return found


def instrument(code: str, version: int) -> Instrument | None:
    """The instrument of that code and version. Its wording may be missing here: scoring needs none."""
    if shipped := released().get((code, version)):
        return shipped
    file = LoadedFile.objects.filter(kind=LoadedFile.Kind.INSTRUMENT, code=code, version=version).first()
    return _parsed(file.text, f"{code}.v{version}.toml") if file else None


def exists(code: str) -> bool:
    """Whether there is an instrument of that code, in any version."""
    return any(code == shipped for shipped, _ in released()) or LoadedFile.objects.filter(code=code).exists()


def newest(known: Mapping[tuple[str, int], Instrument]) -> dict[str, Instrument]:
    """The newest version of each instrument, by code."""
    return {code: known[code, version] for code, version in sorted(known)}


@cache
def _parsed(text: str, name: str) -> Instrument:
    return parse(text, name)


@dataclass(frozen=True, slots=True)
class Recorded:
    """An administration as it stands: `responses` and `scores` are those of its newest revision.

    `started_at` and `completed_at` have the offset the phone completed it under.
    """

    id: UUID
    instrument: str
    version: int
    started_at: datetime | None
    completed_at: datetime
    received_at: datetime
    timezone: str | None
    assessment: UUID | None
    clock: str | None
    revision: int
    responses: dict[str, Any]
    skipped: dict[str, str]
    scores: dict[str, list[Any]]
    reason: str | None = None


_RECORDED = (
    "SELECT a.id, a.instrument_code, a.instrument_version, a.started_at, a.completed_at, a.utc_offset,"
    " a.received_at, a.timezone, a.assessment, a.clock, coalesce(c.revision, 1),"
    " coalesce(c.responses, a.responses)::text, a.skipped::text, coalesce(c.scores, a.scores)::text"
    " FROM scales_administration a LEFT JOIN LATERAL (SELECT revision, responses, scores"
    " FROM scales_correction WHERE administration_id = a.id ORDER BY revision DESC LIMIT 1) c ON true"
)


def administrations(
    participant_id: int,
    *,
    instrument: str | None = None,
    since: datetime | None = None,
    before: tuple[datetime, UUID] | None = None,
    limit: int | None = None,
) -> list[Recorded]:
    """A participant's administrations, newest completion first; `before` is where a page ended."""
    where: list[str] = ["a.participant_id = %s"]
    values: list[Any] = [participant_id]
    if instrument is not None:
        where, values = [*where, "a.instrument_code = %s"], [*values, instrument]
    if since is not None:
        where, values = [*where, "a.completed_at >= %s"], [*values, since]
    if before is not None:
        where, values = [*where, "(a.completed_at, a.id) < (%s, %s)"], [*values, *before]
    with connection.cursor() as cursor:
        cursor.execute(
            f"{_RECORDED} WHERE {' AND '.join(where)} ORDER BY a.completed_at DESC, a.id DESC LIMIT %s",
            [*values, limit],
        )
        return [_recorded(row) for row in cursor.fetchall()]


def administration(id: UUID) -> Recorded:
    """One administration as it stands. Raises Administration.DoesNotExist."""
    with connection.cursor() as cursor:
        cursor.execute(f"{_RECORDED} WHERE a.id = %s", [id])
        row = cursor.fetchone()
    if row is None:
        raise Administration.DoesNotExist
    return _recorded(row)


def first_answer(participant_id: int, id: UUID, content_hash: bytes) -> Recorded | None:
    """The participant's administration of that id as it was first recorded, if it holds that content."""
    first = Administration.objects.filter(
        id=id, participant_id=participant_id, content_hash=content_hash
    ).first()
    return as_recorded(first) if first else None


def as_recorded(first: Administration) -> Recorded:
    """The row as it was first recorded."""
    return Recorded(
        id=first.id,
        instrument=first.instrument_code,
        version=first.instrument_version,
        started_at=_as_sent(first.started_at, first.utc_offset),
        completed_at=_as_sent(first.completed_at, first.utc_offset),
        received_at=first.received_at,
        timezone=first.timezone,
        assessment=first.assessment,
        clock=first.clock,
        revision=1,
        responses=first.responses,
        skipped=first.skipped,
        scores=first.scores,
    )


def owner_of(id: UUID) -> str | None:
    """The public id of the participant whose administration that is."""
    owner = Administration.objects.filter(id=id).values_list("participant__public_id", flat=True).first()
    return str(owner) if owner else None


def id_is_taken(id: UUID) -> bool:
    """Whether an administration of anybody's has that id."""
    return Administration.objects.filter(id=id).exists()


def waits_otherwise(participant_id: int, id: UUID, content_hash: bytes) -> bool:
    """Whether that id of the participant's already waits for its instrument with other content."""
    waiting = Quarantined.objects.filter(
        participant_id=participant_id, administration=id, kind=Quarantined.Kind.UNKNOWN_VERSION
    )
    return waiting.exclude(content_hash=content_hash).exists()


def is_revision(id: UUID, administration: UUID, content_hash: bytes) -> bool:
    """Whether the correction of that id is one of this administration, with that content."""
    return Correction.objects.filter(
        id=id, administration_id=administration, content_hash=content_hash
    ).exists()


def revisions(id: UUID) -> list[Recorded]:
    """Every revision of an administration, the first submission first."""
    first = as_recorded(Administration.objects.get(id=id))
    return [first] + [
        replace(
            first,
            revision=c.revision,
            reason=c.reason,
            received_at=c.received_at,
            responses=c.responses,
            scores=c.scores,
        )
        for c in Correction.objects.filter(administration_id=id).order_by("revision")
    ]


def _recorded(row: tuple[Any, ...]) -> Recorded:
    id_, code, version, started_at, completed_at, utc_offset, received_at, zone, assessment, clock, *rest = (
        row
    )
    revision, responses, skipped, scores = rest
    return Recorded(
        id=id_,
        instrument=code,
        version=version,
        started_at=_as_sent(started_at, utc_offset),
        completed_at=_as_sent(completed_at, utc_offset),
        received_at=received_at,
        timezone=zone,
        assessment=assessment,
        clock=clock,
        revision=revision,
        responses=orjson.loads(responses),
        skipped=orjson.loads(skipped),
        scores=orjson.loads(scores),
    )


def _as_sent(at: datetime | None, utc_offset: int) -> Any:
    return at and at.astimezone(timezone(timedelta(minutes=utc_offset)))
