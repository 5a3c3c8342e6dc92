"""What happens to answers: recorded, refused but kept, corrected."""

import hashlib
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal
from uuid import UUID

import orjson
from django.db import connection, transaction
from django.db.models import F, Max
from django.db.models.functions import Now

from backend import scope
from backend.audit import services as audit
from backend.care import access
from backend.care.access import SeenParticipant
from backend.changes import services as changes
from backend.changes import tombstones
from backend.keys.blind import fingerprint
from backend.keys.fields import sealed
from backend.keys.sealing import Destroyed, Unreadable
from backend.origin import request_id
from backend.wire import uuid
from scales import change, queries, scoring, wire
from scales import entry as entries
from scales.entry import CorrectionEntry, Entry, Faults, Misfit, Place
from scales.instrument import Instrument
from scales.models import Administration, Correction, Held, Quarantined, Release, Trend


@dataclass(frozen=True, slots=True)
class Settled:
    """An administration stands under its id; `new` if it came to just now. `answer` is JSON."""

    answer: str
    new: bool


@dataclass(frozen=True, slots=True)
class Kept:
    """What was sent could not be recorded, and is kept whole, for the `faults` named or the reason `why`."""

    why: Literal["rejected", "not_enabled", "conflict", "unknown_version", "withdrawn"]
    entry: Entry | None = None
    faults: tuple[Place, ...] = ()
    corrects: UUID | None = None


@dataclass(frozen=True, slots=True)
class Sender:
    """Who sends, and from which installation."""

    user: int
    device: UUID | None = None


@dataclass(frozen=True, slots=True)
class Letter:
    """What somebody sent, as it came."""

    participant: SeenParticipant
    body: object
    received_at: datetime
    sender: Sender


# What fingerprints of content are made for.
_CONTENT = "content"

# One statement, so that answers, scores, change row, audit row and the request for a trend stand or
# fall together without a transaction's extra round trips. A taken id inserts nothing at all, nor does
# one under which other content of the person's waits for its instrument, nor one that was erased.
_RECORD = f"""
WITH recorded AS (
    INSERT INTO scales_administration
        (id, participant_id, instrument_code, instrument_version, started_at, completed_at, utc_offset,
         timezone, received_at, clock, assessment, device, responses, skipped, scores, answer,
         missing_answers, content_hash)
    SELECT %(id)s, %(participant)s, %(code)s, %(version)s, %(started_at)s, %(completed_at)s, %(utc_offset)s,
           %(timezone)s, %(received_at)s, %(clock)s, %(assessment)s, %(device)s, %(responses)s, %(skipped)s,
           %(scores)s, %(answer)s, %(missing)s, %(content_hash)s
    WHERE NOT EXISTS (
        SELECT FROM scales_quarantined
        WHERE participant_id = %(participant)s AND administration = %(id)s AND kind = 'unknown_version'
            AND resolved_at IS NULL AND content_hash <> %(fingerprint)s)
        AND {tombstones.NOT_ERASED}
    ON CONFLICT (id) DO NOTHING
    RETURNING id
), changed AS (
    {changes.INSERT} SELECT %(participant)s, 'administration', id FROM recorded
), audited AS (
    {audit.INSERT}
    SELECT %(user)s, 'administration.recorded', %(participant)s, %(clinic)s, %(id)s, %(request)s, %(device)s
    FROM recorded
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
        (id, participant_id, kind, administration, instrument_code, instrument_version, sent_by_id, device,
         body, content_hash, faults, received_at)
    VALUES (%(row)s, %(participant)s, %(kind)s, %(id)s, %(code)s, %(version)s, %(user)s, %(device)s,
            %(body)s, %(fingerprint)s, %(faults)s, %(received_at)s)
    ON CONFLICT ON CONSTRAINT quarantined_once DO NOTHING
    RETURNING id
)
{audit.INSERT}
SELECT %(user)s, 'administration.quarantined', %(participant)s, %(clinic)s, id, %(request)s, %(device)s
FROM kept
"""


