"""100,000 requests of two clinics in turn, over two connections, with exceptions thrown on the way (T09)."""

import json
import os
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import connection
from django.test import Client

from backend.care.models import Participant
from backend.care.services import create_clinic
from tests.conftest import Copy, enrol, sign_in
from tests.turns import Report, alternate

SEED = int(os.environ.get("SEED") or time.time())
REQUESTS = 100_000


def test_nothing_of_one_clinic_reaches_the_other(
    database_copy: Copy, capsys: pytest.CaptureFixture[str]
) -> None:
    people = [enrol(name, create_clinic(name=name)) for name in ("ana", "cleo", "dora", "ella")]
    began = time.monotonic()

    with ThreadPoolExecutor(2) as pool:
        halves = list(pool.map(_half, (people[:2], people[2:]), (SEED, SEED + 1)))

    measured = {
        "test": "T09 two clinics",
        "seed": SEED,
        "requests": REQUESTS,
        "failed": sum(half.failed for half in halves),
        "crossed": sum(half.crossed for half in halves),
        "seconds": round(time.monotonic() - began, 1),
    }
    with capsys.disabled():
        print("\n" + json.dumps(measured))
    assert measured["crossed"] == 0
    assert sum(half.answered + half.failed for half in halves) == REQUESTS


def _half(people: list[Participant], seed: int) -> Report:
    clients = {}
    for person in people:
        assert person.user is not None
        clients[person.pseudonym] = Client(headers={"authorization": f"Bearer {sign_in(person.user)}"})
    try:
        return alternate(clients, requests=REQUESTS // 2, seed=seed, writes=0.0002)
    finally:
        connection.close()
