"""What happens to consents: given, withdrawn, widened in suggestible days; and to what others are shown."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

from django.db import connection, transaction

from backend.audit import services as audit
from backend.care import queries as care
from backend.care.access import SeenParticipant
from backend.care.consent import queries
from backend.care.consent.disclosure import Level, narrower
from backend.care.consent.models import Consent, ConsentText, Disclosure
from backend.care.consent.text import ConsentText as Text
from backend.care.consent.text import MalformedText, Stream, parse
from backend.care.models import Clinic, Participant
from backend.care.timeline import suggestible_until
from backend.changes import services as changes
from backend.changes import tombstones
from backend.errors import Fault, Problem

# What makes two decisions of one id the same; a field left out equals null.
_CONTENT = ("stream", "decision", "version", "language", "text_hash", "decided_at", "timezone")


@transaction.atomic
def record_decision(
    *,
    participant: SeenParticipant,
    actor: int,
    device: UUID | None,
    id: UUID,
    fields: Mapping[str, Any],
    received_at: datetime,
) -> tuple[Consent, bool]:
    """The decision of that id, and whether it is new.

    In suggestible days, by our clock or the phone's, what widens who sees something has no effect: it waits
    to be asked again. Raises Problem 422 `unknown_text` for words that nobody here was ever asked with, 409
    `conflict` for the same id with other content, or another person's, 409 `withdrawn` for a new yes of
    somebody who takes no part, and 410 `erased` for what was erased.
    """
    withdrawn_at = _one_at_a_time(participant)
    kept = Consent.objects.filter(id=id, participant_id=participant.id).first()
    if kept is None:
        tombstones.refuse_erased(tombstones.of_object(id))
        if withdrawn_at and fields["decision"] == Consent.Decision.GIVEN:
            # A yes that was on its way when they stopped would open again what they have just closed.
            raise Problem(409, "withdrawn")
        rules = _rules_told(participant, fields)
        stand = queries.stands(participant.id)[Stream(fields["stream"])]
        decision = Consent(
            id=id,
            clinic_id=participant.clinic_id,
            participant_id=participant.id,
            rules=rules,
            received_at=received_at,
            device=device,
            **{name: fields.get(name) for name in _CONTENT},
        )
        if _widens(decision, stand.in_force):
            decision.ask_again_at = _suggestible_until(participant, received_at, decision.decided_at)
        # Somebody else's id inserts nothing.
        Consent.objects.bulk_create([decision], ignore_conflicts=True)
        recorded = Consent.objects.filter(id=id, participant_id=participant.id).first()
        if recorded is None:
            raise Problem(409, "conflict")
        _note(participant, actor, recorded)
        return recorded, True
    same = all(getattr(kept, name) == fields.get(name) for name in _CONTENT)
    if not same or fields.get("rules") not in (None, kept.rules):
        raise Problem(409, "conflict")
    return kept, False


def _note(participant: SeenParticipant, actor: int, decision: Consent) -> None:
    changes.record(participant=participant.id, kind="consent", object=decision.id)
    audit.record(
        actor=actor,
        action="consent.pending" if decision.ask_again_at else f"consent.{decision.decision}",
        participant=participant.id,
        clinic=participant.clinic_id,
        subject=decision.id,
    )


@dataclass(frozen=True, slots=True)
class Withdrawal:
    """Since when somebody takes no part, which streams ended with it, and whether just now."""

    at: datetime
    stopped: list[Stream]
    new: bool


@transaction.atomic
def withdraw(*, participant: SeenParticipant, actor: int, device: UUID | None, now: datetime) -> Withdrawal:
    """The participant's withdrawal: they take no part from now on, or did not before.

    Every yes that stands, or waits to be asked again, is taken back with it. What there is stays.
    """
    withdrawn_at = _one_at_a_time(participant)
    if withdrawn_at is not None:
        return Withdrawal(withdrawn_at, queries.taken_back(participant.id, at=withdrawn_at), new=False)
    stopped = [
        stream
        for stream, stand in queries.stands(participant.id).items()
        if stand.pending or (stand.in_force and stand.in_force.decision == Consent.Decision.GIVEN)
    ]
    for stream in stopped:
        record_decision(
            participant=participant,
            actor=actor,
            device=device,
            id=uuid4(),
            fields={"stream": stream, "decision": Consent.Decision.WITHDRAWN, "decided_at": now},
            received_at=now,
        )
    _set_withdrawn(participant, actor, "withdrawal.made", now)
    return Withdrawal(now, stopped, new=True)


@transaction.atomic
def come_back(*, participant: SeenParticipant, actor: int) -> None:
    """Nothing; the participant takes part again, and is asked for every consent anew."""
    if _one_at_a_time(participant) is not None:
        _set_withdrawn(participant, actor, "withdrawal.undone", None)


def _set_withdrawn(participant: SeenParticipant, actor: int, action: str, at: datetime | None) -> None:
    Participant.objects.filter(id=participant.id).update(withdrawn_at=at)
    changes.record(participant=participant.id, kind="withdrawal", object=participant.public_id)
    audit.record(actor=actor, action=action, participant=participant.id, clinic=participant.clinic_id)


def _one_at_a_time(participant: SeenParticipant) -> datetime | None:
    """Since when the participant takes no part. Until the transaction ends, nobody else decides for them."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT withdrawn_at FROM care_participant WHERE id = %s FOR NO KEY UPDATE", [participant.id]
        )
        withdrawn_at: datetime | None = cursor.fetchone()[0]
    return withdrawn_at


