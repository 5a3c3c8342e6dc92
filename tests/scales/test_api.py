"""Administrations over HTTP, as a phone and a therapist meet them."""

from collections.abc import Callable
from typing import Any

from django.test import Client

from backend.care.models import Membership, Participant
from tests.conftest import submission

ClientFor = Callable[[Participant | Membership], Client]
URL = "/api/v1/administrations"


def post(client: Client, body: Any) -> Any:
    return client.post(URL, body, content_type="application/json")


def test_the_same_again_has_the_first_answer_byte_for_byte(ana: Participant, client_for: ClientFor) -> None:
    client, body = client_for(ana), submission("scs-26", answer=4)

    first, again = post(client, body), post(client, body)

    assert (first.status_code, again.status_code) == (201, 200)
    assert first.content == again.content


def test_former_therapist_sees_no_scores(
    ana: Participant, thea: Membership, theo: Membership, client_for: ClientFor
) -> None:
    assert post(client_for(ana), submission()).status_code == 201

    seen = client_for(thea).get(f"/api/v1/participants/{ana.public_id}/administrations")
    hidden = client_for(theo).get(f"/api/v1/participants/{ana.public_id}/administrations")

    assert len(seen.json()["results"]) == 1
    assert hidden.status_code == 404
