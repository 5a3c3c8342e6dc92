"""Administrations over HTTP, as a phone meets them: sent once, sent again, sent wrong."""

from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any
from uuid import UUID, uuid4

import orjson
import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from backend.care.models import Clinic, Participant
from backend.changes.models import Change
from backend.errors import pointer
from scales.models import Administration, Quarantined
from tests.conftest import ENROLLED_AT, responses, statements, submission
from tests.scales.phone import ClientFor, actions, counts, kept, opened, pointers, post, value
from tests.scales.test_cases import VECTORS

NOTHING = {"Administration": 0, "Correction": 0, "Quarantined": 0, "Trend": 0}


def test_a_first_submission_is_recorded_and_scored(ana: Participant, client_for: ClientFor) -> None:
    body = submission("scs-26", answer=3, started_at="2026-01-10T09:55:00+01:00", assessment=str(uuid4()))
    body["responses"] |= {"scs05": 5, "scs12": 4, "scs07": None}
    body["skipped"] = {"scs07": "declined"}
    before = timezone.now()

    answer = post(client_for(ana), body, **{"x-device": str(uuid4())})

    shown = answer.json()
    assert answer.status_code == 201
    assert before <= datetime.fromisoformat(shown.pop("received_at")) <= timezone.now()
    # (5 + 4 + 3 + 3 + 3) / 5; and item 7 is one of common humanity's four.
    assert shown.pop("scores")[:3] == [
        {"subscale": "self_kindness", "value": 3.6, "answered": 5, "of": 5, "higher_is": "better"},
        {"subscale": "self_judgment", "value": 3.0, "answered": 5, "of": 5, "higher_is": "worse"},
        {
            "subscale": "common_humanity",
            "value": None,
            "answered": 3,
            "of": 4,
            "higher_is": "better",
            "reason": "missing_answers",
        },
    ]
    assert shown == {
        "id": body["id"],
        "instrument": "scs-26",
        "version": 1,
        "started_at": "2026-01-10T09:55:00+01:00",
        "completed_at": "2026-01-10T10:00:00+01:00",
        "timezone": "Europe/Berlin",
        "assessment": body["assessment"],
        "clock": None,
        "safety": None,
    }
    assert counts() == NOTHING | {"Administration": 1, "Trend": 1}
    assert actions(ana) == ["administration.recorded"]
    change = Change.objects.exclude(kind="consent").get()
    assert (change.participant, change.kind, str(change.object)) == (ana.pk, "administration", body["id"])


def test_it_takes_two_statements(ana: Participant, client_for: ClientFor) -> None:
    client = client_for(ana)
    post(client, submission())

    with CaptureQueriesContext(connection) as caught:
        post(client, submission())

    # Who signs in and which participant that is, and everything written in one.
    assert len(statements(caught)) == 2, statements(caught)


def test_the_same_again_has_the_first_answer_byte_for_byte(ana: Participant, client_for: ClientFor) -> None:
    client, body = client_for(ana), submission("scs-26", answer=4, started_at="2026-01-10T09:00:00Z")

    first, *again = [post(client, body) for _ in range(4)]

    assert [first.status_code, *(a.status_code for a in again)] == [201, 200, 200, 200]
    assert {a.content for a in again} == {first.content}
    assert counts() == NOTHING | {"Administration": 1, "Trend": 1}
    assert actions(ana) == ["administration.recorded"]


@pytest.mark.parametrize(
    "spelling",
    [
        {"responses": responses("scs-26", 3.0, scs01=None)},
        {"responses": responses("scs-26", 3, scs01=None)},
        {"responses": {i: 3 for i in reversed(responses("scs-26", 3)) if i != "scs01"}},
        {"completed_at": "2026-01-10T09:00:00Z"},
        {"completed_at": "2026-01-10T09:00:00.000000+00:00"},
        {"completed_at": "2026-01-10t14:30:00+05:30"},
        {"started_at": None},
        {"assessment": None},
        {"skipped": None},
        {"skipped": {}},
        {"skipped": {"scs01": None}},
    ],
)
def test_equal_content_is_the_same_however_it_is_spelt(
    ana: Participant, client_for: ClientFor, spelling: dict[str, Any]
) -> None:
    body = submission("scs-26", answer=3)
    del body["responses"]["scs01"]
    client = client_for(ana)
    first = post(client, body)

    again = post(client, dict(reversed((body | spelling).items())))

    assert (first.status_code, again.status_code) == (201, 200)
    assert first.content == again.content


