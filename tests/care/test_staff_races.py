"""Many changes of one clinic's staff at once: each finds what the one before it left."""

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from backend.accounts.addresses import lookup
from backend.care.models import Clinic, Membership
from backend.care.roles import Role
from backend.care.services import create_clinic, start_care
from tests.conftest import ENROLLED_AT, Copy, enrol, join, sign_in
from tests.scales.test_races import at_once

API = "/api/v1"


@pytest.fixture
def linden(database_copy: Copy) -> Clinic:
    return create_clinic(name="Linden")


def client_of(member: Membership) -> Callable[[], Client]:
    token = sign_in(member.user)
    return lambda: Client(headers={"authorization": f"Bearer {token}"}, raise_request_exception=False)


def post(client: Callable[[], Client], path: str, body: Any) -> Any:
    return client().post(f"{API}/{path}", body, "application/json")


def test_admins_who_suspend_each_other_leave_one(linden: Clinic) -> None:
    for n in range(10):
        alma, adam = (join(f"{name}{n}", linden, Role.CLINIC_ADMIN) for name in ("alma", "adam"))
        pairs = [(client_of(alma), adam), (client_of(adam), alma)]

        answers = at_once(
            [lambda c=c, m=m: post(c, f"staff/{m.public_id}/suspend", {}) for c, m in pairs]  # type: ignore[misc]
        )

        assert {a.status_code for a in answers} <= {200, 403, 409}
        working = Membership.objects.filter(suspended_at__isnull=True, role=Role.CLINIC_ADMIN)
        assert working.count() == 1
        working.update(suspended_at=ENROLLED_AT)


def test_an_address_added_eight_times_at_once_is_one_member(linden: Clinic) -> None:
    admin = client_of(join("adam", linden, Role.CLINIC_ADMIN))
    body = {"email": "nina@cast.example", "role": "therapist"}

    answers = at_once([lambda: post(admin, "staff", body) for _ in range(8)])

    assert Counter(a.status_code for a in answers) == {201: 1, 200: 7}
    assert Membership.objects.filter(user__email=lookup("nina@cast.example")).count() == 1


def test_nobody_is_given_a_caseload_while_leaving(linden: Clinic) -> None:
    admin = client_of(join("adam", linden, Role.CLINIC_ADMIN))
    for n in range(10):
        thea, theo = (join(f"{name}{n}", linden, Role.THERAPIST) for name in ("thea", "theo"))
        start_care(participant=enrol(f"ana{n}", linden), therapist=thea, started_at=ENROLLED_AT)
        hand_over = f"caseloads/{thea.public_id}/hand-over"

        moved, left = at_once(
            [
                lambda h=hand_over, t=theo: post(admin, h, {"to": str(t.public_id)}),  # type: ignore[misc]
                lambda t=theo: post(admin, f"staff/{t.public_id}/end", {}),  # type: ignore[misc]
            ]
        )

        assert (moved.status_code, left.status_code) in {(200, 409), (422, 200)}
        theo.refresh_from_db()
        assert (theo.ended_at is None) == theo.care_relationships.exists()
