"""An operator signs in with both factors, and nobody else opens anything."""

from datetime import timedelta
from time import time

import pytest
from allauth.mfa.models import Authenticator
from allauth.mfa.recovery_codes.internal.auth import RecoveryCodes
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
from django.contrib.sessions.backends.db import SessionStore
from django.contrib.sessions.models import Session
from django.test import Client
from django.utils import timezone

from backend.accounts.addresses import address_of
from backend.accounts.models import User
from backend.accounts.services import create_user, end_operator
from backend.audit.models import Entry
from backend.operators import access, web
from tests.operators.conftest import HOME, PASSWORD, SECOND, SIGN_IN, browser, code, signed_in

AWAY = (302, SIGN_IN)


@pytest.fixture
def olgas(olga: User) -> Client:
    """The browser Olga signed in with, step by step."""
    return signed_in(olga)


def password(client: Client, email: str | None, word: str = PASSWORD) -> str:
    """Where the first step leads, or what it says."""
    answer = client.post(SIGN_IN, {"email": email, "password": word})
    return answer.headers.get("Location") or said(answer.content.decode())


def second(client: Client, digits: str) -> str:
    answer = client.post(SECOND, {"code": digits})
    return answer.headers.get("Location") or said(answer.content.decode())


def said(page: str) -> str:
    return page.partition('<p role="alert">')[2].partition("</p>")[0]


def home(client: Client) -> tuple[int, str | None]:
    answer = client.get(HOME)
    return answer.status_code, answer.headers.get("Location")


def test_both_factors_open_the_pages(olga: User) -> None:
    client = browser()

    assert home(client) == AWAY
    assert password(client, str(address_of(olga)).upper()) == SECOND
    assert home(client) == AWAY
    assert second(client, code(olga)) == HOME
    assert home(client) == (200, None)
    entry = Entry.objects.get(action="operator.signed_in")
    assert (entry.actor, entry.subject) == (olga.pk, str(olga.pk))


def test_the_second_factor_alone_opens_nothing(olga: User) -> None:
    client = browser()

    assert client.get(SECOND).headers["Location"] == SIGN_IN
    assert second(client, code(olga)) == SIGN_IN
    assert home(client) == AWAY


def test_what_does_not_open_says_the_same(olga: User) -> None:
    """A wrong password, an address nobody has, and somebody's who is no operator."""
    create_user(email="mia@cast.example", password=PASSWORD)

    said = [
        password(browser(), address_of(olga), "not her password at all"),
        password(browser(), "nobody@cast.example"),
        password(browser(), "mia@cast.example"),
        password(browser(), "not an address"),
        password(browser(), address_of(olga), ""),
    ]

    assert said == [web.WRONG] * 5


def test_an_operator_without_a_second_factor_is_told_how(olga: User) -> None:
    Authenticator.objects.filter(user=olga).delete()
    client = browser()

    assert password(client, address_of(olga)) == web.NO_SECOND_FACTOR
    assert client.get(SECOND).headers["Location"] == SIGN_IN
    assert home(client) == AWAY


def test_recovery_codes_alone_are_no_second_factor(olga: User) -> None:
    Authenticator.objects.filter(user=olga).delete()
    RecoveryCodes.activate(olga)

    assert password(browser(), address_of(olga)) == web.NO_SECOND_FACTOR


def test_a_code_works_once(olga: User) -> None:
    digits = code(olga)
    first, again = browser(), browser()
    for client in (first, again):
        password(client, address_of(olga))

    assert second(first, digits) == HOME
    assert second(again, digits) == web.WRONG_CODE
    assert home(again) == AWAY


def test_wrong_codes_are_refused_recorded_and_stopped(olga: User) -> None:
    client = browser()
    password(client, address_of(olga))
    wrong = f"{(int(code(olga)) + 111_111) % 1_000_000:06}"

    answers = [second(client, wrong) for _ in range(6)]

    assert answers == [web.WRONG_CODE] * 5 + [web.TOO_MANY]
    assert second(client, code(olga)) == web.TOO_MANY
    assert home(client) == AWAY
    assert Entry.objects.filter(action="operator.refused", subject=str(olga.pk)).count() == 5


def test_many_wrong_passwords_are_stopped(olga: User) -> None:
    client = browser()

    answers = [password(client, address_of(olga), f"guess number {n} of many") for n in range(11)]

    assert answers == [web.WRONG] * 10 + [web.TOO_MANY]
    assert password(client, address_of(olga)) == web.TOO_MANY


def aged(client: Client, **changes: object) -> None:
    """The browser's session, with these in it."""
    session = SessionStore(client.cookies["sessionid"].value)
    for key, value in changes.items():
        session[key] = value
    session.save()


def test_the_first_step_is_over_after_five_minutes(olga: User) -> None:
    client = browser()
    password(client, address_of(olga))
    aged(client, operator_halfway=(olga.pk, int(time()) - access.BETWEEN_STEPS - 1))

    assert second(client, code(olga)) == SIGN_IN


