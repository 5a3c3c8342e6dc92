"""`make battery`: T14 to T17 at length. Each prints what was measured, one JSON object a line.

What makes each of them fail, tried by hand:
T14: drop `select_for_update` in `families._locked_family`, and a race has several living successors; make
     `turn` answer SAME_AGAIN to any earlier token, and no theft is found out.
T15: count after the guess instead of before in `middleware._answer`, and fifty at once are fifty; let
     `_network` read X-Forwarded-For, and every forged header is a new client.
T16: send the message within `adapter.send_mail`, or return early where there is no user.
T17: leave out `end_families` in `services.revoke_device`: its tokens live on.
"""

import os
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any
from uuid import uuid4

import orjson
import pytest
from django.conf import settings
from pytest_django import Settings
from redis import Redis

from backend.accounts import throttle
from backend.accounts.models import Guess
from backend.accounts.services import create_user
from backend.accounts.throttle import Account, Throttled
from tests.accounts import enumeration, revocations, thefts
from tests.accounts.phone import at_once
from tests.conftest import Copy
from tests.hashers import SHIPPED

SEED = int(os.environ.get("SEED") or 20261123)
NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
Say = Callable[..., None]


@pytest.fixture(autouse=True)
def as_shipped(settings: Settings) -> None:
    """Comparing a password costs what it costs."""
    settings.PASSWORD_HASHERS = SHIPPED


@pytest.fixture
def say(capsys: pytest.CaptureFixture[str]) -> Say:
    def line(test: str, **measured: Any) -> None:
        with capsys.disabled():
            print("\n" + orjson.dumps({"test": test, **measured}).decode())

    return line


def test_t14_refresh_theft(database_copy: Copy, say: Say) -> None:
    user = create_user(email="mia@cast.example", password=None)
    found = thefts.measure_thefts(user, each=450, races=100, at_the_same_time=50)
    lost = thefts.measure_lost_replies(user, tried=500)

    say("T14", thefts=asdict(found), lost_replies=asdict(lost))
    assert (found.undetected, found.unaudited) == (0, 0)
    assert found.most_living <= 1
    assert (lost.logged_out, lost.other_successors) == (0, 0)


def test_t15_guessing(database_copy: Copy, say: Say) -> None:
    broker = Redis.from_url(settings.REDIS_URL)
    used = int(broker.info("memory")["used_memory"])
    through = {
        "1 address x 20,000 guesses at 1,000 accounts": _let_through(
            (f"a{n % 1000}@cast.example", "192.0.2.1", None) for n in range(20_000)
        ),
        "1,000 addresses x 1 account": _let_through(
            ("one@cast.example", f"198.18.{n >> 8}.{n & 255}", None) for n in range(1_000)
        ),
        "1 password x 5,000 accounts": _let_through(
            (f"b{n}@cast.example", "192.0.2.2", None) for n in range(5_000)
        ),
        "10,000 made-up devices x 1 account": _let_through(
            ("two@cast.example", f"198.19.{n >> 8}.{n & 255}", uuid4()) for n in range(10_000)
        ),
    }
    broker.flushall()
    after_flush = _let_through(("one@cast.example", f"198.20.0.{n}", None) for n in range(250))
    at_the_same_time = sum(at_once([partial(_guess, "three@cast.example", "192.0.2.3", None)] * 50))
    grown = int(broker.info("memory")["used_memory"]) - used

    say(
        "T15",
        let_through=through,
        after_a_flush=after_flush,
        of_fifty_at_once=at_the_same_time,
        broker_grew_bytes=grown,
        rows=Guess.objects.count(),
    )
    assert list(through.values()) == [500, 10, 50, 10]
    assert (after_flush, at_the_same_time) == (0, 10)
    assert grown < 10 * 1024 * 1024


def test_t15_a_hundred_failures_ever(database_copy: Copy, say: Say) -> None:
    hours = 24 * 60
    through = sum(
        _guess("one@cast.example", f"198.18.{n >> 8}.{n & 255}", None, NOW + timedelta(hours=n))
        for n in range(hours)
    )

    say("T15 in a row", hours=hours, let_through=through)
    assert through == 100


def test_t16_enumeration(database_copy: Copy, say: Say) -> None:
    found = enumeration.measure(samples=int(os.environ.get("SAMPLES") or 200), seed=SEED)

    say("T16", **asdict(found))
    nothing = dict.fromkeys(enumeration.ROUTES, 0)
    assert (found.statuses, found.headers, found.bytes) == (nothing, nothing, nothing)
    # The clock's figures are for reading: neighbours on the machine are in them.
    assert {route: apart < 1.2 for route, apart in found.cpu_apart.items()} == dict.fromkeys(nothing, True)
    assert {route: len(counts) for route, counts in found.statements.items()} == dict.fromkeys(nothing, 1)


@pytest.mark.parametrize("ending", revocations.ENDINGS)
def test_t17_revocation(database_copy: Copy, say: Say, ending: str) -> None:
    found = revocations.measure(ending, times=20 if "changing" in ending else 125)

    say("T17", ending=ending, **asdict(found))
    assert (found.still_let_in, found.still_renewed) == (0, 0)
    assert found.slowest_ms < 5000


def _guess(email: str, client: str, device: Any, now: datetime = NOW) -> bool:
    """Whether the guess was let through."""
    try:
        throttle.admit(
            kind="password", account=Account(None, email), client=client, installation=device, now=now
        )
    except Throttled:
        return False
    return True


def _let_through(tries: Any) -> int:
    return sum(_guess(*one) for one in tries)
