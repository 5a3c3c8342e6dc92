"""Opening a participant's data in an emergency: who may, what it opens, for how long, and who is told."""

from datetime import timedelta
from threading import Barrier, Thread
from typing import Any
from uuid import uuid4

import pytest
from django.db import connection, connections, transaction
from django.test import Client
from django.utils import timezone

from backend import scope
from backend.audit.models import Entry
from backend.care.models import CareRelationship, EmergencyAccess, Membership, Participant
from backend.care.queries import clock
from backend.care.roles import Role
from backend.care.services import create_clinic, start_care
from backend.keys import ring
from tests.care.opened.emergencies import API, ask, opened_in_emergency
from tests.conftest import ENROLLED_AT, ClientFor, Copy, as_owner, decide, enrol, join, sign_in, submission

REASON = "She called at night. 🌙"


def reads(client: Client, person: Participant) -> list[int]:
    return [
        client.get(f"{API}/participants/{person.public_id}{part}").status_code
        for part in ("", "/dosing-sessions", "/administrations", "/trends?instrument=scs-26")
    ]


def test_it_opens_what_care_would(ana: Participant, theo: Membership, client_for: ClientFor) -> None:
    body = submission()
    assert client_for(ana).post(f"{API}/administrations", body, "application/json").status_code == 201
    client = client_for(theo)
    assert reads(client, ana) == [404] * 4

    answer = ask(client, ana, REASON)

    opened = EmergencyAccess.objects.get()
    assert (answer.status_code, answer.json()) == (
        201,
        {"id": str(opened.pk), "until": opened.until.isoformat()},
    )
    assert opened.until - opened.opened_at == timedelta(hours=4)
    assert abs(opened.opened_at - timezone.now()) < timedelta(minutes=5)
    assert reads(client, ana) == [200] * 4
    seen = client.get(f"{API}/participants/{ana.public_id}/administrations").json()["results"]
    assert [one["id"] for one in seen] == [body["id"]]
    listed = client.get(f"{API}/participants").json()["results"]
    assert [one["id"] for one in listed] == [str(ana.public_id)]
    whys = Entry.objects.filter(actor=theo.user_id, participant=ana.pk).order_by("id")
    assert list(whys.values_list("action", "why")) == [
        *[("participant.refused", "")] * 4,
        ("emergency.opened", "emergency"),
        ("emergency.started", "emergency"),
        ("participant.read", "emergency"),
        ("dosing_sessions.read", "emergency"),
        ("administrations.read", "emergency"),
        ("trends.read", "emergency"),
        ("administrations.read", "emergency"),
        ("caseload.read", "emergency"),
    ]


def test_it_is_open_to_nobody_else_and_of_nobody_else(
    ana: Participant, ben: Participant, theo: Membership, carla: Membership, client_for: ClientFor
) -> None:
    assert ask(client_for(theo), ana).status_code == 201
    other = join("tom", ana.clinic, Role.THERAPIST)

    assert reads(client_for(other), ana) == [404] * 4
    assert reads(client_for(theo), ben) == [404] * 4
    there, nowhere = (
        ask(client_for(carla), ana),
        client_for(carla).post(
            f"{API}/participants/{uuid4()}/emergency-access", {"reason": "x"}, "application/json"
        ),
    )
    assert (there.status_code, there.content) == (404, nowhere.content)
    assert EmergencyAccess.objects.count() == 1


def test_asked_again_it_is_the_same(ana: Participant, theo: Membership, client_for: ClientFor) -> None:
    client = client_for(theo)
    first, second = ask(client, ana, "First."), ask(client, ana, "Second.")

    assert (first.status_code, second.status_code) == (201, 200)
    assert first.json() == second.json()
    assert EmergencyAccess.objects.count() == 1
    assert Entry.objects.filter(action="emergency.started").count() == 1


def test_it_widens_who_and_not_what(ana: Participant, theo: Membership, client_for: ClientFor) -> None:
    decide(ana, "withdrawn", at=timezone.now())

    assert ask(client_for(theo), ana).status_code == 201
    assert reads(client_for(theo), ana) == [200, 200, 403, 403]
    refused = Entry.objects.filter(action="participant.no_consent", why="emergency")
    assert refused.count() == 2