def test_half_an_hour_without_a_look_and_it_is_over(olga: User, olgas: Client) -> None:
    key = olgas.cookies["sessionid"].value
    left = Session.objects.get(pk=key).expire_date - timezone.now()
    assert 1790 < left.total_seconds() <= 1800
    Session.objects.filter(pk=key).update(expire_date=timezone.now() + timedelta(minutes=1))

    assert home(olgas) == (200, None)  # and a look gives it another half hour
    left = Session.objects.get(pk=key).expire_date - timezone.now()
    assert 1790 < left.total_seconds() <= 1800
    Session.objects.filter(pk=key).update(expire_date=timezone.now())
    assert home(olgas) == AWAY


def test_twelve_hours_are_a_day(olgas: Client) -> None:
    aged(olgas, operator_since=int(time()) - access.LONGEST)

    assert home(olgas) == AWAY


def test_the_cookie_goes_nowhere_else(olgas: Client) -> None:
    cookie = olgas.cookies["sessionid"]

    assert (cookie["httponly"], cookie["samesite"], cookie["path"], cookie["max-age"]) == (
        True,
        "Strict",
        "/",
        1800,
    )


def test_the_cookie_is_secure_where_the_address_is(olga: User, settings: pytest.FixtureRequest) -> None:
    settings.SESSION_COOKIE_SECURE = True  # type: ignore[attr-defined]

    assert signed_in(olga).cookies["sessionid"]["secure"] is True


def test_signing_in_changes_the_session_key(olga: User) -> None:
    client = browser()
    password(client, address_of(olga))
    halfway = client.cookies["sessionid"].value
    second(client, code(olga))

    assert client.cookies["sessionid"].value != halfway
    assert not Session.objects.filter(pk=halfway).exists()


def test_signing_out_ends_the_session(olgas: Client) -> None:
    key = olgas.cookies["sessionid"].value

    assert olgas.get("/operators/sign-out").status_code == 405
    assert olgas.post("/operators/sign-out").headers["Location"] == SIGN_IN
    assert home(olgas) == AWAY
    assert not Session.objects.filter(pk=key).exists()


def no_operator(olga: User) -> None:
    end_operator(user=olga)


def inactive(olga: User) -> None:
    User.objects.filter(pk=olga.pk).update(is_active=False)


def another_password(olga: User) -> None:
    olga.set_password("eight loud herons at dawn")
    olga.save()


@pytest.mark.parametrize("loss", [no_operator, inactive, another_password])
def test_it_is_over_on_the_next_request(olga: User, olgas: Client, loss: object) -> None:
    assert home(olgas) == (200, None)

    loss(olga)  # type: ignore[operator]

    assert home(olgas) == AWAY


def test_a_session_made_elsewhere_opens_nothing(olga: User) -> None:
    """An app's, even an operator's own: only this page writes what these pages ask for."""
    session = SessionStore()
    session[SESSION_KEY] = str(olga.pk)
    session[BACKEND_SESSION_KEY] = access.BACKEND
    session[HASH_SESSION_KEY] = olga.get_session_auth_hash()
    session.save()
    client = browser()
    client.cookies["sessionid"] = str(session.session_key)

    assert home(client) == AWAY


def test_an_operators_session_is_no_way_into_the_api(olgas: Client) -> None:
    assert olgas.get("/api/v1/me").status_code == 401


def test_the_forms_take_nothing_from_another_site(olga: User) -> None:
    client, sent = browser(enforce_csrf_checks=True), {"email": address_of(olga), "password": PASSWORD}
    assert client.post(SIGN_IN, sent).status_code == 403
    page = client.get(SIGN_IN)
    sent["csrfmiddlewaretoken"] = page.content.decode().partition('middlewaretoken" value="')[2][:64]

    # A browser says "null" of a page under `no-referrer`: its own form would be refused as this one is.
    for origin, status in (("https://elsewhere.example", 403), ("null", 403), ("http://testserver", 302)):
        assert client.post(SIGN_IN, sent, headers={"origin": origin}).status_code == status
    assert page.headers["Referrer-Policy"] == "same-origin"


def test_the_pages_allow_no_script_and_one_style(olgas: Client) -> None:
    policies = {path: browser().get(path).headers["Content-Security-Policy"] for path in (SIGN_IN,)}
    policies[HOME] = olgas.get(HOME).headers["Content-Security-Policy"]

    for path, policy in policies.items():
        assert "default-src 'none'" in policy, path
        assert "script-src" not in policy, path
        assert "unsafe" not in policy, path
        assert "form-action 'self'; frame-ancestors 'none'; base-uri 'none'" in policy, path
        assert b"<script" not in browser().get(path, follow=True).content
    assert b"<script" not in olgas.get(HOME).content
