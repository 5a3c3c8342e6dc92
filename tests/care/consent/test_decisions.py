"""Consents over HTTP: the texts, a decision, sent again, taken back, and what stands."""

import hashlib
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.db import IntegrityError, connection, transaction
from django.db.models import QuerySet
from django.test.utils import CaptureQueriesContext

from backend.audit.models import Entry
from backend.care.consent.queries import with_research_consent
from backend.care.consent.services import set_hold
from backend.care.consent.text import Stream
from backend.care.models import Clinic, Consent, Membership, Participant
from backend.changes.models import Change
from scales.models import Administration
from tests.care.consent.phone import (
    MINE,
    STREAMS,
    TEXTS,
    ClientFor,
    current,
    in_days,
    no,
    post,
    record_session,
    standing,
    yes,
)
from tests.conftest import ENROLLED_AT, decide, enrol, statements, submission
from tests.scales.phone import pointers

DEVICE = "0199f1aa-3c00-7d10-9a77-0b6f5c1d2e99"
AT = "2026-03-01T10:00:00+01:00"


@pytest.fixture
def dora(linden: Clinic) -> Participant:
    """A participant who decided nothing yet."""
    return enrol("dora", linden)


def test_the_texts_and_how_ones_streams_stand(ana: Participant, client_for: ClientFor) -> None:
    found = client_for(ana).get(TEXTS).json()

    assert list(found) == ["results", "next", "streams", "asking"]
    assert [(t["stream"], t["version"], t["language"]) for t in found["results"]] == [
        (stream, 1, language) for stream in STREAMS for language in ("de", "en")
    ]
    for text in found["results"]:
        assert text["text_hash"] == hashlib.sha256(text["text"].encode()).hexdigest()
        assert text["text"].startswith(text["title"] + "\n\n")
        assert text["consequence"]["given"] in text["text"]
        assert text["consequence"]["not_given"] in text["text"]
        assert text["rules"] == ({"worse_scores": "at_once"} if text["stream"] == "care" else {})
    care, *others = found["streams"]
    at = "2024-01-01T00:00:00+00:00"
    assert care == {
        "stream": "care",
        "decision": "given",
        "version": 1,
        "language": "en",
        "rules": {"worse_scores": "at_once"},
        "decided_at": at,
        "received_at": at,
        "pending": None,
    }
    assert [(s["stream"], s["decision"], s["pending"]) for s in others] == [
        (stream, None, None) for stream in STREAMS[1:]
    ]
    assert found["asking"] == {"allowed": True, "again_at": None}


def test_staff_read_the_texts_and_have_no_streams(thea: Membership, client_for: ClientFor) -> None:
    found = client_for(thea).get(TEXTS).json()

    assert (len(found["results"]), found["streams"], found["asking"]) == (8, None, None)


def test_a_consent_is_recorded_with_its_words_its_date_and_its_device(
    dora: Participant, client_for: ClientFor
) -> None:
    client = client_for(dora)
    body = yes(client, decided_at=AT, timezone="Europe/Berlin")

    answer = post(client, body, **{"X-Device": DEVICE})

    found = answer.json()
    assert answer.status_code == 201
    received_at = datetime.fromisoformat(found.pop("received_at"))
    assert found == body | {
        "decided_at": "2026-03-01T09:00:00+00:00",
        "device": DEVICE,
        "status": "in_force",
        "ask_again_at": None,
    }
    kept = Consent.objects.get()
    assert (kept.participant_id, kept.clinic_id, kept.received_at) == (dora.pk, dora.clinic_id, received_at)
    assert [(c.kind, str(c.object)) for c in Change.objects.filter(participant=dora.pk)] == [
        ("consent", body["id"])
    ]
    entry = Entry.objects.get(action="consent.given")
    assert (entry.actor, entry.participant, entry.clinic, entry.subject) == (
        dora.user_id,
        dora.pk,
        dora.clinic_id,
        body["id"],
    )


def test_the_same_again_is_the_same(dora: Participant, client_for: ClientFor) -> None:
    client = client_for(dora)
    body = yes(client, decided_at=AT)
    first = post(client, body)

    again = [
        post(client, body),
        post(client, body | {"decided_at": "2026-03-01T09:00:00Z", "timezone": None}),
        post(client, {k: v for k, v in body.items() if k != "rules"}),
        post(client, body, **{"X-Device": DEVICE}),
    ]

    assert [first.status_code, *(a.status_code for a in again)] == [201, 200, 200, 200, 200]
    assert {a.content for a in again} == {first.content}
    assert (Consent.objects.count(), Entry.objects.filter(action="consent.given").count()) == (1, 1)


