"""What a thief of the database learns of who signs in: no address, no name, not what a device is called."""

import base64
import json
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from allauth.account.models import EmailAddress, EmailConfirmation
from django.contrib.sessions.backends.db import SessionStore
from django.core import mail
from django.test import Client
from django.utils import timezone

from backend.accounts import addresses
from backend.accounts.addresses import address_of, lookup
from backend.accounts.models import Address, Device, Guess, OutgoingMail, User
from backend.accounts.services import create_user
from backend.accounts.tasks import clear_expired_sessions
from backend.audit.models import Entry
from backend.care.models import Membership, Participant
from tests.accounts.clear import found_in_clear
from tests.accounts.mailbox import code_sent_to, deliver
from tests.accounts.phone import MIA, PASSWORD, login, send, signed_in, tokens
from tests.accounts.phone import phone as new_phone
from tests.care.joining.door import invited
from tests.conftest import ClientFor
from tests.test_access import SIGN_IN_ROUTES

WORDS = ("wrenhaven", "nightjar", "ptarmigan", "dunnock")
FIRST, SECOND, THIRD = "Wrenhaven@Hidden.example", "nightjar@hidden.example", "ptarmigan@hidden.example"
NO_ADDRESSES = ["nobody", "", None, 7, ["a@b.example"], {"a@b.example": 1}, "@sealed.invalid"]
ADDRESS_ROUTES = ["auth/login", "auth/code/request", "auth/password/request", "account/email"]
NEW_PASSWORD = "six loud herons flying"


class Heard(Client):
    """A phone that keeps all it was answered."""

    def __init__(self) -> None:
        super().__init__(REMOTE_ADDR="127.0.0.1", headers={"x-device": str(uuid4())})
        self.answers: list[bytes] = []

    def request(self, **request: Any) -> Any:
        answer = super().request(**request)
        self.answers.append(answer.content + str(answer.headers).encode())
        return answer


def token_of(answer: Any) -> str:
    assert answer.status_code == 200, answer.content
    return str(answer.json()["meta"]["access_token"])


def by(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}


def choose_a_password(phone: Client, link: str) -> None:
    form = phone.get(link.partition("8000")[2], follow=True)
    chosen = {"new_password1": PASSWORD, "new_password2": PASSWORD}
    answer = phone.post(form.redirect_chain[-1][0], chosen, follow=True)
    assert b"Choose your password" not in answer.content


def tour(phone: Heard, adams: Client, thea: Membership) -> None:
    """Staff add somebody, who signs in in every way, changes their address, resets their password, names
    themselves and a device; somebody joins with an address; and strangers try."""
    added = adams.post("/api/v1/staff", {"email": FIRST, "role": "therapist"}, "application/json")
    assert (added.status_code, added.json()["email"]) == (201, FIRST.lower())
    link = next(line for line in str(mail.outbox[-1].body).splitlines() if line.startswith("http"))
    choose_a_password(phone, link)

    access = token_of(login(phone, FIRST))
    waiting = send(phone, "auth/code/request", {"email": FIRST}).json()["meta"]["session_token"]
    body = {"code": code_sent_to(FIRST.lower())}
    assert send(phone, "auth/code/confirm", body, session=waiting).status_code == 200

    theirs = f"/api/v1/me/devices/{phone.defaults['HTTP_X_DEVICE']}"
    named = phone.patch(theirs, {"name": "Dunnock's phone"}, "application/json", headers=by(access))
    assert named.json()["name"] == "Dunnock's phone"
    called = phone.patch("/api/v1/me", {"name": "Dr Dunnock"}, "application/json", headers=by(access))
    assert (called.json()["name"], called.json()["email"]) == ("Dr Dunnock", FIRST.lower())

    shown = [{"email": FIRST.lower(), "verified": True, "primary": True}]
    pending = {"email": SECOND, "verified": False, "primary": False}
    assert send(phone, "account/email", {"email": SECOND.upper()}, token=access).json()["data"] == [
        *shown,
        pending,
    ]
    assert send(phone, "account/email", token=access, method="get").json()["data"] == [*shown, pending]
    again = send(phone, "account/email", {"email": SECOND}, token=access, method="put")
    assert again.status_code == 403
    code = {"key": code_sent_to(SECOND)}
    verified = send(phone, "auth/email/verify", code, token=access)
    assert verified.json()["data"]["user"]["email"] == FIRST.lower()
    primary = {"email": SECOND, "primary": True}
    assert send(phone, "account/email", primary, token=access, method="patch").status_code == 200
    left = send(phone, "account/email", {"email": FIRST}, token=access, method="delete")
    assert left.json()["data"] == [{"email": SECOND, "verified": True, "primary": True}]
    totp = send(phone, "account/authenticators/totp", token=access, method="get").json()["meta"]
    assert "nightjar%40hidden.example" in totp["totp_url"]
    send(phone, "auth/reauthenticate", {"password": PASSWORD}, token=access)
    options = send(phone, "account/authenticators/webauthn", token=access, method="get").json()["data"]
    assert options["creation_options"]["publicKey"]["user"]["name"] == SECOND
    session = send(phone, "auth/session", token=access, method="get").json()["data"]
    # Signed in by an address that is theirs no longer: kept nowhere, and so not shown.
    assert [(method["method"], "email" in method) for method in session["methods"]] == [
        ("password", False),
        ("password", False),
    ]

    waiting = send(phone, "auth/password/request", {"email": SECOND}).json()["meta"]["session_token"]
    body = {"key": code_sent_to(SECOND), "password": NEW_PASSWORD}
    assert send(phone, "auth/password/reset", body, session=waiting).status_code == 401
    assert token_of(login(phone, SECOND, NEW_PASSWORD))
    assert login(phone, FIRST, NEW_PASSWORD).status_code == 400

    joining = {"code": invited(thea), "timezone": "Europe/Berlin", "email": THIRD, "password": PASSWORD}
    joined = phone.post("/api/v1/invitations/redeem", joining, "application/json").json()
    access = joined["access_token"]
    assert send(phone, "account/email", token=access, method="get").json()["data"] == [
        {"email": THIRD, "verified": False, "primary": False}
    ]
    assert send(phone, "auth/email/verify/resend", token=access).status_code == 409
    assert send(phone, "auth/email/verify", {"key": code_sent_to(THIRD)}, token=access).status_code == 200
    assert phone.get("/api/v1/me", headers=by(access)).json()["email"] == THIRD

    for word in WORDS:
        nobody = {"email": f"{word}.nobody@hidden.example"}
        send(phone, "auth/login", {**nobody, "password": PASSWORD})
        waiting = send(phone, "auth/code/request", nobody).json()["meta"]["session_token"]
        send(phone, "auth/code/resend", session=waiting)
        send(phone, "auth/session", session=waiting, method="get")
        send(phone, "auth/password/request", nobody)
        send(phone, "auth/signup", {**nobody, "password": PASSWORD})
        phone.post("/operators/sign-in", {**nobody, "password": PASSWORD})
    adams.get("/api/v1/staff")


