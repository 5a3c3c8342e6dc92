"""Care is all of its conditions at once: losing any one of them closes every door."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone

from backend.care.models import Clinic, Membership, Participant
from backend.care.services import start_care
from tests.conftest import submission

ClientFor = Callable[[Participant | Membership], Client]
CASELOAD = "/api/v1/participants"


def soon() -> dict[str, object]:
    return {"started_at": timezone.now() + timedelta(minutes=1)}


def over() -> dict[str, object]:
    return {"ended_at": timezone.now() - timedelta(minutes=1)}


def later(membership: Membership) -> None:
    Membership.objects.filter(pk=membership.pk).update(**soon())


def ended(membership: Membership) -> None:
    Membership.objects.filter(pk=membership.pk).update(**over())


def another_role(membership: Membership) -> None:
    Membership.objects.filter(pk=membership.pk).update(role=Membership.Role.CLINIC_ADMIN)


def another_clinic(membership: Membership) -> None:
    Membership.objects.filter(pk=membership.pk).update(clinic=Clinic.objects.get(name="Rowan"))


def care_later(membership: Membership) -> None:
    membership.care_relationships.update(**soon())


def care_ended(membership: Membership) -> None:
    membership.care_relationships.update(**over())


@pytest.mark.parametrize("loss", [later, ended, another_role, another_clinic, care_later, care_ended])
def test_without_any_one_condition_there_is_no_care(
    ana: Participant,
    thea: Membership,
    rowan: Clinic,
    client_for: ClientFor,
    loss: Callable[[Membership], None],
) -> None:
    sent = submission()
    assert client_for(ana).post("/api/v1/administrations", sent, "application/json").status_code == 201
    client, person = client_for(thea), f"{CASELOAD}/{ana.public_id}"
    addresses = [
        person,
        f"{person}/dosing-sessions",
        f"{person}/administrations",
        f"{person}/trends?instrument=scs-26",
        f"/api/v1/administrations/{sent['id']}",
    ]
    session = {"id": sent["id"], "started_at": "2026-01-01T10:00:00Z"}
    assert [client.get(address).status_code for address in addresses] == [200] * 5
    assert len(client.get(CASELOAD).json()["results"]) == 1

    loss(thea)

    assert [client.get(address).status_code for address in addresses] == [404] * 5
    assert client.post(f"{person}/dosing-sessions", session, "application/json").status_code == 404
    caseload = client.get(CASELOAD)
    assert caseload.status_code == 403 or caseload.json()["results"] == []


def test_care_that_will_end_is_care_until_then(
    ana: Participant, thea: Membership, client_for: ClientFor
) -> None:
    tomorrow = timezone.now() + timedelta(days=1)
    thea.care_relationships.update(ended_at=tomorrow)
    Membership.objects.filter(pk=thea.pk).update(ended_at=tomorrow)

    assert client_for(thea).get(f"{CASELOAD}/{ana.public_id}").status_code == 200


def test_care_begun_again_is_care_and_counts_once(
    ana: Participant, theo: Membership, client_for: ClientFor
) -> None:
    start_care(participant=ana, therapist=theo, started_at=timezone.now() - timedelta(minutes=1))

    listed = client_for(theo).get(CASELOAD).json()["results"]

    assert [person["id"] for person in listed] == [str(ana.public_id)]