def record_administration(
    *, participant: SeenParticipant, body: object, received_at: datetime, sender: Sender
) -> Settled | Kept:
    """What became of one submitted administration. Whatever it is, its content is kept.

    Resending is harmless: the id settles races, and equal content has the first answer for ever.
    """
    letter = Letter(participant, body, received_at, sender)
    try:
        entry = entries.read(body)
    except Misfit as misfit:
        return _keep(letter, Kept("rejected", faults=tuple(misfit.faults)))
    if participant.withdrawn:
        return _keep_unscored(letter, entry)
    instrument = queries.instrument(entry.instrument, entry.version)
    if instrument is not None:
        return _record_known(letter, entry, instrument)
    if queries.owner_of(entry.id) or queries.waits_otherwise(participant.id, entry.id, _known_by(entry)):
        return _keep(letter, Kept("conflict", entry))
    return _keep(letter, Kept("unknown_version", entry))


def _keep_unscored(letter: Letter, entry: Entry) -> Settled | Kept:
    """What becomes of something sent by somebody who takes no part: what stands under its id stands."""
    first = queries.first_answer(letter.participant.id, entry.id, entry.content_hash())
    if first is not None:
        return Settled(first, new=False)
    return _keep(letter, Kept("conflict" if queries.owner_of(entry.id) else "withdrawn", entry))


def record_waiting() -> int:
    """How many kept administrations of then unknown versions are settled, now that these are known.

    Those of somebody who takes no part go on waiting.
    """
    with scope.everything():
        waiting = list(
            Quarantined.objects.filter(
                kind=Quarantined.Kind.UNKNOWN_VERSION,
                resolved_at__isnull=True,
                participant__withdrawn_at__isnull=True,
            )
            .order_by("id")
            .values_list("id", "participant_id", "instrument_code", "instrument_version")
        )
    settled = 0
    for id_, participant, code, version in waiting:
        instrument = queries.instrument(code or "", version or 0)
        if instrument is not None:
            settled += _record_one_waiting(id_, participant, instrument)
    return settled


def _record_one_waiting(id: int, participant: int, instrument: Instrument) -> bool:
    """Whether it is settled: what does not open stays where it is, and holds up nobody."""
    with access.participants_of_a_job([participant]) as participants:
        waiting, whose = Quarantined.objects.get(id=id), participants[participant]
        try:
            text = sealed(Quarantined, "body").unseal(waiting.body, row=id, holder=whose.holder)
        except (Unreadable, Destroyed):
            return False
        body = orjson.loads(text)
        sender = Sender(user=waiting.sent_by_id, device=waiting.device)
        _record_known(Letter(whose, body, waiting.received_at, sender), entries.read(body), instrument)
        waiting.resolved_at = Now()
        waiting.save(update_fields=["resolved_at"])
        return True


def correct_administration(
    *,
    participant: SeenParticipant,
    administration: UUID,
    body: object,
    received_at: datetime,
    sender: Sender,
) -> Settled | Kept:
    """What became of a correction: a further revision with its reason; every earlier one stays.

    Raises Administration.DoesNotExist where the administration is not this participant's.
    """
    letter = Letter(participant, body, received_at, sender)
    try:
        entry = entries.read_correction(body)
    except Misfit as misfit:
        return _keep(letter, Kept("rejected", faults=tuple(misfit.faults), corrects=administration))
    if participant.withdrawn and not queries.is_revision(entry.id, administration, _known_by(entry)):
        return _keep(letter, Kept("withdrawn", corrects=administration))
    with transaction.atomic():
        # The lock lets one correction of this administration through at a time.
        first = Administration.objects.select_for_update().get(
            id=administration, participant_id=participant.id
        )
        instrument = queries.recorded_under(first.instrument_code, first.instrument_version)
        if faults := tuple(_misfits(instrument, entry.responses, {})):
            return _keep(letter, Kept("rejected", faults=faults, corrects=administration))
        taken = Correction.objects.filter(id=entry.id).exists()
        if not taken:
            tombstones.refuse_erased(tombstones.of_object(entry.id))
            _add_revision(letter, first, entry, instrument)
        if not queries.is_revision(entry.id, administration, _known_by(entry)):
            return _keep(letter, Kept("conflict", corrects=administration))
    held_at = queries.held_from(participant, sender.user, received_at)
    return Settled(wire.current(queries.newest_answer(administration, held_at=held_at)), new=not taken)


