"""Staff make invitations, see the open ones, and withdraw them."""

import base64
import re
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.conf import settings
from django.db import IntegrityError, connection, transaction
from django.db.models import F
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from backend.care import services as care
from backend.care.codes import read
from backend.care.joining.models import Invitation
from backend.care.joining.services import digest
from backend.care.models import Clinic, Membership, Participant
from backend.care.roles import Role
from tests.care.joining.door import (
    API,
    INVITATIONS,
    entries_since,
    invitation_of,
    invited,
    new_phone_code,
    newest_entry,
    post,
    preview,
    redeem,
    seen,
    signed_in,
)
from tests.conftest import ENROLLED_AT, enrol, join, statements
from tests.scales.phone import pointers


def body(**fields: Any) -> dict[str, Any]:
    return {"id": str(uuid4()), **fields}


def listed(member: Membership, query: str = "") -> list[str]:
    return [i["id"] for i in signed_in(member).get(INVITATIONS + query).json()["results"]]


def test_a_therapist_invites_into_their_own_care(thea: Membership) -> None:
    newest, sent = newest_entry(), body(protocol="integration-12w")

    answer = post(signed_in(thea), INVITATIONS, sent)
    shown = answer.json()

    assert answer.status_code == 201
    assert {k: v for k, v in shown.items() if k not in ("code", "url", "qr", "created_at", "expires_at")} == {
        "id": sent["id"],
        "kind": "join",
        "clinic": str(thea.clinic.public_id),
        "therapist": str(thea.public_id),
        "protocol": "integration-12w",
    }
    lasts = datetime.fromisoformat(shown["expires_at"]) - datetime.fromisoformat(shown["created_at"])
    assert lasts == timedelta(days=14)
    assert re.fullmatch(r"([2-9A-HJKMNP-Z]{4}-){3}[2-9A-HJKMNP-Z]{4}", shown["code"])
    assert shown["url"] == f"{settings.PUBLIC_URL}/join#{shown['code']}"
    head, _, picture = shown["qr"].partition(",")
    assert head == "data:image/svg+xml;base64"
    assert base64.b64decode(picture).startswith(b"<svg")
    assert entries_since(newest) == [("invitation.created", thea.user_id, None, thea.clinic_id)]


def test_only_a_keyed_hash_of_a_code_is_kept(thea: Membership) -> None:
    code = read(invited(thea))
    assert code is not None

    with connection.cursor() as cursor:
        cursor.execute("SELECT digest, i::text FROM care_invitation i")
        ((kept, row),) = cursor.fetchall()

    assert kept == digest(code)
    assert code not in row
    assert digest(code) != digest(code[:-1] + "2" if code[-1] != "2" else code[:-1] + "3")


def test_the_same_id_again_is_the_same_invitation_without_its_code(thea: Membership) -> None:
    sent = body(expires_in_days=3)
    first = post(signed_in(thea), INVITATIONS, sent).json()

    again = post(signed_in(thea), INVITATIONS, sent)

    assert again.status_code == 200
    assert again.json() == first | {"code": None, "url": None, "qr": None}
    assert Invitation.objects.count() == 1
    redeem(first["code"])
    assert post(signed_in(thea), INVITATIONS, sent).json() == again.json()


@pytest.mark.parametrize(
    "other", [{"expires_in_days": 4}, {"protocol": "p"}, {"protocol": None, "therapist": 1}]
)
def test_the_same_id_with_other_content_is_a_conflict(
    thea: Membership, theo: Membership, other: dict[str, Any]
) -> None:
    sent = body()
    post(signed_in(thea), INVITATIONS, sent)
    if "therapist" in other:
        other = {"therapist": str(theo.public_id)}

    assert post(signed_in(thea), INVITATIONS, sent | other).json()["code"] == "conflict"


def test_an_id_of_somebody_elses_is_a_conflict_like_any(thea: Membership, carla: Membership) -> None:
    sent = body()
    post(signed_in(thea), INVITATIONS, sent)

    elsewhere = post(signed_in(carla), INVITATIONS, sent)

    assert elsewhere.status_code == 409
    assert seen(elsewhere) == seen(post(signed_in(thea), INVITATIONS, sent | {"protocol": "p"}))


def test_an_administrator_names_the_therapist(thea: Membership, adam: Membership, carla: Membership) -> None:
    client = signed_in(adam)

    assert pointers(post(client, INVITATIONS, body())) == [("/therapist", "required")]
    for stranger in (carla.public_id, adam.public_id, uuid4()):
        answer = post(client, INVITATIONS, body(therapist=str(stranger)))
        assert pointers(answer) == [("/therapist", "invalid_value")]
    answer = post(client, INVITATIONS, body(therapist=str(thea.public_id)))
    assert (answer.status_code, answer.json()["therapist"]) == (201, str(thea.public_id))


