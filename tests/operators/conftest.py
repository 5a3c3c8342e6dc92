"""An operator, and a browser they signed in with."""

from time import sleep, time
from typing import Any
from uuid import uuid4

import pytest
from allauth.mfa.models import Authenticator
from allauth.mfa.totp.internal.auth import (
    format_hotp_value,
    hotp_value,
)
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
from django.contrib.sessions.backends.db import SessionStore
from django.test import Client

from backend.accounts.addresses import address_of
from backend.accounts.models import User
from backend.accounts.sealing import unseal
from backend.accounts.services import create_operator, enrol_totp
from backend.operators import access

SIGN_IN, SECOND, HOME = "/operators/sign-in", "/operators/second-factor", "/operators/"
PERIOD = 30
PASSWORD = "seven slow herons at dusk"


@pytest.fixture
def olga(db: None) -> User:
    """An operator with both factors. Wrong guesses are counted in the broker: each test has its own."""
    user = create_operator(email=f"olga-{uuid4().hex}@cast.example")
    user.set_password(PASSWORD)
    user.save()
    enrol_totp(user=user)
    return user


def browser(**options: Any) -> Client:
    number = uuid4().int % 2**16
    return Client(REMOTE_ADDR=f"127.{number >> 8}.{number & 255}.2", **options)


def code(user: User) -> str:
    """The code their app shows now, with some seconds left to type it."""
    left = PERIOD - time() % PERIOD
    if left < 4:
        sleep(left)
    secret = unseal(Authenticator.objects.get(user=user, type="totp").data["secret"])
    return str(format_hotp_value(hotp_value(secret, int(time()) // PERIOD)))


def signed_in(user: User) -> Client:
    client = browser()
    client.post(SIGN_IN, {"email": address_of(user), "password": PASSWORD})
    assert client.post(SECOND, {"code": code(user)}).headers["Location"] == HOME
    return client


@pytest.fixture
def olgas(olga: User) -> Client:
    """The browser Olga is signed in with, over a session as our page makes one, without its waits."""
    session = SessionStore()
    session[SESSION_KEY] = str(olga.pk)
    session[BACKEND_SESSION_KEY] = access.BACKEND
    session[HASH_SESSION_KEY] = olga.get_session_auth_hash()
    session["operator_since"] = int(time())
    session.set_expiry(access.IDLE)
    session.save()
    client = browser()
    client.cookies["sessionid"] = str(session.session_key)
    return client