@pytest.mark.parametrize(
    "other",
    [
        {"responses": responses("scs-26", 3, scs01=4)},
        {"responses": responses("scs-26", 3, scs01=None)},
        {"completed_at": "2026-01-10T10:00:01+01:00"},
        {"started_at": "2026-01-10T09:00:00+01:00"},
        {"timezone": "Europe/Paris"},
        {"timezone": None},
        {"assessment": str(uuid4())},
        {"instrument": "wcs-19", "responses": responses("wcs-19", 3)},
        {"skipped": {"scs01": "declined"}, "responses": responses("scs-26", 3, scs01=None)},
    ],
)
def test_other_content_under_a_taken_id_is_a_conflict_and_both_are_kept(
    ana: Participant, client_for: ClientFor, other: dict[str, Any]
) -> None:
    client, body = client_for(ana), submission("scs-26", answer=3)
    first = post(client, body)

    second = [post(client, body | other) for _ in range(3)]

    assert [(a.status_code, a.json()["code"]) for a in second] == [(409, "conflict")] * 3
    assert kept() == [("conflict", UUID(body["id"]))]
    assert opened(Quarantined.objects.get()) == body | other
    assert post(client, body).content == first.content
    assert actions(ana) == ["administration.recorded", "administration.quarantined"]


def test_somebody_elses_id_is_a_conflict_that_reveals_nothing(
    ana: Participant, ben: Participant, client_for: ClientFor
) -> None:
    body, own = submission("scs-26", answer=5), submission("scs-26", answer=5)
    post(client_for(ana), body)
    client = client_for(ben)
    post(client, own)

    same, other = post(client, body), post(client, body | {"responses": responses("scs-26", 1)})
    of_his_own = post(client, own | {"timezone": None})

    assert [a.status_code for a in (same, other, of_his_own)] == [409] * 3
    assert same.content == other.content == of_his_own.content
    assert Administration.objects.get(id=body["id"]).participant == ana
    assert list(Quarantined.objects.values_list("participant", "kind")) == [(ben.pk, "conflict")] * 3


MISFITS: list[tuple[dict[str, Any], list[tuple[str, str]]]] = [
    ({"responses": {"scs01": 0}}, [("/responses/scs01", "out_of_range")]),
    ({"responses": {"scs01": 6}}, [("/responses/scs01", "out_of_range")]),
    ({"responses": {"scs01": 3.5}}, [("/responses/scs01", "off_step")]),
    ({"responses": {"scs01": True}}, [("/responses/scs01", "not_a_number")]),
    ({"responses": {"scs01": "3"}}, [("/responses/scs01", "not_a_number")]),
    ({"responses": {"scs01": [3]}}, [("/responses/scs01", "not_a_number")]),
    ({"responses": {"scs27": 3}}, [("/responses/scs27", "unknown_item")]),
    ({"responses": {"a/b~c": 3}}, [("/responses/a~1b~0c", "unknown_item")]),
    (
        {"responses": {"scs01": 9, "wcs01": 9}},
        [("/responses/scs01", "out_of_range"), ("/responses/wcs01", "unknown_item")],
    ),
    ({"responses": []}, [("/responses", "wrong_type")]),
    ({"responses": None}, [("/responses", "required")]),
    ({"skipped": {"scs01": "declined"}}, [("/skipped/scs01", "answered_and_skipped")]),
    ({"responses": {}, "skipped": {"scs01": "tired"}}, [("/skipped/scs01", "invalid_value")]),
    ({"responses": {}, "skipped": {"scs27": "declined"}}, [("/skipped/scs27", "unknown_item")]),
    ({"skipped": ["scs01"]}, [("/skipped", "wrong_type")]),
    ({"completed_at": None}, [("/completed_at", "required")]),
    ({"completed_at": "2026-01-10T10:00:00"}, [("/completed_at", "invalid_datetime")]),
    ({"completed_at": "2026-02-30T10:00:00Z"}, [("/completed_at", "invalid_datetime")]),
    ({"completed_at": 1768035600}, [("/completed_at", "invalid_datetime")]),
    ({"started_at": "yesterday"}, [("/started_at", "invalid_datetime")]),
    ({"timezone": "Mars/Olympus"}, [("/timezone", "unknown_timezone")]),
    ({"timezone": "../etc/passwd"}, [("/timezone", "unknown_timezone")]),
    ({"assessment": "x"}, [("/assessment", "invalid_uuid")]),
    ({"id": "x"}, [("/id", "invalid_uuid")]),
    ({"id": None}, [("/id", "required")]),
    ({"instrument": None}, [("/instrument", "required")]),
    ({"instrument": "SCS 26"}, [("/instrument", "invalid_value")]),
    ({"version": None}, [("/version", "required")]),
    ({"version": 0}, [("/version", "invalid_value")]),
    ({"version": True}, [("/version", "invalid_value")]),
    ({"version": 2**31}, [("/version", "invalid_value")]),
    ({"scores": [], "clinic": 1}, [("/scores", "unknown_field"), ("/clinic", "unknown_field")]),
    ({"received_at": "2020-01-01T00:00:00Z"}, [("/received_at", "unknown_field")]),
]