def test_nothing_is_in_clear_after_a_tour(
    adam: Membership, thea: Membership, ana: Participant, client_for: ClientFor
) -> None:
    phone = Heard()

    tour(phone, client_for(adam), thea)

    assert found_in_clear(WORDS) == set()
    assert OutgoingMail.objects.exists()
    assert not EmailConfirmation.objects.exists()
    assert len(phone.answers) > 50
    assert [answer for answer in phone.answers if b"sealed.invalid" in answer] == []


def test_no_route_shows_a_lookup_address(mia: User) -> None:
    """Whatever is asked of whichever route, by Mia in the middle of a change of address, or by nobody."""
    phone = Heard()
    body = {"email": MIA, "password": PASSWORD, "code": "BCDF-GHJK", "key": "BCDF-GHJK", "primary": True}
    for route in sorted(SIGN_IN_ROUTES):
        for method in ("get", "post", "put", "patch", "delete"):
            Guess.objects.all().delete()
            token, _ = signed_in(phone, mia)
            send(phone, "account/email", {"email": SECOND}, token=token)
            send(phone, route, body, token=token, method=method)
            send(phone, route, {"email": SECOND}, token=token, method=method)
            send(phone, route, body, method=method)

    assert [answer for answer in phone.answers if b"sealed" in answer] == []
    assert sum(b'"mia@cast.example"' in answer for answer in phone.answers) > 10


def test_the_looking_finds_what_is_there(ana: Participant) -> None:
    """So that finding nothing says something."""
    assert ana.user_id is not None
    Participant.objects.filter(pk=ana.pk).update(pseudonym="Wrenhaven heron")
    User.objects.filter(pk=ana.user_id).update(name=b"the NIGHTJAR", password=base64.b64encode(b"a Dunnock"))
    session = SessionStore()
    session["email"] = THIRD
    session.save()

    assert found_in_clear(WORDS) >= {
        ("care_participant", "wrenhaven"),
        ("accounts_user", "nightjar"),
        ("accounts_user", "dunnock"),
        ("django_session, decoded", "ptarmigan"),
    }


@pytest.mark.parametrize("email", NO_ADDRESSES)
@pytest.mark.parametrize("route", ADDRESS_ROUTES)
def test_what_is_no_address_is_refused_in_the_packages_words(
    mia: User, phone: Client, route: str, email: object
) -> None:
    access, _ = signed_in(phone, mia)
    token = access if route == "account/email" else ""

    answer = send(phone, route, {"email": email, "password": PASSWORD}, token=token)

    errors = [(e["param"], e["code"]) for e in answer.json()["errors"]]
    assert answer.status_code == 400
    assert errors == [("email", "required" if email in ("", None) else "invalid")]
    assert b"sealed" not in answer.content


def test_a_lookup_address_opens_nothing(mia: User, phone: Client) -> None:
    """Whoever read the database knows these, and an address is hashed whatever it is."""
    stolen = mia.email

    assert login(phone, stolen).status_code == 400
    assert login(phone, MIA).status_code == 200
    assert lookup(str(stolen)) != stolen


