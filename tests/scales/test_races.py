"""Many at once, and halfway: what is committed is whole, and there is one of it."""

from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any
from uuid import uuid4

import pytest
from django.db import connection, connections
from django.test import Client

from backend.audit.models import Entry
from backend.care.models import Participant
from backend.care.services import create_clinic
from backend.changes.models import Change
from scales.models import Administration, Correction, Quarantined, Trend
from tests.conftest import Copy, as_owner, enrol, responses, sign_in, submission
from tests.scales.phone import correct, opened, post
from tests.scales.test_corrections import correction

AT_ONCE = 8


@pytest.fixture
def ana(database_copy: Copy) -> Participant:
    return enrol("ana", create_clinic(name="Linden"))


@pytest.fixture
def phone(ana: Participant) -> Callable[[], Client]:
    """A client of Ana's for each call: they share her session and nothing else."""
    assert ana.user is not None
    token = sign_in(ana.user)
    return lambda: Client(headers={"authorization": f"Bearer {token}"}, raise_request_exception=False)


def at_once(calls: list[Callable[[], Any]]) -> list[Any]:
    """What each call gives, all of them begun at the same moment over connections of their own."""
    barrier = Barrier(len(calls))

    def run(call: Callable[[], Any]) -> Any:
        barrier.wait()
        try:
            return call()
        finally:
            connections.close_all()

    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(run, calls))


def test_the_same_from_eight_phones_is_one(ana: Participant, phone: Callable[[], Client]) -> None:
    for _ in range(10):
        body = submission()

        answers = at_once([lambda body=body: post(phone(), body) for _ in range(AT_ONCE)])  # type: ignore[misc]

        assert Counter(a.status_code for a in answers) == {201: 1, 200: AT_ONCE - 1}
        assert len({a.content for a in answers}) == 1
    assert Administration.objects.count() == Change.objects.filter(kind="administration").count() == 10
    assert Entry.objects.filter(action="administration.recorded").count() == 10
    assert Trend.objects.get().requested == 10
    assert Quarantined.objects.count() == 0


def test_one_id_for_eight_contents_is_one_and_seven_kept(
    ana: Participant, phone: Callable[[], Client]
) -> None:
    for _ in range(5):
        body = submission()
        bodies = [
            body | {"responses": responses("scs-26", 3, scs01=1 + n % 5, scs02=1 + n // 5)}
            for n in range(AT_ONCE)
        ]

        answers = at_once([lambda sent=sent: post(phone(), sent) for sent in bodies])  # type: ignore[misc]

        assert Counter(a.status_code for a in answers) == {201: 1, 409: AT_ONCE - 1}
        recorded = Administration.objects.get(id=body["id"]).responses
        kept = [opened(q)["responses"] for q in Quarantined.objects.filter(administration=body["id"])]
        assert sorted(map(str, [recorded, *kept])) == sorted(str(sent["responses"]) for sent in bodies)


def test_the_same_misfit_from_eight_phones_is_kept_once(
    ana: Participant, phone: Callable[[], Client]
) -> None:
    wrong, unknown, odd = submission(answer=9), submission(version=9), {"id": None}

    for body, status in ((wrong, 422), (unknown, 202), (odd, 422)):
        answers = at_once([lambda body=body: post(phone(), body) for _ in range(AT_ONCE)])  # type: ignore[misc]
        assert [a.status_code for a in answers] == [status] * AT_ONCE

    assert Quarantined.objects.count() == 3
    assert Entry.objects.filter(action="administration.quarantined").count() == 3


def test_corrections_at_once_are_numbered_one_after_another(
    ana: Participant, phone: Callable[[], Client]
) -> None:
    body = submission()
    post(phone(), body)
    same = correction(5)
    sent = [correction(1 + n % 5) for n in range(AT_ONCE - 2)] + [same, same]

    answers = at_once([lambda c=c: correct(phone(), body["id"], c) for c in sent])  # type: ignore[misc]

    assert Counter(a.status_code for a in answers) == {201: AT_ONCE - 1, 200: 1}
    assert sorted(Correction.objects.values_list("revision", flat=True)) == list(range(2, AT_ONCE + 1))


def test_one_correction_id_for_two_administrations_corrects_one(
    ana: Participant, phone: Callable[[], Client]
) -> None:
    for _ in range(5):
        first, second, body = submission(), submission(), correction()
        for sent in (first, second):
            post(phone(), sent)
        before = Entry.objects.filter(action="administration.corrected").count()

        answers = at_once(
            [lambda sent=sent, body=body: correct(phone(), sent["id"], body) for sent in (first, second)]  # type: ignore[misc]
        )

        assert sorted(a.status_code for a in answers) == [201, 409]
        assert Correction.objects.filter(id=body["id"]).count() == 1
        assert Entry.objects.filter(action="administration.corrected").count() == before + 1


REFUSE = """
CREATE FUNCTION refuse_for_a_test() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN RAISE EXCEPTION 'not today' USING ERRCODE = '{code}'; END $$;
CREATE TRIGGER refuse_for_a_test BEFORE INSERT ON {table}
    FOR EACH ROW EXECUTE FUNCTION refuse_for_a_test();
"""


@pytest.mark.parametrize("table", ["audit_entry", "changes_change", "scales_trend"])
@pytest.mark.parametrize(("code", "status"), [("P0001", 500), ("53100", 503)])
def test_where_one_part_fails_nothing_is_written(
    ana: Participant, phone: Callable[[], Client], table: str, code: str, status: int
) -> None:
    """An error nobody foresaw, and a full disk, which is worth another try."""
    body, other = submission(), str(uuid4())
    with as_owner(), connection.cursor() as cursor:
        cursor.execute(REFUSE.format(table=table, code=code))
    audited = Entry.objects.count()

    answer = post(phone(), body)

    assert (answer.status_code, answer["Content-Type"]) == (status, "application/problem+json")
    assert b"not today" not in answer.content
    assert [m.objects.count() for m in (Administration, Trend, Change, Quarantined)] == [0, 0, 0, 0]
    assert Entry.objects.count() == audited
    with as_owner(), connection.cursor() as cursor:
        cursor.execute(f"DROP TRIGGER refuse_for_a_test ON {table}")
    assert post(phone(), body).status_code == 201
    assert post(phone(), body | {"id": other}).status_code == 201
