"""Who is who, and dosing sessions, over HTTP."""

from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from backend.audit.models import Entry
from backend.care import services as care
from backend.care.models import Clinic, DosingSession, Membership, Participant
from backend.care.roles import Role
from backend.changes.models import Change
from tests.conftest import ENROLLED_AT, enrol, statements
from tests.scales.phone import pointers

ClientFor = Callable[[Participant | Membership], Client]
CASELOAD = "/api/v1/participants"


def shown(person: Participant) -> dict[str, Any]:
    return {
        "id": str(person.public_id),
        "pseudonym": person.pseudonym,
        "timezone": "Europe/Berlin",
        "enrolled_at": "2024-01-01T00:00:00+00:00",
    }


def sessions_of(person: Participant) -> str:
    return f"{CASELOAD}/{person.public_id}/dosing-sessions"


def post(client: Client, person: Participant, body: Any) -> Any:
    return client.post(sessions_of(person), body, content_type="application/json")


def session(**fields: Any) -> dict[str, Any]:
    return {"id": str(uuid4()), "started_at": "2026-03-27T10:00:00+01:00", **fields}


def test_me_as_a_participant(ana: Participant, client_for: ClientFor) -> None:
    assert client_for(ana).get("/api/v1/me").json() == {
        "email": "ana@cast.example",
        "name": None,
        "participant": shown(ana),
        "memberships": [],
    }


def test_me_as_staff(thea: Membership, rowan: Clinic, client_for: ClientFor) -> None:
    assert thea.user is not None
    other = care.add_member(clinic=rowan, user=thea.user, role=Role.RESEARCHER, started_at=ENROLLED_AT)
    ended = care.add_member(clinic=rowan, user=thea.user, role=Role.CLINIC_ADMIN, started_at=ENROLLED_AT)
    Membership.objects.filter(pk=ended.pk).update(ended_at=ENROLLED_AT)

    assert client_for(thea).get("/api/v1/me").json() == {
        "email": "thea@cast.example",
        "name": None,
        "participant": None,
        "memberships": [
            {"clinic": str(m.clinic.public_id), "clinic_name": m.clinic.name, "role": m.role}
            for m in (thea, other)
        ],
    }


@pytest.fixture
def caseload(thea: Membership, ana: Participant) -> list[Participant]:
    """Thea's three: Ana and two more."""
    more = [enrol(name, ana.clinic) for name in ("dora", "emil")]
    for person in more:
        care.start_care(participant=person, therapist=thea, started_at=ENROLLED_AT)
    return [ana, *more]


def test_a_caseload_is_ones_own_in_pages(
    caseload: list[Participant], ben: Participant, thea: Membership, client_for: ClientFor
) -> None:
    client = client_for(thea)
    assert client.get(CASELOAD).json() == {"results": [shown(p) for p in caseload], "next": None}

    first = client.get(f"{CASELOAD}?limit=2").json()
    second = client.get(f"{CASELOAD}?limit=2&cursor={first['next']}").json()

    assert first["results"] + second["results"] == [shown(p) for p in caseload]
    assert second["next"] is None
    read = Entry.objects.filter(action="caseload.read").order_by("id").values_list("participant", flat=True)
    assert list(read)[3:] == [p.pk for p in caseload]


def test_one_in_care_twice_is_listed_once(ana: Participant, thea: Membership, client_for: ClientFor) -> None:
    assert thea.user is not None
    past = thea.care_relationships.get()
    care.end_care(care=past, ended_at=ENROLLED_AT)
    care.start_care(participant=ana, therapist=thea, started_at=ENROLLED_AT)

    assert client_for(thea).get(CASELOAD).json()["results"] == [shown(ana)]


@pytest.mark.parametrize("count", [1, 3])
def test_statements_do_not_grow_with_the_caseload(
    caseload: list[Participant], thea: Membership, client_for: ClientFor, count: int
) -> None:
    client = client_for(thea)
    thea.care_relationships.exclude(participant__in=caseload[:count]).update(ended_at=ENROLLED_AT)

    with CaptureQueriesContext(connection) as caught:
        assert len(client.get(CASELOAD).json()["results"]) == count

    # Who signs in, whether they are a therapist, the caseload, its audit rows.
    assert len(statements(caught)) == 4


