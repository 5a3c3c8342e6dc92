"""Care is all of its conditions at once: losing any one of them closes every door."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.db import IntegrityError, connection
from django.test import Client
from django.utils import timezone

from backend.care.models import Clinic, Membership, Participant
from backend.care.roles import Role
from backend.care.services import end_cover, start_care
from tests.conftest import join, sign_in, submission

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
    Membership.objects.filter(pk=membership.pk).update(role=Role.CLINIC_ADMIN)


def care_later(membership: Membership) -> None:
    membership.care_relationships.update(**soon())


def care_ended(membership: Membership) -> None:
    membership.care_relationships.update(**over())


@pytest.mark.parametrize("loss", [later, ended, another_role, care_later, care_ended])
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


def sees(client: Client, ana: Participant) -> tuple[int, int, int]:
    """Statuses of Ana herself and of her answers, and how many are in the caseload."""
    person = f"{CASELOAD}/{ana.public_id}"
    listed = client.get(CASELOAD).json()
    return (
        client.get(person).status_code,
        client.get(f"{person}/administrations").status_code,
        len(listed.get("results", [])),
    )


def test_whoever_covers_cares(ana: Participant, cass: Membership, client_for: ClientFor) -> None:
    assert sees(client_for(cass), ana) == (200, 200, 1)


def cover_later(cass: Membership, thea: Membership) -> None:
    cass.covering.update(**soon())


def cover_over(cass: Membership, thea: Membership) -> None:
    end_cover(cover=cass.covering.get(), ended_at=timezone.now() - timedelta(minutes=1))


def therapist_left(cass: Membership, thea: Membership) -> None:
    ended(thea)


def her_care_ended(cass: Membership, thea: Membership) -> None:
    care_ended(thea)


def colleague_left(cass: Membership, thea: Membership) -> None:
    ended(cass)


def colleague_became_researcher(cass: Membership, thea: Membership) -> None:
    Membership.objects.filter(pk=cass.pk).update(role=Role.RESEARCHER)


@pytest.mark.parametrize(
    "loss",
    [
        cover_later,
        cover_over,
        therapist_left,
        her_care_ended,
        colleague_left,
        colleague_became_researcher,
    ],
)
def test_cover_is_all_of_its_conditions_too(
    ana: Participant,
    thea: Membership,
    cass: Membership,
    client_for: ClientFor,
    loss: Callable[[Membership, Membership], None],
) -> None:
    loss(cass, thea)

    assert sees(client_for(cass), ana) == (404, 404, 0)


def test_a_supervisor_oversees_the_clinic_and_no_other(
    ana: Participant, sam: Membership, rowan: Clinic, client_for: ClientFor
) -> None:
    stella = join("stella", rowan, Role.SUPERVISOR)

    assert sees(client_for(sam), ana) == (200, 200, 1)
    assert sees(client_for(stella), ana) == (404, 404, 0)


def test_a_coordinator_plans_and_sees_no_answer(
    ana: Participant, cora: Membership, client_for: ClientFor
) -> None:
    assert sees(client_for(cora), ana) == (200, 404, 1)


@pytest.mark.parametrize("row", ["care_carerelationship", "care_cover"])
def test_the_database_keeps_care_within_one_clinic(
    thea: Membership, cass: Membership, rowan: Clinic, row: str
) -> None:
    with pytest.raises(IntegrityError, match="of_one_clinic"), connection.cursor() as cursor:
        cursor.execute(f"UPDATE {row} SET clinic_id = %s", [rowan.pk])


STAFF_READS = [
    CASELOAD,
    f"{CASELOAD}/{{ana}}",
    f"{CASELOAD}/{{ana}}/administrations",
    f"{CASELOAD}/{{ana}}/trends?instrument=scs-26",
    f"{CASELOAD}/11111111-2222-4333-8444-555555555555",
]


def test_staff_without_a_second_factor_see_nobody(
    ana: Participant, thea: Membership, theo: Membership, carla: Membership
) -> None:
    for member in (thea, theo, carla):
        client = Client(headers={"authorization": f"Bearer {sign_in(member.user, second_factor=False)}"})
        answers = [client.get(address.format(ana=ana.public_id)) for address in STAFF_READS]

        assert [(a.status_code, a.json()["code"]) for a in answers] == [(403, "second_factor_required")] * 5
        assert client.get("/api/v1/me").status_code == 200


def test_a_participant_needs_none(ana: Participant) -> None:
    assert ana.user is not None
    client = Client(headers={"authorization": f"Bearer {sign_in(ana.user, second_factor=False)}"})

    assert client.get(f"{CASELOAD}/{ana.public_id}/administrations").status_code == 200


def test_only_a_demos_clinic_lets_staff_in_without(ana: Participant, thea: Membership) -> None:
    client = Client(headers={"authorization": f"Bearer {sign_in(thea.user, second_factor=False)}"})
    Clinic.objects.update(second_factor=False)

    assert client.get(CASELOAD).status_code == 200
