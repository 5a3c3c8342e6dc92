"""Guessing: how often, by whom, from where; and who is never held back (T15)."""

from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any
from uuid import UUID

import pytest
from allauth.account.models import EmailAddress
from django.conf import settings
from django.core.cache import cache
from django.test import Client
from redis import Redis

from backend.accounts import throttle
from backend.accounts.addresses import lookup
from backend.accounts.models import Guess, OutgoingMail, User
from backend.accounts.services import create_user
from backend.accounts.throttle import Account, Admitted, Throttled
from backend.audit.models import Entry
from tests.accounts.mailbox import code_sent_to
from tests.accounts.phone import MIA, PASSWORD, at_once, login, send, signed_in, status
from tests.accounts.phone import phone as new_phone
from tests.conftest import Copy

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
PHONE = UUID(int=11)


def guess(
    kind: str = "password",
    *,
    account: Account | None = None,
    client: str = "192.0.2.1",
    installation: UUID | None = None,
    now: datetime = NOW,
    code: str = "",
) -> Admitted | int:
    """The guess, or the seconds to wait where it is not let through."""
    try:
        return throttle.admit(
            kind=kind,
            account=account or Account(None, "mia@cast.example"),
            client=client,
            installation=installation,
            now=now,
            code=code,
        )
    except Throttled as throttled:
        return throttled.retry_after


def let_through(guesses: list[Admitted | int]) -> int:
    return sum(isinstance(g, Admitted) for g in guesses)


def test_ten_in_any_quarter_of_an_hour(db: None) -> None:
    first = [guess(now=NOW + timedelta(minutes=n)) for n in range(12)]
    later = [guess(now=NOW + timedelta(minutes=15, seconds=30 + n)) for n in range(3)]

    assert let_through(first) == 10
    assert first[10:] == [300, 240]
    # One of the first ten is a quarter of an hour old by now, and one is let through in its place.
    assert let_through(later) == 1


def test_a_hundred_failures_in_a_row_need_another_way_in(db: None) -> None:
    days = [guess(now=NOW + timedelta(hours=n)) for n in range(150)]
    assert let_through(days) == 100

    throttle.recover(user=5)
    assert let_through([guess(now=NOW + timedelta(hours=151))]) == 0

    mias = Account(5)
    assert let_through([guess(account=mias, now=NOW + timedelta(hours=n)) for n in range(150)]) == 100
    throttle.recover(user=5)
    assert let_through([guess(account=mias, now=NOW + timedelta(hours=151))]) == 1


def test_success_begins_anew_and_what_was_no_guess_does_not_count(db: None) -> None:
    for _ in range(9):
        guess()
    right = guess()
    assert isinstance(right, Admitted)
    throttle.settle(right, "password")
    assert Guess.objects.count() == 0

    for _ in range(30):
        none = guess()
        assert isinstance(none, Admitted)
        throttle.forgive(none)
    assert Guess.objects.count() == 0


def test_a_success_elsewhere_gives_no_more_guesses(mia: User) -> None:
    mine, account = new_phone(), Account(mia.pk)
    signed_in(mine, mia)
    installation = UUID(mine.defaults["HTTP_X_DEVICE"])
    for _ in range(10):
        guess(account=account)

    right = guess(account=account, installation=installation)
    assert isinstance(right, Admitted)
    throttle.settle(right, "password")

    assert isinstance(guess(account=account), int)


def test_five_tries_a_code_whatever_else(db: None) -> None:
    assert let_through([guess("mailed", code="first") for _ in range(7)]) == 5
    assert let_through([guess("mailed", code="second") for _ in range(7)]) == 5
    assert let_through([guess("mailed", code="third") for _ in range(7)]) == 0


def test_fifty_accounts_from_one_address(db: None) -> None:
    tried = [guess(account=Account(None, f"{n}@cast.example")) for n in range(80)]
    again = [guess(account=Account(None, f"{n}@cast.example")) for n in range(50)]

    assert let_through(tried) == 50
    assert let_through(again) == 50
    assert isinstance(tried[-1], int)
    assert isinstance(guess(account=Account(None, "new@cast.example"), client="192.0.2.2"), Admitted)


def test_who_tries_everybody_is_in_the_audit_once(db: None) -> None:
    for n in range(200):
        guess(account=Account(None, f"{n}@cast.example"))

    rows = Entry.objects.filter(action="sign_in.throttled").values_list("actor", "subject")
    assert list(rows) == [(None, "client")]
    assert Guess.objects.count() == 51


