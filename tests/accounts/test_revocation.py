"""What ends a sign-in ends it for the next request (T17); and what staff do for one another."""

from datetime import UTC, datetime
from uuid import uuid4

import pytest
from allauth.mfa.models import Authenticator
from django.contrib.sessions.models import Session
from django.test import Client

from backend.accounts import services
from backend.accounts.models import Device, TokenFamily, User
from backend.audit.models import Entry
from backend.errors import Problem
from backend.keys.fields import sealed
from tests.accounts.mailbox import code_sent_to
from tests.accounts.phone import MIA, PASSWORD, login, refresh, send, signed_in, status
from tests.accounts.phone import phone as new_phone
from tests.accounts.revocations import ENDINGS, measure
from tests.conftest import sign_in


@pytest.fixture
def rosa(db: None) -> User:
    """Another member of staff."""
    return services.create_user(email="rosa@cast.example", password=None)


def by(access: str) -> dict[str, str]:
    return {"authorization": f"Bearer {access}"}


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_token_does_not_outlive_its_end(db: None, ending: str) -> None:
    found = measure(ending, times=2)

    assert (found.still_let_in, found.still_renewed) == (0, 0)


def test_sessions_we_keep_no_list_of_end_as_well(mia: User) -> None:
    access = sign_in(mia)
    assert TokenFamily.objects.count() == 0
    assert status(Client(), access) == 200

    services.end_sessions(user=mia)

    assert status(Client(), access) == 401


def test_one_session_ends_and_the_others_go_on(mia: User, phone: Client) -> None:
    other = new_phone()
    access, token = signed_in(phone, mia)
    others_access, others_token = signed_in(other, mia)

    services.revoke_device(user=mia.pk, installation=Device.objects.earliest("pk").installation)

    assert [status(phone, access), status(other, others_access)] == [401, 200]
    assert refresh(phone, token) is None
    assert refresh(other, others_token) is not None


def test_ones_devices(mia: User, rosa: User, phone: Client) -> None:
    today = datetime.now(UTC).date().isoformat()
    other = new_phone()
    access, _ = signed_in(phone, mia)
    others_access, _ = signed_in(other, mia)
    signed_in(new_phone(), rosa)
    send(other, "auth/session", token=others_access, method="delete")
    seen = {"name": None, "first_seen_on": today, "last_seen_on": today}
    first = {"id": phone.defaults["HTTP_X_DEVICE"], **seen, "signed_in": True, "current": True}
    second = {"id": other.defaults["HTTP_X_DEVICE"], **seen, "signed_in": False, "current": False}

    assert phone.get("/api/v1/me/devices", headers=by(access)).json() == {
        "results": [first, second],
        "next": None,
    }
    page = phone.get("/api/v1/me/devices?limit=1", headers=by(access)).json()
    assert page["results"] == [first]
    rest = phone.get(f"/api/v1/me/devices?limit=1&cursor={page['next']}", headers=by(access))
    assert rest.json() == {"results": [second], "next": None}


def test_naming_a_device(mia: User, phone: Client) -> None:
    access, _ = signed_in(phone, mia)
    address = f"/api/v1/me/devices/{phone.defaults['HTTP_X_DEVICE']}"

    named = phone.patch(address, {"name": "Mine"}, "application/json", headers=by(access))
    phone.patch(address, {"name": "Mine"}, "application/json", headers=by(access))
    refused = [
        phone.patch(address, body, "application/json", headers=by(access)).json()["errors"]
        for body in ({"name": ""}, {"name": "x" * 101}, {"name": None}, {}, {"name": "a", "user": 1})
    ]

    assert (named.status_code, named.json()["name"]) == (200, "Mine")
    assert [[(e["pointer"], e["code"]) for e in errors] for errors in refused] == [
        [("/name", "required")],
        [("/name", "invalid_value")],
        [("/name", "wrong_type")],
        [("/name", "required")],
        [("/user", "unknown_field")],
    ]
    kept = Device.objects.get()
    assert b"Mine" not in kept.name
    assert sealed(Device, "name").unseal(kept.name, row=kept.pk, holder=mia.holder) == "Mine"
    assert Entry.objects.filter(action="device.named").count() == 1


