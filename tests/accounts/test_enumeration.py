"""Who has an account here is nobody's business: answers are the same for who has none (T16)."""

from typing import Any

import pytest
from pytest_django import Settings

from backend.accounts.models import OutgoingMail
from backend.accounts.sealing import unseal
from tests.accounts import enumeration
from tests.accounts.enumeration import KINDS, ROUTES, auc, what_is_seen
from tests.accounts.mailbox import deliver
from tests.accounts.phone import PASSWORD, phone, send
from tests.hashers import SHIPPED


@pytest.fixture(autouse=True)
def as_shipped(settings: Settings) -> None:
    """Comparing a password costs what it costs."""
    settings.PASSWORD_HASHERS = SHIPPED


@pytest.fixture
def everybody(db: None) -> dict[str, str]:
    return enumeration.people()


def test_answers_are_the_same_and_take_as_long(db: None) -> None:
    found = enumeration.measure(samples=8, seed=1)

    nothing = dict.fromkeys(ROUTES, 0)
    assert (found.statuses, found.headers, found.bytes) == (nothing, nothing, nothing)
    # As many statements for each, and about as much work: an early return for who has no account, or a
    # password never compared, is five times quicker.
    assert {route: len(counts) for route, counts in found.statements.items()} == dict.fromkeys(ROUTES, 1)
    assert {route: apart < 2 for route, apart in found.cpu_apart.items()} == dict.fromkeys(ROUTES, True)


def test_the_right_password_of_a_suspended_user_is_a_wrong_one(everybody: dict[str, str]) -> None:
    answers = [
        send(phone(), "auth/login", {"email": everybody[kind], "password": PASSWORD})
        for kind in ("suspended", "not")
    ]

    assert what_is_seen(answers[0]) == what_is_seen(answers[1])
    assert answers[0].status_code == 400


@pytest.mark.parametrize(
    ("ask", "answer", "body"),
    [
        ("auth/code/request", "auth/code/confirm", {"code": "BBBB-BBBB"}),
        ("auth/password/request", "auth/password/reset", {"key": "BBBB-BBBB", "password": "x"}),
        (
            "auth/password/request",
            "auth/password/reset",
            {"key": "BBBB-BBBB", "password": "six loud herons flying"},
        ),
    ],
)
def test_wrong_codes_are_answered_the_same_to_the_last(
    everybody: dict[str, str], ask: str, answer: str, body: dict[str, Any]
) -> None:
    seen = {}
    for kind, address in everybody.items():
        client = phone()
        session = send(client, ask, {"email": address}).json()["meta"]["session_token"]
        tries = [send(client, answer, body, session=session) for _ in range(8)]
        seen[kind] = [(t.status_code, t.content) for t in tries]
        assert [t.status_code for t in tries] == [400] * 5 + [429] * 3

    assert [seen[kind] for kind in KINDS] == [seen["exists"]] * len(KINDS)


def test_there_is_a_row_to_be_sent_to_somebody_or_nobody(everybody: dict[str, str]) -> None:
    for kind in ("exists", "not", "suspended"):
        send(phone(), "auth/password/request", {"email": everybody[kind]})

    assert OutgoingMail.objects.count() == 3
    kept = list(OutgoingMail.objects.values_list("sealed", flat=True))
    # Whoever is erased before it is sent has left nothing behind, for who has SECRET_KEY too.
    assert ["cast.example" in unseal(sealed) for sealed in kept] == [False] * 3
    assert deliver() == 1
    assert OutgoingMail.objects.count() == 0


def test_the_measure_tells_what_differs() -> None:
    assert auc([1, 2, 3], [1.5, 2.5, 0.5]) == pytest.approx(6 / 9)
    assert auc([2, 3], [0, 1]) == 1