@pytest.mark.parametrize(("wrong", "places"), MISFITS)
def test_what_does_not_fit_is_named_kept_once_and_never_scored(
    ana: Participant, client_for: ClientFor, wrong: dict[str, Any], places: list[tuple[str, str]]
) -> None:
    client, body = client_for(ana), submission("scs-26", answer=3) | wrong

    first, *again = [post(client, body) for _ in range(3)]

    assert (first.status_code, first.json()["code"]) == (422, "validation_failed")
    assert pointers(first) == places
    assert [a.content for a in again] == [first.content] * 2
    assert counts() == NOTHING | {"Quarantined": 1}
    found = Quarantined.objects.get()
    assert (found.kind, found.participant, found.sent_by) == ("rejected", ana, ana.user)
    assert opened(found) == body
    assert [(pointer(*place), code) for place, code, _ in opened(found, "faults")] == places
    assert found.resolved_at is None
    assert actions(ana) == ["administration.quarantined"]


@pytest.mark.parametrize("body", [[], "x", 3, None, [submission()]])
def test_what_is_no_object_does_not_fit_either(ana: Participant, client_for: ClientFor, body: object) -> None:
    answer = client_for(ana).post(
        "/api/v1/administrations", orjson.dumps(body), content_type="application/json"
    )

    assert (answer.status_code, pointers(answer)) == (422, [("", "wrong_type")])
    assert opened(Quarantined.objects.get()) == body


def test_two_ids_with_the_same_misfit_are_two(ana: Participant, client_for: ClientFor) -> None:
    client, body = client_for(ana), submission("scs-26", answer=9)
    other = str(uuid4())

    for id_ in (body["id"], other, body["id"]):
        assert post(client, body | {"id": id_}).status_code == 422

    assert kept() == [("rejected", UUID(body["id"])), ("rejected", UUID(other))]


def test_a_misfit_put_right_is_recorded_under_the_same_id(ana: Participant, client_for: ClientFor) -> None:
    client, body = client_for(ana), submission("scs-26", answer=3)

    assert post(client, body | {"responses": {"scs01": 9}}).status_code == 422
    assert post(client, body).status_code == 201


def test_phq_9_is_not_switched_on_and_its_answers_are_kept(ana: Participant, client_for: ClientFor) -> None:
    body = submission("phq-9", answer=1)

    answers = [post(client_for(ana), body) for _ in range(2)]

    assert [(a.status_code, a.json()["code"]) for a in answers] == [(422, "not_enabled")] * 2
    assert counts() == NOTHING | {"Quarantined": 1}
    assert opened(Quarantined.objects.get()) == body


@pytest.mark.parametrize(
    ("fields", "doubt"),
    [
        ({"completed_at": "1970-01-01T00:00:00Z"}, "before_enrolment"),
        ({"completed_at": (ENROLLED_AT - timedelta(seconds=1)).isoformat()}, "before_enrolment"),
        ({"completed_at": ENROLLED_AT.isoformat()}, None),
        ({"completed_at": "2038-01-19T03:14:08Z"}, "in_the_future"),
        ({"completed_at": timedelta(hours=36)}, "in_the_future"),
        ({"completed_at": timedelta(minutes=6)}, "in_the_future"),
        ({"completed_at": timedelta(minutes=4)}, None),
        ({"completed_at": timedelta(hours=-36)}, None),
        ({"started_at": "2026-01-10T10:00:01+01:00"}, "starts_after_end"),
        ({"started_at": "2026-01-10T10:00:00+01:00"}, None),
    ],
)
def test_an_odd_clock_costs_no_answer(
    ana: Participant, client_for: ClientFor, fields: dict[str, Any], doubt: str | None
) -> None:
    for name, given in fields.items():
        if isinstance(given, timedelta):
            fields = fields | {name: (datetime.now(UTC) + given).isoformat()}
    client, body = client_for(ana), submission("scs-26", answer=3, **fields)

    first, again = post(client, body), post(client, body)

    assert (first.status_code, first.json()["clock"]) == (201, doubt)
    assert first.json()["completed_at"].replace("+00:00", "Z") == body["completed_at"].replace("+00:00", "Z")
    assert value(first, "total") == 3.0
    assert (again.status_code, again.content) == (200, first.content)


