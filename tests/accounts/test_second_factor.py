"""Second factors and passkeys: setting them up, signing in with them, and what a session then counts for."""

from typing import Any

import pytest
from allauth.account.models import EmailAddress
from allauth.mfa.models import Authenticator
from django.core import mail
from django.core.cache import cache
from django.db import connection
from django.test import Client, RequestFactory
from pytest_django import DjangoCaptureOnCommitCallbacks, Settings
from rest_framework.request import Request

from backend import scope
from backend.accounts.addresses import address_of
from backend.accounts.authentication import AccessToken, SignedInUser, require_second_factor
from backend.accounts.models import Device, User
from backend.accounts.services import create_user, reset_second_factor
from backend.audit.models import Entry
from backend.errors import Problem
from tests.accounts.mailbox import code_sent_to, deliver
from tests.accounts.phone import MIA, PASSWORD, Passkey, login, refresh, send, signed_in, status, tokens, totp
from tests.accounts.phone import phone as new_phone

ORIGIN = "https://selfkind.example"
AUTHENTICATORS = "account/authenticators"


@pytest.fixture
def rosa(db: None) -> User:
    """Another member of staff."""
    return create_user(email="rosa@cast.example", password=None)


def who(token: str) -> SignedInUser:
    """The signed-in user a view would see."""
    request = RequestFactory().get("/api/v1/me", headers={"authorization": f"Bearer {token}"})
    with scope.request_transaction():
        found = AccessToken().authenticate(Request(request))
    assert found is not None
    return found[0]


def add_authenticator_app(phone: Client, access: str) -> str:
    """The secret of an authenticator app that was just added."""
    send(phone, "auth/reauthenticate", {"password": PASSWORD}, token=access)
    secret = send(phone, f"{AUTHENTICATORS}/totp", token=access, method="get").json()["meta"]["secret"]
    added = send(phone, f"{AUTHENTICATORS}/totp", {"code": totp(secret)}, token=access)
    assert added.status_code == 200, added.content
    return str(secret)


def halfway(phone: Client, user: User) -> str:
    """The session of a sign-in that waits for its second factor."""
    answer = login(phone, address_of(user))
    assert answer.status_code == 401
    pending = [f for f in answer.json()["data"]["flows"] if f.get("is_pending")]
    assert [f["id"] for f in pending] == ["mfa_authenticate"]
    return str(answer.json()["meta"]["session_token"])


def add_passkey(phone: Client, access: str) -> Passkey:
    passkey = Passkey(ORIGIN)
    route = f"{AUTHENTICATORS}/webauthn"
    answer = send(phone, f"{route}?passwordless", token=access, method="get")
    options = answer.json()["data"]["creation_options"]
    added = send(phone, route, {"name": "Phone", "credential": passkey.create(options)}, token=access)
    assert added.status_code == 200, added.content
    return passkey


def login_by_passkey(phone: Client, passkey: Passkey) -> Any:
    asked = send(phone, "auth/webauthn/login", method="get")
    options, session = asked.json()["data"]["request_options"], asked.json()["meta"]["session_token"]
    return send(phone, "auth/webauthn/login", {"credential": passkey.get(options)}, session=session)


def test_a_session_counts_for_what_it_was_signed_in_with(mia: User, phone: Client) -> None:
    access, _ = tokens(phone, mia)
    secret = add_authenticator_app(phone, access)

    # Owning an authenticator app is not having used it.
    assert who(access).second_factor is False
    other = new_phone()
    answer = send(other, "auth/2fa/authenticate", {"code": totp(secret, 1)}, session=halfway(other, mia))
    assert answer.status_code == 200
    assert who(answer.json()["meta"]["access_token"]).second_factor is True
    assert who(access).second_factor is False


def test_a_session_is_raised_by_using_the_second_factor(mia: User, phone: Client) -> None:
    access, token = tokens(phone, mia)
    secret = add_authenticator_app(phone, access)

    answer = send(phone, "auth/2fa/reauthenticate", {"code": totp(secret, 1)}, token=access)

    assert answer.status_code == 200
    assert who(access).second_factor is True
    renewed = refresh(phone, token)
    assert renewed is not None
    assert who(renewed["access_token"]).second_factor is True


def test_what_needs_a_second_factor_says_so(mia: User, phone: Client) -> None:
    access, _ = signed_in(phone, mia)

    with pytest.raises(Problem) as refused:
        require_second_factor(who(access))

    assert (refused.value.status, refused.value.code) == (403, "second_factor_required")
    require_second_factor(SignedInUser(mia.pk, True))


