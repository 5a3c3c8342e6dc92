"""What keeps trends true: days counted from any session, and work that is never lost."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from time import monotonic, sleep
from typing import Any
from uuid import uuid4

import pytest
import redis
from celery.contrib.testing.worker import start_worker
from django.conf import settings
from django.db import connection, connections, transaction
from django.test import Client
from django.test.utils import CaptureQueriesContext

from backend import wake
from backend.care.models import Participant
from backend.care.services import create_clinic
from backend.celery import app
from scales.models import Trend
from scales.tasks import compute_trends
from tests.conftest import Copy, enrol, sign_in, statements, submission
from tests.scales.phone import ClientFor, correct, pointers, post
from tests.scales.test_corrections import correction
from tests.scales.test_trends import TRENDS, compute, of, send, session, trends


def test_an_anchor_counts_every_day_from_its_session(ana: Participant, client_for: ClientFor) -> None:
    client = client_for(ana)
    first = session(client, ana)
    second = session(client, ana, "2026-04-24T10:00:00+02:00")
    for day in (-9, 7, 35):
        send(client, day, 3.0)
    compute()

    def days(query: str = "") -> list[tuple[str, int, int]]:
        points = of(trends(client, query))["points"]
        return [(p["session"]["id"], p["session"]["ordinal"], p["session"]["day"]) for p in points]

    assert days() == [(first, 1, -9), (first, 1, 7), (second, 2, 7)]
    assert days(f"&anchor={first}") == [(first, 1, -9), (first, 1, 7), (first, 1, 35)]
    assert days(f"&anchor={second}") == [(second, 2, -37), (second, 2, -21), (second, 2, 7)]
    unanchored, anchored = trends(client), trends(client, f"&anchor={second}")
    for subscale in (*unanchored["subscales"], *anchored["subscales"]):
        del subscale["points"]
    assert unanchored == anchored


@pytest.mark.parametrize("computed", [True, False])
def test_a_foreign_anchor_is_one_that_never_was(
    ana: Participant, ben: Participant, client_for: ClientFor, computed: bool
) -> None:
    client = client_for(ana)
    his = session(client_for(ben), ben)
    if computed:
        send(client, 0, 3.0)
        compute()

    answers = [
        client.get(f"{TRENDS}?instrument=scs-26&anchor={anchor}") for anchor in (his, uuid4(), "x", "%00")
    ]

    assert {(a.status_code, a.content) for a in answers} == {(422, answers[0].content)}
    assert pointers(answers[0]) == [("/anchor", "invalid_value")]


@pytest.mark.parametrize(
    ("query", "place"),
    [
        ("", ("/instrument", "required")),
        ("?instrument=scs-27", ("/instrument", "invalid_value")),
        ("?instrument=", ("/instrument", "required")),
        ("?instrument=%00", ("/instrument", "invalid_value")),
    ],
)
def test_trends_are_of_one_instrument_there_is(
    ana: Participant, client_for: ClientFor, query: str, place: tuple[str, str]
) -> None:
    answer = client_for(ana).get(TRENDS + query)

    assert (answer.status_code, pointers(answer)) == (422, [place])


def test_a_correction_is_computed_anew(ana: Participant, client_for: ClientFor) -> None:
    client = client_for(ana)
    first = send(client, 0, 2.0)
    send(client, 30, 3.0)
    compute()

    correct(client, first, correction(4))

    assert not trends(client)["up_to_date"]
    compute()
    assert (of(trends(client))["baseline"]["value"], of(trends(client))["change"]) == (4.0, -1.0)


def test_a_clock_that_runs_ahead_is_not_the_latest_for_ever(ana: Participant, client_for: ClientFor) -> None:
    client = client_for(ana)
    send(client, 0, 2.0)
    ahead = submission(answer=5, completed_at="2038-01-19T03:14:08+00:00")
    post(client, ahead)
    compute()
    assert of(trends(client))["latest"] == 5.0

    soon = (datetime.now(UTC) + timedelta(minutes=2)).isoformat()
    post(client, submission(answer=4, completed_at=soon))
    compute()

    kindly = of(trends(client))
    assert kindly["latest"] == 4.0
    assert [p["value"] for p in kindly["points"]] == [2.0, 5.0, 4.0]
    assert kindly["points"][1]["completed_at"] == ahead["completed_at"]


def test_computing_twice_gives_the_same(ana: Participant, client_for: ClientFor) -> None:
    client = client_for(ana)
    session(client, ana)
    for day, value in ((-20, 2.4), (-9, 2.6), (7, 3.2), (28, 3.0)):
        send(client, day, value)
    compute()
    first = Trend.objects.get().result

    Trend.objects.update(computed=0)

    assert compute() == 1
    assert Trend.objects.get().result == first


@pytest.mark.parametrize("count", [1, 3])
def test_statements_do_not_grow_with_the_course(ana: Participant, client_for: ClientFor, count: int) -> None:
    client = client_for(ana)
    for day in range(count):
        send(client, day, 3.0)

    with CaptureQueriesContext(connection) as computing:
        compute()
    with CaptureQueriesContext(connection) as reading:
        assert len(of(trends(client))["points"]) == count

    # Reading: who signs in, and the trend as the worker left it.
    assert (len(statements(computing)), len(statements(reading))) == (9, 2)


@pytest.fixture
def her(database_copy: Copy) -> Participant:
    """Ana, in a database where others see what she commits."""
    return enrol("ana", create_clinic(name="Linden"))


@pytest.fixture
def client(her: Participant) -> Client:
    assert her.user is not None
    return Client(headers={"authorization": f"Bearer {sign_in(her.user)}"})


def test_what_is_asked_for_while_computing_is_not_lost(her: Participant, client: Client) -> None:
    send(client, 0, 2.0)

    def compute_elsewhere() -> int:
        try:
            return compute()
        finally:
            connections.close_all()

    with ThreadPoolExecutor(1) as pool:
        with transaction.atomic():
            # Whoever computes has read by then, and waits to write until this is committed.
            Trend.objects.select_for_update().get()
            computing = pool.submit(compute_elsewhere)
            _until(_somebody_waits)
            send(client, 1, 4.0)
        assert computing.result(timeout=10) == 1

    assert not trends(client)["up_to_date"]
    assert [p["value"] for p in of(trends(client))["points"]] == [2.0]
    assert compute() == 1
    assert [p["value"] for p in of(trends(client))["points"]] == [2.0, 4.0]


def _somebody_waits() -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted)")
        return bool(cursor.fetchone()[0])


def _until(true: Any, seconds: float = 5.0) -> None:
    end = monotonic() + seconds
    while not true():
        assert monotonic() < end, f"not within {seconds} s"
        sleep(0.02)


@contextmanager
def worker() -> Iterator[None]:
    with start_worker(app, pool="solo", perform_ping_check=False, shutdown_timeout=10):
        yield


def _lose_messages() -> None:
    with redis.Redis.from_url(settings.REDIS_URL) as broker:
        broker.delete("celery")


def test_a_worker_is_woken_by_a_submission(her: Participant, client: Client) -> None:
    _lose_messages()
    sleep(wake.AT_MOST_EVERY)

    with worker():
        send(client, 0, 3.4)
        _until(lambda: trends(client)["up_to_date"])

    assert of(trends(client))["latest"] == 3.4


def test_a_lost_message_costs_time_and_no_work(her: Participant, client: Client) -> None:
    sleep(wake.AT_MOST_EVERY)
    send(client, 0, 3.4)
    _lose_messages()

    with worker():
        sleep(1)
        assert not trends(client)["up_to_date"]
        compute_trends.delay()  # as beat does, every 2 seconds
        _until(lambda: trends(client)["up_to_date"])

    assert of(trends(client))["latest"] == 3.4