def test_what_one_is_called(mia: User, phone: Client) -> None:
    access, _ = signed_in(phone, mia)

    def call(body: object) -> Any:
        return phone.patch("/api/v1/me", body, "application/json", headers=by(access))

    nobody: dict[str, Any] = {"email": MIA, "name": None, "participant": None, "memberships": []}
    assert (call({"name": "Mia Löwe"}).status_code, call({"name": "Mia"}).json()["name"]) == (200, "Mia")
    assert phone.get("/api/v1/me", headers=by(access)).json() == {**nobody, "name": "Mia"}
    refused = [
        [(e["pointer"], e["code"]) for e in call(body).json()["errors"]]
        for body in ({"name": ""}, {"name": "x" * 101}, {"name": 7}, {}, {"name": "a", "email": MIA})
    ]
    assert refused == [
        [("/name", "required")],
        [("/name", "invalid_value")],
        [("/name", "wrong_type")],
        [("/name", "required")],
        [("/email", "unknown_field")],
    ]
    assert call({"name": None}).json() == nobody
    assert User.objects.get().name is None
    done = Entry.objects.filter(action__startswith="user.name").order_by("id")
    assert list(done.values_list("actor", "action", "subject")) == [
        (mia.pk, "user.named", str(mia.pk)),
        (mia.pk, "user.named", str(mia.pk)),
        (mia.pk, "user.name_removed", str(mia.pk)),
    ]


def test_a_name_is_on_the_staff_list(adam: Membership, thea: Membership, client_for: ClientFor) -> None:
    client_for(thea).patch("/api/v1/me", {"name": "Dr Thea"}, "application/json")

    listed = client_for(adam).get("/api/v1/staff").json()["results"]

    assert {m["email"]: m["name"] for m in listed} == {
        "thea@cast.example": "Dr Thea",
        "adam@cast.example": None,
    }


def test_what_was_sealed_for_another_does_not_open(mia: User, phone: Client) -> None:
    """A row that somebody put in another's place is refused and noted, not shown."""
    other = create_user(email="ana@cast.example", password=None)
    access, _ = signed_in(phone, mia)
    stolen = Address.objects.get(user=other).sealed
    Address.objects.filter(user=mia).update(sealed=stolen)

    answer = phone.get("/api/v1/me", headers=by(access))

    assert (answer.status_code, answer.json()["code"]) == (409, "unreadable")
    assert Entry.objects.filter(action="sealed.unreadable").count() == 1


def test_an_address_that_was_never_confirmed_is_forgotten_after_a_day(mia: User, phone: Client) -> None:
    access, _ = tokens(phone, mia)
    send(phone, "account/email", {"email": SECOND}, token=access)
    create_user(email=None, password=None)
    Address.objects.update(made_at=timezone.now() - timedelta(hours=23))

    clear_expired_sessions()
    assert Address.objects.count() == 2
    Address.objects.update(made_at=timezone.now() - timedelta(hours=25))
    clear_expired_sessions()

    assert list(Address.objects.values_list("lookup", flat=True)) == [mia.email]
    assert deliver() == 0  # nobody is written to at an address that is kept no longer


def test_asking_again_keeps_an_address_as_long_again(mia: User) -> None:
    now = timezone.now()
    for at in (now - timedelta(hours=25), now):
        addresses.keep(user=mia, address=SECOND, now=at)

    addresses.forget_unconfirmed(now=now)

    assert Address.objects.filter(lookup=lookup(SECOND)).count() == 1


def test_two_people_may_ask_for_one_address_and_one_has_it(mia: User, phone: Client) -> None:
    ana, hers = create_user(email="ana@cast.example", password=None), new_phone()
    access, _ = tokens(phone, mia)
    her_access, _ = signed_in(hers, ana)
    send(phone, "account/email", {"email": SECOND}, token=access)
    code = code_sent_to(SECOND)
    other = addresses.keep(user=ana, address=SECOND, now=timezone.now())

    assert send(phone, "auth/email/verify", {"key": code}, token=access).status_code == 200

    assert list(EmailAddress.objects.filter(email=other).values_list("user")) == [(mia.pk,)]
    assert addresses.user_of(SECOND) == mia
    assert address_of(ana) == "ana@cast.example"
    listed = send(hers, "account/email", token=her_access, method="get")
    assert json.loads(listed.content)["data"] == [
        {"email": "ana@cast.example", "verified": True, "primary": True}
    ]


def test_a_devices_name_is_its_own(mia: User, phone: Client) -> None:
    """Moved to another row, it does not open."""
    other = new_phone()
    access, _ = signed_in(phone, mia)
    signed_in(other, mia)
    for one in (phone, other):
        address = f"/api/v1/me/devices/{one.defaults['HTTP_X_DEVICE']}"
        phone.patch(address, {"name": "Mine"}, "application/json", headers=by(access))
    first, second = Device.objects.order_by("pk")
    Device.objects.filter(pk=first.pk).update(name=second.name)

    answer = phone.get("/api/v1/me/devices", headers=by(access))

    assert (answer.status_code, answer.json()["code"]) == (409, "unreadable")
