"""Two clinics taking turns on one connection, with exceptions thrown on the way: T09 of the battery.

Every statement has lost its WHERE: only the second wall stands.
"""

import random
import re
from dataclasses import dataclass
from typing import Any

from django.db import connection
from django.test import Client

from tests.conftest import submission

WITHOUT_A_WHERE = re.compile(r'((?:\w+|"\w+")\.)?"?participant_id"? = %s|"\w+"\."user_id" = %s')


def as_if_all(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
    """Every statement as if it had been written without saying whose rows it wants."""
    return execute(WITHOUT_A_WHERE.sub("%s::bigint IS NOT NULL", sql), params, many, context)


class ThrownError(Exception):
    """What nobody foresaw, in the middle of a request."""


@dataclass
class Report:
    """What came of it. `crossed`: answers that told one of the other, or of nobody where it was their own."""

    answered: int = 0
    failed: int = 0
    crossed: int = 0


def alternate(clients: dict[str, Client], *, requests: int, seed: int, writes: float = 0.05) -> Report:
    """The report on so many requests, each client's in turn: reads, writes, and one in ten thrown out of."""
    chance = random.Random(seed)
    report = Report()
    sent: dict[str, set[str]] = {name: set() for name in clients}
    for name, client in clients.items():
        client.raise_request_exception = False
        _send(client, sent[name])
    for number in range(requests):
        name = list(clients)[number % len(clients)]
        throw_at = chance.randrange(1, 4) if chance.random() < 0.1 else 0
        answer, told = _one(clients[name], sent[name], chance.random() < writes, throw_at)
        others = set().union(*(ids for other, ids in sent.items() if other != name))
        report.failed += answer.status_code >= 500
        report.answered += answer.status_code < 300
        if told & others or (answer.status_code < 300 and not told & sent[name]):
            report.crossed += 1
    return report


def _one(client: Client, own: set[str], write: bool, throw_at: int) -> tuple[Any, set[str]]:
    """An answer, and the ids it tells of."""
    left = throw_at

    def throw(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        nonlocal left
        if sql.startswith(("SELECT concat(", "SELECT a.id", "\nWITH recorded")):
            left -= 1
            if left == 0:
                raise ThrownError
        return execute(sql, params, many, context)

    with connection.execute_wrapper(as_if_all), connection.execute_wrapper(throw):
        answer = _send(client, own) if write else client.get("/api/v1/administrations?limit=20")
    if answer.status_code >= 500:
        return answer, set()
    data = answer.json()
    return answer, {row["id"] for row in data.get("results", [data])}


def _send(client: Client, own: set[str]) -> Any:
    body = submission()
    own.add(body["id"])
    answer = client.post("/api/v1/administrations", body, content_type="application/json")
    if answer.status_code >= 500:
        own.discard(body["id"])
    return answer
