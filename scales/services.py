"""What happens to answers: recorded, refused but kept, corrected."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

import orjson
from django.db import connection, transaction
from django.db.models import F, Max
from django.db.models.functions import Now

from backend.audit import services as audit
from backend.care import access
from backend.care.access import SeenParticipant
from backend.changes import services as changes
from backend.logs import request_id
from scales import entry as entries
from scales import queries, scoring
from scales.entry import Entry, Faults, Misfit
from scales.instrument import Instrument
from scales.models import Administration, Correction, Quarantined, Trend

Outcome = Literal["recorded", "already_recorded", "conflict", "rejected", "not_enabled", "quarantined"]


@dataclass(frozen=True, slots=True)
class Result:
    """What became of one entry. `administration` is the one recorded under that id, as first answered."""

    outcome: Outcome
    received_at: datetime
    entry: Entry | None = None
    administration: queries.Recorded | None = None
    faults: tuple[tuple[tuple[str, ...], str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Sender:
    """Who sends, and from which installation."""

    user: int | None
    device: UUID | None = None


# One statement, so that answers, scores, change row, audit row and the request for a trend stand or
# fall together without a transaction's extra round trips. A taken id inserts nothing at all.
_RECORD = f"""
WITH recorded AS (
    INSERT INTO scales_administration
        (id, participant_id, instrument_code, instrument_version, started_at, completed_at, utc_offset,
         timezone, received_at, clock, assessment, device, responses, skipped, scores, missing_answers, content_hash)
    VALUES (%(id)s, %(participant)s, %(code)s, %(version)s, %(started_at)s, %(completed_at)s, %(utc_offset)s,
            %(timezone)s, %(received_at)s, %(clock)s, %(assessment)s, %(device)s, %(responses)s, %(skipped)s, %(scores)s,
            %(missing)s, %(content_hash)s)
    ON CONFLICT (id) DO NOTHING
    RETURNING id
), changed AS (
    {changes.INSERT} SELECT %(participant)s, 'administration', id FROM recorded
), audited AS (
    {audit.INSERT}
    SELECT %(user)s, 'administration.recorded', %(participant)s, %(clinic)s, %(id)s, %(request)s FROM recorded
), trend AS (
    INSERT INTO scales_trend AS t (participant_id, instrument_code)
    SELECT %(participant)s, %(code)s FROM recorded
    ON CONFLICT (participant_id, instrument_code) DO UPDATE SET requested = t.requested + 1
)
SELECT FROM recorded
"""

_QUARANTINE = f"""
WITH kept AS (
    INSERT INTO scales_quarantined
        (participant_id, kind, administration, instrument_code, instrument_version, device, body,
         content_hash, faults, received_at)
    VALUES (%(participant)s, %(kind)s, %(id)s, %(code)s, %(version)s, %(device)s, %(body)s,
            %(content_hash)s, %(faults)s, %(received_at)s)
    ON CONFLICT (participant_id, kind, administration, content_hash) DO NOTHING
    RETURNING id
)
{audit.INSERT}
SELECT %(user)s, 'administration.quarantined', %(participant)s, %(clinic)s, id, %(request)s FROM kept
"""


def record_administration(
    *, participant: SeenParticipant, body: object, received_at: datetime, sender: Sender
) -> Result:
    """What became of one submitted administration. Whatever it is, its content is kept.

    Resending is harmless: the id settles races, and equal content has the first answer for ever.
    """
    try:
        entry = entries.read(body)
    except Misfit as misfit:
        faults = tuple(misfit.faults)
        _quarantine("rejected", participant, body, None, received_at, sender, faults)
        return Result("rejected", received_at, faults=faults)
    instrument = queries.instrument(entry.instrument, entry.version)
    if instrument is None:
        return _keep_until_known(participant, body, entry, received_at, sender)
    return _record_known(participant, body, entry, instrument, received_at, sender)


def record_waiting() -> int:
    """How many kept administrations of then unknown versions are settled, now that these are known."""
    settled = 0
    for waiting in Quarantined.objects.filter(
        kind=Quarantined.Kind.UNKNOWN_VERSION, resolved_at__isnull=True
    ).order_by("id"):
        entry = entries.read(waiting.body)
        instrument = queries.instrument(entry.instrument, entry.version)
        if instrument is None:
            continue
        participant = access.participant_of_a_job(waiting.participant_id)
        sender = Sender(user=participant.user_id, device=waiting.device)
        with transaction.atomic():
            _record_known(participant, waiting.body, entry, instrument, waiting.received_at, sender)
            waiting.resolved_at = Now()
            waiting.save(update_fields=["resolved_at"])
        settled += 1
    return settled


def correct_administration(
    *,
    participant: SeenParticipant,
    administration: UUID,
    body: object,
    received_at: datetime,
    sender: Sender,
) -> Result:
    """What became of a correction: a further revision with its reason; every earlier one stays.

    Raises Administration.DoesNotExist where the administration is not this participant's.
    """
    try:
        entry = entries.read_correction(body)
    except Misfit as misfit:
        faults = tuple(misfit.faults)
        _quarantine("rejected", participant, body, None, received_at, sender, faults)
        return Result("rejected", received_at, faults=faults)
    with transaction.atomic():
        first = Administration.objects.select_for_update().get(
            id=administration, participant_id=participant.id
        )
        instrument = queries.instrument(first.instrument_code, first.instrument_version)
        assert instrument is not None
        outcome: Outcome = "recorded"
        if kept := Correction.objects.filter(id=entry.id).first():
            same = bytes(kept.content_hash) == entry.content_hash() and kept.administration_id == first.id
            outcome = "already_recorded" if same else "conflict"
        elif faults := tuple(_misfits(instrument, entry.responses, {})):
            _quarantine("rejected", participant, body, None, received_at, sender, faults)
            return Result("rejected", received_at, faults=faults)
        else:
            newest = first.corrections.aggregate(newest=Max("revision"))["newest"] or 1
            Correction.objects.create(
                id=entry.id,
                administration=first,
                revision=newest + 1,
                responses=entry.responses,
                scores=_scores(instrument, entry.responses, first.missing_answers),
                reason=entry.reason,
                corrected_by_id=sender.user,
                received_at=received_at,
                content_hash=entry.content_hash(),
            )
            changes.record(participant=participant.id, kind="administration", object=administration)
            audit.record(
                actor=sender.user,
                action="administration.corrected",
                participant=participant.id,
                clinic=participant.clinic_id,
                subject=administration,
            )
            Trend.objects.filter(participant_id=participant.id, instrument_code=first.instrument_code).update(
                requested=F("requested") + 1
            )
    if outcome == "conflict":
        _quarantine("conflict", participant, body, None, received_at, sender, ())
        return Result("conflict", received_at)
    return Result(outcome, received_at, administration=queries.administration(administration))


def _record_known(
    participant: SeenParticipant,
    body: object,
    entry: Entry,
    instrument: Instrument,
    received_at: datetime,
    sender: Sender,
) -> Result:
    if faults := tuple(_misfits(instrument, entry.responses, entry.skipped)):
        _quarantine("rejected", participant, body, entry, received_at, sender, faults)
        return Result("rejected", received_at, entry, faults=faults)
    if instrument.requires:
        # No clinic can have what it requires yet: an answer that may need a human has nobody to go to.
        _quarantine("rejected", participant, body, entry, received_at, sender, (((), "not_enabled", ""),))
        return Result("not_enabled", received_at, entry)
    recorded = _insert(participant, entry, instrument, received_at, sender)
    if recorded is not None:
        return Result("recorded", received_at, entry, recorded)
    first = queries.first_answer(participant.id, entry.id, entry.content_hash())
    if first is not None:
        return Result("already_recorded", received_at, entry, first)
    _quarantine("conflict", participant, body, entry, received_at, sender, ())
    return Result("conflict", received_at, entry)


def _misfits(instrument: Instrument, responses: Mapping[str, Any], skipped: Mapping[str, str]) -> Faults:
    faults: Faults = [
        (("responses", fault.item), fault.code, fault.detail)
        for fault in scoring.faults(instrument, responses)
    ]
    known = set(instrument.item_ids)
    faults += [(("skipped", item), "unknown_item", "No such item.") for item in skipped if item not in known]
    return faults


def _insert(
    participant: SeenParticipant, entry: Entry, instrument: Instrument, received_at: datetime, sender: Sender
) -> queries.Recorded | None:
    """The new administration, or None where its id is taken."""
    scores = _scores(instrument, entry.responses, participant.missing_answers)
    clock = entries.doubted_clock(entry, received_at=received_at, enrolled_at=participant.enrolled_at)
    with connection.cursor() as cursor:
        cursor.execute(
            _RECORD,
            {
                "id": entry.id,
                "participant": participant.id,
                "clinic": participant.clinic_id,
                "code": entry.instrument,
                "version": entry.version,
                "started_at": entry.started_at,
                "completed_at": entry.completed_at,
                "utc_offset": entry.utc_offset,
                "timezone": entry.timezone,
                "received_at": received_at,
                "clock": clock,
                "assessment": entry.assessment,
                "device": sender.device,
                "responses": _json(entry.responses),
                "skipped": _json(entry.skipped),
                "scores": _json(scores),
                "missing": participant.missing_answers,
                "content_hash": entry.content_hash(),
                "user": sender.user,
                "request": request_id.get(),
            },
        )
        if cursor.rowcount == 0:
            return None
    return queries.Recorded(
        id=entry.id,
        instrument=entry.instrument,
        version=entry.version,
        started_at=entry.started_at and entry.started_at.astimezone(entry.completed_at.tzinfo),
        completed_at=entry.completed_at,
        received_at=received_at,
        timezone=entry.timezone,
        assessment=entry.assessment,
        clock=clock,
        revision=1,
        responses=dict(entry.responses),
        skipped=dict(entry.skipped),
        scores=scores,
    )


def _scores(instrument: Instrument, responses: Mapping[str, Any], missing: str) -> dict[str, list[Any]]:
    """Reported scores as they are stored: id -> [unrounded value, items answered]."""
    results = scoring.score(instrument, responses, missing)
    return {s.id: [results[s.id].value, results[s.id].answered] for s in instrument.reported}


def _keep_until_known(
    participant: SeenParticipant, body: object, entry: Entry, received_at: datetime, sender: Sender
) -> Result:
    """Kept for when its instrument version arrives, unless its id already holds other content."""
    taken = Quarantined.objects.filter(
        participant_id=participant.id, administration=entry.id, kind=Quarantined.Kind.UNKNOWN_VERSION
    ).exclude(content_hash=entry.content_hash())
    if taken.exists() or queries.id_is_taken(entry.id):
        _quarantine("conflict", participant, body, entry, received_at, sender, ())
        return Result("conflict", received_at, entry)
    _quarantine("unknown_version", participant, body, entry, received_at, sender, ())
    return Result("quarantined", received_at, entry)


def _quarantine(
    kind: str,
    participant: SeenParticipant,
    body: object,
    entry: Entry | None,
    received_at: datetime,
    sender: Sender,
    faults: tuple[Any, ...],
) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            _QUARANTINE,
            {
                "participant": participant.id,
                "clinic": participant.clinic_id,
                "kind": kind,
                "id": entry and entry.id,
                "code": entry and entry.instrument,
                "version": entry and entry.version,
                "device": sender.device,
                "body": _json(body),
                "content_hash": entry.content_hash() if entry else _hash(body),
                "faults": _json(faults),
                "received_at": received_at,
                "user": sender.user,
                "request": request_id.get(),
            },
        )


def _hash(body: object) -> bytes:
    return hashlib.sha256(orjson.dumps(body, option=orjson.OPT_SORT_KEYS)).digest()


def _json(value: object) -> str:
    return orjson.dumps(value).decode()
