"""What somebody calls a passkey is shown to them, and stands nowhere in clear."""

from datetime import timedelta
from typing import Any

import pytest
from allauth.mfa.models import Authenticator
from django.test import Client
from django.utils import timezone
from pytest_django import Settings

from backend.accounts import passkeys
from backend.accounts.models import PasskeyName, User
from tests.accounts.clear import found_in_clear
from tests.accounts.phone import PASSWORD, Passkey, send, tokens
from tests.accounts.phone import phone as new_phone
from tests.accounts.test_second_factor import AUTHENTICATORS, ORIGIN

NAME = "Zqnightjar's phone"


@pytest.fixture
def access(mia: User, settings: Settings) -> tuple[Client, str]:
    settings.PUBLIC_URL = ORIGIN
    phone = new_phone()
    token, _ = tokens(phone, mia)
    send(phone, "auth/reauthenticate", {"password": PASSWORD}, token=token)
    return phone, token


def add(phone: Client, token: str, **body: Any) -> Any:
    asked = send(phone, f"{AUTHENTICATORS}/webauthn?passwordless", token=token, method="get")
    credential = Passkey(ORIGIN).create(asked.json()["data"]["creation_options"])
    return send(phone, f"{AUTHENTICATORS}/webauthn", {"credential": credential, **body}, token=token)


def names(phone: Client, token: str) -> list[str]:
    listed = send(phone, AUTHENTICATORS, token=token, method="get").json()["data"]
    return [one["name"] for one in listed if one["type"] == "webauthn"]


def test_a_passkey_is_called_as_its_owner_says(access: tuple[Client, str]) -> None:
    phone, token = access
    added = add(phone, token, name=f" {NAME} ").json()["data"]
    assert (added["name"], names(phone, token)) == (NAME, [NAME])

    renamed = send(
        phone, f"{AUTHENTICATORS}/webauthn", {"id": added["id"], "name": "Ruhig"}, token=token, method="put"
    )

    assert (renamed.json()["data"]["name"], names(phone, token)) == ("Ruhig", ["Ruhig"])


def test_its_name_stands_nowhere_in_clear(access: tuple[Client, str]) -> None:
    phone, token = access
    assert add(phone, token, name=NAME).status_code == 200

    assert found_in_clear(["Zqnightjar"]) == set()


def test_names_that_are_none_are_not_kept(access: tuple[Client, str]) -> None:
    phone, token = access
    long = add(phone, token, name="z" * 101)
    none = add(phone, token)
    odd = add(phone, token, name=[NAME])
    key = long.json()["data"]["id"]
    refused = [
        send(phone, f"{AUTHENTICATORS}/webauthn", {"id": key, "name": name}, token=token, method="put")
        for name in ("z" * 101, "", None)
    ]

    assert [answer.status_code for answer in (long, none, odd)] == [200, 200, 200]
    assert [answer.status_code for answer in refused] == [400, 400, 400]
    assert PasskeyName.objects.count() == 0
    assert found_in_clear(["zzzzzz", "Zqnightjar"]) == set()


def test_nobody_signed_in_keeps_no_name(mia: User) -> None:
    answer = send(new_phone(), f"{AUTHENTICATORS}/webauthn", {"name": NAME, "credential": {}})

    assert (answer.status_code, PasskeyName.objects.count()) == (401, 0)


def test_a_name_that_no_passkey_bears_is_forgotten(access: tuple[Client, str]) -> None:
    phone, token = access
    key = add(phone, token, name=NAME).json()["data"]["id"]
    change = {"id": key, "name": "Ruhig"}
    send(phone, f"{AUTHENTICATORS}/webauthn", change, token=token, method="put")
    assert PasskeyName.objects.count() == 2

    passkeys.forget_unused(now=timezone.now() + timedelta(hours=23))
    assert PasskeyName.objects.count() == 2
    passkeys.forget_unused(now=timezone.now() + timedelta(hours=25))

    label = PasskeyName.objects.get().label
    assert Authenticator.objects.get(type="webauthn").data["name"] == label
    assert names(phone, token) == ["Ruhig"]