@pytest.mark.parametrize("over", [timedelta(0), timedelta(days=30)])
def test_it_is_over_after_four_hours(
    ana: Participant, theo: Membership, client_for: ClientFor, over: timedelta
) -> None:
    opened_in_emergency(ana, theo, REASON, now=clock() - timedelta(hours=4) - over)

    assert reads(client_for(theo), ana) == [404] * 4
    assert ask(client_for(theo), ana).status_code == 201, "another emergency is another"
    assert EmergencyAccess.objects.count() == 2


def test_it_lasts_until_then(ana: Participant, theo: Membership, client_for: ClientFor) -> None:
    opened_in_emergency(ana, theo, REASON, now=timezone.now() - timedelta(hours=3, minutes=50))

    assert reads(client_for(theo), ana) == [200] * 4


@pytest.mark.parametrize("change", [{"suspended_at": timezone.now()}, {"ended_at": timezone.now()}])
def test_a_membership_that_gives_no_right_opens_nothing(
    ana: Participant, theo: Membership, client_for: ClientFor, change: dict[str, Any]
) -> None:
    client = client_for(theo)
    assert ask(client, ana).status_code == 201
    Membership.objects.filter(pk=theo.pk).update(**change)

    assert reads(client, ana) == [404] * 4


def test_whoever_cares_for_them_needs_none(
    ana: Participant, thea: Membership, cass: Membership, client_for: ClientFor
) -> None:
    for membership in (thea, cass):
        answer = ask(client_for(membership), ana)
        assert (answer.status_code, answer.json()["code"]) == (409, "in_care")
    assert EmergencyAccess.objects.count() == 0


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({}, "required"),
        ({"reason": ""}, "required"),
        ({"reason": "   "}, "required"),
        ({"reason": None}, "wrong_type"),
        ({"reason": 7}, "wrong_type"),
        ({"reason": "x" * 501}, "invalid_value"),
    ],
)
def test_a_reason_is_needed(
    ana: Participant, theo: Membership, client_for: ClientFor, body: Any, code: str
) -> None:
    address = f"{API}/participants/{ana.public_id}/emergency-access"
    answer = client_for(theo).post(address, body, "application/json")

    assert answer.status_code == 422
    assert [(e["pointer"], e["code"]) for e in answer.json()["errors"]] == [("/reason", code)]
    assert EmergencyAccess.objects.count() == 0
    assert reads(client_for(theo), ana) == [404] * 4


def test_the_reason_is_sealed_under_the_participants_key(ana: Participant, theo: Membership) -> None:
    opened = opened_in_emergency(ana, theo, REASON, now=timezone.now())

    with connection.cursor() as cursor:
        cursor.execute("SELECT e::text FROM care_emergencyaccess e")
        (row,) = cursor.fetchone()
    assert "called" not in row
    assert b"called" not in bytes(opened.reason)


def test_those_who_answer_for_the_clinic_are_told(
    ana: Participant, ben: Participant, theo: Membership, sam: Membership, adam: Membership,
    carla: Membership, client_for: ClientFor,
) -> None:  # fmt: skip
    now = timezone.now()
    opened_in_emergency(ben, theo, "Ben.", now=now - timedelta(days=3))
    opened_in_emergency(ana, sam, "Ana.", now=now - timedelta(days=2))
    cleo = enrol("cleo", carla.clinic)
    opened_in_emergency(cleo, carla, "Elsewhere.", now=now)
    before = Entry.objects.order_by("-id")[0].pk

    answer = client_for(adam).get(f"{API}/emergency-accesses?limit=1").json()
    rest = client_for(sam).get(f"{API}/emergency-accesses?cursor={answer['next']}").json()

    assert [one["reason"] for one in (*answer["results"], *rest["results"])] == ["Ana.", "Ben."]
    assert rest["next"] is None
    (newest,) = answer["results"]
    assert {k: newest[k] for k in ("clinic", "participant", "who")} == {
        "clinic": str(ana.clinic.public_id),
        "participant": {"id": str(ana.public_id), "pseudonym": "ana heron"},
        "who": {"membership": str(sam.public_id), "role": "supervisor"},
    }
    read = Entry.objects.filter(id__gt=before, action="emergency.read").order_by("id")
    assert list(read.values_list("actor", "participant", "why")) == [
        (adam.user_id, ana.pk, "oversight"),
        (sam.user_id, ben.pk, "oversight"),
    ]
    for outsider in (theo, carla):
        assert client_for(outsider).get(f"{API}/emergency-accesses").status_code == 403