def _add_revision(
    letter: Letter, first: Administration, entry: CorrectionEntry, instrument: Instrument
) -> None:
    results = scoring.score(instrument, entry.responses, first.missing_answers)
    newest = first.corrections.aggregate(newest=Max("revision"))["newest"] or 1
    revision = Correction(
        id=entry.id,
        administration=first,
        revision=newest + 1,
        responses=entry.responses,
        scores=_stored(results, instrument),
        answer=wire.corrected(first.answer, results, instrument),
        reason=sealed(Correction, "reason").seal(
            entry.reason, row=entry.id, holder=letter.participant.holder
        ),
        corrected_by_id=letter.sender.user,
        received_at=letter.received_at,
        content_hash=_known_by(entry),
    )
    # An id that another administration's correction takes at this very moment inserts nothing.
    Correction.objects.bulk_create([revision], ignore_conflicts=True)
    if not queries.is_revision(entry.id, first.id, _known_by(entry)):
        return
    _hold(letter, instrument, results, revision.answer, of=_Submitted.as_recorded(first), revision=newest + 1)
    changes.record(participant=letter.participant.id, kind="administration", object=first.id)
    audit.record(
        actor=letter.sender.user,
        action="administration.corrected",
        participant=letter.participant.id,
        clinic=letter.participant.clinic_id,
        subject=first.id,
    )
    Trend.objects.filter(participant_id=letter.participant.id, instrument_code=first.instrument_code).update(
        requested=F("requested") + 1
    )


def _record_known(letter: Letter, entry: Entry, instrument: Instrument) -> Settled | Kept:
    if faults := tuple(_misfits(instrument, entry.responses, entry.skipped)):
        return _keep(letter, Kept("rejected", entry, faults))
    if instrument.requires:
        # No clinic can have what it requires yet: an answer that may need a human has nobody to go to.
        return _keep(letter, Kept("not_enabled", entry))
    # What waits for the therapist stands or falls with the rest; where nothing can, one statement is enough.
    may_hold = letter.participant.hold_hours is not None
    with transaction.atomic() if may_hold else nullcontext():
        answer = _insert(letter, entry, instrument)
    if answer is not None:
        return Settled(answer, new=True)
    first = queries.first_answer(letter.participant.id, entry.id, entry.content_hash())
    if first is not None:
        return Settled(first, new=False)
    return _keep(letter, Kept("conflict", entry))


def _misfits(instrument: Instrument, responses: Mapping[str, Any], skipped: Mapping[str, str]) -> Faults:
    faults: Faults = [
        (("responses", fault.item), fault.code, fault.detail)
        for fault in scoring.faults(instrument, responses)
    ]
    known = set(instrument.item_ids)
    faults += [(("skipped", item), "unknown_item", "No such item.") for item in skipped if item not in known]
    return faults


def _insert(letter: Letter, entry: Entry, instrument: Instrument) -> str | None:
    """What a new administration is answered with, or None where its id is taken."""
    participant, received_at, sender = letter.participant, letter.received_at, letter.sender
    results = scoring.score(instrument, entry.responses, participant.missing_answers)
    clock = entries.doubted_clock(entry, received_at=received_at, enrolled_at=participant.enrolled_at)
    answer = wire.administration(entry, instrument, results, received_at=received_at, clock=clock)
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
                "scores": _json(_stored(results, instrument)),
                "answer": answer,
                "missing": participant.missing_answers,
                "content_hash": entry.content_hash(),
                "fingerprint": _known_by(entry),
                "user": sender.user,
                "request": request_id.get(),
                "tombstone": tombstones.of_object(entry.id),
            },
        )
        if not cursor.rowcount:
            return None
    submitted = _Submitted(entry.id, entry.completed_at, received_at)
    return _hold(letter, instrument, results, answer, of=submitted, revision=1)


@dataclass(frozen=True, slots=True)
class _Submitted:
    """Which administration it is, and when it was completed and came in."""

    id: UUID
    completed_at: datetime
    received_at: datetime

    @classmethod
    def as_recorded(cls, first: Administration) -> "_Submitted":
        return cls(first.id, first.completed_at, first.received_at)


