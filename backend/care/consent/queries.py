"""Named reads: which texts there are, and what somebody agreed to."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any, TypeVar
from uuid import UUID

from django.db.models import Model, OuterRef, Q, QuerySet, Subquery, Value
from django.db.models.lookups import Exact

from backend.care.consent.disclosure import UNCHANGED, Level
from backend.care.consent.models import Consent, ConsentText, Disclosure
from backend.care.consent.text import ConsentText as Text
from backend.care.consent.text import Stream, parse

RELEASED_FILES = Path(__file__).parent / "texts"
Key = tuple[Stream, int, str]
Row = TypeVar("Row", bound=Model)

# The decision that is in force: the newest that took effect. The database's care_agreed_to says the same.
_NEWEST = ("-received_at", "-decision")


def with_consent(stream: Stream, rows: QuerySet[Row], participant: str = "participant") -> QuerySet[Row]:
    """Those of the rows whose participant (by that field) has agreed to the stream as things stand."""
    newest = (
        Consent.objects.filter(participant=OuterRef(participant), stream=stream, ask_again_at__isnull=True)
        .order_by(*_NEWEST)
        .values("decision")[:1]
    )
    return rows.filter(Exact(Subquery(newest), Value(Consent.Decision.GIVEN)))


def with_research_consent(rows: QuerySet[Row], participant: str = "participant") -> QuerySet[Row]:
    """Those of the rows that may go into a research file: every export starts from here."""
    return with_consent(Stream.RESEARCH, rows, participant)


@cache
def released() -> Mapping[Key, Text]:
    """The texts that ship, by stream, version and language."""
    texts = (parse(file.read_text(encoding="utf-8"), file.name) for file in RELEASED_FILES.glob("*.toml"))
    return {(t.stream, t.version, t.language): t for t in texts}


def texts() -> dict[Key, Text]:
    """Every text there is, by stream, version and language; an operator's own before one that ships."""
    loaded = (_parsed(row.source, str(row)) for row in ConsentText.objects.all())
    return {**released(), **{(t.stream, t.version, t.language): t for t in loaded}}


def current() -> list[Text]:
    """The newest version of each stream's text in each language."""
    known = texts()
    newest = {(stream, language): known[stream, n, language] for stream, n, language in sorted(known)}
    order = list(Stream)
    return sorted(newest.values(), key=lambda text: (order.index(text.stream), text.language))


@cache
def _parsed(source: str, name: str) -> Text:
    return parse(source, name)


@dataclass(frozen=True, slots=True)
class Stand:
    """How one stream stands: the decision in force, and one that waits to be asked again."""

    in_force: Consent | None = None
    pending: Consent | None = None


def stands(participant_id: int) -> dict[Stream, Stand]:
    """How each stream stands for a participant."""
    ends = Consent.objects.filter(participant_id=participant_id).order_by("stream", *_NEWEST)
    effective = {Stream(c.stream): c for c in ends.filter(ask_again_at__isnull=True).distinct("stream")}
    waiting = {Stream(c.stream): c for c in ends.filter(ask_again_at__isnull=False).distinct("stream")}
    return {s: Stand(effective.get(s), _still(waiting.get(s), effective.get(s))) for s in Stream}


def _still(waiting: Consent | None, in_force: Consent | None) -> Consent | None:
    """A decision that waits, unless a later one took effect."""
    later = waiting and in_force and in_force.received_at >= waiting.received_at
    return None if later else waiting


def decisions(participant_id: int, *, before: tuple[datetime, UUID] | None, limit: int) -> list[Consent]:
    """A participant's decisions, newest first; `before` is where a page ended."""
    found = Consent.objects.filter(participant_id=participant_id)
    if before is not None:
        at, id_ = before
        found = found.filter(Q(received_at__lt=at) | Q(received_at=at, id__lt=id_))
    return list(found.order_by("-received_at", "-id")[:limit])


def taken_back(participant_id: int, *, at: datetime) -> list[Stream]:
    """The streams whose consent a participant took back at that very instant."""
    found = Consent.objects.filter(
        participant_id=participant_id, decision=Consent.Decision.WITHDRAWN, received_at=at
    ).values_list("stream", flat=True)
    return [stream for stream in Stream if stream in set(found)]


def disclosure(participant_id: int) -> Disclosure | None:
    """What the participant last said others are shown of their sessions; None where they never did."""
    return Disclosure.objects.filter(participant_id=participant_id).order_by("-id").first()


def levels(kept: Mapping[str, Any] | None) -> dict[str, Level]:
    """The levels in such a row, by viewer; those of somebody who never said anything for None."""
    return {viewer: Level(**kept[viewer]) if kept else level for viewer, level in UNCHANGED.items()}
