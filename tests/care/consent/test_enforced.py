"""Without consent nobody reads another's answers, from the next request on; the person goes on as before."""

from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from backend.audit.models import Entry
from backend.care import roles
from backend.care.consent.text import Stream
from backend.care.models import Clinic, Membership, Participant
from backend.care.roles import Role
from scales.trends import compute_behind
from tests.care.consent.phone import ClientFor, in_days, no, post, record_session, yes
from tests.conftest import join, statements, submission


@pytest.fixture
def sent(ana: Participant, client_for: ClientFor) -> dict[str, Any]:
    """An administration of Ana's, in her trends, and a session: there is something to leak."""
    body = submission(answer=4)
    assert client_for(ana).post("/api/v1/administrations", body, "application/json").status_code == 201
    assert record_session(client_for(ana), ana, in_days(-30), substance="mdma").status_code == 201
    compute_behind(now=timezone.now())
    return body


def addresses(ana: Participant, sent: dict[str, Any]) -> dict[str, str]:
    person = f"/api/v1/participants/{ana.public_id}"
    return {
        "caseload": "/api/v1/participants",
        "person": person,
        "sessions": f"{person}/dosing-sessions",
        "administrations": f"{person}/administrations",
        "trends": f"{person}/trends?instrument=scs-26",
        "administration": f"/api/v1/administrations/{sent['id']}",
    }


def statuses(client: Client, ana: Participant, sent: dict[str, Any]) -> dict[str, int]:
    return {name: client.get(address).status_code for name, address in addresses(ana, sent).items()}


ALL = dict.fromkeys(("caseload", "person", "sessions", "administrations", "trends", "administration"), 200)
WITHOUT = ALL | {"administrations": 403, "trends": 403, "administration": 404}


def test_taking_back_closes_every_answer_to_the_therapist_at_once(
    ana: Participant, thea: Membership, client_for: ClientFor, sent: dict[str, Any]
) -> None:
    client = client_for(thea)
    assert statuses(client, ana, sent) == ALL

    assert post(client_for(ana), no()).status_code == 201

    assert statuses(client, ana, sent) == WITHOUT
    for name in ("administrations", "trends"):
        refused = client.get(addresses(ana, sent)[name])
        assert refused.json()["code"] == "no_consent"
        assert b"heron" not in refused.content
    release = client.post(f"{addresses(ana, sent)['administrations']}/{sent['id']}/release")
    assert (release.status_code, release.json()["code"]) == (403, "no_consent")
    assert [p["pseudonym"] for p in client.get("/api/v1/participants").json()["results"]] == ["ana heron"]
    assert statuses(client_for(ana), ana, sent) == ALL | {"caseload": 403}

    assert post(client_for(ana), yes(client_for(ana))).status_code == 201
    assert statuses(client, ana, sent) == ALL


def test_supervisors_and_whoever_covers_are_held_to_it_too(
    ana: Participant, linden: Clinic, client_for: ClientFor, sent: dict[str, Any]
) -> None:
    sam = client_for(join("sam", linden, Role.SUPERVISOR))
    assert statuses(sam, ana, sent) == ALL

    post(client_for(ana), no())

    assert statuses(sam, ana, sent) == WITHOUT


def test_who_may_not_know_of_somebody_learns_nothing_of_their_consent(
    ana: Participant,
    theo: Membership,
    carla: Membership,
    linden: Clinic,
    client_for: ClientFor,
    sent: dict[str, Any],
) -> None:
    cora = client_for(join("cora", linden, Role.COORDINATOR))
    nowhere = "/api/v1/participants/11111111-2222-4333-8444-555555555555/administrations"
    path = addresses(ana, sent)["administrations"]

    for client in (client_for(theo), client_for(carla), cora):
        before = client.get(path)
        post(client_for(ana), no())
        after = client.get(path)
        post(client_for(ana), yes(client_for(ana)))
        assert {(a.status_code, a.content) for a in (before, after)} == {(404, client.get(nowhere).content)}


def test_an_administration_that_is_not_shared_looks_like_none(
    ana: Participant, thea: Membership, client_for: ClientFor, sent: dict[str, Any]
) -> None:
    post(client_for(ana), no())

    hidden = client_for(thea).get(f"/api/v1/administrations/{sent['id']}")
    nowhere = client_for(thea).get("/api/v1/administrations/11111111-2222-4333-8444-555555555555")

    assert (hidden.status_code, hidden.content) == (404, nowhere.content)


def test_one_goes_on_answering_and_correcting(
    ana: Participant, client_for: ClientFor, sent: dict[str, Any]
) -> None:
    client = client_for(ana)
    post(client, no())

    more = client.post("/api/v1/administrations", submission(), "application/json")
    corrected = client.post(
        f"/api/v1/administrations/{sent['id']}/corrections",
        {"id": more.json()["id"], "responses": sent["responses"], "reason": "A slip."},
        "application/json",
    )

    assert (more.status_code, corrected.status_code) == (201, 201)
    assert len(client.get("/api/v1/administrations").json()["results"]) == 2


def test_a_yes_that_waits_opens_nothing(
    ana: Participant, thea: Membership, client_for: ClientFor, sent: dict[str, Any]
) -> None:
    post(client_for(ana), no())
    record_session(client_for(ana), ana, in_days(0))

    assert post(client_for(ana), yes(client_for(ana))).json()["status"] == "pending"

    assert statuses(client_for(thea), ana, sent) == WITHOUT


@pytest.mark.parametrize("stream", [s for s in Stream if s != Stream.CARE])
def test_other_streams_open_no_answer(
    ana: Participant, thea: Membership, client_for: ClientFor, sent: dict[str, Any], stream: Stream
) -> None:
    post(client_for(ana), no())

    assert post(client_for(ana), yes(client_for(ana), stream)).status_code == 201

    assert statuses(client_for(thea), ana, sent) == WITHOUT


def test_anothers_consent_opens_nothing_of_ones_own(
    ana: Participant, ben: Participant, thea: Membership, client_for: ClientFor, sent: dict[str, Any]
) -> None:
    post(client_for(ana), no())
    post(client_for(ben), yes(client_for(ben)))

    assert statuses(client_for(thea), ana, sent) == WITHOUT


def test_it_is_looked_up_with_everything_else(
    ana: Participant, thea: Membership, client_for: ClientFor, sent: dict[str, Any]
) -> None:
    client = client_for(thea)
    post(client_for(ana), no())

    with CaptureQueriesContext(connection) as caught:
        assert client.get(addresses(ana, sent)["trends"]).status_code == 403

    # Who signs in; who Ana is to her, consent included; the audit row.
    assert len(statements(caught)) == 3
    assert [e.action for e in Entry.objects.filter(actor=thea.user_id)] == ["participant.no_consent"]


def test_every_right_to_read_answers_needs_consent_to_care() -> None:
    reading = {
        right
        for right in roles.TABLE
        if right.split(".")[0] in ("administrations", "administration", "trends", "release")
    }
    of_others = {r for r in reading if set(roles.TABLE[r]) - {Role.PARTICIPANT}}

    assert dict(roles.NEEDS) == dict.fromkeys(of_others, Stream.CARE)