def test_a_therapist_whose_membership_ended_gets_nobody_new(thea: Membership, adam: Membership) -> None:
    Membership.objects.filter(pk=thea.pk).update(ended_at=timezone.now())

    answer = post(signed_in(adam), INVITATIONS, body(therapist=str(thea.public_id)))

    assert pointers(answer) == [("/therapist", "invalid_value")]
    assert post(signed_in(thea), INVITATIONS, body()).status_code == 403


def test_who_belongs_to_two_clinics_names_one(thea: Membership, rowan: Clinic, carla: Membership) -> None:
    other = care.add_member(clinic=rowan, user=thea.user, role=Role.THERAPIST, started_at=ENROLLED_AT)
    client = signed_in(thea)

    assert pointers(post(client, INVITATIONS, body())) == [("/clinic", "required")]
    there = post(client, INVITATIONS, body(clinic=str(rowan.public_id))).json()
    assert (there["clinic"], there["therapist"]) == (str(rowan.public_id), str(other.public_id))
    linden = str(thea.clinic.public_id)
    for nowhere in (linden, str(uuid4())):
        assert post(signed_in(carla), INVITATIONS, body(clinic=nowhere)).json()["code"] == "not_allowed"


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"expires_in_days": 0}, ("/expires_in_days", "invalid_value")),
        ({"expires_in_days": 91}, ("/expires_in_days", "invalid_value")),
        ({"expires_in_days": "9"}, ("/expires_in_days", "wrong_type")),
        ({"expires_in_days": True}, ("/expires_in_days", "wrong_type")),
        ({"protocol": "Bad One"}, ("/protocol", "invalid_value")),
        ({"protocol": 7}, ("/protocol", "wrong_type")),
        ({"id": "x"}, ("/id", "invalid_uuid")),
        ({"code": "K7QM-2XWP-94HD-RTCW"}, ("/code", "unknown_field")),
        ({"kind": "relink"}, ("/kind", "unknown_field")),
        ({"participant": str(uuid4())}, ("/participant", "unknown_field")),
    ],
)
def test_what_does_not_fit_is_refused(thea: Membership, fields: dict[str, Any], expected: Any) -> None:
    assert pointers(post(signed_in(thea), INVITATIONS, body(**fields))) == [expected]
    assert Invitation.objects.count() == 0


def test_ninety_days_are_the_most_in_the_database_too(thea: Membership) -> None:
    assert post(signed_in(thea), INVITATIONS, body(expires_in_days=90)).status_code == 201

    with pytest.raises(IntegrityError, match="invitation_expires"), transaction.atomic():
        Invitation.objects.update(expires_at=F("expires_at") + timedelta(seconds=1))


def test_whether_one_may_comes_before_what_one_sends(ana: Participant, rosa: Membership) -> None:
    for person in (ana, rosa):
        answer = signed_in(person).post(INVITATIONS, b'{"broken', "application/json")
        assert (answer.status_code, answer.json()["code"]) == (403, "not_allowed")


def test_the_list_is_of_open_ones_and_shows_no_code(thea: Membership, adam: Membership) -> None:
    first, second, third = (post(signed_in(thea), INVITATIONS, body()).json() for _ in range(3))
    redeem(second["code"])
    Invitation.objects.filter(pk=third["id"]).update(
        created_at=timezone.now() - timedelta(days=2), expires_at=timezone.now() - timedelta(days=1)
    )

    answer = signed_in(adam).get(INVITATIONS).json()

    assert answer == {
        "results": [{k: v for k, v in first.items() if k not in ("code", "url", "qr")}],
        "next": None,
    }


def test_nobody_elses_new_phone_is_in_a_therapists_list(
    ana: Participant, thea: Membership, theo: Membership, adam: Membership, carla: Membership
) -> None:
    new_phone_code(thea, ana)
    relink = str(Invitation.objects.get().pk)
    invited(carla)
    invited(thea)
    here = str(Invitation.objects.get(clinic=thea.clinic, kind="join").pk)

    assert listed(thea) == listed(adam) == [here, relink]
    assert listed(theo) == [here]
    assert signed_in(theo).delete(f"{INVITATIONS}/{relink}").status_code == 404
    assert not {here, relink} & set(listed(carla))