@pytest.mark.parametrize("method", ["patch", "delete"])
def test_anothers_device_is_like_one_that_never_was(
    mia: User, rosa: User, phone: Client, method: str
) -> None:
    hers = new_phone()
    access, _ = signed_in(phone, mia)
    her_access, _ = signed_in(hers, rosa)

    answers = [
        getattr(phone, method)(
            f"/api/v1/me/devices/{which}", {"name": "x"}, "application/json", headers=by(access)
        )
        for which in (hers.defaults["HTTP_X_DEVICE"], uuid4(), "x")
    ]

    assert {(a.status_code, a.content) for a in answers} == {(404, answers[0].content)}
    assert status(hers, her_access) == 200
    assert Device.objects.filter(user=rosa, name=None).count() == 1


def test_one_phone_of_two_people_is_two_devices(mia: User, rosa: User, phone: Client) -> None:
    signed_in(phone, mia)
    her_access, _ = signed_in(phone, rosa)

    services.revoke_device(user=mia.pk, installation=Device.objects.get(user=mia).installation)

    assert status(phone, her_access) == 200


def test_a_revoked_device_is_unknown_again(mia: User, phone: Client) -> None:
    signed_in(phone, mia)
    services.revoke_device(user=mia.pk, installation=Device.objects.get().installation)
    for n in range(10):
        login(new_phone(), MIA, f"guess {n}")

    assert login(phone, MIA).status_code == 429


def test_a_second_person_resets_a_password(mia: User, rosa: User, phone: Client) -> None:
    link = services.reset_password_link(user=mia, by=rosa)
    assert login(phone, MIA).status_code == 400

    path = link.split("8000", 1)[-1]
    form = phone.get(path, follow=True)
    chosen = phone.post(
        form.redirect_chain[-1][0],
        {"new_password1": "six loud herons flying", "new_password2": "six loud herons flying"},
        follow=True,
    )

    assert chosen.status_code == 200
    assert login(phone, MIA, "six loud herons flying").status_code == 200
    assert list(Entry.objects.filter(action="password.reset_by_staff").values_list("actor", "subject")) == [
        (rosa.pk, str(mia.pk))
    ]


def test_a_second_person_resets_a_second_factor(mia: User, rosa: User, phone: Client) -> None:
    for kind in ("totp", "recovery_codes", "webauthn"):
        Authenticator.objects.create(user=mia, type=kind, data={})
    hers = Authenticator.objects.create(user=rosa, type="totp", data={})

    services.reset_second_factor(user=mia, by=rosa)

    assert list(Authenticator.objects.values_list("pk", flat=True)) == [hers.pk]
    assert login(phone, MIA).status_code == 200
    assert list(
        Entry.objects.filter(action="second_factor.reset_by_staff").values_list("actor", "subject")
    ) == [(rosa.pk, str(mia.pk))]


@pytest.mark.parametrize("reset", [services.reset_password_link, services.reset_second_factor])
def test_nobody_resets_their_own(rosa: User, phone: Client, reset: object) -> None:
    Authenticator.objects.create(user=rosa, type="totp", data={})
    access, _ = signed_in(phone, rosa)

    with pytest.raises(Problem) as refused:
        reset(user=rosa, by=rosa)  # type: ignore[operator]

    assert (refused.value.status, refused.value.code) == (403, "not_allowed")
    assert Authenticator.objects.count() == 1
    assert status(phone, access) == 200


def test_suspending_and_restoring_are_audited(mia: User, rosa: User, phone: Client) -> None:
    services.suspend_user(user=mia, by=rosa)
    assert login(phone, MIA).status_code == 400

    services.restore_user(user=mia, by=rosa)

    assert login(phone, MIA).status_code == 200
    assert list(
        Entry.objects.filter(action__startswith="user.")
        .order_by("id")
        .values_list("actor", "action", "subject")
    ) == [(rosa.pk, "user.suspended", str(mia.pk)), (rosa.pk, "user.restored", str(mia.pk))]


def test_resetting_by_code_ends_every_session(mia: User, phone: Client) -> None:
    access, token = signed_in(phone, mia)
    thief = new_phone()
    session = send(thief, "auth/password/request", {"email": MIA}).json()["meta"]["session_token"]
    body = {"key": code_sent_to("mia@cast.example"), "password": "six loud herons flying"}
    send(thief, "auth/password/reset", body, session=session)

    assert status(phone, access) == 401
    assert refresh(phone, token) is None
    assert not Session.objects.filter(session_key__in=TokenFamily.objects.values("session_key")).exists()
    assert login(phone, MIA, PASSWORD).status_code == 400