@pytest.mark.parametrize(
    "other",
    [
        {"stream": "research"},
        {"decision": "withdrawn"},
        {"decided_at": "2026-03-01T10:00:01+01:00"},
        {"language": "de"},
        {"timezone": "Europe/Berlin"},
        {"version": 2},
        {"rules": {"worse_scores": "with_therapist", "hold_hours": 72}},
    ],
)
def test_other_content_under_the_same_id_is_a_conflict(
    dora: Participant, client_for: ClientFor, other: dict[str, Any]
) -> None:
    client = client_for(dora)
    body = yes(client, decided_at=AT)
    assert post(client, body).status_code == 201

    answer = post(client, body | other)

    assert (answer.status_code, answer.json()["code"]) == (409, "conflict")
    assert Consent.objects.count() == 1


def test_an_id_of_somebody_elses_is_a_conflict_and_decides_nothing(
    dora: Participant, ben: Participant, client_for: ClientFor
) -> None:
    taken = Consent.objects.get(participant=ben)
    client = client_for(dora)

    answer = post(client, yes(client, id=str(taken.pk)))

    assert (answer.status_code, answer.json()["code"]) == (409, "conflict")
    assert standing(client) == dict.fromkeys(STREAMS)
    assert Consent.objects.get(pk=taken.pk).participant == ben


@pytest.mark.parametrize(
    ("wrong", "places"),
    [
        ({"text_hash": "0" * 64}, [("/text_hash", "unknown_text")]),
        ({"version": 2}, [("/text_hash", "unknown_text")]),
        ({"language": "de"}, [("/text_hash", "unknown_text")]),
        ({"language": "fr"}, [("/text_hash", "unknown_text")]),
        ({"stream": "research", "rules": None}, [("/text_hash", "unknown_text")]),
        ({"rules": {}}, [("/text_hash", "unknown_text")]),
        ({"rules": {"worse_scores": "with_therapist"}}, [("/text_hash", "unknown_text")]),
        ({"rules": {"worse_scores": "at_once", "hold_hours": 72}}, [("/text_hash", "unknown_text")]),
        ({"rules": {"hold_hours": 73}}, [("/rules/hold_hours", "invalid_value")]),
        ({"rules": {"hold_hours": True}}, [("/rules/hold_hours", "wrong_type")]),
        ({"rules": {"worse_scores": "never"}}, [("/rules/worse_scores", "invalid_value")]),
        ({"rules": {"clinic": 1}}, [("/rules/clinic", "unknown_field")]),
        ({"rules": []}, [("/rules", "invalid_value")]),
        ({"stream": "marketing"}, [("/stream", "invalid_value")]),
        ({"decision": "maybe"}, [("/decision", "invalid_value")]),
        ({"version": "1"}, [("/version", "wrong_type")]),
        ({"version": True}, [("/version", "wrong_type")]),
        ({"version": 0}, [("/version", "invalid_value")]),
        ({"version": None}, [("/version", "required")]),
        ({"language": 1}, [("/language", "wrong_type")]),
        ({"text_hash": None}, [("/text_hash", "required")]),
        ({"decided_at": "2026-03-01"}, [("/decided_at", "invalid_datetime")]),
        ({"timezone": "Mars/Olympus"}, [("/timezone", "unknown_timezone")]),
        ({"id": "one"}, [("/id", "invalid_uuid")]),
        ({"participant": 1}, [("/participant", "unknown_field")]),
        ({"decision": "withdrawn", "text_hash": None}, [("/text_hash", "required")]),
        ({"decision": "withdrawn", "text_hash": "0" * 64}, [("/text_hash", "unknown_text")]),
    ],
)
def test_what_does_not_fit_is_named_and_nothing_is_decided(
    dora: Participant, client_for: ClientFor, wrong: dict[str, Any], places: list[tuple[str, str]]
) -> None:
    client = client_for(dora)

    answer = post(client, yes(client) | wrong)

    assert (answer.status_code, pointers(answer)) == (422, places)
    assert Consent.objects.count() == 0


def test_streams_are_given_and_taken_back_apart(dora: Participant, client_for: ClientFor) -> None:
    client = client_for(dora)
    for stream in STREAMS:
        assert post(client, yes(client, stream)).status_code == 201
    assert standing(client) == dict.fromkeys(STREAMS, "given")

    assert post(client, no("research")).status_code == 201

    assert standing(client) == dict.fromkeys(STREAMS, "given") | {"research": "withdrawn"}


