"""Named reads: which instruments there are, and what was answered."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from functools import cache
from pathlib import Path
from typing import Any
from uuid import UUID

import orjson
from django.db import connection
from django.db.models import Exists, F, OuterRef, Subquery
from django.db.models.functions import Coalesce

from backend.care.access import SeenParticipant
from backend.keys.envelope import Holder
from backend.keys.fields import sealed
from scales.instrument import Instrument, load, parse, with_wording
from scales.models import Administration, Correction, Held, LoadedFile, Quarantined, Release, Trend

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


def recorded_under(code: str, version: int) -> Instrument:
    """The instrument something was recorded under: it is never unloaded."""
    found = instrument(code, version)
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
class Answer:
    """An administration as its sender was answered: JSON, passed on unread. `at`: completion, in UTC."""

    id: str
    at: str
    revision: int
    text: str


# At an instant, scores can be held from a reader; without one (NULL) nothing is.
_IN_HOLD = (
    "h.release_at > {at}::timestamptz"
    " AND NOT EXISTS (SELECT FROM scales_release r WHERE r.administration_id = h.administration_id)"
)
_ANSWER = (
    "SELECT a.id::text, to_char(a.completed_at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"'),"
    " coalesce(c.revision, 1), coalesce(h.answer, c.answer, a.answer)"
    " FROM scales_administration a LEFT JOIN LATERAL (SELECT revision, answer FROM scales_correction"
    " WHERE administration_id = a.id ORDER BY revision DESC LIMIT 1) c ON true"
    " LEFT JOIN scales_held h ON h.administration_id = a.id AND h.revision = coalesce(c.revision, 1)"
    f" AND {_IN_HOLD.format(at='%s')}"
)


def answers(
    participant_id: int,
    *,
    instrument: str | None = None,
    since: datetime | None = None,
    before: tuple[datetime, UUID] | None = None,
    held_at: datetime | None = None,
    limit: int,
) -> list[Answer]:
    """A participant's administrations, newest completion first; `before` is where a page ended.

    For a reader from whom scores are held: as they are shown at that instant.
    """
    where: list[str] = ["a.participant_id = %s"]
    values: list[Any] = [held_at, participant_id]
    if instrument is not None:
        where, values = [*where, "a.instrument_code = %s"], [*values, instrument]
    if since is not None:
        where, values = [*where, "a.completed_at >= %s"], [*values, since]
    if before is not None:
        where, values = [*where, "(a.completed_at, a.id) < (%s, %s)"], [*values, *before]
    with connection.cursor() as cursor:
        cursor.execute(
            f"{_ANSWER} WHERE {' AND '.join(where)} ORDER BY a.completed_at DESC, a.id DESC LIMIT %s",
            [*values, limit],
        )
        return [Answer(*row) for row in cursor.fetchall()]


def held_from(participant: SeenParticipant, reader: int, at: datetime) -> datetime | None:
    """The instant at which it is asked what is held from a reader; None where nothing can be.

    Scores are held from nobody but the participant, and only while their consent tells of it.
    """
    return at if participant.user_id == reader and participant.hold_hours is not None else None


def newest_answer(id: UUID, *, held_at: datetime | None = None) -> Answer:
    """One administration as it stands, or as it is shown then where scores are held from the reader.

    Raises Administration.DoesNotExist.
    """
    with connection.cursor() as cursor:
        cursor.execute(f"{_ANSWER} WHERE a.id = %s", [held_at, id])
        row = cursor.fetchone()
    if row is None:
        raise Administration.DoesNotExist
    return Answer(*row)


def first_answer(participant_id: int, id: UUID, content_hash: bytes) -> str | None:
    """What the participant was answered when they first sent that id, if it was with that content.

    What was held then is held in it for ever: it stays the same byte for byte.
    """
    first = Administration.objects.filter(id=id, participant_id=participant_id, content_hash=content_hash)
    held = Held.objects.filter(administration=OuterRef("id"), revision=1).values("answer")
    return first.values_list(Coalesce(Subquery(held), "answer"), flat=True).first()


@dataclass(frozen=True, slots=True)
class Holding:
    """The scores of an administration as it stands, by id, that its participant sees from `release_at` on."""

    scores: frozenset[str]
    release_at: datetime


def held(participant_id: int, code: str, *, held_at: datetime) -> dict[UUID, Holding]:
    """What of a participant's administrations of an instrument is held from them at that instant."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT a.id, h.scores::text, h.release_at FROM scales_held h"
            " JOIN scales_administration a ON a.id = h.administration_id"
            " WHERE h.participant_id = %s AND a.instrument_code = %s AND h.revision = coalesce((SELECT"
            " max(c.revision) FROM scales_correction c WHERE c.administration_id = a.id), 1)"
            f" AND {_IN_HOLD.format(at='%s')}",
            [participant_id, code, held_at],
        )
        return {
            id_: Holding(frozenset(orjson.loads(scores)), release_at)
            for id_, scores, release_at in cursor.fetchall()
        }


