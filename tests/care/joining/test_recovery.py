"""Coming back with one of the codes a participant keeps."""

from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from backend.accounts.models import User
from backend.care import services as care
from backend.care.codes import read
from backend.care.joining.models import RecoveryCode
from backend.care.joining.services import digest
from backend.care.models import Membership, Participant
from backend.care.roles import Role
from tests.care.joining.door import (
    API,
    RECOVERY,
    entries_since,
    invited,
    joined,
    me,
    newest_entry,
    phone,
    post,
    preview,
    recover,
    redeem,
    seen,
    sent,
    signed_in,
)
from tests.conftest import ENROLLED_AT, sign_in
from tests.scales.phone import pointers

CODES = f"{API}/me/recovery-codes"


@pytest.fixture
def kept(thea: Membership) -> Any:
    """The answer of somebody's joining, with the codes they keep."""
    return redeem(invited(thea))


def codes_of(answer: Any) -> list[str]:
    found: list[str] = answer.json()["recovery_codes"]
    return found


def test_there_are_eight_and_only_hashes_of_them(kept: Any) -> None:
    codes = codes_of(kept)
    rows = RecoveryCode.objects.filter(participant=joined(kept))

    assert len(set(codes)) == 8
    assert {row.digest for row in rows} == {digest(read(code) or "") for code in codes}
    with connection.cursor() as cursor:
        cursor.execute("SELECT string_agg(c::text, ' ') FROM care_recoverycode c")
        (stored,) = cursor.fetchone()
    assert not [code for code in codes if code in stored or code.replace("-", "") in stored]


def test_one_signs_in_on_a_new_phone_and_ends_the_others(kept: Any) -> None:
    person, old, code = joined(kept), kept.json()["access_token"], codes_of(kept)[3]
    newest = newest_entry()

    answer = recover(code.lower().replace("-", " "))
    shown = answer.json()

    assert answer.status_code == 200
    assert {k: v for k, v in shown.items() if not k.endswith("token")} == {
        "participant": kept.json()["participant"],
        "clinic": kept.json()["clinic"],
        "recovery_codes_left": 7,
    }
    assert (me(old).status_code, me(shown["access_token"]).status_code) == (401, 200)
    refreshed = post(phone(), "/_allauth/app/v1/tokens/refresh", {"refresh_token": shown["refresh_token"]})
    assert refreshed.status_code == 200
    assert entries_since(newest) == [("recovery.used", person.user_id, person.pk, person.clinic_id)]


def test_each_works_once(kept: Any) -> None:
    answers = [recover(code) for code in codes_of(kept)]

    assert [a.json()["recovery_codes_left"] for a in answers] == [7, 6, 5, 4, 3, 2, 1, 0]
    assert {recover(code).status_code for code in codes_of(kept)} == {422}


def test_a_lost_reply_is_answered_again_to_the_same_device(kept: Any) -> None:
    code, device = codes_of(kept)[0], uuid4()
    recover(code, device=device)

    again = recover(code, device=device)

    assert (again.status_code, again.json()["recovery_codes_left"]) == (200, 7)
    assert me(again.json()["access_token"]).status_code == 200
    assert [recover(code, device=d).status_code for d in (uuid4(), None)] == [422, 422]
    assert [recover(code, device=device).status_code for _ in range(5)] == [200] * 4 + [422]
    RecoveryCode.objects.update(repeats=0)
    RecoveryCode.objects.filter(used_at__isnull=False).update(used_at=timezone.now() - timedelta(minutes=15))
    assert recover(code, device=device).status_code == 422


def test_without_a_device_nobody_comes_a_second_time(kept: Any) -> None:
    code = codes_of(kept)[0]

    assert [recover(code).status_code for _ in range(2)] == [200, 422]


def test_a_new_set_ends_the_old_one(kept: Any) -> None:
    person, newest = joined(kept), newest_entry()
    client = signed_in(person)

    answer = post(client, CODES, {})

    assert answer.status_code == 201
    assert len(set(codes_of(answer))) == 8
    assert entries_since(newest) == [("recovery_codes.made", person.user_id, person.pk, person.clinic_id)]
    assert {recover(code).status_code for code in codes_of(kept)} == {422}
    assert recover(codes_of(answer)[0]).status_code == 200
    assert pointers(post(signed_in(person), CODES, {"count": 9})) == [("", "unexpected_body")]


def test_only_participants_have_them(thea: Membership, ana: Participant) -> None:
    assert post(signed_in(thea), CODES, {}).status_code == 403
    assert post(signed_in(ana), CODES, {}).status_code == 201
    assert post(phone(), CODES, {}).status_code == 401


def test_staff_do_not_come_back_this_way(kept: Any, thea: Membership) -> None:
    """Anyone with a membership has a second factor, which this would pass by."""
    person, code = joined(kept), codes_of(kept)[0]
    assert person.user is not None
    member = care.add_member(
        clinic=thea.clinic, user=person.user, role=Role.RESEARCHER, started_at=ENROLLED_AT
    )

    assert recover(code).json()["code"] == "code_unusable"
    assert post(signed_in(person), CODES, {}).json()["code"] == "not_allowed"
    Membership.objects.filter(pk=member.pk).update(ended_at=ENROLLED_AT)
    assert recover(code).status_code == 200


def test_every_wrong_code_is_the_same_answer(kept: Any, thea: Membership) -> None:
    used, suspended = codes_of(kept)[0], redeem(invited(thea))
    recover(used)
    User.objects.filter(participant=joined(suspended)).update(is_active=False)
    found = {
        "never": "K7QM-2XWP-94HD-RTCW",
        "used": used,
        "suspended": codes_of(suspended)[0],
        "an invitation's": invited(thea),
    }
    answers, statements = {}, {}

    for name, code in found.items():
        client = phone()
        with CaptureQueriesContext(connection) as queries:
            answers[name] = seen(post(client, RECOVERY, {"code": code}))
        statements[name] = [q["sql"].split(" ")[0] for q in queries]

    assert answers == dict.fromkeys(found, answers["never"])
    assert answers["never"][0] == 422
    assert statements == dict.fromkeys(found, statements["never"])


def test_a_recovery_code_is_no_invitation(kept: Any) -> None:
    code = codes_of(kept)[0]

    assert (redeem(code).status_code, preview(code).status_code) == (422, 422)
    assert recover(code).status_code == 200


def test_the_owner_is_told_once(ana: Participant, django_capture_on_commit_callbacks: Any) -> None:
    code, device = codes_of(post(signed_in(ana), CODES, {}))[0], uuid4()
    with django_capture_on_commit_callbacks(execute=True):
        recover(code, device=device)
        recover(code, device=device)

    assert [m.to for m in sent()] == [["ana@cast.example"]]


def test_other_peoples_sign_ins_are_left_alone(kept: Any, ana: Participant, thea: Membership) -> None:
    assert ana.user is not None
    others = [sign_in(ana.user), sign_in(thea.user)]

    recover(codes_of(kept)[0])

    assert [me(token).status_code for token in others] == [200, 200]