def test_a_yes_in_words_known_here_counts_in_any_language(dora: Participant, client_for: ClientFor) -> None:
    client = client_for(dora)
    german = current(client, "care", "de")

    answer = post(client, yes(client, language="de", text_hash=german["text_hash"]))

    assert (answer.status_code, standing(client)["care"]) == (201, "given")


def test_what_the_clinic_does_is_in_the_words(dora: Participant, client_for: ClientFor) -> None:
    client = client_for(dora)
    before = yes(client)
    set_hold(clinic=dora.clinic, hold_hours=48)

    told = current(client)

    assert told["rules"] == {"worse_scores": "with_therapist", "hold_hours": 48}
    assert "after 48 hours at the latest" in told["text"]
    assert told["text_hash"] != before["text_hash"]
    # One who was asked the moment before agreed to what they were told.
    assert [post(client, before).status_code, post(client, yes(client)).status_code] == [201, 201]
    assert [c.rules for c in Consent.objects.order_by("received_at")] == [before["rules"], told["rules"]]


def test_every_decision_stays_and_the_newest_stands(dora: Participant, client_for: ClientFor) -> None:
    client = client_for(dora)
    bodies = [yes(client), no(), yes(client), yes(client, "research")]
    for body in bodies:
        post(client, body)

    pages = [client.get(f"{MINE}?limit=3").json()]
    pages.append(client.get(f"{MINE}?limit=3&cursor={pages[0]['next']}").json())

    assert [(d["id"], d["status"]) for page in pages for d in page["results"]] == [
        (bodies[3]["id"], "in_force"),
        (bodies[2]["id"], "in_force"),
        (bodies[1]["id"], "past"),
        (bodies[0]["id"], "past"),
    ]
    assert pages[1]["next"] is None
    for cursor in ("x", "WyJ4IiwieSJd"):
        answer = client.get(f"{MINE}?cursor={cursor}")
        assert (answer.status_code, pointers(answer)) == (422, [("/cursor", "invalid_cursor")])


@pytest.mark.parametrize("count", [1, 3])
def test_statements_do_not_grow_with_the_decisions(
    dora: Participant, client_for: ClientFor, count: int
) -> None:
    client = client_for(dora)
    for _ in range(count):
        post(client, yes(client))

    with CaptureQueriesContext(connection) as caught:
        assert len(client.get(MINE).json()["results"]) == count

    # Who signs in, the decisions, what is in force, what is pending, and when the sessions are.
    assert len(statements(caught)) == 5


def test_the_order_is_ours_and_a_withdrawal_wins_a_tie(dora: Participant, client_for: ClientFor) -> None:
    first, second = ENROLLED_AT, ENROLLED_AT + timedelta(minutes=1)
    client = client_for(dora)

    decide(dora, "withdrawn", at=second, decided_at=first)
    # It arrives late: it was received before, and its phone's clock is ahead.
    decide(dora, at=first, decided_at=second)
    assert standing(client)["care"] == "withdrawn"
    decide(dora, at=second)
    assert standing(client)["care"] == "withdrawn"
    decide(dora, at=second + timedelta(microseconds=1))
    assert standing(client)["care"] == "given"


# Suggestible days


def test_a_yes_in_suggestible_days_waits_and_a_second_one_confirms_it(
    dora: Participant, client_for: ClientFor
) -> None:
    client = client_for(dora)
    session_at = in_days(-2.9)
    record_session(client, dora, session_at)
    until = session_at + timedelta(hours=72)

    waiting = post(client, yes(client))

    assert (waiting.status_code, waiting.json()["status"]) == (201, "pending")
    assert datetime.fromisoformat(waiting.json()["ask_again_at"]) == until
    found = client.get(MINE).json()
    assert found["streams"][0]["decision"] is None
    assert found["streams"][0]["pending"] == {
        "id": waiting.json()["id"],
        "version": 1,
        "language": "en",
        "ask_again_at": waiting.json()["ask_again_at"],
    }
    assert found["asking"] == {"allowed": False, "again_at": waiting.json()["ask_again_at"]}
    assert Entry.objects.filter(action__startswith="consent").get().action == "consent.pending"

    decide(dora, at=until - timedelta(microseconds=1))
    assert standing(client)["care"] is None
    confirmed = decide(dora, at=until)

    found = client.get(MINE).json()
    assert (found["streams"][0]["decision"], found["streams"][0]["pending"]) == ("given", None)
    assert [(d["id"] == str(confirmed.pk), d["status"], d["ask_again_at"]) for d in found["results"]] == [
        (True, "in_force", None),
        (False, "past", None),
        (False, "past", None),
    ]


