"""Refresh tokens: one good one at a time, the same again for a lost reply, and the end for a copy (T14)."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from allauth.headless.tokens.strategies.jwt import internal
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
from django.contrib.sessions.backends.db import SessionStore
from django.contrib.sessions.models import Session
from django.db import connection
from django.test import Client

from backend.accounts import families
from backend.accounts.families import Turn, turn
from backend.accounts.models import Device, TokenFamily, User
from backend.accounts.services import create_user
from backend.audit.models import Entry
from tests.accounts.phone import phone as new_phone
from tests.accounts.phone import refresh, send, signed_in, status, tokens
from tests.accounts.thefts import measure_lost_replies, measure_thefts, race
from tests.conftest import Copy

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
OLDEST, PREVIOUS, CURRENT = (UUID(int=n) for n in (1, 2, 3))
PHONE, OTHER = UUID(int=11), UUID(int=12)


@pytest.mark.parametrize(
    ("jti", "installation", "seconds", "due"),
    [
        (CURRENT, PHONE, 0, Turn.NEXT),
        (CURRENT, OTHER, 0, Turn.NEXT),
        (CURRENT, None, 9_999_999, Turn.NEXT),
        (PREVIOUS, PHONE, 0, Turn.SAME_AGAIN),
        (PREVIOUS, PHONE, 20, Turn.SAME_AGAIN),
        (PREVIOUS, PHONE, 21, Turn.REPLAYED),
        (PREVIOUS, OTHER, 0, Turn.REPLAYED),
        (PREVIOUS, None, 0, Turn.REPLAYED),
        (OLDEST, PHONE, 0, Turn.REPLAYED),
        (uuid4(), PHONE, 0, Turn.REPLAYED),
    ],
)
def test_what_a_token_is_due(jti: UUID, installation: UUID | None, seconds: int, due: Turn) -> None:
    family = TokenFamily(jti=CURRENT, previous_jti=PREVIOUS, rotated_at=NOW, rotated_by=PHONE)

    assert turn(family, jti=jti, installation=installation, now=NOW + timedelta(seconds=seconds)) is due


def test_without_a_device_nobody_is_the_same_again() -> None:
    family = TokenFamily(jti=CURRENT, previous_jti=PREVIOUS, rotated_at=NOW, rotated_by=None)

    assert turn(family, jti=PREVIOUS, installation=None, now=NOW) is Turn.REPLAYED


def test_thefts_are_found_out_and_lost_replies_log_nobody_out(mia: User) -> None:
    thefts = measure_thefts(mia, each=15, races=0, at_the_same_time=1)
    lost = measure_lost_replies(mia, tried=15)

    assert (thefts.undetected, thefts.unaudited) == (0, 0)
    assert (lost.logged_out, lost.other_successors) == (0, 0)


def test_a_race_of_one_phone_has_one_successor(database_copy: Copy) -> None:
    user = create_user(email="mia@cast.example", password=None)

    assert race(user, at_the_same_time=20, one_phone=True) == (1, 1)


def test_a_race_of_many_phones_leaves_nothing_alive(database_copy: Copy) -> None:
    user = create_user(email="mia@cast.example", password=None)

    assert race(user, at_the_same_time=20, one_phone=False) == (1, 0)
    assert TokenFamily.objects.count() == 0
    assert Entry.objects.filter(action="refresh.replayed").count() == 1


def test_a_lost_reply_is_given_again_to_the_letter(mia: User, phone: Client) -> None:
    _, token = tokens(phone, mia)

    given = [refresh(phone, token) for _ in range(3)]

    assert all(given)
    assert len({g["refresh_token"] for g in given if g}) == 1
    assert token not in str(TokenFamily.objects.values().get())


def test_a_lost_reply_is_not_given_after_the_leeway(mia: User, phone: Client) -> None:
    access, token = tokens(phone, mia)
    given = refresh(phone, token)
    assert given is not None
    _age_rotation(timedelta(seconds=21))

    assert refresh(phone, token) is None
    assert refresh(phone, given["refresh_token"]) is None
    assert [status(phone, t) for t in (access, given["access_token"])] == [401, 401]
    assert list(Entry.objects.filter(action="refresh.replayed").values_list("actor", "participant")) == [
        (mia.pk, None)
    ]


def test_a_replay_does_not_touch_the_other_phone(mia: User, phone: Client) -> None:
    other = new_phone()
    others_access, others_token = tokens(other, mia)
    _, token = tokens(phone, mia)
    refresh(phone, token)

    assert refresh(new_phone(), token) is None
    assert status(other, others_access) == 200
    assert refresh(other, others_token) is not None


def test_what_was_ended_just_now_is_not_given_again(mia: User, phone: Client) -> None:
    access, token = tokens(phone, mia)
    given = refresh(phone, token)
    assert given is not None
    send(phone, "auth/session", token=given["access_token"], method="delete")

    assert refresh(phone, token) is None
    assert refresh(phone, given["refresh_token"]) is None
    assert status(phone, access) == 401


def test_a_phone_silent_for_180_days_goes_on(mia: User, phone: Client) -> None:
    signed_in(phone, mia)
    silent = timedelta(days=180)
    family = TokenFamily.objects.get()
    family.issued_at -= silent
    family.expires_at -= silent
    family.save()
    session = Session.objects.get()
    Session.objects.update(expire_date=session.expire_date - silent)

    given = refresh(phone, families.signed(family))

    assert given is not None
    assert status(phone, given["access_token"]) == 200
    assert Session.objects.get().expire_date >= session.expire_date
    assert TokenFamily.objects.get().expires_at >= family.expires_at + silent


def test_a_sign_in_from_before_there_were_families_goes_on(mia: User, phone: Client) -> None:
    token, older = _from_before(mia, 2)

    given = refresh(phone, token)

    assert given is not None
    assert status(phone, given["access_token"]) == 200
    again = refresh(phone, token)
    assert again is not None
    assert again["refresh_token"] == given["refresh_token"]
    assert refresh(phone, older) is None
    assert refresh(phone, given["refresh_token"]) is None


def test_a_token_that_was_used_up_before_there_were_families_is_refused(mia: User, phone: Client) -> None:
    (token,) = _from_before(mia, 1)
    session = SessionStore(session_key=Session.objects.get().session_key)
    session["headless_refresh_tokens"] = {}
    session.save()

    assert refresh(phone, token) is None
    assert TokenFamily.objects.count() == 0


def test_renewing_writes_a_device_once_a_day(mia: User, phone: Client) -> None:
    _, token = signed_in(phone, mia)
    Device.objects.update(first_seen_on="2026-01-01", last_seen_on="2026-01-01")
    today = datetime.now(UTC).date()

    with _writes("accounts_device") as first:
        given = refresh(phone, token)
    assert given is not None
    with _writes("accounts_device") as second:
        refresh(phone, given["refresh_token"])

    assert Device.objects.get().last_seen_on == today
    assert (first.count, second.count) == (1, 0)


def test_no_request_writes(mia: User, phone: Client) -> None:
    access, _ = signed_in(phone, mia)

    with _writes("") as writes:
        assert status(phone, access) == 200

    assert writes.count == 0


class _writes:  # noqa: N801 - reads as what it does
    """Counts the rows a table's statements change while it is open."""

    def __init__(self, table: str) -> None:
        self.table, self.count = table, 0

    def __enter__(self) -> "_writes":
        self._watching = connection.execute_wrapper(self._watch)
        self._watching.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self._watching.__exit__(*error)

    def _watch(self, execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        result = execute(sql, params, many, context)
        if sql.split(" ", 1)[0] in ("INSERT", "UPDATE", "DELETE") and self.table in sql:
            self.count += max(0, context["cursor"].rowcount)
        return result


def _age_rotation(by: timedelta) -> None:
    family = TokenFamily.objects.get()
    assert family.rotated_at is not None
    family.rotated_at -= by
    family.save()


def _from_before(user: User, count: int) -> list[str]:
    """Refresh tokens as the sign-in package made and kept them by itself."""
    session = SessionStore()
    session[SESSION_KEY] = str(user.pk)
    session[BACKEND_SESSION_KEY] = "allauth.account.auth_backends.AuthenticationBackend"
    session[HASH_SESSION_KEY] = user.get_session_auth_hash()
    session.save()
    made = [internal.create_refresh_token(user, session) for _ in range(count)]
    session.save()
    return made
