"""Values as they stand on the wire: instants, ids and zones, read and written one way everywhere."""

import re
from datetime import UTC, datetime
from functools import cache
from uuid import UUID
from zoneinfo import available_timezones

# RFC 3339 section 5.6. `datetime.fromisoformat` alone also takes week dates and commas.
_INSTANT = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:[Zz]|[+-]\d\d:\d\d)", re.ASCII)
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", re.ASCII | re.IGNORECASE)


def instant(text: object) -> datetime | None:
    """The instant an RFC 3339 text names, in the text's own offset; None where it names none.

    Years 1 and 9999 are refused: in some zone they fall off the calendar. Digits beyond
    microseconds are dropped.
    """
    if not isinstance(text, str) or not _INSTANT.fullmatch(text):
        return None
    try:
        at = datetime.fromisoformat(text.upper())
    except ValueError:
        return None
    return at if 1 < at.year < 9999 else None


def uuid(text: object) -> UUID | None:
    """The UUID in its canonical form with hyphens, of any version; None for anything else."""
    if isinstance(text, str) and _UUID.fullmatch(text):
        return UUID(text)
    return None


@cache
def zones() -> frozenset[str]:
    """Every IANA zone name known here, links included."""
    return frozenset(available_timezones() - {"localtime", "posixrules", "Factory"})


def rfc3339(at: datetime) -> str:
    """The instant as text, with its own offset (UTC where it came from the database)."""
    return at.isoformat()


def utc(at: datetime) -> str:
    """The instant as text in UTC: equal instants give equal text."""
    return at.astimezone(UTC).isoformat()