@pytest.mark.parametrize(
    ("received", "decided", "waits"),
    [(-30, -30, False), (-23, -30, True), (80, 10, True), (80, 80, False), (80, -30, False)],
    ids=["before", "sent in it", "decided in it", "after", "decided before, sent after"],
)
def test_both_clocks_must_lie_outside(
    dora: Participant, client_for: ClientFor, received: int, decided: int, waits: bool
) -> None:
    session_at = in_days(-100)
    record_session(client_for(dora), dora, session_at)
    at = {h: session_at + timedelta(hours=h) for h in (received, decided)}

    consent = decide(dora, at=at[received], decided_at=at[decided])

    assert (consent.ask_again_at == session_at + timedelta(hours=72)) == waits
    assert (consent.ask_again_at is None) == (not waits)


def test_taking_back_works_at_once_in_suggestible_days_too(ana: Participant, client_for: ClientFor) -> None:
    client = client_for(ana)
    record_session(client, ana, in_days(-1))
    assert standing(client)["care"] == "given"

    taken = post(client, no())

    assert (taken.status_code, taken.json()["status"]) == (201, "in_force")
    assert standing(client)["care"] == "withdrawn"
    # And the way back waits.
    assert post(client, yes(client)).json()["status"] == "pending"
    assert standing(client)["care"] == "withdrawn"


def test_taking_back_ends_a_yes_that_waits(dora: Participant, client_for: ClientFor) -> None:
    client = client_for(dora)
    record_session(client, dora, in_days(0))
    post(client, yes(client))

    post(client, no())

    care = client.get(MINE).json()["streams"][0]
    assert (care["decision"], care["pending"]) == ("withdrawn", None)


def test_saying_yes_again_to_the_same_words_widens_nothing(ana: Participant, client_for: ClientFor) -> None:
    client = client_for(ana)
    record_session(client, ana, in_days(0))

    assert post(client, yes(client)).json()["status"] == "in_force"
    set_hold(clinic=ana.clinic, hold_hours=72)
    assert post(client, yes(client)).json()["status"] == "pending"
    assert client.get(MINE).json()["streams"][0]["rules"] == {"worse_scores": "at_once"}


# Research


def participants() -> QuerySet[Participant]:
    return Participant.objects.order_by("pk")


def test_a_research_file_starts_from_those_who_agree(
    ana: Participant, ben: Participant, dora: Participant, client_for: ClientFor
) -> None:
    for person in (ana, ben):
        answer = client_for(person).post("/api/v1/administrations", submission(), "application/json")
        assert answer.status_code == 201
    assert list(with_research_consent(participants(), "pk")) == []
    for person in (ana, dora):
        decide(person, stream=Stream.RESEARCH)
    decide(ben, "withdrawn", Stream.RESEARCH)

    assert list(with_research_consent(participants(), "pk")) == [ana, dora]
    assert [a.participant for a in with_research_consent(Administration.objects.all())] == [ana]

    assert post(client_for(ana), no("research")).status_code == 201
    assert list(with_research_consent(Administration.objects.all())) == []
    assert list(with_research_consent(participants(), "pk")) == [dora]


def test_a_yes_that_waits_is_none_for_research(dora: Participant, client_for: ClientFor) -> None:
    client = client_for(dora)
    record_session(client, dora, in_days(0))

    assert post(client, yes(client, "research")).json()["status"] == "pending"

    assert list(with_research_consent(participants(), "pk")) == []


# What the database holds against everybody


@pytest.mark.parametrize(
    ("fields", "constraint"),
    [
        ({"stream": "marketing"}, "consent_stream_known"),
        ({"version": None}, "consent_is_to_a_text"),
        ({"language": None}, "consent_is_to_a_text"),
        ({"text_hash": None}, "consent_is_to_a_text"),
        ({"decision": "withdrawn", "ask_again_at": ENROLLED_AT}, "consent_withdrawn_at_once"),
    ],
)
def test_the_database_takes_no_other_consent(
    ana: Participant, fields: dict[str, Any], constraint: str
) -> None:
    kept = Consent.objects.values().get()

    with pytest.raises(IntegrityError, match=constraint), transaction.atomic():
        Consent.objects.create(**kept | {"id": uuid4()} | fields)


def test_a_consent_is_of_its_participants_clinic(ana: Participant, rowan: Clinic) -> None:
    kept = Consent.objects.values().get()

    with (
        pytest.raises(IntegrityError, match="care_consent_participant_id_of_one_clinic"),
        transaction.atomic(),
    ):
        Consent.objects.create(**kept | {"id": uuid4(), "clinic_id": rowan.pk})