def test_an_erased_participants_reason_is_gone_and_the_list_stays(
    ana: Participant, theo: Membership, adam: Membership, client_for: ClientFor
) -> None:
    opened_in_emergency(ana, theo, REASON, now=timezone.now())
    (one,) = client_for(adam).get(f"{API}/emergency-accesses").json()["results"]
    assert one["reason"] == REASON

    ring.keyring().destroy(ana.public_id, at=timezone.now())

    (one,) = client_for(adam).get(f"{API}/emergency-accesses").json()["results"]
    assert one["reason"] is None


def test_a_row_is_of_one_clinic_and_of_four_hours_and_stays(
    ana: Participant, theo: Membership, carla: Membership
) -> None:
    now = timezone.now()
    row = {"clinic": ana.clinic, "participant": ana, "membership": theo, "opened_at": now, "reason": b"x"}
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"membership": carla}, "of_one_clinic"),
        ({"clinic": carla.clinic}, "of_one_clinic"),
        ({"until": now + timedelta(hours=5)}, "emergency_lasts_four_hours"),
    ]
    for odd, constraint in wrong:
        with pytest.raises(Exception, match=constraint), transaction.atomic():
            EmergencyAccess.objects.create(**{"until": now + timedelta(hours=4), **row, **odd})
            connection.cursor().execute("SET CONSTRAINTS ALL IMMEDIATE")
    EmergencyAccess.objects.create(**row, until=now + timedelta(hours=4))
    later = now + timedelta(hours=3)
    with pytest.raises(Exception, match="one_emergency_at_a_time"), transaction.atomic():
        EmergencyAccess.objects.create(**{**row, "opened_at": later}, until=later + timedelta(hours=4))
    with as_owner():
        for statement in ("UPDATE care_emergencyaccess SET reason = ''", "DELETE FROM care_emergencyaccess"):
            with pytest.raises(Exception, match="append-only"), transaction.atomic():
                connection.cursor().execute(statement)


def test_a_participant_sees_their_own_alone(ana: Participant, ben: Participant, theo: Membership) -> None:
    for person in (ana, ben):
        opened_in_emergency(person, theo, REASON, now=timezone.now())

    with scope.participants([ana.pk]):
        assert set(EmergencyAccess.objects.values_list("participant", flat=True)) == {ana.pk}
    with scope.participants([]):
        assert EmergencyAccess.objects.count() == 0


def test_of_several_at_once_one_is_new(database_copy: Copy) -> None:
    clinic = create_clinic(name="Linden")
    ana, theo = enrol("ana", clinic), join("theo", clinic, Role.THERAPIST)
    assert theo.user is not None
    token, barrier, answers = sign_in(theo.user), Barrier(6), list[int]()

    def once() -> None:
        client = Client(headers={"authorization": f"Bearer {token}"})
        barrier.wait()
        answers.append(ask(client, ana).status_code)
        connections.close_all()

    threads = [Thread(target=once) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(answers) == [200] * 5 + [201]
    assert EmergencyAccess.objects.count() == 1


def test_care_that_begins_meanwhile_is_care(
    ana: Participant, theo: Membership, client_for: ClientFor
) -> None:
    assert ask(client_for(theo), ana).status_code == 201
    assert CareRelationship.objects.filter(therapist=theo, ended_at__isnull=True).count() == 0
    start_care(participant=ana, therapist=theo, started_at=ENROLLED_AT)

    client_for(theo).get(f"{API}/participants/{ana.public_id}")

    newest = Entry.objects.filter(action="participant.read").order_by("-id")[0]
    assert newest.why == "care"