def test_pages_follow_one_another(thea: Membership) -> None:
    made = [post(signed_in(thea), INVITATIONS, body()).json()["id"] for _ in range(5)]
    found, query = [], "?limit=2"

    while query:
        page = signed_in(thea).get(INVITATIONS + query).json()
        assert len(page["results"]) <= 2
        found += [i["id"] for i in page["results"]]
        query = f"?limit=2&cursor={page['next']}" if page["next"] else ""

    assert found == made[::-1]
    for cursor in ("x", "WyJ4IiwieSJd"):
        assert pointers(signed_in(thea).get(f"{INVITATIONS}?cursor={cursor}")) == [
            ("/cursor", "invalid_cursor")
        ]


def test_lists_take_the_same_statements_for_one_and_three(thea: Membership) -> None:
    client, counts = signed_in(thea), []
    for more in (1, 2):
        for _ in range(more):
            invited(thea)
        with CaptureQueriesContext(connection) as queries:
            client.get(INVITATIONS)
        counts.append(len(statements(queries)))

    assert counts == [3, 3]


def test_a_withdrawn_code_is_good_for_nothing_at_once(thea: Membership, adam: Membership) -> None:
    made = post(signed_in(thea), INVITATIONS, body()).json()
    newest = newest_entry()
    address = f"{INVITATIONS}/{made['id']}"

    assert [signed_in(adam).delete(address).status_code for _ in range(2)] == [204, 204]

    assert redeem(made["code"]).json()["code"] == "code_unusable"
    assert preview(made["code"]).json()["code"] == "code_unusable"
    assert entries_since(newest) == [
        ("invitation.withdrawn", adam.user_id, None, thea.clinic_id),
        *[("code.wrong", None, None, None)] * 2,
    ]
    assert listed(thea) == []


def test_what_was_redeemed_is_not_withdrawn(thea: Membership) -> None:
    made = post(signed_in(thea), INVITATIONS, body()).json()
    redeem(made["code"])

    answer = signed_in(thea).delete(f"{INVITATIONS}/{made['id']}")

    assert (answer.status_code, answer.json()["code"]) == (409, "already_redeemed")
    assert Invitation.objects.get().withdrawn_at is None


def test_a_new_phone_has_one_open_code(ana: Participant, thea: Membership, adam: Membership) -> None:
    newest = newest_entry()
    first, second = new_phone_code(thea, ana), new_phone_code(adam, ana)

    assert preview(first).json()["code"] == "code_unusable"
    assert preview(second).status_code == 200
    assert entries_since(newest) == [
        ("participant.relinked", thea.user_id, ana.pk, ana.clinic_id),
        ("invitation.created", thea.user_id, ana.pk, ana.clinic_id),
        ("participant.relinked", adam.user_id, ana.pk, ana.clinic_id),
        ("invitation.withdrawn", adam.user_id, ana.pk, ana.clinic_id),
        ("invitation.created", adam.user_id, ana.pk, ana.clinic_id),
        ("code.wrong", None, None, None),
    ]


def test_a_new_phones_code_again_shows_no_code_and_withdraws_nothing(
    ana: Participant, thea: Membership
) -> None:
    path, sent = f"{API}/participants/{ana.public_id}/relink", body()
    first = post(signed_in(thea), path, sent)

    again = post(signed_in(thea), path, sent)

    assert (first.status_code, again.status_code) == (201, 200)
    assert again.json() == first.json() | {"code": None, "url": None, "qr": None}
    assert invitation_of(again).withdrawn_at is None
    assert pointers(post(signed_in(thea), path, body(expires_in_days=15))) == [
        ("/expires_in_days", "invalid_value")
    ]


def test_a_code_never_reaches_across_two_clinics(thea: Membership, carla: Membership, rowan: Clinic) -> None:
    stranger = enrol("stranger", rowan)
    invited(thea)
    made = Invitation.objects.get()

    for column, other in (("therapist_id", carla.pk), ("participant_id", stranger.pk)):
        with pytest.raises(IntegrityError, match="of_one_clinic"), transaction.atomic():
            Invitation.objects.filter(pk=made.pk).update(**{column: other})
            with connection.cursor() as cursor:
                cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")


def test_a_coordinator_invites_too(thea: Membership) -> None:
    cora = join("cora", thea.clinic, Role.COORDINATOR)
    sven = join("sven", thea.clinic, Role.SUPERVISOR)

    assert post(signed_in(cora), INVITATIONS, body(therapist=str(thea.public_id))).status_code == 201
    assert post(signed_in(sven), INVITATIONS, body(therapist=str(thea.public_id))).status_code == 403
