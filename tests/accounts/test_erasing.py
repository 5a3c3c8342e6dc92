"""Erasing a user: nothing of theirs is left among the accounts, and nothing of anybody else's is touched."""

import pytest
from allauth.mfa.models import Authenticator
from django.contrib.sessions.backends.db import SessionStore
from django.contrib.sessions.models import Session
from django.core import mail
from django.db import connection
from django.db.models import ProtectedError

from backend.accounts import services
from backend.accounts.models import Address, Device, Guess, OutgoingMail, TokenFamily, User
from backend.audit.models import Entry
from backend.care.models import Membership, Participant
from tests.accounts.clear import tables
from tests.accounts.mailbox import deliver
from tests.accounts.phone import MIA, login, phone, send, signed_in, status, tokens
from tests.conftest import sign_in


def rows_naming(user: int) -> dict[str, int]:
    """How many rows refer to the user, by table."""
    found = {}
    for table in tables():
        with connection.cursor() as cursor:
            columns = {c.name for c in connection.introspection.get_table_description(cursor, table)}
            column = "id" if table == "accounts_user" else "user_id"
            if column in columns:
                cursor.execute(f'SELECT count(*) FROM "{table}" WHERE {column} = %s', [user])
                found[table] = cursor.fetchone()[0]
    return {table: count for table, count in found.items() if count}


def sessions_of(user: int) -> int:
    return sum(
        SessionStore().decode(s.session_data).get("_auth_user_id") == str(user) for s in Session.objects.all()
    )


def test_nothing_of_an_erased_user_is_left(mia: User) -> None:
    other = services.create_user(email="ana@cast.example", password=None)
    for user in (mia, other):
        Authenticator.objects.create(user=user, type="recovery_codes", data={})
        sign_in(user)  # which leaves a session without a family
    mine, hers = phone(), phone()
    access, _ = tokens(mine, mia)
    send(mine, "account/email", {"email": "second@cast.example"}, token=access)
    mine.patch(
        "/api/v1/me", {"name": "Mia"}, "application/json", headers={"authorization": f"Bearer {access}"}
    )
    her_access, _ = signed_in(hers, other)
    login(phone(), MIA, "not the password of Mia")
    assert set(rows_naming(mia.pk)) == {
        "account_emailaddress",
        "accounts_address",
        "accounts_device",
        "accounts_tokenfamily",
        "accounts_user",
        "mfa_authenticator",
    }
    before, key, guesses = rows_naming(other.pk), mia.pk, Guess.objects.count()
    assert (sessions_of(key), guesses > 0, OutgoingMail.objects.count()) == (2, True, 1)

    services.erase_user(user=mia, by=other.pk)

    assert (rows_naming(key), sessions_of(key)) == ({}, 0)
    assert (rows_naming(other.pk), sessions_of(other.pk), status(hers, her_access)) == (before, 2, 200)
    assert Guess.objects.count() < guesses
    assert (status(mine, access), login(phone(), MIA).status_code) == (401, 400)
    assert (deliver(), mail.outbox) == (0, [])
    assert list(Entry.objects.filter(action="user.erased").values_list("actor", "subject")) == [
        (other.pk, str(key))
    ]


@pytest.mark.parametrize("still", ["thea", "ana"])
def test_who_is_still_somebody_here_is_not_erased(ana: Participant, thea: Membership, still: str) -> None:
    user = {"thea": thea.user, "ana": ana.user}[still]
    assert user is not None
    signed_in(phone(), user)

    with pytest.raises(ProtectedError):
        services.erase_user(user=user, by=None)

    assert (Address.objects.filter(user=user).count(), Device.objects.count()) == (1, 1)
    assert (TokenFamily.objects.count(), sessions_of(user.pk)) == (1, 1)
