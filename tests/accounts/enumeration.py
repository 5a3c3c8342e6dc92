"""T16, measured: what a stranger can tell of an account from the answers and from their time."""

import re
import statistics
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import product
from random import Random
from time import perf_counter, process_time
from typing import Any

from django.db import connection
from django.test.utils import CaptureQueriesContext

from backend.accounts.models import Guess, User
from backend.accounts.services import create_user, suspend_user
from tests.accounts.phone import PASSWORD, phone, send

# Of everybody there is the address and, where there is one, the password is PASSWORD; it is never sent.
KINDS = ("exists", "not", "suspended", "unusable", "invited")
ROUTES: dict[str, Callable[[str], tuple[str, dict[str, Any]]]] = {
    "login": lambda email: ("auth/login", {"email": email, "password": "seven strange cranes"}),
    "reset": lambda email: ("auth/password/request", {"email": email}),
    "code": lambda email: ("auth/code/request", {"email": email}),
}
# What differs between any two answers: a new session's name, a request's reference.
_RANDOM = re.compile(rb'"session_token": "[a-z0-9]{32}"')


@dataclass
class Differences:
    """By route: bytes and headers that differ between any two kinds of account, and their times apart."""

    samples: int
    bytes: dict[str, int] = field(default_factory=dict)
    headers: dict[str, int] = field(default_factory=dict)
    statuses: dict[str, int] = field(default_factory=dict)
    medians_apart_ms: dict[str, float] = field(default_factory=dict)
    cpu_apart: dict[str, float] = field(default_factory=dict)  # slowest kind over quickest
    statements: dict[str, list[int]] = field(default_factory=dict)
    auc: dict[str, float] = field(default_factory=dict)


def people() -> dict[str, str]:
    """An address of each kind."""
    by = create_user(email="rosa@cast.example", password=None)
    everybody = {kind: f"{kind}@cast.example" for kind in KINDS}
    create_user(email=everybody["exists"], password=PASSWORD)
    suspended = create_user(email=everybody["suspended"], password=PASSWORD)
    suspend_user(user=suspended, by=by)
    create_user(email=everybody["unusable"], password=None)
    invited = create_user(email=everybody["invited"], password=None)
    User.objects.filter(pk=invited.pk).update(last_login=None)
    return everybody


def measure(*, samples: int, seed: int) -> Differences:
    """What differs, over that many answers for each kind at each route, in an order drawn by the seed."""
    everybody, random = people(), Random(seed)
    found = Differences(samples)
    for route, ask in ROUTES.items():
        times: dict[str, list[float]] = {kind: [] for kind in KINDS}
        cpu: dict[str, list[float]] = {kind: [] for kind in KINDS}
        statements: set[int] = set()
        seen: set[tuple[int, tuple[tuple[str, str], ...], bytes]] = set()
        for _ in range(samples):
            for kind in random.sample(KINDS, len(KINDS)):
                Guess.objects.all().delete()
                client = phone()
                address, body = ask(everybody[kind])
                connection.queries_log.clear()  # it has an end, where counting would stop
                with CaptureQueriesContext(connection) as captured:
                    started, used = perf_counter(), process_time()
                    answer = send(client, address, body)
                    cpu[kind].append(process_time() - used)
                    times[kind].append((perf_counter() - started) * 1000)
                statements.add(len(captured))
                seen.add(what_is_seen(answer))
        medians = [statistics.median(t) for t in times.values()]
        found.statuses[route] = len({status for status, _, _ in seen}) - 1
        found.headers[route] = len({headers for _, headers, _ in seen}) - 1
        found.bytes[route] = len({body for _, _, body in seen}) - 1
        found.medians_apart_ms[route] = round(max(medians) - min(medians), 3)
        medians = [statistics.median(t) for t in cpu.values()]
        found.cpu_apart[route] = round(max(medians) / min(medians), 3)
        found.statements[route] = sorted(statements)
        found.auc[route] = round(
            max(abs(auc(times[a], times[b]) - 0.5) for a, b in product(KINDS, KINDS) if a < b) + 0.5, 3
        )
    return found


def what_is_seen(answer: Any) -> tuple[int, tuple[tuple[str, str], ...], bytes]:
    """Status, headers and body without what is random in every answer, its length kept."""
    headers = tuple(sorted((k, v) for k, v in answer.items() if k not in ("X-Request-Id", "Expires", "Date")))
    return answer.status_code, headers, _RANDOM.sub(b'"session_token": "..."', answer.content)


def auc(ones: list[float], others: list[float]) -> float:
    """How often one of the first takes longer than one of the second: 0.5 where nothing can be told."""
    ranked = sorted([(t, 0) for t in ones] + [(t, 1) for t in others])
    ranks = sum(rank for rank, (_, which) in enumerate(ranked, 1) if which == 0)
    return (ranks - len(ones) * (len(ones) + 1) / 2) / (len(ones) * len(others))
