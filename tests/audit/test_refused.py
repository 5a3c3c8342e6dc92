"""What did not succeed leaves a row too: a wrong secret, a right one has not, a sign-in too weak."""

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from backend.accounts.models import User
from backend.accounts.services import create_user
from backend.audit.models import Entry
from backend.care.models import Membership, Participant
from tests.accounts.phone import PASSWORD, login, phone, send, signed_in
from tests.care.joining.door import phone as stranger
from tests.care.joining.door import redeem
from tests.care.joining.test_guessing import NEVER
from tests.conftest import ClientFor, sign_in

ADDRESS = "mia@cast.example"


@pytest.fixture
def mia(db: None) -> User:
    return create_user(email=ADDRESS, password=PASSWORD)


def kept(action: str) -> list[tuple[int | None, str]]:
    return list(Entry.objects.filter(action=action).order_by("id").values_list("actor", "subject"))


def test_a_wrong_password_is_audited_without_the_address(mia: User) -> None:
    assert login(phone(), ADDRESS, "seven strange cranes").status_code == 400
    assert login(phone(), "nobody@cast.example", "seven strange cranes").status_code == 400
    assert login(phone(), ADDRESS).status_code == 200

    assert kept("sign_in.refused") == [(mia.pk, "password"), (None, "password")]
    entry = Entry.objects.filter(action="sign_in.refused")[0]
    assert (entry.participant, entry.clinic, entry.request is not None, entry.device is not None) == (
        None,
        None,
        True,
        True,
    )


def test_it_costs_the_same_statements_for_who_is_nobody(mia: User) -> None:
    counts = []
    for email in (ADDRESS, "nobody@cast.example"):
        with CaptureQueriesContext(connection) as caught:
            assert login(phone(), email, "seven strange cranes").status_code == 400
        counts.append(len(caught))

    assert counts[0] == counts[1]


def test_a_wrong_password_of_somebody_signed_in_is_audited(mia: User) -> None:
    mine = phone()
    access, _ = signed_in(mine, mia)

    answer = send(mine, "auth/reauthenticate", {"password": "seven strange cranes"}, token=access)

    assert answer.status_code == 400
    assert kept("sign_in.refused") == [(mia.pk, "password")]


def test_a_wrong_code_to_join_with_is_audited(thea: Membership) -> None:
    for _ in range(2):
        assert redeem(NEVER, client=stranger()).status_code == 422

    assert [actor for actor, _ in kept("code.wrong")] == [None, None]


def test_asking_for_a_right_one_does_not_have_is_audited(theo: Membership, client_for: ClientFor) -> None:
    for address in ("staff", "covers", "emergency-accesses"):
        assert client_for(theo).get(f"/api/v1/{address}").status_code == 403

    assert kept("clinic.refused") == [
        (theo.user_id, right) for right in ("staff.managed", "care.managed", "emergency.read")
    ]


def test_asking_without_a_second_factor_is_audited(ana: Participant, thea: Membership) -> None:
    assert thea.user is not None
    weak = Client(headers={"authorization": f"Bearer {sign_in(thea.user, second_factor=False)}"})

    assert weak.get(f"/api/v1/participants/{ana.public_id}").status_code == 403
    assert kept("second_factor.missing") == [(thea.user_id, "")]