def test_without_the_second_factor_there_is_no_token(mia: User, phone: Client) -> None:
    access, _ = tokens(phone, mia)
    add_authenticator_app(phone, access)

    answer = login(new_phone(), MIA)

    assert answer.status_code == 401
    assert set(answer.json()["meta"]) == {"is_authenticated", "session_token"}
    assert Device.objects.count() == 1


def test_a_code_of_the_app_works_once(mia: User, phone: Client) -> None:
    access, _ = tokens(phone, mia)
    secret = add_authenticator_app(phone, access)
    code = totp(secret, 1)

    answers = [
        send(other, "auth/2fa/authenticate", {"code": code}, session=halfway(other, mia)).status_code
        for other in (new_phone(), new_phone())
    ]

    assert answers == [200, 400]


def test_a_used_code_is_remembered_for_as_long_as_it_is_good(db: None) -> None:
    """The package notes it for one step of 30 seconds, and takes the code in three."""
    assert cache.add("used", "y", timeout=30)
    with connection.cursor() as cursor:
        cursor.execute("SELECT expires - now() > interval '90 seconds' FROM accounts_cache")
        assert cursor.fetchall() == [(True,)]
    assert not cache.add("used", "y", timeout=30)


def test_recovery_codes_work_once_each(mia: User, phone: Client) -> None:
    access, _ = tokens(phone, mia)
    add_authenticator_app(phone, access)
    codes = send(phone, f"{AUTHENTICATORS}/recovery-codes", token=access, method="get").json()["data"]
    first = codes["unused_codes"][0]
    assert len(codes["unused_codes"]) == 10

    answers = [
        send(other, "auth/2fa/authenticate", {"code": first}, session=halfway(other, mia))
        for other in (new_phone(), new_phone())
    ]

    assert [a.status_code for a in answers] == [200, 400]
    assert who(answers[0].json()["meta"]["access_token"]).second_factor is True


def test_a_second_factor_is_guessed_at_five_times(mia: User, phone: Client) -> None:
    access, _ = tokens(phone, mia)
    add_authenticator_app(phone, access)

    tries = []
    for n in range(7):  # each from another phone, each over another session
        other = new_phone()
        session = halfway(other, mia)
        tries.append(send(other, "auth/2fa/authenticate", {"code": f"00000{n}"}, session=session).status_code)

    assert tries == [400] * 5 + [429] * 2


def test_asking_for_a_login_code_clears_no_guesses_at_the_second_factor(mia: User, phone: Client) -> None:
    """A sign-in at another step has the same account pending, and is refused without a look at the code."""
    access, _ = tokens(phone, mia)
    add_authenticator_app(phone, access)
    thief = new_phone()

    def guess() -> int:
        session = halfway(thief, mia)
        answer = send(thief, "auth/2fa/authenticate", {"code": "000009"}, session=session)
        return int(answer.status_code)

    before = [guess() for _ in range(4)]
    asked = send(thief, "auth/code/request", {"email": MIA}).json()["meta"]["session_token"]
    refused = send(thief, "auth/2fa/authenticate", {"code": "000009"}, session=asked)

    assert refused.status_code == 401
    assert [*before, guess(), guess()] == [400] * 5 + [429]


def test_secrets_are_sealed(mia: User, phone: Client) -> None:
    access, _ = tokens(phone, mia)
    secret = add_authenticator_app(phone, access)
    codes = send(phone, f"{AUTHENTICATORS}/recovery-codes", token=access, method="get").json()["data"]

    kept = str(list(Authenticator.objects.values_list("data", flat=True)))

    assert secret not in kept
    assert not any(code in kept for code in codes["unused_codes"])


def test_signing_in_by_passkey_is_both_factors(mia: User, phone: Client, settings: Settings) -> None:
    settings.PUBLIC_URL = ORIGIN
    access, _ = tokens(phone, mia)
    send(phone, "auth/reauthenticate", {"password": PASSWORD}, token=access)
    passkey = add_passkey(phone, access)

    answer = login_by_passkey(new_phone(), passkey)

    assert answer.status_code == 200, answer.content
    assert who(answer.json()["meta"]["access_token"]).second_factor is True
    assert who(access).second_factor is False