@pytest.mark.parametrize(
    ("query", "place"),
    [
        ("limit=0", ("/limit", "invalid_limit")),
        ("limit=201", ("/limit", "invalid_limit")),
        ("cursor=x", ("/cursor", "invalid_cursor")),
        ("cursor=WyJ4Il0", ("/cursor", "invalid_cursor")),
        ("cursor=WyItMSJd", ("/cursor", "invalid_cursor")),
        ("cursor=WyI5OTk5OTk5OTk5OTk5OTk5OTk5OSJd", ("/cursor", "invalid_cursor")),
    ],
)
def test_parameters_that_do_not_fit(
    thea: Membership, client_for: ClientFor, query: str, place: tuple[str, str]
) -> None:
    answer = client_for(thea).get(f"{CASELOAD}?{query}")

    assert (answer.status_code, pointers(answer)) == (422, [place])


def test_a_dosing_session_as_a_participant_records_it(ana: Participant, client_for: ClientFor) -> None:
    body = session(substance="psilocybin", dose=25, dose_unit="mg", route="oral", setting="clinic")

    answer = post(client_for(ana), ana, body)

    found = answer.json()
    assert answer.status_code == 201
    assert found.pop("recorded_at")
    assert found == body | {
        "started_at": "2026-03-27T09:00:00+00:00",
        "dose": 25.0,
        "supervised": None,
        "substance_class": "classic",
        "withheld": [],
        "ordinal": 1,
        "on": "2026-03-27",
    }
    assert [c.kind for c in Change.objects.exclude(kind="consent")] == ["dosing_session"]
    entry = Entry.objects.get(action="dosing_session.recorded")
    assert (entry.actor, entry.participant, entry.subject) == (ana.user_id, ana.pk, body["id"])


def test_a_therapist_records_one_too(ana: Participant, thea: Membership, client_for: ClientFor) -> None:
    body = session()

    answer = post(client_for(thea), ana, body)

    assert answer.status_code == 201
    assert client_for(ana).get(sessions_of(ana)).json() == {"results": [answer.json()], "next": None}
    assert {name: answer.json()[name] for name in ("substance", "dose", "dose_unit", "route", "setting")} == (
        dict.fromkeys(("substance", "dose", "dose_unit", "route", "setting"))
    )
    assert DosingSession.objects.get().recorded_by == thea.user


def test_the_same_again_is_the_same(ana: Participant, thea: Membership, client_for: ClientFor) -> None:
    body = session(substance="mdma", dose=120.5, dose_unit="mg")
    first = post(client_for(ana), ana, body)

    again = [
        post(client_for(ana), ana, body),
        post(client_for(ana), ana, body | {"started_at": "2026-03-27T09:00:00Z"}),
        post(client_for(ana), ana, body | {"route": None}),
        post(client_for(thea), ana, body),
    ]

    assert [first.status_code, *(a.status_code for a in again)] == [201, 200, 200, 200, 200]
    assert {a.content for a in again} == {first.content}
    assert (DosingSession.objects.count(), Change.objects.exclude(kind="consent").count()) == (1, 1)


@pytest.mark.parametrize(
    "other",
    [
        {"started_at": "2026-03-27T10:00:01+01:00"},
        {"substance": "lsd"},
        {"dose": 26},
        {"dose": None, "dose_unit": None},
        {"dose_unit": "ug"},
        {"setting": "home"},
        {"supervised": False},
    ],
)
def test_other_content_under_the_same_id_is_a_conflict(
    ana: Participant, client_for: ClientFor, other: dict[str, Any]
) -> None:
    client, body = client_for(ana), session(substance="psilocybin", dose=25, dose_unit="mg")
    first = post(client, ana, body)

    answer = post(client, ana, body | other)

    assert (answer.status_code, answer.json()["code"]) == (409, "conflict")
    assert client.get(sessions_of(ana)).json()["results"] == [first.json()]


def test_content_left_out_the_second_time_is_other_content(ana: Participant, client_for: ClientFor) -> None:
    client, body = client_for(ana), session(substance="psilocybin", dose=25, dose_unit="mg")
    assert post(client, ana, body).status_code == 201

    answer = post(client, ana, session(id=body["id"]))

    assert (answer.status_code, answer.json()["code"]) == (409, "conflict")