def _rules_told(participant: SeenParticipant, fields: Mapping[str, Any]) -> Mapping[str, Any]:
    """The rules in the words that were agreed to. Raises Problem 422 `unknown_text` for unknown words."""
    named = [fields.get(name) for name in ("version", "language", "text_hash")]
    if fields["decision"] == Consent.Decision.WITHDRAWN and named == [None] * 3:
        # One takes back a stream, in whatever words it was given.
        return {}
    text = queries.texts().get((Stream(fields["stream"]), fields["version"], fields["language"]))
    told = fields.get("rules")
    hold_hours = participant.clinic_hold_hours if told is None else told.get("hold_hours")
    shown = text.shown(hold_hours) if text else None
    if shown is None or shown.hash != fields.get("text_hash") or told not in (None, shown.rules):
        raise Problem(422, "validation_failed", errors=[Fault("/text_hash", "unknown_text")])
    return shown.rules


def _widens(decision: Consent, in_force: Consent | None) -> bool:
    """Whether others could see more by this decision than by the one in force."""
    if decision.decision == Consent.Decision.WITHDRAWN:
        return False
    if in_force is None or in_force.decision == Consent.Decision.WITHDRAWN:
        return True
    return (decision.version, decision.rules) != (in_force.version, in_force.rules)


def _suggestible_until(participant: SeenParticipant, *instants: datetime) -> datetime | None:
    sessions = care.session_times(participant.id)
    ends = (suggestible_until(at, sessions) for at in instants)
    return max((end for end in ends if end), default=None)


@transaction.atomic
def change_disclosure(
    *,
    participant: SeenParticipant,
    actor: int,
    device: UUID | None,
    wanted: Mapping[str, Level],
    received_at: datetime,
) -> Disclosure:
    """What others are shown of the participant's sessions from now on.

    What narrows it is in force at once; what widens it in suggestible days waits to be asked again.
    """
    _one_at_a_time(participant)
    last = queries.disclosure(participant.id)
    before = queries.levels(last.in_force if last else None)
    ask_again_at = _suggestible_until(participant, received_at)
    in_force = {v: narrower(wanted[v], before[v]) if ask_again_at else wanted[v] for v in wanted}
    kept = {"wanted": _stored(wanted), "in_force": _stored(in_force)}
    if last and (last.wanted, last.in_force) == (kept["wanted"], kept["in_force"]):
        return last
    change = Disclosure.objects.create(
        clinic_id=participant.clinic_id,
        participant_id=participant.id,
        received_at=received_at,
        device=device,
        ask_again_at=ask_again_at if in_force != wanted else None,
        **kept,
    )
    changes.record(participant=participant.id, kind="disclosure", object=participant.public_id)
    audit.record(
        actor=actor,
        action="disclosure.changed",
        participant=participant.id,
        clinic=participant.clinic_id,
        subject=change.pk,
    )
    return change


def _stored(levels: Mapping[str, Level]) -> dict[str, dict[str, str]]:
    return {viewer: asdict(level) for viewer, level in levels.items()}


@transaction.atomic
def load_text(source: str, file: str) -> Text:
    """The operator's text, loaded for good. Raises MalformedText, also for a version that is taken."""
    text = parse(source, file)
    known = queries.texts().get((text.stream, text.version, text.language))
    if known is None:
        row = ConsentText.objects.create(
            stream=text.stream, version=text.version, language=text.language, source=source
        )
        audit.record(actor=None, action="consent_text.loaded", subject=row)
    elif known.source != source:
        raise MalformedText(
            file, "this version is taken, and never changes: other words are the next version"
        )
    return text


@transaction.atomic
def set_hold(*, clinic: Clinic, hold_hours: int | None) -> None:
    """Nothing; from now on the clinic's people are told of this rule when they are asked, or of none."""
    clinic.hold_hours = hold_hours
    clinic.save(update_fields=["hold_hours"])
    audit.record(actor=None, action="clinic.hold_changed", clinic=clinic.pk, subject=hold_hours or "none")
