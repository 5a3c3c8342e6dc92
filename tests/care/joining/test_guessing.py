"""How many wrong codes are allowed: ten from one address in 15 minutes, a thousand in all in an hour."""

from datetime import timedelta
from itertools import cycle
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from backend.audit.models import Entry
from backend.care.joining import services
from backend.care.joining.models import CodeGuess, Invitation
from backend.care.models import Membership
from backend.errors import Problem
from tests.care.joining.door import PREVIEW, RECOVERY, REDEEM, invited, phone, post, preview, redeem

NEVER = "K7QM-2XWP-94HD-RTCW"
WAYS = cycle([(REDEEM, {"timezone": "UTC"}), (PREVIEW, {}), (RECOVERY, {})])


def guess(client: Client) -> Any:
    path, more = next(WAYS)
    return post(client, path, {"code": NEVER, **more})


def refused() -> list[tuple[int | None, str]]:
    return list(Entry.objects.filter(action="code.refused").values_list("actor", "subject"))


def test_ten_wrong_codes_and_then_none_whatever_the_way(thea: Membership) -> None:
    client, code = phone(), invited(thea)

    assert [guess(client).status_code for _ in range(10)] == [422] * 10
    stopped = [guess(client) for _ in range(5)] + [redeem(code, client=client)]

    assert [a.status_code for a in stopped] == [429] * 6
    assert {a.json()["code"] for a in stopped} == {"too_many_requests"}
    assert all(840 <= int(a["Retry-After"]) <= 900 for a in stopped)
    assert Invitation.objects.get().redeemed_at is None
    assert (len(refused()), CodeGuess.objects.count()) == (1, 10)


def test_another_address_is_not_held_back(thea: Membership) -> None:
    client = phone()
    for _ in range(11):
        guess(client)

    assert redeem(invited(thea)).status_code == 201


def test_the_window_slides(thea: Membership) -> None:
    """No edge at which ten more are allowed: each guess is forgotten 15 minutes after it was made."""
    client = phone()
    for _ in range(10):
        guess(client)
    oldest = CodeGuess.objects.order_by("id").first()
    assert oldest is not None
    CodeGuess.objects.filter(pk=oldest.pk).update(at=timezone.now() - timedelta(minutes=15))

    assert [guess(client).status_code for _ in range(2)] == [422, 429]


def test_right_codes_count_for_nothing(thea: Membership) -> None:
    """A group that joins behind one router: as many as there are."""
    client = phone()

    assert [redeem(invited(thea), client=client).status_code for _ in range(12)] == [201] * 12
    assert preview(invited(thea), client=client).status_code == 200
    assert CodeGuess.objects.count() == 0


def test_a_made_up_address_gains_nothing(thea: Membership) -> None:
    client = phone()
    answers = [
        client.post(
            PREVIEW, {"code": NEVER}, "application/json", headers={"x-forwarded-for": f"203.0.113.{n}"}
        ).status_code
        for n in range(12)
    ]

    assert answers == [422] * 10 + [429] * 2


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        ("2001:db8::1", "2001:db8::ffff:1", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("192.0.2.1", "::ffff:192.0.2.1", True),
        ("192.0.2.1", "192.0.2.2", False),
        ("somewhere", "elsewhere", False),
    ],
)
def test_what_is_one_client(db: None, first: str, second: str, same: bool) -> None:
    now = timezone.now()
    for _ in range(10):
        services.count_wrong_code(client=first, now=now)

    if same:
        with pytest.raises(Problem):
            services.throttle(client=second, now=now)
    else:
        services.throttle(client=second, now=now)


def test_a_thousand_in_all_in_an_hour(thea: Membership) -> None:
    now = timezone.now()
    CodeGuess.objects.bulk_create(
        CodeGuess(client=f"{n}", at=now - timedelta(minutes=50)) for n in range(999)
    )

    assert [guess(phone()).status_code for _ in range(2)] == [422, 429]
    assert len(refused()) == 1
    CodeGuess.objects.filter(client="0").update(at=now - timedelta(hours=1))
    assert guess(phone()).status_code == 422


def test_no_address_is_kept_and_nothing_for_more_than_an_hour(db: None) -> None:
    now = timezone.now()
    services.count_wrong_code(client="192.0.2.7", now=now - timedelta(hours=1))
    assert "192.0.2.7" not in CodeGuess.objects.get().client

    services.count_wrong_code(client="192.0.2.8", now=now)

    assert CodeGuess.objects.get().at == now