def _hold(
    letter: Letter,
    instrument: Instrument,
    results: Mapping[str, scoring.Result],
    answer: str,
    *,
    of: _Submitted,
    revision: int,
) -> str:
    """What the participant is shown of that answer: without those scores, kept as held, that wait.

    Where the clinic speaks about a worse score first, and the participant was told, those wait that point
    the worse way from the administration before.
    """
    participant = letter.participant
    if participant.hold_hours is None:
        return answer
    release_at = of.received_at + timedelta(hours=participant.hold_hours)
    if release_at <= letter.received_at:
        return answer
    before = queries.values_before(participant.id, instrument.code, id=of.id, completed_at=of.completed_at)
    now = {score.id: results[score.id].value for score in instrument.reported}
    waiting = change.worse(before, now, {score.id: score.higher_is for score in instrument.reported})
    if not waiting:
        return answer
    shown = wire.holding(answer, waiting, release_at)
    Held.objects.create(
        clinic_id=participant.clinic_id,
        participant_id=participant.id,
        administration_id=of.id,
        revision=revision,
        scores=sorted(waiting),
        answer=shown,
        release_at=release_at,
    )
    return shown


@transaction.atomic
def release_scores(
    *, participant: SeenParticipant, administration: UUID, actor: int, released_at: datetime
) -> tuple[datetime, bool]:
    """When all scores of an administration of the participant's were released to them, and whether just now.

    Raises Administration.DoesNotExist where it is not theirs.
    """
    if not queries.is_of(administration, participant.id):
        raise Administration.DoesNotExist
    release, new = Release.objects.get_or_create(
        administration_id=administration,
        defaults={
            "clinic_id": participant.clinic_id,
            "participant_id": participant.id,
            "released_by_id": actor,
            "released_at": released_at,
        },
    )
    if new:
        changes.record(participant=participant.id, kind="administration", object=administration)
        audit.record(
            actor=actor,
            action="administration.released",
            participant=participant.id,
            clinic=participant.clinic_id,
            subject=administration,
        )
    return release.released_at, new


def _stored(results: Mapping[str, scoring.Result], instrument: Instrument) -> dict[str, list[Any]]:
    """Reported scores as they are stored: id -> [unrounded value, items answered]."""
    return {s.id: [results[s.id].value, results[s.id].answered] for s in instrument.reported}


def _keep(letter: Letter, kept: Kept) -> Kept:
    """The same, once it is written down. The same content is kept once, however often it is sent.

    Raises Problem 410 `erased` for what was erased: it is not kept again, fit to be read or not.
    """
    participant, entry = letter.participant, kept.entry
    named = uuid(letter.body.get("id")) if isinstance(letter.body, dict) else None
    if named is not None:
        tombstones.refuse_erased(tombstones.of_object(named))
    with connection.cursor() as cursor:
        # What is sealed is sealed for its row, so that has its number first.
        cursor.execute("SELECT nextval('scales_quarantined_id_seq')")
        row = cursor.fetchone()[0]

        def seal(name: str, value: object) -> bytes:
            return sealed(Quarantined, name).seal(_json(value), row=row, holder=participant.holder)

        cursor.execute(
            _QUARANTINE,
            {
                "row": row,
                "participant": participant.id,
                "clinic": participant.clinic_id,
                "kind": "rejected" if kept.why == "not_enabled" else kept.why,
                "id": entry.id if entry else kept.corrects,
                "code": entry.instrument if entry else None,
                "version": entry.version if entry else None,
                "device": letter.sender.device,
                "body": seal("body", letter.body),
                "fingerprint": _known_by(entry) if entry else fingerprint(_CONTENT, _hash(letter.body)),
                "faults": seal("faults", kept.faults or (((), kept.why, ""),)),
                "received_at": letter.received_at,
                "user": letter.sender.user,
                "request": request_id.get(),
            },
        )
    return kept


def _known_by(entry: Entry | CorrectionEntry) -> bytes:
    """What equal content is known by: without the key nobody can try out what somebody may have written."""
    return fingerprint(_CONTENT, entry.content_hash())


def _hash(body: object) -> bytes:
    return hashlib.sha256(orjson.dumps(body, option=orjson.OPT_SORT_KEYS)).digest()


def _json(value: object) -> str:
    return orjson.dumps(value).decode()
