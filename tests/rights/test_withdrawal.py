"""Who stops taking part is read and scored by nobody; nothing they sent is lost, and they can come back."""

from typing import Any
from uuid import uuid4

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from backend.audit.models import Entry
from backend.care.consent.models import Consent
from backend.care.consent.text import Stream
from backend.care.models import Membership, Participant
from backend.rights.erasure.schemas import WITHDRAWN_WORDS
from scales.library import load_instrument
from scales.models import Administration, Correction, Quarantined
from scales.queries import RELEASED_FILES
from scales.services import record_waiting
from tests.conftest import ClientFor, decide, statements, submission
from tests.scales.test_corrections import correction

ME = "/api/v1/me/withdrawal"
SENT = "/api/v1/administrations"


def post(client: Any, path: str, body: Any = None) -> Any:
    return client.post(path, body or {}, "application/json")


def test_stopping_ends_every_consent_and_is_the_same_when_asked_again(
    ana: Participant, client_for: ClientFor
) -> None:
    decide(ana, stream=Stream.RESEARCH)
    client = client_for(ana)

    first, second = post(client, ME), post(client, ME)

    at = first.json()["withdrawn_at"]
    assert first.json() == {
        "withdrawn_at": at,
        "stopped": ["care", "research"],
        "kept": ["administrations", "dosing_sessions", "consents", "audit"],
        "words": WITHDRAWN_WORDS,
    }
    assert (first.status_code, second.status_code, second.json()) == (201, 200, first.json())
    newest = Consent.objects.filter(participant=ana).order_by("-received_at")[:2]
    assert {(c.stream, c.decision) for c in newest} == {("care", "withdrawn"), ("research", "withdrawn")}
    assert Entry.objects.filter(action="withdrawal.made").values_list("actor", "participant").get() == (
        ana.user_id,
        ana.pk,
    )


def test_nobody_reads_on_and_what_is_sent_is_kept_unscored(
    ana: Participant, thea: Membership, client_for: ClientFor
) -> None:
    client, before, after = client_for(ana), submission(), submission(answer=2)
    assert post(client, SENT, before).status_code == 201
    read = f"/api/v1/participants/{ana.public_id}/administrations"
    assert client_for(thea).get(read).status_code == 200
    post(client, ME)

    kept = post(client, SENT, after)
    corrected = post(client, f"{SENT}/{before['id']}/corrections", correction())

    assert client_for(thea).get(read).json()["code"] == "no_consent"
    assert (kept.status_code, kept.json()["id"], kept.json()["outcome"]) == (202, after["id"], "quarantined")
    assert (corrected.status_code, corrected.json()) == (202, {"outcome": "quarantined"})
    assert post(client, SENT, after).status_code == 202
    assert list(Quarantined.objects.order_by("id").values_list("kind", flat=True)) == ["withdrawn"] * 2
    assert (Administration.objects.count(), Correction.objects.count()) == (1, 0)
    # What stands, stands; and an id is still nobody's to take twice.
    assert post(client, SENT, before).status_code == 200
    assert post(client, SENT, {**before, "timezone": "Europe/Paris"}).status_code == 409


def test_coming_back_is_asked_anew_and_sent_anew(ana: Participant, client_for: ClientFor) -> None:
    client, meanwhile = client_for(ana), submission()
    post(client, ME)
    assert post(client, SENT, meanwhile).status_code == 202

    back = [client.delete(ME).status_code for _ in range(2)]

    assert back == [204, 204]
    streams = client.get("/api/v1/consents").json()["streams"]
    assert [s["decision"] for s in streams if s["stream"] == "care"] == ["withdrawn"]
    assert post(client, SENT, meanwhile).status_code == 201
    assert Entry.objects.filter(action="withdrawal.undone").count() == 1


def test_a_yes_that_was_on_its_way_opens_nothing_again(ana: Participant, client_for: ClientFor) -> None:
    client = client_for(ana)
    text = next(
        t
        for t in client.get("/api/v1/consents").json()["results"]
        if (t["stream"], t["language"]) == ("care", "en")
    )
    yes = {
        "id": str(uuid4()),
        "decision": "given",
        "decided_at": "2026-01-10T10:00:00Z",
        **{name: text[name] for name in ("stream", "version", "language", "text_hash")},
    }
    post(client, ME)

    late = post(client, "/api/v1/me/consents", yes)

    assert (late.status_code, late.json()["code"]) == (409, "withdrawn")
    client.delete(ME)
    assert post(client, "/api/v1/me/consents", yes).status_code == 201


def test_what_waits_for_a_version_goes_on_waiting(
    ana: Participant, ben: Participant, client_for: ClientFor
) -> None:
    for person in (ana, ben):
        assert post(client_for(person), SENT, submission(version=2)).status_code == 202
    post(client_for(ana), ME)
    own = (RELEASED_FILES / "scs-26.v1.toml").read_text()
    load_instrument(own.replace("version = 1", "version = 2", 1), "scs-26.v2.toml")

    assert record_waiting() == 1
    client_for(ana).delete(ME)
    assert record_waiting() == 1


@pytest.mark.parametrize("withdrawn", [False, True])
def test_a_submission_costs_no_statement_more(
    ana: Participant, client_for: ClientFor, withdrawn: bool
) -> None:
    client = client_for(ana)
    if withdrawn:
        post(client, ME)
        client.delete(ME)
    with CaptureQueriesContext(connection) as caught:
        assert post(client, SENT, submission()).status_code == 201

    # Who it is, and the one that records it.
    assert len(statements(caught)) == 2