def test_a_network_of_version_6_is_one_address(db: None) -> None:
    neighbours = [
        guess(account=Account(None, f"{n}@cast.example"), client=f"2001:db8::{n:x}") for n in range(60)
    ]

    assert let_through(neighbours) == 50


def test_what_is_kept_names_nobody(mia: User) -> None:
    guess(account=Account(None, "secret@cast.example"), client="192.0.2.77")

    kept = str(list(Guess.objects.values()))
    assert "secret" not in kept
    assert "192.0.2.77" not in kept
    assert {len(g.bucket) for g in Guess.objects.all()} == {32}


def test_the_audit_hears_of_it_once_in_a_window(mia: User) -> None:
    for n in range(40):
        guess(account=Account(mia.pk), now=NOW + timedelta(seconds=n))
    for _ in range(40):
        guess(account=Account(mia.pk), now=NOW + timedelta(minutes=20))

    rows = Entry.objects.filter(action="sign_in.throttled").values_list("actor", "subject")
    assert list(rows) == [(mia.pk, "password")] * 2


def test_old_guesses_are_cleared(db: None) -> None:
    guess()
    guess(now=NOW + timedelta(days=90))

    throttle.forget(now=NOW + timedelta(days=90, seconds=1))

    assert [g.at for g in Guess.objects.all()] == [NOW + timedelta(days=90)]


def test_forty_at_once_are_ten(database_copy: Copy) -> None:
    assert let_through(at_once([guess] * 40)) == 10


def test_a_hundred_accounts_at_once_are_fifty(database_copy: Copy) -> None:
    accounts = [Account(None, f"{n}@cast.example") for n in range(100)]

    tried = at_once([partial(guess, account=account) for account in accounts[:60]])
    tried += at_once([partial(guess, account=account) for account in accounts[60:]])

    assert let_through(tried) == 50


def test_forged_addresses_and_devices_gain_nothing(mia: User) -> None:
    forged = ("x-forwarded-for", "x-real-ip", "forwarded", "x-client-ip", "true-client-ip")
    answers = [
        login(Client(headers=dict.fromkeys(forged, f"203.0.113.{n}")), MIA, "no").status_code
        for n in range(7)
    ] + [login(new_phone(), MIA, "no").status_code for _ in range(7)]

    assert answers == [400] * 10 + [429] * 4


def test_every_spelling_and_alias_of_an_address_is_one_account(mia: User) -> None:
    EmailAddress.objects.create(user=mia, email=lookup("second@cast.example"), verified=True)
    spellings = ["mia@cast.example", "MIA@CAST.EXAMPLE", " mia@cast.example ", "Second@cast.example"]

    answers = [login(new_phone(), spellings[n % 4], "not it").status_code for n in range(12)]

    assert answers == [400] * 10 + [429] * 2


def test_the_person_on_their_own_phone_is_never_locked_out(mia: User, phone: Client) -> None:
    assert login(phone, MIA).status_code == 200
    for n in range(12):
        login(new_phone(), MIA, f"guess {n}")
    for n in range(60):  # and somebody behind the same address tries everybody
        guess(account=Account(None, f"{n}@cast.example"), client="127.0.0.1", now=datetime.now(UTC))

    assert login(new_phone(), MIA).status_code == 429
    assert login(phone, MIA).status_code == 200


def test_a_flushed_broker_forgets_no_guess(mia: User) -> None:
    for n in range(10):
        login(new_phone(), MIA, f"guess {n}")

    Redis.from_url(settings.REDIS_URL).flushall()

    assert login(new_phone(), MIA).status_code == 429
    assert "redis" not in type(cache).__module__


@pytest.mark.parametrize("method", ["put", "patch", "delete", "get", "head", "options"])
def test_no_other_method_guesses_unseen(mia: User, method: str) -> None:
    bodies = [{"email": MIA, "password": password} for password in (PASSWORD, "not the password")]

    answers = [send(new_phone(), "auth/login", body, method=method) for body in bodies]

    assert (answers[0].status_code, answers[0].content) == (answers[1].status_code, answers[1].content)


def test_a_dead_session_gives_no_new_guesses(mia: User) -> None:
    """A request that is refused before the password is looked at must not pass for a right one."""
    wrong = {"email": MIA, "password": "not it"}
    for _ in range(9):
        send(new_phone(), "auth/login", wrong)

    for _ in range(5):
        assert send(new_phone(), "auth/login", wrong, session="nosuchsession").status_code == 410

    assert [send(new_phone(), "auth/login", wrong).status_code for _ in range(2)] == [400, 429]


