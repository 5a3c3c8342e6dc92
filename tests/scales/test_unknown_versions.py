"""Answers to an instrument version that is not known here yet: kept, and scored when it arrives."""

import hashlib
from typing import Any
from uuid import UUID, uuid4

import pytest

from backend.care.models import Participant
from scales.models import Administration, LoadedFile, Quarantined
from scales.queries import RELEASED_FILES
from scales.services import record_waiting
from tests.conftest import responses, submission
from tests.scales.phone import ClientFor, actions, counts, kept, post, value


def arrive(code: str = "scs-26", version: int = 2) -> None:
    """The operator loads the next version: the released one under another number."""
    text = (RELEASED_FILES / f"{code}.v1.toml").read_text().replace("version = 1", f"version = {version}", 1)
    LoadedFile.objects.create(
        kind="instrument",
        code=code,
        version=version,
        text=text,
        sha256=hashlib.sha256(text.encode()).hexdigest(),
    )


@pytest.mark.parametrize(
    "unknown", [{"version": 2}, {"version": 2**31 - 1}, {"instrument": "scs-99"}, {"instrument": "x"}]
)
def test_an_unknown_version_is_kept_and_says_so(
    ana: Participant, client_for: ClientFor, unknown: dict[str, Any]
) -> None:
    client, body = client_for(ana), submission("scs-26", answer=4) | unknown

    answers = [post(client, body) for _ in range(3)]

    assert [a.status_code for a in answers] == [202] * 3
    assert {a.content for a in answers} == {answers[0].content}
    assert answers[0].json() == {
        "id": body["id"],
        "instrument": body["instrument"],
        "version": body["version"],
        "completed_at": body["completed_at"],
        "outcome": "quarantined",
    }
    assert kept() == [("unknown_version", UUID(body["id"]))]
    assert counts()["Administration"] == 0
    assert actions(ana) == ["administration.quarantined"]


def test_it_is_scored_when_the_version_arrives(ana: Participant, client_for: ClientFor) -> None:
    client, body = client_for(ana), submission("scs-26", answer=4, version=2)
    post(client, body)
    assert record_waiting() == 0
    received_at = Quarantined.objects.get().received_at

    arrive()

    assert (record_waiting(), record_waiting()) == (1, 0)
    again = post(client, body)
    assert again.status_code == 200
    # Neutral is 3: four throughout is 4 on the kind side and 2 on the reversed one.
    assert (value(again, "self_kindness"), value(again, "total")) == (4.0, 3.0)
    recorded = Administration.objects.get()
    assert (recorded.participant, recorded.instrument_version) == (ana, 2)
    assert recorded.received_at == received_at
    assert Quarantined.objects.get().resolved_at is not None
    assert actions(ana) == ["administration.quarantined", "administration.recorded"]


def test_sent_again_after_the_version_arrived_it_need_not_wait(
    ana: Participant, client_for: ClientFor
) -> None:
    client, body = client_for(ana), submission("scs-26", version=2)
    assert post(client, body).status_code == 202
    arrive()

    assert post(client, body).status_code == 201
    assert record_waiting() == 1
    assert counts()["Administration"] == 1
    assert kept() == [("unknown_version", UUID(body["id"]))]


def test_other_content_under_a_waiting_id_is_a_conflict(ana: Participant, client_for: ClientFor) -> None:
    client, body = client_for(ana), submission("scs-26", version=2)
    other = body | {"responses": responses("scs-26", 1)}

    answers = [post(client, sent) for sent in (body, other, other, body)]

    assert [a.status_code for a in answers] == [202, 409, 409, 202]
    assert kept() == [("unknown_version", UUID(body["id"])), ("conflict", UUID(body["id"]))]


def test_a_known_version_under_a_waiting_id_is_a_conflict(ana: Participant, client_for: ClientFor) -> None:
    client, body = client_for(ana), submission("scs-26", version=2)

    assert post(client, body).status_code == 202
    assert post(client, body | {"version": 1}).status_code == 409
    arrive()
    assert record_waiting() == 1
    assert Administration.objects.get().instrument_version == 2


def test_an_unknown_version_under_a_taken_id_is_a_conflict(
    ana: Participant, ben: Participant, client_for: ClientFor
) -> None:
    body = submission("scs-26")
    post(client_for(ana), body)

    answers = [post(client_for(person), body | {"version": 2}) for person in (ana, ben)]

    assert [a.status_code for a in answers] == [409, 409]
    assert answers[0].content == answers[1].content


def test_two_people_may_wait_under_one_id_and_the_second_finds_it_taken(
    ana: Participant, ben: Participant, client_for: ClientFor
) -> None:
    """Telling the second that the id is taken would tell of the first: an id settles when it is recorded."""
    body = submission("scs-26", version=2)
    assert [post(client_for(person), body).status_code for person in (ana, ben)] == [202, 202]
    arrive()

    assert record_waiting() == 2

    assert Administration.objects.get().participant == ana
    assert sorted(kind for kind, _ in kept()) == ["conflict", "unknown_version", "unknown_version"]


def test_what_waited_and_does_not_fit_is_rejected_and_holds_up_nobody(
    ana: Participant, client_for: ClientFor
) -> None:
    client = client_for(ana)
    wrong, right = submission("scs-26", answer=9, version=2), submission("scs-26", version=2)
    for body in (wrong, right, submission("scs-26", version=3)):
        assert post(client, body).status_code == 202
    arrive()

    assert record_waiting() == 2

    assert [str(a.id) for a in Administration.objects.all()] == [right["id"]]
    assert ("rejected", UUID(wrong["id"])) in kept()
    assert record_waiting() == 0
    assert Quarantined.objects.filter(resolved_at__isnull=True, kind="unknown_version").count() == 1


def test_a_kept_id_can_be_used_for_what_was_meant(ana: Participant, client_for: ClientFor) -> None:
    """The version was misspelt: under an id of its own the same content goes in."""
    client, body = client_for(ana), submission("scs-26", version=2)

    assert post(client, body).status_code == 202
    assert post(client, body | {"id": str(uuid4()), "version": 1}).status_code == 201
