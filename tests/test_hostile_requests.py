"""The hostile corpus over HTTP: at the route that takes answers, at its every place, and at sign-in."""

import json
from collections.abc import Callable
from time import perf_counter
from typing import Any

import pytest
from django.db import connection
from django.test import Client

from backend.care.models import Participant
from backend.errors import CODES
from tests.conftest import submission
from tests.hostile import CANARY, JSON, REFUSED, Case

ADMINISTRATIONS = "/api/v1/administrations"
LOGIN = "/_allauth/app/v1/auth/login"
REFRESH = "/_allauth/app/v1/tokens/refresh"
KEPT = ("scales_administration", "scales_quarantined", "changes_change", "audit_entry")
MARK = "the-value-stands-here"


@pytest.fixture
def phone(ana: Participant, client_for: Callable[[Participant], Client]) -> Client:
    client = client_for(ana)
    assert client.get("/api/v1/me").status_code == 200  # the routes are loaded: what follows can be timed
    return client


def send(
    phone: Client, body: bytes, content_type: str = JSON, path: str = ADMINISTRATIONS, **headers: str
) -> Any:
    return phone.generic("POST", path, body, CONTENT_TYPE=content_type, headers=headers)


def rows() -> list[int]:
    """How many rows hold what was sent or done."""
    with connection.cursor() as cursor:
        counts = []
        for table in KEPT:
            cursor.execute(f"SELECT count(*) FROM {table}")
            counts.append(cursor.fetchone()[0])
    return counts


def check_problem(answer: Any) -> dict[str, Any]:
    """The problem, of exactly the documented shape and repeating nothing."""
    problem: dict[str, Any] = json.loads(answer.content)
    assert answer["Content-Type"] == "application/problem+json"
    assert list(problem) == ["type", "title", "status", "code", "detail", "errors"]
    assert problem["status"] == answer.status_code
    assert {problem["code"], *(fault["code"] for fault in problem["errors"])} <= set(CODES)
    assert CANARY not in answer.content.decode()
    return problem


@pytest.mark.parametrize("case", REFUSED, ids=lambda case: case.name)
def test_an_unreadable_administration_is_refused_and_nothing_is_stored(
    case: Case, phone: Client, capfd: pytest.CaptureFixture[str]
) -> None:
    before = rows()

    started = perf_counter()
    answer = send(phone, case.body, case.content_type, **case.headers)
    seconds = perf_counter() - started

    assert (answer.status_code, check_problem(answer)["code"]) == (case.status, case.code)
    assert rows() == before
    assert seconds < 0.5
    assert CANARY not in capfd.readouterr().err
    assert send(phone, json.dumps(submission()).encode()).status_code == 201


# The value stands in for one of a sound administration's; what is refused there is kept for staff.
PLACES: list[tuple[str, ...]] = [
    ("id",), ("instrument",), ("version",), ("started_at",), ("completed_at",), ("timezone",),
    ("assessment",), ("responses",), ("responses", "scs07"), ("skipped",), ("skipped", "scs07"),
    ("unheard_of",),
]  # fmt: skip
# What reads as JSON, and is hardly ever what stands there.
ODD = [
    "true", "false", "null", "0", "-0.0", "1.5", "9007199254740991", "1e308", "5e-324", '""', '" "', '"3"',
    '"٣"', '"３"', '"\\u0001"', '"\\uffff"', '"\U0001f600"', '"a\\u202eb"', "[]", "{}", "[1]", '{"": ""}',
    '{"__proto__": 1}', '"0001-01-01T00:00:00+14:00"', '"9999-12-31T23:59:59-14:00"',
    '"2026-06-30T23:59:60Z"', '"2026-01-01T24:00:00Z"', '"2026-13-01T00:00:00Z"', '"2026-W01-1"',
    '"2026-01-01"', '"2026-01-01T10:00:00"', '"2026-01-01T10:00:00+99:99"', '"../../etc/passwd"',
    '"Europe/Berlin\\n"', '"localtime"', '"scs-26/../../x"', "\"'; DROP TABLE scales_administration; --\"",
    '"%s%n"', '"' + "x" * 100_000 + '"', "[" * 28 + "]" * 28, "[" + ",".join(["1"] * 1_900) + "]",
    "{" + ",".join(f'"k{i}":1' for i in range(1_900)) + "}", '{"scs07": {"a": [1]}}', '"urn:uuid:0"',
]  # fmt: skip


def placed(place: tuple[str, ...], value: str) -> bytes:
    """A sound administration with this text where one of its values stood."""
    body: dict[str, Any] = {**submission(), "started_at": None, "assessment": None, "skipped": {}}
    inner = body
    for step in place[:-1]:
        inner = inner[step]
    inner[place[-1]] = MARK
    return json.dumps(body).replace(f'"{MARK}"', value).encode()


@pytest.mark.parametrize("place", PLACES, ids="/".join)
def test_odd_values_at_every_place_are_answered_and_never_break(
    place: tuple[str, ...], phone: Client
) -> None:
    for value in ODD:
        started = perf_counter()
        answer = send(phone, placed(place, value))
        seconds = perf_counter() - started

        assert answer.status_code in {200, 201, 202, 422, 409}, (place, value[:60], answer.content)
        assert seconds < 0.5, (place, value[:60])
        if answer.status_code in {409, 422}:
            check_problem(answer)


