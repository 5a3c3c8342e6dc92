"""The shape of an administration as a phone sends it. Pure: what it means is `scoring`'s to say."""

import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import orjson

from backend import wire

_CODE = re.compile(r"[a-z0-9][a-z0-9-]{0,63}", re.ASCII)
_ENTRY = frozenset(
    (
        "id",
        "instrument",
        "version",
        "started_at",
        "completed_at",
        "timezone",
        "assessment",
        "responses",
        "skipped",
    )
)
_CORRECTION = frozenset(("id", "responses", "reason"))
_LATEST_VERSION = 2**31 - 1
WHY_SKIPPED = ("declined", "skipped", "untouched")
# A phone's clock may be this far ahead of ours before its word is doubted.
_TOLERANCE = timedelta(minutes=5)

# What is wrong with an entry: the names that lead to the place, a stable code, a sentence.
Place = tuple[tuple[str, ...], str, str]
Faults = list[Place]


@dataclass(frozen=True, slots=True)
class Entry:
    """An administration whose envelope is right. `responses` holds answered items only."""

    id: UUID
    instrument: str
    version: int
    started_at: datetime | None
    completed_at: datetime
    timezone: str | None
    assessment: UUID | None
    responses: Mapping[str, Any]
    skipped: Mapping[str, str]

    @property
    def utc_offset(self) -> int:
        """How many minutes the phone's clock was ahead of UTC when it completed this."""
        return (self.completed_at.utcoffset() or timedelta()) // timedelta(minutes=1)

    def content_hash(self) -> bytes:
        """SHA-256 of the content, apart from its id: equal for equal content however it was spelt.

        Instants are compared as instants, 3.0 equals 3, an item left out equals null.
        """
        return _hash(
            [
                self.instrument,
                self.version,
                self.started_at and wire.utc(self.started_at),
                wire.utc(self.completed_at),
                self.timezone,
                self.assessment and str(self.assessment),
                sorted(self.responses.items()),
                sorted(self.skipped.items()),
            ]
        )


class Misfit(Exception):
    """An entry that does not have the shape."""

    def __init__(self, faults: Faults) -> None:
        super().__init__("an entry does not fit")
        self.faults = faults


@dataclass(frozen=True, slots=True)
class CorrectionEntry:
    """A correction whose envelope is right: all answers anew, and why."""

    id: UUID
    responses: Mapping[str, Any]
    reason: str

    def content_hash(self) -> bytes:
        """SHA-256 of the content, apart from its id."""
        return _hash([sorted(self.responses.items()), self.reason])


def read(body: object) -> Entry:
    """The entry in a parsed JSON body. Raises Misfit naming every place that is wrong."""
    fields = _Fields(body, _ENTRY)
    entry = Entry(
        id=fields.take("id", wire.uuid, "invalid_uuid"),
        instrument=fields.take("instrument", _code, "invalid_value"),
        version=fields.take("version", _version, "invalid_value"),
        started_at=fields.take("started_at", wire.instant, "invalid_datetime", required=False),
        completed_at=fields.take("completed_at", wire.instant, "invalid_datetime"),
        timezone=fields.take("timezone", _zone, "unknown_timezone", required=False),
        assessment=fields.take("assessment", wire.uuid, "invalid_uuid", required=False),
        responses=fields.take("responses", _responses, "wrong_type"),
        skipped=fields.take("skipped", _skipped, "wrong_type", required=False) or {},
    )
    for item, why in entry.skipped.items():
        if why not in WHY_SKIPPED:
            fields.faults.append((("skipped", item), "invalid_value", "declined, skipped or untouched."))
        elif entry.responses and item in entry.responses:
            fields.faults.append((("skipped", item), "answered_and_skipped", ""))
    fields.done()
    return entry


def read_correction(body: object) -> CorrectionEntry:
    """The correction in a parsed JSON body. Raises Misfit naming every place that is wrong."""
    fields = _Fields(body, _CORRECTION)
    correction = CorrectionEntry(
        id=fields.take("id", wire.uuid, "invalid_uuid"),
        responses=fields.take("responses", _responses, "wrong_type"),
        reason=fields.take("reason", _reason, "invalid_value"),
    )
    fields.done()
    return correction


def answered(responses: Mapping[str, Any]) -> dict[str, Any]:
    """The answered items: null is left out, and 3.0 becomes 3."""
    return {
        item: int(answer) if type(answer) is float and answer.is_integer() and abs(answer) < 2**53 else answer
        for item, answer in responses.items()
        if answer is not None
    }


def doubted_clock(entry: Entry, *, received_at: datetime, enrolled_at: datetime) -> str | None:
    """What is doubted about the phone's clock: a code, or None. Never a reason to refuse an answer."""
    if entry.completed_at > received_at + _TOLERANCE:
        return "in_the_future"
    if entry.started_at is not None and entry.started_at > entry.completed_at:
        return "starts_after_end"
    if entry.completed_at < enrolled_at:
        return "before_enrolment"
    return None


class _Fields:
    """A body's fields, taken one by one; what does not fit is noted, and raised together at the end."""

    def __init__(self, body: object, names: frozenset[str]) -> None:
        if not isinstance(body, dict):
            raise Misfit([((), "wrong_type", "")])
        self.body = body
        self.faults: Faults = [((name,), "unknown_field", "") for name in body if name not in names]

    def take(self, name: str, read: Callable[[object], Any], code: str, *, required: bool = True) -> Any:
        """The field as `read` has it; None, and a fault, where that has nothing or it is missing."""
        given = self.body.get(name)
        if given is None:
            if required:
                self.faults.append(((name,), "required", ""))
            return None
        value = read(given)
        if value is None:
            self.faults.append(((name,), code, ""))
        return value

    def done(self) -> None:
        """Nothing. Raises Misfit where there were faults."""
        if self.faults:
            raise Misfit(self.faults)


def _code(given: object) -> str | None:
    return given if isinstance(given, str) and _CODE.fullmatch(given) else None


def _version(given: object) -> int | None:
    return given if type(given) is int and 1 <= given <= _LATEST_VERSION else None


def _zone(given: object) -> str | None:
    return given if isinstance(given, str) and given in wire.zones() else None


def _reason(given: object) -> str | None:
    return given if isinstance(given, str) and len(given.strip()) >= 1 and len(given) <= 500 else None


def _responses(given: object) -> dict[str, Any] | None:
    return answered(given) if isinstance(given, dict) else None


def _skipped(given: object) -> dict[str, str] | None:
    if not isinstance(given, dict):
        return None
    return {item: why for item, why in given.items() if why is not None}


def _hash(content: list[Any]) -> bytes:
    return hashlib.sha256(orjson.dumps(content)).digest()
