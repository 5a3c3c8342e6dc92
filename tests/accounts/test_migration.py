"""A database from before addresses were sealed, brought up to date with people in it."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import orjson
import pytest
from allauth.account.models import EmailAddress
from django.contrib.auth.hashers import make_password
from django.contrib.sessions.backends.db import SessionStore
from django.core.management import call_command
from django.db import connection
from django.test import Client
from pytest_django import DjangoDbBlocker

from backend.accounts import queries
from backend.accounts.addresses import address_of, lookup, user_of
from backend.accounts.models import OutgoingMail, TokenFamily, User
from backend.accounts.sealing import seal
from backend.stack.dsn import SEES_ALL
from tests.accounts.clear import found_in_clear
from tests.accounts.phone import PASSWORD, login, phone, signed_in
from tests.conftest import _maintain, _work_as

WORDS = ("wrenhaven", "nightjar", "ptarmigan", "dunnock")
NOW = datetime(2026, 11, 25, tzinfo=UTC)
DEVICE = UUID(int=11)


@pytest.fixture
def old_database(migrated: str, django_db_blocker: DjangoDbBlocker) -> Iterator[None]:
    """A database of its own, as the owner finds it at accounts 0003."""
    name = f"{migrated}_old"
    before = connection.settings_dict["OPTIONS"]["options"]
    with django_db_blocker.unblock():
        connection.close()
        _maintain(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)', f'CREATE DATABASE "{name}"')
        connection.settings_dict["NAME"] = name
        try:
            _work_as(SEES_ALL)
            for app, to in (("accounts", "0003"), ("account", None), ("sessions", None), ("audit", None)):
                call_command("migrate", app, *([to] if to else []), verbosity=0)
            yield
        finally:
            _work_as(before)
            connection.settings_dict["NAME"] = migrated
            _maintain(f'DROP DATABASE "{name}" WITH (FORCE)')


def insert(table: str, **values: Any) -> int:
    names, places = ", ".join(values), ", ".join(["%s"] * len(values))
    with connection.cursor() as cursor:
        cursor.execute(f"INSERT INTO {table} ({names}) VALUES ({places}) RETURNING *", list(values.values()))
        return int(cursor.fetchone()[0]) if "id" not in values else 0


def person(email: str | None, **fields: Any) -> int:
    return insert(
        "accounts_user",
        email=email, password=make_password(PASSWORD), is_active=True, joined_at=NOW, **fields,
    )  # fmt: skip


def session(**data: Any) -> str:
    kept = SessionStore()
    kept.update(data)
    kept.save()
    family = {"id": uuid4(), "jti": uuid4(), "issued_at": NOW, "expires_at": NOW + timedelta(days=9)}
    insert("accounts_tokenfamily", user_id=data["_auth_user_id"], session_key=kept.session_key, **family)
    return str(kept.session_key)


def test_people_from_before_are_sealed_and_can_sign_in(old_database: None) -> None:
    wren, anon = person("wrenhaven@hidden.example"), person(None)
    dunnock = person("dunnock@hidden.example")
    for user, email, verified, primary in (
        (wren, "wrenhaven@hidden.example", True, True),
        (wren, "nightjar@hidden.example", True, False),
        (anon, "nightjar@hidden.example", False, False),  # who asked for it as well
    ):
        insert("account_emailaddress", user_id=user, email=email, verified=verified, **{'"primary"': primary})
    device = {"installation": DEVICE, "first_seen_on": NOW, "last_seen_on": NOW}
    insert("accounts_device", user_id=wren, name="Ptarmigan's phone", **device)
    insert("accounts_device", user_id=dunnock, name=None, **device)
    waiting = orjson.dumps({"template": "account/email/login_code", "to": "wrenhaven@hidden.example"})
    insert("accounts_outgoingmail", sealed=seal(waiting.decode()), created_at=NOW)
    by_password = session(
        _auth_user_id=wren,
        account_authentication_methods=[{"method": "password", "email": "wrenhaven@hidden.example"}],
    )
    by_passkey = session(_auth_user_id=anon, account_authentication_methods=[{"method": "mfa"}])
    assert {word for _, word in found_in_clear(WORDS)} == set(WORDS), "nothing there to seal"

    call_command("migrate", verbosity=0)

    assert found_in_clear(WORDS) == set()
    users = {user.pk: user for user in User.objects.all()}
    assert {pk: address_of(user) for pk, user in users.items()} == {
        wren: "wrenhaven@hidden.example",
        anon: None,
        dunnock: "dunnock@hidden.example",
    }
    assert len({user.key for user in users.values()}) == 3
    kept = EmailAddress.objects.order_by("pk").values_list("user_id", "email", "verified", "primary")
    assert list(kept) == [
        (wren, lookup("wrenhaven@hidden.example"), True, True),
        (wren, lookup("nightjar@hidden.example"), True, False),
        (anon, lookup("nightjar@hidden.example"), False, False),
    ]
    assert user_of("Nightjar@hidden.example") == users[wren]
    assert [d.name for d in queries.devices(wren, after=0, limit=9)] == ["Ptarmigan's phone"]
    assert [d.name for d in queries.devices(dunnock, after=0, limit=9)] == [None]
    # Whose session held an address signs in again; a passkey's did not.
    assert list(TokenFamily.objects.values_list("session_key", flat=True)) == [by_passkey]
    assert [SessionStore().exists(key) for key in (by_password, by_passkey)] == [False, True]
    assert OutgoingMail.objects.count() == 0

    answers = [
        login(phone(), address).status_code
        for address in ("Wrenhaven@Hidden.example", "nightjar@hidden.example", "dunnock@hidden.example")
    ]
    assert answers == [200, 200, 401]  # the last has yet to confirm it, as before
    access, _ = signed_in(phone(), users[wren])
    me = Client().get("/api/v1/me", headers={"authorization": f"Bearer {access}"})
    assert me.json()["email"] == "wrenhaven@hidden.example"
