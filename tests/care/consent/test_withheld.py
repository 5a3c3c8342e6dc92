"""What of a dosing session others are shown is the participant's to say."""

from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from backend.audit.models import Entry
from backend.care.models import Clinic, Disclosure, Membership, Participant
from backend.care.roles import Role
from backend.changes.models import Change
from scales.trends import compute_behind
from tests.care.consent.phone import DISCLOSURE, ClientFor, in_days, no, post, put, record_session
from tests.conftest import join, submission
from tests.scales.phone import pointers

SHOWN = dict.fromkeys(("substance", "dose", "supervision"), "shown")
WITHHELD = dict.fromkeys(("substance", "dose", "supervision"), "withheld")
RESEARCH = {"substance": "class", "dose": "withheld", "supervision": "withheld", "date": "week"}
UNCHANGED = {"therapist": SHOWN, "research": RESEARCH, "pending": None}
TAKEN = {
    "substance": "psilocybin",
    "dose": 25,
    "dose_unit": "mg",
    "route": "oral",
    "setting": "home",
    "supervised": False,
}
NOTHING = dict.fromkeys([*TAKEN, "substance_class"])


def wish(**therapist: str) -> dict[str, Any]:
    return {"therapist": SHOWN | therapist, "research": RESEARCH}


def seen(client: Client, ana: Participant) -> dict[str, Any]:
    """What there is of Ana's only session, for that reader."""
    (session,) = client.get(f"/api/v1/participants/{ana.public_id}/dosing-sessions").json()["results"]
    return {name: session[name] for name in [*TAKEN, "substance_class", "withheld"]}


@pytest.fixture
def session(ana: Participant, client_for: ClientFor) -> dict[str, Any]:
    """Ana's, of thirty days ago."""
    recorded = record_session(client_for(ana), ana, in_days(-30), **TAKEN)
    assert recorded.status_code == 201
    found: dict[str, Any] = recorded.json()
    return found


def test_until_one_says_otherwise(ana: Participant, client_for: ClientFor) -> None:
    assert client_for(ana).get(DISCLOSURE).json() == UNCHANGED


def test_what_one_says_is_kept_and_noted(ana: Participant, client_for: ClientFor) -> None:
    client = client_for(ana)
    wanted = {
        "therapist": {"substance": "class", "dose": "withheld", "supervision": "withheld"},
        "research": {"substance": "shown", "dose": "shown", "supervision": "shown", "date": "shown"},
    }

    answers = [put(client, wanted), put(client, wanted), client.get(DISCLOSURE)]

    assert [(a.status_code, a.json()) for a in answers] == [(200, wanted | {"pending": None})] * 3
    assert Disclosure.objects.get().participant == ana
    assert [str(c.object) for c in Change.objects.filter(kind="disclosure")] == [str(ana.public_id)]
    entry = Entry.objects.get(action="disclosure.changed")
    assert (entry.actor, entry.participant, entry.clinic) == (ana.user_id, ana.pk, ana.clinic_id)


@pytest.mark.parametrize(
    ("wrong", "places"),
    [
        ({}, [("/therapist", "required"), ("/research", "required")]),
        (wish(substance="hidden"), [("/therapist/substance", "invalid_value")]),
        (wish(dose="class"), [("/therapist/dose", "invalid_value")]),
        (wish(date="week"), [("/therapist/date", "unknown_field")]),
        (wish() | {"research": SHOWN}, [("/research/date", "required")]),
        (wish() | {"clinic": 1}, [("/clinic", "unknown_field")]),
        (wish() | {"therapist": "shown"}, [("/therapist", "invalid_value")]),
    ],
)
def test_what_does_not_fit_is_named(
    ana: Participant, client_for: ClientFor, wrong: Any, places: list[tuple[str, str]]
) -> None:
    answer = put(client_for(ana), wrong)

    assert (answer.status_code, pointers(answer)) == (422, places)
    assert Disclosure.objects.count() == 0


@pytest.mark.parametrize(
    ("said", "left"),
    [
        (wish(), TAKEN | {"substance_class": "classic", "withheld": []}),
        (
            wish(substance="class"),
            NOTHING
            | {"substance_class": "classic", "setting": "home", "supervised": False}
            | {"withheld": ["substance", "dose"]},
        ),
        (wish(**WITHHELD), NOTHING | {"withheld": ["substance", "dose", "supervision"]}),
        (
            wish(supervision="withheld"),
            TAKEN
            | {"setting": None, "supervised": None, "substance_class": "classic"}
            | {"withheld": ["supervision"]},
        ),
    ],
)
def test_everybody_else_is_shown_what_one_says(
    ana: Participant,
    thea: Membership,
    linden: Clinic,
    client_for: ClientFor,
    session: dict[str, Any],
    said: dict[str, Any],
    left: dict[str, Any],
) -> None:
    others = [thea, join("sam", linden, Role.SUPERVISOR), join("cora", linden, Role.COORDINATOR)]
    assert [seen(client_for(other), ana)["substance"] for other in others] == ["psilocybin"] * 3

    assert put(client_for(ana), said).status_code == 200

    assert [seen(client_for(other), ana) for other in others] == [left] * 3
    assert seen(client_for(ana), ana) == TAKEN | {"substance_class": "classic", "withheld": []}


def test_without_consent_to_care_only_the_dates_are_left(
    ana: Participant, thea: Membership, client_for: ClientFor, session: dict[str, Any]
) -> None:
    post(client_for(ana), no())

    assert seen(client_for(thea), ana) == NOTHING | {"withheld": ["substance", "dose", "supervision"]}
    (left,) = client_for(thea).get(f"/api/v1/participants/{ana.public_id}/dosing-sessions").json()["results"]
    assert {name: left[name] for name in ("id", "ordinal", "started_at", "on", "recorded_at")} == {
        name: session[name] for name in ("id", "ordinal", "started_at", "on", "recorded_at")
    }