def test_a_thief_with_a_token_cannot_guess_the_password(mia: User, phone: Client) -> None:
    access, _ = signed_in(phone, mia)

    answers = [
        send(phone, "auth/reauthenticate", {"password": f"guess {n}"}, token=access).status_code
        for n in range(6)
    ] + [
        send(
            phone,
            "account/password/change",
            {"current_password": f"guess {n}", "new_password": "six loud herons flying"},
            token=access,
        ).status_code
        for n in range(6)
    ]

    assert answers == [400] * 10 + [429] * 2
    assert status(phone, access) == 200


def test_a_code_sent_by_mail_is_tried_five_times(mia: User) -> None:
    thief = new_phone()
    session = send(thief, "auth/code/request", {"email": MIA}).json()["meta"]["session_token"]

    tries = [_confirm(thief, session, f"BBBB-BBB{c}").status_code for c in "BCDFGHJ"]

    assert tries == [400] * 5 + [429] * 2
    assert _confirm(thief, session, code_sent_to("mia@cast.example")).status_code == 429


def test_a_code_is_tried_five_times_by_fifty_at_once(database_copy: Copy) -> None:
    user = create_user(email="mia@cast.example", password=None)
    session = send(new_phone(), "auth/code/request", {"email": user.email}).json()["meta"]["session_token"]

    tries = at_once([lambda: _confirm(new_phone(), session, "BBBB-BBBB").status_code] * 50)
    for _ in range(20):
        tries.append(_confirm(new_phone(), session, "BBBB-BBBB").status_code)

    assert sorted(set(tries)) == [400, 429]
    assert tries.count(400) == 5


def test_a_code_for_a_new_password_is_tried_five_times(mia: User) -> None:
    thief = new_phone()
    session = send(thief, "auth/password/request", {"email": MIA}).json()["meta"]["session_token"]
    body = {"key": "BBBB-BBBB", "password": "six loud herons flying"}

    tries = [send(thief, "auth/password/reset", body, session=session).status_code for _ in range(7)]

    assert tries == [400] * 5 + [429] * 2
    assert send(thief, "auth/password/reset", session=session, method="get").status_code == 405


def test_a_right_code_and_a_weak_password_use_up_no_tries(mia: User, phone: Client) -> None:
    session = send(phone, "auth/password/request", {"email": MIA}).json()["meta"]["session_token"]
    key = code_sent_to("mia@cast.example")

    weak = [
        send(phone, "auth/password/reset", {"key": key, "password": "short"}, session=session).status_code
        for _ in range(8)
    ]
    chosen = send(
        phone, "auth/password/reset", {"key": key, "password": "six loud herons flying"}, session=session
    )

    assert weak == [400] * 8
    assert chosen.status_code == 401
    assert login(phone, MIA, "six loud herons flying").status_code == 200


def test_choosing_a_new_password_opens_a_locked_account(mia: User) -> None:
    for n in range(12):
        login(new_phone(), MIA, f"guess {n}")
    mine = new_phone()
    session = send(mine, "auth/password/request", {"email": MIA}).json()["meta"]["session_token"]

    body = {"key": code_sent_to("mia@cast.example"), "password": "six loud herons flying"}
    send(mine, "auth/password/reset", body, session=session)

    assert login(mine, MIA, "six loud herons flying").status_code == 200


def test_nobodys_mailbox_is_flooded(mia: User) -> None:
    asked: list[Any] = [
        send(new_phone(), route, {"email": MIA}).status_code
        for route in ("auth/code/request", "auth/password/request") * 4
    ]

    assert asked == [401] * 5 + [429] * 3
    assert OutgoingMail.objects.count() == 5


def test_two_steps_of_one_sign_in_are_not_taken_at_once(database_copy: Copy) -> None:
    with throttle.one_at_a_time("a session") as alone:
        (other,) = at_once([lambda: _enter("a session")])
        (elsewhere,) = at_once([lambda: _enter("another")])

    assert (alone, other, elsewhere) == (True, False, True)
    assert at_once([lambda: _enter("a session")]) == [True]


def test_who_is_signed_in_is_not_held_back(mia: User, phone: Client) -> None:
    access, _ = signed_in(phone, mia)

    assert {status(phone, access) for _ in range(200)} == {200}
    assert {send(phone, "auth/session", token=access, method="get").status_code for _ in range(100)} == {200}


def _enter(what: str) -> bool:
    with throttle.one_at_a_time(what) as alone:
        return alone


def _confirm(phone: Client, session: str, code: str) -> Any:
    return send(phone, "auth/code/confirm", {"code": code}, session=session)
