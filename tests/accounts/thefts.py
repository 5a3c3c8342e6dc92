"""T14, measured: what becomes of a refresh token that two have, and of a reply that one did not get."""

from collections import Counter
from dataclasses import dataclass
from functools import partial
from typing import Any

from django.test import Client

from backend.accounts.models import User
from backend.audit.models import Entry
from tests.accounts.phone import at_once, phone, refresh, signed_in, status


@dataclass(frozen=True)
class Thefts:
    """How many of each were tried, and what went wrong."""

    thief_first: int = 0
    victim_first: int = 0
    races: int = 0
    undetected: int = 0
    most_living: int = 0
    unaudited: int = 0


@dataclass(frozen=True)
class LostReplies:
    tried: int
    logged_out: int
    other_successors: int


def steal(user: User, *, thief_first: bool) -> tuple[bool, int]:
    """Whether a theft was found out, and how many audit rows say so.

    Both have the same token; each uses it, and then whatever they were given.
    """
    mine, theirs = phone(), phone()
    access, token = signed_in(mine, user)
    first, second = (theirs, mine) if thief_first else (mine, theirs)
    before = _replays(user)
    given = refresh(first, token)
    assert given is not None
    late = refresh(second, token)
    over = (
        late is None
        and refresh(first, given["refresh_token"]) is None
        and {status(first, t) for t in (access, given["access_token"])} == {401}
    )
    return over, _replays(user) - before


def race(user: User, *, at_the_same_time: int, one_phone: bool) -> tuple[int, int]:
    """How many different successors one token was given by as many at once, and how many still renew."""
    mine = phone()
    _, token = signed_in(mine, user)
    clients: list[Client] = [
        phone(device=mine.defaults["HTTP_X_DEVICE"] if one_phone else "") for _ in range(at_the_same_time)
    ]
    given: list[Any] = at_once([partial(refresh, client, token) for client in clients])
    successors = {g["refresh_token"] for g in given if g}
    living = [s for s in successors if refresh(clients[0], s)]
    return len(successors), len(living)


def lose_a_reply(user: User) -> tuple[bool, bool]:
    """Whether the phone is still signed in, and whether it was given the same successor again."""
    mine = phone()
    _, token = signed_in(mine, user)
    lost, again = refresh(mine, token), refresh(mine, token)
    same = bool(lost and again and lost["refresh_token"] == again["refresh_token"])
    onward = refresh(mine, again["refresh_token"]) if again else None
    return bool(onward and again and status(mine, onward["access_token"]) == 200), same


def measure_thefts(user: User, *, each: int, races: int, at_the_same_time: int) -> Thefts:
    """What a number of thefts of each kind came to."""
    tried = [steal(user, thief_first=first) for first in (True, False) for _ in range(each)]
    raced = [race(user, at_the_same_time=at_the_same_time, one_phone=n % 2 == 0) for n in range(races)]
    return Thefts(
        thief_first=each,
        victim_first=each,
        races=races,
        undetected=Counter(found for found, _ in tried)[False],
        most_living=max((living for _, living in raced), default=0),
        unaudited=sum(rows != 1 for _, rows in tried),
    )


def measure_lost_replies(user: User, *, tried: int) -> LostReplies:
    """What a number of lost replies came to."""
    runs = [lose_a_reply(user) for _ in range(tried)]
    return LostReplies(
        tried=tried,
        logged_out=sum(not still_in for still_in, _ in runs),
        other_successors=sum(not same for _, same in runs),
    )


def _replays(user: User) -> int:
    return Entry.objects.filter(actor=user.pk, action="refresh.replayed").count()
