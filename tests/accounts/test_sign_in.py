"""Signing in as an app does it: tokens that work, and that stop working at once."""

import base64

import orjson
from allauth.headless.tokens.strategies.jwt.internal import create_access_token, create_token
from django.contrib.sessions.backends.db import SessionStore
from django.contrib.sessions.models import Session
from django.test import Client

from backend.accounts.models import TokenFamily, User
from backend.accounts.services import create_user
from tests.accounts.phone import MIA, PASSWORD, login, send, status, tokens


def test_sign_in_gives_tokens_that_work(mia: User, phone: Client) -> None:
    answer = login(phone, "Mia@Cast.Example")
    meta = answer.json()["meta"]

    assert answer.status_code == 200
    assert status(phone, meta["access_token"]) == 200
    assert status(phone, meta["refresh_token"]) == 401


def test_nobody_signs_up(db: None, phone: Client) -> None:
    answer = send(phone, "auth/signup", {"email": "new@cast.example", "password": PASSWORD})

    assert answer.status_code == 403
    assert not User.objects.filter(email="new@cast.example").exists()


def test_a_wrong_password_and_an_unknown_address_look_the_same(mia: User, phone: Client) -> None:
    wrong = login(phone, MIA, "not the password of Mia")
    unknown = login(phone, f"x{MIA}", "not the password of Mia")

    assert (wrong.status_code, wrong.content) == (unknown.status_code, unknown.content)
    assert wrong.status_code == 400


def test_many_wrong_passwords_are_stopped(mia: User, phone: Client) -> None:
    guesses = [login(phone, MIA, f"guess number {n}").status_code for n in range(11)]
    stopped = login(phone, MIA)

    assert guesses == [400] * 10 + [429]
    assert (stopped.status_code, stopped.json()) == (429, {"status": 429})
    assert 0 < int(stopped["Retry-After"]) <= 900


def test_signing_out_ends_the_token_at_once(mia: User, phone: Client) -> None:
    access, refresh = tokens(phone, mia)
    assert status(phone, access) == 200

    send(phone, "auth/session", token=access, method="delete")

    assert status(phone, access) == 401
    assert send(phone, "tokens/refresh", {"refresh_token": refresh}).status_code == 400


def test_a_new_password_ends_every_older_token_at_once(mia: User, phone: Client) -> None:
    access, refresh = tokens(phone, mia)
    elsewhere, other_refresh = tokens(Client(REMOTE_ADDR="127.9.9.9"), mia)

    answer = send(
        phone,
        "account/password/change",
        {"current_password": PASSWORD, "new_password": "six loud herons flying"},
        token=access,
    )

    assert answer.status_code == 200
    assert (status(phone, access), status(phone, elsewhere)) == (401, 401)
    assert send(phone, "tokens/refresh", {"refresh_token": other_refresh}).status_code == 400
    assert TokenFamily.objects.count() == 1
    # The phone it was changed on goes on: it renews its tokens and nobody has to sign in again.
    own = send(phone, "tokens/refresh", {"refresh_token": refresh})
    assert status(phone, own.json()["data"]["access_token"]) == 200
    assert login(phone, MIA).status_code == 400
    assert login(phone, MIA, "six loud herons flying").status_code == 200


def test_a_short_password_is_no_new_password(mia: User, phone: Client) -> None:
    access, _ = tokens(phone, mia)

    answer = send(
        phone,
        "account/password/change",
        {"current_password": PASSWORD, "new_password": "fourteen chars"},
        token=access,
    )

    assert answer.status_code == 400
    assert login(phone, MIA).status_code == 200


def test_a_suspended_user_is_out_at_once(mia: User, phone: Client) -> None:
    access, refresh = tokens(phone, mia)
    User.objects.filter(pk=mia.pk).update(is_active=False)

    assert status(phone, access) == 401
    assert send(phone, "tokens/refresh", {"refresh_token": refresh}).status_code == 400
    assert login(phone, MIA).status_code != 200


def test_refreshing_gives_new_tokens(mia: User, phone: Client) -> None:
    _, refresh = tokens(phone, mia)

    answer = send(phone, "tokens/refresh", {"refresh_token": refresh})
    data = answer.json()["data"]

    assert answer.status_code == 200
    assert status(phone, data["access_token"]) == 200
    assert data["refresh_token"] != refresh
    assert send(phone, "tokens/refresh", {"refresh_token": data["refresh_token"]}).status_code == 200


def test_a_token_of_another_users_session_is_refused(mia: User, phone: Client) -> None:
    other = create_user(email="other@cast.example", password=None)
    tokens(phone, mia)
    session = SessionStore(session_key=Session.objects.get().session_key)

    assert status(phone, create_access_token(mia, session, {})) == 200
    assert status(phone, create_access_token(other, session, {})) == 401


def test_a_token_nobody_issued_is_refused(mia: User, phone: Client) -> None:
    access, _ = tokens(phone, mia)
    head, payload, signature = access.split(".")
    claims = orjson.loads(base64.urlsafe_b64decode(payload + "=="))
    expired, _ = create_token("access", sub=claims["sub"], sid=claims["sid"], expires_in=-1)

    def encoded(value: object) -> str:
        return base64.urlsafe_b64encode(orjson.dumps(value)).rstrip(b"=").decode()

    refused = [
        f"{head}.{encoded({**claims, 'sub': '1'})}.{signature}",
        f"{encoded({'alg': 'none', 'typ': 'JWT'})}.{payload}.",
        f"{head}.{payload}.{signature[::-1]}",
        expired,
        create_token("access", sub=claims["sub"], sid="AAAA", expires_in=60)[0],
        create_token("access", sub="not a number", sid=claims["sid"], expires_in=60)[0],
        "",
        "x",
        "a.b.c",
        "\x00",
        "é",
        "." * 9000,
    ]

    assert [status(phone, token) for token in refused] == [401] * len(refused)
    assert status(phone, access) == 200


def test_a_session_key_is_no_token(mia: User, phone: Client) -> None:
    tokens(phone, mia)
    key = Session.objects.get().session_key

    assert status(phone, key) == 401
    assert phone.get("/api/v1/me", headers={"x-session-token": key}).status_code == 401
    assert Client(headers={"cookie": f"sessionid={key}"}).get("/api/v1/me").status_code == 401
