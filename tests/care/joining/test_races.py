"""Two phones at the same instant: exactly one gets in, and what is committed is whole."""

from collections import Counter
from functools import partial
from typing import Any
from uuid import uuid4

import pytest

from backend.accounts.models import User
from backend.audit.models import Entry
from backend.care import services as care
from backend.care.joining.models import CodeGuess, Invitation, RecoveryCode
from backend.care.models import CareRelationship, Membership, Participant
from backend.care.roles import Role
from tests.care.joining.door import (
    API,
    INVITATIONS,
    PREVIEW,
    invited,
    joined,
    me,
    new_phone_code,
    phone,
    post,
    recover,
    redeem,
    signed_in,
)
from tests.conftest import Copy, join
from tests.scales.test_races import AT_ONCE, at_once


@pytest.fixture
def thea(database_copy: Copy) -> Membership:
    return join("thea", care.create_clinic(name="Linden"), Role.THERAPIST)


def statuses(answers: list[Any]) -> Counter[int]:
    return Counter(a.status_code for a in answers)


def test_one_code_lets_one_of_eight_in(thea: Membership) -> None:
    for round_ in range(1, 6):
        code = invited(thea)
        phones = [(phone(), uuid4() if n % 2 else None) for n in range(AT_ONCE)]

        answers = at_once([partial(redeem, code, client=p, device=d) for p, d in phones])

        assert statuses(answers) == {201: 1, 422: AT_ONCE - 1}
        assert Participant.objects.count() == CareRelationship.objects.count() == round_
        assert User.objects.count() == round_ + 1
        assert RecoveryCode.objects.count() == 8 * round_


def test_one_device_eight_times_is_one_participant(thea: Membership) -> None:
    code, device = invited(thea), uuid4()

    answers = at_once([lambda: redeem(code, client=phone(), device=device)] * AT_ONCE)

    assert statuses(answers) == {201: 6, 422: 2}  # the first, and five times again
    assert Participant.objects.count() == 1
    assert RecoveryCode.objects.count() == 8


def test_withdrawn_or_redeemed_but_not_both(thea: Membership) -> None:
    for _ in range(10):
        made = post(signed_in(thea), INVITATIONS, {"id": str(uuid4())}).json()
        staff, client = signed_in(thea), phone()

        withdrawn, redeemed = at_once(
            [
                lambda: staff.delete(f"{INVITATIONS}/{made['id']}").status_code,  # noqa: B023
                lambda: redeem(made["code"], client=client).status_code,  # noqa: B023
            ]
        )

        assert (withdrawn, redeemed) in {(204, 422), (409, 201)}
        kept = Invitation.objects.get(pk=made["id"])
        assert (kept.withdrawn_at is None) == (redeemed == 201) == (kept.participant is not None)


def test_two_codes_at_once_for_one_new_phone_leave_one_open(thea: Membership) -> None:
    person = joined(redeem(invited(thea)))
    path = f"{API}/participants/{person.public_id}/relink"
    clients = [signed_in(thea) for _ in range(AT_ONCE)]

    answers = at_once([partial(post, c, path, {"id": str(uuid4())}) for c in clients])

    assert statuses(answers) == {201: AT_ONCE}
    open_ = Invitation.objects.filter(kind="relink", withdrawn_at__isnull=True)
    assert open_.count() == 1


def test_one_id_eight_times_is_one_invitation_with_one_code(thea: Membership) -> None:
    body = {"id": str(uuid4())}
    clients = [signed_in(thea) for _ in range(AT_ONCE)]

    answers = at_once([partial(post, c, INVITATIONS, body) for c in clients])

    assert statuses(answers) == {201: 1, 200: AT_ONCE - 1}
    assert len([a for a in answers if a.json()["code"]]) == 1
    assert Entry.objects.filter(action="invitation.created").count() == 1


def test_one_recovery_code_lets_one_of_eight_in(thea: Membership) -> None:
    code = redeem(invited(thea)).json()["recovery_codes"][0]

    answers = at_once([lambda: recover(code, client=phone())] * AT_ONCE)

    assert statuses(answers) == {200: 1, 422: AT_ONCE - 1}


def test_many_recovery_codes_at_once_leave_one_phone_signed_in(thea: Membership) -> None:
    codes = redeem(invited(thea)).json()["recovery_codes"]

    answers = at_once([partial(recover, c, client=phone()) for c in codes])

    assert statuses(answers) == {200: 8}
    assert Counter(me(a.json()["access_token"]).status_code for a in answers)[200] >= 1


def test_new_sets_at_once_leave_one_set(thea: Membership) -> None:
    person = joined(redeem(invited(thea)))
    clients = [signed_in(person) for _ in range(AT_ONCE)]

    at_once([partial(post, c, f"{API}/me/recovery-codes", {}) for c in clients])

    assert RecoveryCode.objects.count() == 8


def test_a_new_phone_and_a_new_code_for_it_do_not_wait_for_each_other(thea: Membership) -> None:
    person = joined(redeem(invited(thea)))
    path = f"{API}/participants/{person.public_id}/relink"
    for _ in range(10):
        code, staff, client = new_phone_code(thea, person), signed_in(thea), phone()

        redeemed, made = at_once(
            [
                lambda: redeem(code, client=client).status_code,  # noqa: B023
                lambda: post(staff, path, {"id": str(uuid4())}).status_code,  # noqa: B023
            ]
        )

        assert (redeemed in (201, 422), made) == (True, 201)


def test_a_hundred_guesses_at_once_are_ten(thea: Membership) -> None:
    client = phone()
    address = client.defaults["REMOTE_ADDR"]

    answers = []
    for _ in range(5):
        answers += at_once(
            [lambda: post(type(client)(REMOTE_ADDR=address), PREVIEW, {"code": "K7QM-2XWP-94HD-RTCW"})] * 20
        )

    assert statuses(answers) == {422: 10, 429: 90}
    assert CodeGuess.objects.count() == 10