def test_a_clinic_may_choose_to_prorate(ana: Participant, linden: Clinic, client_for: ClientFor) -> None:
    body = submission("scs-26", answer=3)
    body["responses"] |= {"scs05": 5, "scs12": None}
    strict = post(client_for(ana), body)
    Clinic.objects.update(missing_answers="prorate")

    prorated = post(client_for(ana), body | {"id": str(uuid4())})

    # Of self-kindness's five one is missing: (5 + 3 + 3 + 3) / 4.
    assert (value(strict, "self_kindness"), value(strict, "total")) == (None, None)
    assert value(prorated, "total") == 3.0833
    assert prorated.json()["scores"][0] == {
        "subscale": "self_kindness",
        "value": 3.5,
        "answered": 4,
        "of": 5,
        "higher_is": "better",
        "prorated": True,
    }


def test_nothing_answered_is_an_administration_too(ana: Participant, client_for: ClientFor) -> None:
    answer = post(client_for(ana), submission(responses={}, skipped={"scs01": "untouched"}))

    assert answer.status_code == 201
    assert {(s["value"], s["answered"], s["reason"]) for s in answer.json()["scores"]} == {
        (None, 0, "missing_answers")
    }


@pytest.mark.parametrize("mean", ["0.03125", "0.09375", "12.46875", "12.34375", "0.00390625"])
def test_values_are_rounded_half_to_even_at_four_decimals(
    ana: Participant, client_for: ClientFor, mean: str
) -> None:
    client = client_for(ana)
    definition = client.get("/api/v1/instruments/wcs-19").json()
    items = next(s["items"] for s in definition["subscales"] if s["id"] == "world")
    # All of the subscale's sum in one slider, exact in binary too: the mean is a tie, or near one.
    answers = responses("wcs-19", 0) | {items[0]: float(Decimal(mean) * len(items))}

    answer = post(client, submission("wcs-19", responses=answers))

    expected = Decimal(mean).quantize(Decimal("0.0001"), ROUND_HALF_EVEN)
    assert Decimal(str(value(answer, "world"))) == expected


def test_who_sent_it_from_which_phone_is_kept(ana: Participant, client_for: ClientFor) -> None:
    client, device = client_for(ana), str(uuid4())
    sent = [submission() for _ in range(3)]

    for body, header in zip(sent, ({"x-device": device}, {"x-device": "my phone"}, {}), strict=True):
        assert post(client, body, **header).status_code == 201

    found = {str(a.id): a.device for a in Administration.objects.all()}
    assert found == {sent[0]["id"]: UUID(device), sent[1]["id"]: None, sent[2]["id"]: None}


SENDABLE = [
    pytest.param(code, vector["answers"], vector["expected"]["strict"], id=f"{code}-{vector['name']}")
    for code in ("scs-26", "scs-sf-12", "wcs-19", "gad-7", "pcl-5", "dass-21")
    for vector in VECTORS[code][:: len(VECTORS[code]) // 3][:3]
]


@pytest.mark.parametrize(("code", "answers", "expected"), SENDABLE)
def test_reference_vectors_over_http(
    ana: Participant, client_for: ClientFor, code: str, answers: list[Any], expected: dict[str, Any]
) -> None:
    sent = dict(zip(responses(code, 0), answers, strict=True))

    scores = post(client_for(ana), submission(code, responses=sent)).json()["scores"]

    named = {s["subscale"]: s["value"] for s in scores if s["subscale"] in expected}
    assert named
    # The vectors hold fifteen digits; nothing in them lies on a tie.
    assert named == {
        name: round(expected[name], 4) if isinstance(expected[name], float) else expected[name]
        for name in named
    }