def test_the_answer_to_a_therapists_own_record_withholds_too(
    ana: Participant, thea: Membership, client_for: ClientFor
) -> None:
    put(client_for(ana), wish(**WITHHELD))

    recorded = record_session(client_for(thea), ana, in_days(-30), **TAKEN)

    assert recorded.status_code == 201
    assert {name: recorded.json()[name] for name in NOTHING} == NOTHING
    assert seen(client_for(ana), ana)["substance"] == "psilocybin"


def test_sending_a_guess_under_its_id_does_not_tell_what_is_withheld(
    ana: Participant, thea: Membership, client_for: ClientFor, session: dict[str, Any]
) -> None:
    path = f"/api/v1/participants/{ana.public_id}/dosing-sessions"
    body: dict[str, Any] = {"id": session["id"], "started_at": session["started_at"]}
    others: list[dict[str, Any]] = [{"substance": "ketamine"}, {"supervised": True}, {}]
    guesses = [TAKEN, TAKEN | {"substance": "lsd"}, *others]

    def told(client: Client) -> list[tuple[int, bytes]]:
        answers = [client.post(path, body | guess, "application/json") for guess in guesses]
        return [(a.status_code, a.content) for a in answers]

    assert [status for status, _ in told(client_for(thea))] == [200, 409, 409, 409, 409]
    put(client_for(ana), wish(**WITHHELD))
    withheld = told(client_for(thea))
    assert [status for status, _ in withheld] == [200] * 5
    assert len({content for _, content in withheld}) == 1
    # She who recorded it is told as before.
    assert [status for status, _ in told(client_for(ana))] == [200, 409, 409, 409, 409]
    put(client_for(ana), wish(substance="class", supervision="withheld"))
    assert [status for status, _ in told(client_for(thea))] == [200, 200, 409, 409, 409]


def test_places_and_days_stay(
    ana: Participant, thea: Membership, client_for: ClientFor, session: dict[str, Any]
) -> None:
    sent = client_for(ana).post(
        "/api/v1/administrations", submission(completed_at=timezone.now().isoformat()), "application/json"
    )
    assert sent.status_code == 201
    put(client_for(ana), wish(**WITHHELD))
    compute_behind(now=timezone.now())

    trends = client_for(thea).get(f"/api/v1/participants/{ana.public_id}/trends?instrument=scs-26").json()

    place = trends["subscales"][0]["points"][0]["session"]
    assert (place["id"], place["ordinal"]) == (session["id"], 1)
    assert place["day"] in (29, 30, 31)


def test_in_suggestible_days_less_is_shown_at_once_and_more_waits(
    ana: Participant, thea: Membership, client_for: ClientFor
) -> None:
    client = client_for(ana)
    put(client, wish(substance="class"))
    record_session(client, ana, in_days(-1), **TAKEN)

    answer = put(client, wish(supervision="withheld")).json()

    # The substance was to be widened, supervision narrowed.
    assert answer["therapist"] == {"substance": "class", "dose": "shown", "supervision": "withheld"}
    assert answer["pending"].pop("ask_again_at")
    assert answer["pending"] == wish(supervision="withheld")
    assert seen(client_for(thea), ana) == NOTHING | {
        "substance_class": "classic",
        "withheld": ["substance", "dose", "supervision"],
    }
    assert client.get(DISCLOSURE).json()["pending"] is not None

    # Wanting no more than what is in force waits for nothing.
    answer = put(client, wish(substance="class", supervision="withheld")).json()
    assert answer == wish(substance="class", supervision="withheld") | {"pending": None}


def test_after_suggestible_days_what_is_put_again_is_in_force(
    ana: Participant, thea: Membership, client_for: ClientFor
) -> None:
    client = client_for(ana)
    put(client, wish(**WITHHELD))
    record_session(client, ana, in_days(-2.9), **TAKEN)
    assert put(client, wish()).json()["pending"] is not None
    assert seen(client_for(thea), ana)["substance"] is None
    # A little later: the session was a little earlier.
    ana.dosing_sessions.update(started_at=in_days(-3.1))

    assert put(client, wish()).json() == UNCHANGED

    assert seen(client_for(thea), ana)["substance"] == "psilocybin"


def test_a_widened_research_level_waits_as_well(ana: Participant, client_for: ClientFor) -> None:
    client = client_for(ana)
    record_session(client, ana, in_days(0))
    all_of_it = {**SHOWN, "date": "shown"}

    answer = put(client, {"therapist": SHOWN, "research": all_of_it}).json()

    assert (answer["research"], answer["pending"]["research"]) == (RESEARCH, all_of_it)


def test_supervised_is_true_false_or_unknown(ana: Participant, client_for: ClientFor) -> None:
    client = client_for(ana)
    found = [
        record_session(client, ana, in_days(-day), supervised=value).json()["supervised"]
        for day, value in ((30, True), (20, False), (10, None))
    ]
    assert found == [True, False, None]

    refused = record_session(client, ana, in_days(-5), supervised="yes")

    assert (refused.status_code, pointers(refused)) == (422, [("/supervised", "wrong_type")])


def test_a_sessions_id_of_another_person_is_a_conflict(
    ana: Participant, ben: Participant, client_for: ClientFor, session: dict[str, Any]
) -> None:
    body = {"id": session["id"], "started_at": session["started_at"], **TAKEN}

    answer = client_for(ben).post(
        f"/api/v1/participants/{ben.public_id}/dosing-sessions", body, "application/json"
    )

    assert (answer.status_code, answer.json()["code"]) == (409, "conflict")