def held_revisions(id: UUID, *, held_at: datetime) -> dict[int, str]:
    """The revisions of an administration of which something is held then, and how each is shown."""
    released = Release.objects.filter(administration=OuterRef("administration"))
    found = Held.objects.filter(~Exists(released), administration_id=id, release_at__gt=held_at)
    return dict(found.values_list("revision", "answer"))


def values_before(participant_id: int, code: str, *, id: UUID, completed_at: datetime) -> dict[str, Any]:
    """The scores of the participant's administration of that instrument before that one, as it stands."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT coalesce(c.scores, a.scores)::text FROM scales_administration a"
            " LEFT JOIN LATERAL (SELECT scores FROM scales_correction"
            " WHERE administration_id = a.id ORDER BY revision DESC LIMIT 1) c ON true"
            " WHERE a.participant_id = %s AND a.instrument_code = %s AND (a.completed_at, a.id) < (%s, %s)"
            " ORDER BY a.completed_at DESC, a.id DESC LIMIT 1",
            [participant_id, code, completed_at, id],
        )
        row = cursor.fetchone()
    return {score: value for score, (value, _) in orjson.loads(row[0]).items()} if row else {}


def is_of(id: UUID, participant_id: int) -> bool:
    """Whether an administration is that participant's."""
    return Administration.objects.filter(id=id, participant_id=participant_id).exists()


def owner_of(id: UUID) -> str | None:
    """The public id of the participant whose administration that is; None where there is none."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT owner::text FROM scales_owner_of(%s) AS owner", [id])
        row = cursor.fetchone()
    return row[0] if row else None


def waits_otherwise(participant_id: int, id: UUID, fingerprint: bytes) -> bool:
    """Whether that id of the participant's already waits for its instrument with other content."""
    waiting = Quarantined.objects.filter(
        participant_id=participant_id, administration=id, kind=Quarantined.Kind.UNKNOWN_VERSION
    )
    return waiting.exclude(content_hash=fingerprint).exists()


def is_revision(id: UUID, administration: UUID, fingerprint: bytes) -> bool:
    """Whether the correction of that id is one of this administration, with that content."""
    return Correction.objects.filter(
        id=id, administration_id=administration, content_hash=fingerprint
    ).exists()


def revisions(id: UUID, holder: Holder) -> tuple[Administration, list[tuple[Correction, str]]]:
    """An administration as first recorded, and its corrections, first to last, each with its reason.

    Raises sealing.Unreadable where one of them does not open, and sealing.Destroyed.
    """
    column = sealed(Correction, "reason")
    corrections = Correction.objects.filter(administration_id=id).order_by("revision")
    return Administration.objects.get(id=id), [
        (c, column.unseal(c.reason, row=c.pk, holder=holder)) for c in corrections
    ]


@dataclass(frozen=True, slots=True)
class Scored:
    """An administration for a trend: score id -> [unrounded value, answered] of its newest revision.

    `completed_at` has the offset the phone completed it under.
    """

    id: UUID
    version: int
    completed_at: datetime
    received_at: datetime
    clock: str | None
    scores: dict[str, list[Any]]


def scored(wanted: Sequence[tuple[int, str]]) -> dict[tuple[int, str], list[Scored]]:
    """The administrations of each (participant, instrument code), oldest completion first."""
    found: dict[tuple[int, str], list[Scored]] = {pair: [] for pair in wanted}
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT a.participant_id, a.instrument_code, a.id, a.instrument_version, a.completed_at,"
            " a.utc_offset, a.received_at, a.clock, coalesce(c.scores, a.scores)::text"
            " FROM unnest(%s::bigint[], %s::text[]) AS wanted (participant, code)"
            " JOIN scales_administration a"
            " ON a.participant_id = wanted.participant AND a.instrument_code = wanted.code"
            " LEFT JOIN LATERAL (SELECT scores FROM scales_correction"
            " WHERE administration_id = a.id ORDER BY revision DESC LIMIT 1) c ON true"
            " ORDER BY a.completed_at, a.id",
            [[participant for participant, _ in wanted], [code for _, code in wanted]],
        )
        for participant, code, id_, version, at, utc_offset, received_at, clock, scores in cursor.fetchall():
            completed_at = at.astimezone(timezone(timedelta(minutes=utc_offset)))
            found[participant, code].append(
                Scored(id_, version, completed_at, received_at, clock, orjson.loads(scores))
            )
    return found


def waiting_in_quarantine() -> int:
    """How many submissions were kept and not recorded, and nobody has settled."""
    return Quarantined.objects.filter(resolved_at__isnull=True).count()


def trends_behind() -> int:
    """How many trends wait to be computed."""
    return Trend.objects.filter(requested__gt=F("computed")).count()