def test_two_at_one_instant_or_under_somebody_elses_id(
    ana: Participant, ben: Participant, client_for: ClientFor
) -> None:
    hers = session()
    post(client_for(ana), ana, hers)

    at_once = post(client_for(ana), ana, session())
    same_id = post(client_for(ben), ben, hers)
    same_instant = post(client_for(ben), ben, session())

    assert (at_once.status_code, same_id.status_code, same_instant.status_code) == (409, 409, 201)
    assert at_once.content == same_id.content


@pytest.mark.parametrize(
    ("fields", "places"),
    [
        ({"dose": 25}, [("/dose_unit", "required")]),
        ({"dose_unit": "mg"}, [("/dose_unit", "required")]),
        ({"dose": "25", "dose_unit": "mg"}, [("/dose", "not_a_number")]),
        ({"dose": True, "dose_unit": "mg"}, [("/dose", "not_a_number")]),
        ({"dose": -1, "dose_unit": "mg"}, [("/dose", "invalid_value")]),
        ({"dose": 1.0001, "dose_unit": "mg"}, [("/dose", "invalid_value")]),
        ({"dose": 10**6, "dose_unit": "mg"}, [("/dose", "invalid_value")]),
        ({"dose": 1, "dose_unit": "stone"}, [("/dose_unit", "invalid_value")]),
        ({"substance": "tea"}, [("/substance", "invalid_value")]),
        ({"substance": ["mdma"]}, [("/substance", "invalid_value")]),
        ({"route": ""}, [("/route", "invalid_value")]),
        ({"setting": 3}, [("/setting", "invalid_value")]),
        ({"started_at": "2026-03-27"}, [("/started_at", "invalid_datetime")]),
        ({"started_at": None}, [("/started_at", "wrong_type")]),
        ({"id": "x"}, [("/id", "invalid_uuid")]),
        ({"ordinal": 3, "recorded_by": 1, "participant": 1}, None),
    ],
)
def test_what_does_not_fit_is_named_and_not_recorded(
    ana: Participant,
    client_for: ClientFor,
    fields: dict[str, Any],
    places: list[tuple[str, str]] | None,
) -> None:
    answer = post(client_for(ana), ana, session() | fields)

    assert answer.status_code == 422
    assert pointers(answer) == (places or [(f"/{name}", "unknown_field") for name in fields])
    assert DosingSession.objects.count() == 0


def test_what_is_missing_is_named(ana: Participant, client_for: ClientFor) -> None:
    answer = post(client_for(ana), ana, {})

    assert pointers(answer) == [("/id", "required"), ("/started_at", "required")]


def test_ordinals_follow_time_and_not_the_order_of_recording(ana: Participant, client_for: ClientFor) -> None:
    client = client_for(ana)
    for day, ordinal in ((10, 1), (20, 2), (15, 2), (5, 1)):
        answer = post(client, ana, session(started_at=f"2026-03-{day:02}T10:00:00+01:00"))
        assert answer.json()["ordinal"] == ordinal

    listed = client.get(sessions_of(ana)).json()["results"]

    assert [(s["ordinal"], s["on"]) for s in listed] == [
        (1, "2026-03-05"),
        (2, "2026-03-10"),
        (3, "2026-03-15"),
        (4, "2026-03-20"),
    ]


def test_a_session_is_on_its_date_where_the_person_is(ana: Participant, client_for: ClientFor) -> None:
    client = client_for(ana)

    for at, on in (("2026-03-28T23:30:00Z", "2026-03-29"), ("2026-03-28T17:00:00-05:00", "2026-03-28")):
        assert post(client, ana, session(started_at=at)).json()["on"] == on


def test_nobody_elses(
    ana: Participant, ben: Participant, theo: Membership, carla: Membership, client_for: ClientFor
) -> None:
    post(client_for(ana), ana, session())

    for person in (ben, theo, carla):
        client = client_for(person)
        assert client.get(sessions_of(ana)).status_code == 404
        assert post(client, ana, session(started_at="2026-01-01T00:00:00Z")).status_code == 404
    assert DosingSession.objects.count() == 1


@pytest.mark.parametrize("count", [1, 3])
def test_statements_do_not_grow_with_the_sessions(
    ana: Participant, client_for: ClientFor, count: int
) -> None:
    client = client_for(ana)
    for day in range(count):
        post(client, ana, session(started_at=f"2026-03-{day + 1:02}T10:00:00+01:00"))

    with CaptureQueriesContext(connection) as caught:
        assert len(client.get(sessions_of(ana)).json()["results"]) == count

    assert len(statements(caught)) == 3