@pytest.mark.parametrize("place", PLACES, ids="/".join)
def test_unreadable_values_at_every_place_are_told_apart(place: tuple[str, ...], phone: Client) -> None:
    unreadable = {
        '"\\u0000"': "nul_character", '"\\ud800"': "lone_surrogate", "NaN": "not_finite",
        "1e999": "number_out_of_range",
        "9223372036854775808": "number_out_of_range", "[" * 33 + "]" * 33: "too_deep",
        '{"a": 1, "a": 1}': "duplicate_key", "٣": "malformed_json", "1" * 5_000: "number_out_of_range",
    }  # fmt: skip
    before = rows()

    for value, code in unreadable.items():
        answer = send(phone, placed(place, value))
        assert (answer.status_code, check_problem(answer)["code"]) == (400, code)

    assert rows() == before


@pytest.mark.parametrize(
    ("answer", "code"),
    [("true", "not_a_number"), ("false", "not_a_number"), ('"3"', "not_a_number"), ('"٣"', "not_a_number"),
     ("[3]", "not_a_number"), ("0", "out_of_range"), ("6", "out_of_range"), ("-1", "out_of_range"),
     ("1e308", "out_of_range"), ("2.5", "off_step")],
)  # fmt: skip
def test_answers_that_are_none_of_the_scales(answer: str, code: str, phone: Client) -> None:
    problem = check_problem(send(phone, placed(("responses", "scs07"), answer)))

    assert (problem["status"], problem["code"]) == (422, "validation_failed")
    assert [(fault["pointer"], fault["code"]) for fault in problem["errors"]] == [("/responses/scs07", code)]


def test_a_hostile_item_name_is_cut_in_the_pointer(phone: Client) -> None:
    body = submission()
    body["responses"]["~/" * 50_000] = 3

    problem = check_problem(send(phone, json.dumps(body).encode()))

    (fault,) = problem["errors"]
    assert (fault["code"], len(fault["pointer"])) == ("unknown_item", 200)
    assert fault["pointer"].startswith("/responses/~0~1~0~1")


def test_who_may_is_decided_before_the_body_is_looked_at(client: Client, db: None) -> None:
    for case in REFUSED:
        answer = send(client, case.body, case.content_type, **case.headers)
        assert (answer.status_code, check_problem(answer)["code"]) == (401, "not_signed_in")


@pytest.mark.parametrize("path", [LOGIN, REFRESH])
def test_sign_in_survives_the_corpus(path: str, client: Client, db: None) -> None:
    for case in REFUSED:
        if case.body:
            answer = send(client, case.body, case.content_type, path, **case.headers)
            assert (answer.status_code, check_problem(answer)["code"]) == (case.status, case.code)


@pytest.mark.parametrize("value", ODD, ids=lambda value: value[:30])
def test_sign_in_survives_odd_values(value: str, client: Client, db: None) -> None:
    sound = json.dumps({"email": "ana@cast.example", "password": "not hers, and long enough"})
    for name in ("email", "password", "unheard_of"):
        body = json.loads(sound) | {name: MARK}
        answer = send(client, json.dumps(body).replace(f'"{MARK}"', value).encode(), path=LOGIN)
        assert answer.status_code in {400, 401, 409, 422, 429}, (name, value[:60])

    answer = send(client, f'{{"refresh_token": {value}}}'.encode(), path=REFRESH)
    assert answer.status_code in {400, 401, 422, 429}


@pytest.mark.parametrize(
    "path",
    ["/", "/api", "/api/v1/", "/api/v1/administrations/", "/api//v1/administrations",
     "/api/v1/%2e%2e/administrations", "/api/v1/..%2fadministrations", "/api/v1/administrations%00",
     "/api/v1/administrations/%ff%fe",
     "/api/v1/participants/%00", "/api/v1/participants/" + "9" * 5_000, "/api/v1/instruments/%0a",
     "/_allauth/", "/_allauth/app/v1/%00", "/api/v1/instruments/scs-26/versions/" + "9" * 5_000,
     "/api/v1/instruments/scs-26/versions/%D9%A1"],
    ids=lambda path: path[:40],
)  # fmt: skip
def test_paths_that_lead_nowhere_all_say_the_same(path: str, phone: Client) -> None:
    answer = phone.get(path)

    assert answer.status_code == 404
    assert check_problem(answer)["code"] == "not_found"
    assert answer.content == phone.get("/nowhere").content


@pytest.mark.parametrize(
    "query",
    ["?limit=0", "?limit=201", "?limit=-1", "?limit=٣", "?limit=1e2", "?limit=" + "9" * 5_000, "?cursor=%00",
     "?cursor=" + "A" * 5_000, "?cursor=%F0%9F%98%80", "?since=yesterday", "?since=%00", "?cursor=W10",
     "?instrument=%00", "?instrument=scs-26%00"],
)  # fmt: skip
def test_queries_that_cannot_be(query: str, phone: Client) -> None:
    answer = phone.get(ADMINISTRATIONS + query)

    assert answer.status_code == 422
    assert len(check_problem(answer)["errors"]) == 1


@pytest.mark.parametrize(
    "query",
    [
        "?instrument=" + "x" * 5_000,
        "?nothing=%ff",
        "?" + "&" * 60_000,
        "?" + "a=1&" * 3_000,
    ],
)
def test_queries_that_match_nothing_or_say_nothing(query: str, phone: Client) -> None:
    answer = phone.get(ADMINISTRATIONS + query)

    assert answer.status_code in {200, 400, 422}
    if answer.status_code != 200:
        check_problem(answer)
