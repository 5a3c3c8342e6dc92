"""Where a date falls among a person's dosing sessions. Pure; the zone and every time are arguments.

A day is a difference of local calendar dates: the evening before a session is day -1 however few hours
lie between, and a clock change moves nothing.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

# Around a session people are easily led, by themselves too. What widens who sees them can wait.
SUGGESTIBLE_BEFORE = timedelta(hours=24)
SUGGESTIBLE_AFTER = timedelta(hours=72)


@dataclass(frozen=True, slots=True)
class Session:
    """A dosing session: its place among the person's own, from 1, its instant and its local date."""

    id: str
    ordinal: int
    at: datetime
    on: date


def local_date(at: datetime, zone: str) -> date:
    """The calendar date of an aware instant in a zone, given by its IANA name."""
    if at.tzinfo is None:
        raise ValueError("an instant must be aware")
    return at.astimezone(ZoneInfo(zone)).date()


def order(sessions: Iterable[tuple[str, datetime, date]]) -> list[Session]:
    """One person's sessions from (id, instant, local date), first to last, numbered from 1."""
    by_time = sorted(sessions, key=lambda session: (session[1], session[0]))
    return [Session(id_, ordinal, at, on) for ordinal, (id_, at, on) in enumerate(by_time, 1)]


def place(on: date, sessions: Sequence[Session]) -> tuple[Session, int] | None:
    """The latest session on or before a date, and the day counted from it; before the first session,
    that one with a negative day; None for a person without sessions.
    """
    if not sessions:
        return None
    past = [session for session in sessions if session.on <= on]
    session = past[-1] if past else sessions[0]
    return session, day(on, session)


def day(on: date, session: Session) -> int:
    """Days from a session's local date to a date: 0 on the day itself, negative before."""
    return (on - session.on).days


def suggestible_until(at: datetime, sessions: Iterable[datetime]) -> datetime | None:
    """When the suggestible days end that an instant falls in; None for one that falls in none.

    They go from 24 hours before a session until 72 hours after it. The end is the first instant outside,
    and where the next session's begin by then, theirs is.
    """
    until = None
    for start in sorted(sessions):
        if start - SUGGESTIBLE_BEFORE <= (until or at) < start + SUGGESTIBLE_AFTER:
            until = start + SUGGESTIBLE_AFTER
    return until