def test_a_passkey_is_made_for_the_public_address_alone(mia: User, phone: Client, settings: Settings) -> None:
    settings.PUBLIC_URL = ORIGIN
    access, _ = tokens(phone, mia)
    send(phone, "auth/reauthenticate", {"password": PASSWORD}, token=access)
    passkey = add_passkey(phone, access)

    passkey.origin = "https://selfkind.example.net"

    assert login_by_passkey(new_phone(), passkey).status_code == 400


def test_who_has_no_address_signs_in_by_passkey(phone: Client, settings: Settings, db: None) -> None:
    settings.PUBLIC_URL = ORIGIN
    nobody = create_user(email=None, password=None)
    access, _ = signed_in(phone, nobody)
    passkey = add_passkey(phone, access)

    answer = login_by_passkey(new_phone(), passkey)

    assert answer.status_code == 200, answer.content
    access = answer.json()["meta"]["access_token"]
    me = phone.get("/api/v1/me", headers={"authorization": f"Bearer {access}"})
    assert me.json() == {"email": None, "name": None, "participant": None, "memberships": []}
    assert EmailAddress.objects.count() == 0


def test_a_suspended_user_has_no_use_of_a_passkey(mia: User, phone: Client, settings: Settings) -> None:
    settings.PUBLIC_URL = ORIGIN
    access, _ = tokens(phone, mia)
    send(phone, "auth/reauthenticate", {"password": PASSWORD}, token=access)
    passkey = add_passkey(phone, access)
    User.objects.update(is_active=False)

    answer = login_by_passkey(new_phone(), passkey)

    assert answer.status_code == 401
    assert "access_token" not in answer.json()["meta"]


def test_a_code_by_mail_signs_in_as_a_first_factor(mia: User, phone: Client) -> None:
    session = send(phone, "auth/code/request", {"email": MIA}).json()["meta"]["session_token"]

    body = {"code": code_sent_to("mia@cast.example")}
    answer = send(phone, "auth/code/confirm", body, session=session)

    assert answer.status_code == 200
    access = answer.json()["meta"]["access_token"]
    assert status(phone, access) == 200
    assert who(access).second_factor is False


def test_a_shorter_password_counts_beside_a_second_factor_only(mia: User, phone: Client, rosa: User) -> None:
    access, _ = tokens(phone, mia)
    short = {"current_password": PASSWORD, "new_password": "9 herons"}
    assert send(phone, "account/password/change", short, token=access).status_code == 400

    secret = add_authenticator_app(phone, access)
    seven = {"current_password": PASSWORD, "new_password": "7 heron"}
    assert send(phone, "account/password/change", seven, token=access).status_code == 400
    assert send(phone, "account/password/change", short, token=access).status_code == 200

    other = new_phone()
    half = login(other, MIA, "9 herons")
    session = half.json()["meta"]["session_token"]
    answer = send(other, "auth/2fa/authenticate", {"code": totp(secret, 1)}, session=session)
    assert answer.status_code == 200

    reset_second_factor(user=mia, by=rosa)
    assert login(new_phone(), MIA, "9 herons").status_code == 400


@pytest.mark.parametrize(
    ("password", "code"),
    [
        ("fourteen chars", "password_too_short"),
        ("mia@cast.example", "password_is_the_address"),
        ("MIA@cast.example!!", "password_is_the_address"),
        ("ia@cast.example", "password_is_the_address"),
        ("1q2w3e4r5t6y7u8i9o0p", "password_too_common"),
    ],
)
def test_weak_passwords_are_refused(mia: User, phone: Client, password: str, code: str) -> None:
    access, _ = tokens(phone, mia)
    body = {"current_password": PASSWORD, "new_password": password}

    answer = send(phone, "account/password/change", body, token=access)

    assert [e["code"] for e in answer.json()["errors"]] == [code]


def test_what_changes_is_audited_and_told(
    mia: User, phone: Client, django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks
) -> None:
    access, _ = tokens(phone, mia)
    with django_capture_on_commit_callbacks(execute=True):
        add_authenticator_app(phone, access)
    body = {"current_password": PASSWORD, "new_password": "six loud herons flying"}
    send(phone, "account/password/change", body, token=access)

    kept = Entry.objects.filter(actor=mia.pk).order_by("id")
    assert list(kept.values_list("action", flat=True)) == [
        "session.started",
        "second_factor.added",
        "password.changed",
    ]
    deliver()
    assert [(m.to, m.subject) for m in mail.outbox] == [
        (["mia@cast.example"], "Something changed in your account")
    ] * 2
