"""A person's own copy of everything (T23): all of theirs, nothing of anybody else's, and open to all."""

import hashlib
import json
from collections.abc import Iterator
from datetime import datetime, timedelta
from functools import partial
from typing import Any
from uuid import uuid4

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from backend.audit.models import Entry
from backend.care import access
from backend.care.models import Membership, Participant
from backend.care.services import start_care
from backend.keys.ring import keyring
from backend.rights import plan
from backend.rights.export.models import Export, ExportPart
from backend.rights.export.queries import reader, somebodys
from backend.rights.export.services import (
    KEPT,
    LEASE,
    MOST_ATTEMPTS,
    PART_BYTES,
    PAUSE,
    delete_expired,
    make_waiting,
)
from scales.trends import compute_behind
from tests.conftest import ClientFor, statements, submission
from tests.rights.filled import API, HOSTILE, ask, copy_of, fetch, fill, read_back, signed_in
from tests.rights.test_archive import seen
from tests.turns import ThrownError

WORD, BENS = "anaswords", "benswords"


@pytest.fixture
def bens_ids(
    ana: Participant, ben: Participant, thea: Membership, theo: Membership, carla: Membership
) -> list[str]:
    """Ben's ids; Ana and he have rows in every table that is somebody's, and staff looked at hers."""
    fill(ana, thea, WORD)
    start_care(participant=ben, therapist=thea, started_at=ben.enrolled_at)
    bens = fill(ben, thea, BENS)
    compute_behind(now=timezone.now())
    for member, status in ((thea, 200), (theo, 404), (carla, 404)):
        read = signed_in(member).get(f"{API}/participants/{ana.public_id}/administrations")
        assert read.status_code == status
    return bens


def counted(person: Participant) -> dict[str, int]:
    """How many rows of that person's each table has that the plan calls somebody's."""
    user = person.user_id
    return {
        model._meta.db_table: plan.rows(model, participant=person.pk, user=user).count()
        for model in plan.tables()
        if not plan.whose(model).nobodys
    }


def told(person: Participant, id: str) -> Any:
    return signed_in(person).get(f"{API}/me/exports/{id}").json()


def actions(person: Participant) -> list[tuple[str, int | None]]:
    found = Entry.objects.filter(participant=person.pk, action__startswith="export.").order_by("id")
    return list(found.values_list("action", "actor"))


def test_a_copy_is_asked_for_waited_for_and_fetched(ana: Participant) -> None:
    first = signed_in(ana).post(f"{API}/me/export", {}, "application/json")
    again = signed_in(ana).post(f"{API}/me/export", {}, "application/json")

    waiting = first.json()
    assert (first.status_code, again.status_code, again.json()) == (202, 202, waiting)
    assert {**waiting, "id": "", "requested_at": ""} == {
        "id": "", "status": "queued", "progress": 0, "requested_at": "", "ready_at": None,
        "expires_at": None, "size": None,
    }  # fmt: skip
    early = fetch(ana, waiting["id"])
    assert (early.status_code, early.json()["code"]) == (409, "export_not_ready")

    copy_of(ana, waiting["id"])

    ready = told(ana, waiting["id"])
    assert (ready["status"], ready["progress"]) == ("ready", 100)
    assert datetime.fromisoformat(ready["expires_at"]) - datetime.fromisoformat(ready["ready_at"]) == KEPT
    other = ask(ana)
    assert other != waiting["id"]
    listed = signed_in(ana).get(f"{API}/me/exports?limit=1").json()
    assert [e["id"] for e in listed["results"]] == [other]
    following = signed_in(ana).get(f"{API}/me/exports?limit=1&cursor={listed['next']}").json()
    assert (following["results"], following["next"]) == ([ready], None)
    me = ana.user_id
    assert actions(ana) == [
        ("export.requested", me), ("export.made", None), ("export.downloaded", me), ("export.requested", me),
    ]  # fmt: skip


def test_every_row_of_theirs_is_in_it_and_nothing_of_anybody_elses(
    ana: Participant, ben: Participant, bens_ids: list[str]
) -> None:
    copy_of(ana)
    asked = ask(ana)
    expected = counted(ana)
    assert [table for table, rows in expected.items() if not rows] == [], "nothing there to forget"

    copy = copy_of(ana, asked)

    assert {table: len(copy.rows(table)) for table in copy.tables()} == expected
    whole = copy.everything()
    for somebody_elses in (BENS, *bens_ids, "ben heron", ben.user and ben.user.email):
        assert str(somebody_elses) not in whole
    mine = ("ana@cast.example", f"{WORD}@words.example")
    assert [w for w in whole.replace('"', " ").split() if "@" in w and w.strip(",.;<>/p") in mine]
    for name in ("thea", "theo", "carla", "adam"):
        assert f"{name}@" not in whole
    assert "secret-" not in whole
    assert {entry["actor"] for entry in copy.rows("audit_entry")} == {
        None, "you", "therapist 1", "therapist 2", "somebody else 1",
    }  # fmt: skip
    refused = [e for e in copy.rows("audit_entry") if e["action"] == "participant.refused"]
    assert [(e["actor"], e["device"], e["request"]) for e in refused] == [
        ("therapist 2", None, None), ("somebody else 1", None, None),
    ]  # fmt: skip
    assert [c["therapist_id"] for c in copy.rows("care_carerelationship")] == ["therapist 1", "therapist 2"]
    (me,) = copy.rows("care_participant")
    assert (me["public_id"], me["pseudonym"]) == (str(ana.public_id), "ana heron")


def test_it_opens_without_our_software(ana: Participant, bens_ids: list[str]) -> None:
    copy = copy_of(ana)

    manifest = json.loads(copy.files["manifest.json"])
    assert (manifest["participant"], manifest["unreadable"]) == (str(ana.public_id), [])
    assert {f["name"]: (f["size"], f["sha256"]) for f in manifest["files"]} == {
        name: (len(content), hashlib.sha256(content).hexdigest())
        for name, content in copy.files.items()
        if name != "manifest.json"
    }
    for table in copy.tables():
        assert list(read_back(copy, table)) == copy.rows(table), table
    reasons = [row["reason"] for row in copy.cells("scales_correction")]
    assert reasons == [f"'=1+1 {WORD}\nand then {HOSTILE}", f"{WORD} and another"]
    assert [row["name"] for row in copy.cells("accounts_device")] == [f"'-{WORD}"]
    assert {row["instrument_code"] for row in copy.cells("scales_quarantined")} == {"scs-26", WORD}
    assert copy.rows("scales_quarantined")[0]["body"]["responses"] == {WORD: -3}
    # Never held back from a copy.
    (held,) = copy.rows("scales_held")
    (told,) = [a for a in copy.rows("scales_administration") if a["id"] == held["administration_id"]]
    assert [s["value"] for s in told["answer"]["scores"] if s["subscale"] in held["scores"]] == [2.0]


def test_the_page_tells_it_in_words(ana: Participant, bens_ids: list[str]) -> None:
    page = copy_of(ana).files["index.html"].decode()

    found = seen(page)
    text = " ".join(" ".join(found.text).split())
    assert "<script" not in page
    assert "src=" not in page
    assert [a for _, a in found.elements if any("//" in (v or "") for v in a.values())] == []
    assert HOSTILE in text
    for words in (
        "Hello, ana heron.",
        "10 January 2026, 10:00",
        "Self-Compassion Scale",
        "I'm kind to myself when I'm experiencing suffering.",
        "5, Almost always",
        "Your answer now Version 2 First sent",
        "Self-Kindness 5 1 to 5 better",
        "Among researchers it is open how to read",
        "No open licence (CC/MIT) is attached",
        "therapist 1",
    ):
        assert words in text, words
    assert text.index("10 February 2026, 10:00") < text.index("10 January 2026, 10:00")


def test_its_pieces_lie_sealed_and_open_for_nobody_else(ana: Participant, ben: Participant) -> None:
    asked = ask(ana)
    copy_of(ana, asked)

    (part,) = ExportPart.objects.all()
    assert part.pk == f"{asked}/1"
    with connection.cursor() as cursor:
        cursor.execute("SELECT string_agg(p::text, '') FROM rights_exportpart p")
        lying = bytes.fromhex(cursor.fetchone()[0].split("\\x")[1].split('"')[0].rstrip(")"))
    assert len(lying) > told(ana, asked)["size"]
    for in_clear in (b"PK\x03\x04", b"index.html", b"care_participant"):
        assert in_clear in b"".join([fetch(ana, asked).getvalue()])
        assert in_clear not in lying
    missing = fetch(ben, str(uuid4()))
    for address in (f"me/exports/{asked}", f"me/exports/{asked}/archive"):
        hidden = signed_in(ben).get(f"{API}/{address}")
        assert (hidden.status_code, hidden.content) == (404, missing.content)
    ExportPart.objects.update(content=bytes(part.content)[:-1] + b"\0")
    assert (fetch(ana, asked).status_code, fetch(ana, asked).json()["code"]) == (409, "unreadable")
    ExportPart.objects.update(content=bytes(part.content))
    keyring().destroy(ana.public_id, at=timezone.now())
    assert (fetch(ana, asked).status_code, fetch(ana, asked).json()["code"]) == (410, "erased")


def test_whoever_signed_out_fetches_nothing(ana: Participant) -> None:
    asked, client = ask(ana), signed_in(ana)
    copy_of(ana, asked)
    address = f"{API}/me/exports/{asked}/archive"
    assert client.get(address).status_code == 200

    assert client.delete("/_allauth/app/v1/auth/session").status_code in (200, 401)

    assert client.get(address).status_code == 401
    assert Client().get(address).status_code == 401


def test_after_seven_days_it_is_gone(ana: Participant) -> None:
    asked = ask(ana)
    copy_of(ana, asked)
    ready_at = Export.objects.get().ready_at
    assert ready_at is not None
    assert delete_expired(now=ready_at + KEPT - timedelta(seconds=1)) == 0
    assert ExportPart.objects.count() == 1

    assert delete_expired(now=ready_at + KEPT) == 1

    assert ExportPart.objects.count() == 0
    assert told(ana, asked)["status"] == "expired"
    over = fetch(ana, asked)
    assert (over.status_code, over.json()["code"]) == (409, "export_expired")
    assert delete_expired(now=ready_at + KEPT) == 0
    assert actions(ana)[-1] == ("export.expired", None)


def test_it_is_over_on_time_whether_or_not_the_task_came_by(ana: Participant) -> None:
    asked = ask(ana)
    copy_of(ana, asked)
    Export.objects.update(expires_at=timezone.now())

    assert told(ana, asked)["status"] == "expired"
    assert fetch(ana, asked).json()["code"] == "export_expired"


def passed(at: datetime) -> datetime:
    """That instant, as a clock that stands still tells it."""
    return at


class Killed(BaseException):
    """The process ended."""


@pytest.fixture
def breaking() -> Iterator[list[type[BaseException]]]:
    """What is thrown where the first piece is written down, while there is something in the list."""
    thrown: list[type[BaseException]] = []

    def may_break(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        if thrown and 'INSERT INTO "rights_exportpart"' in sql:
            raise thrown[0]
        return execute(sql, params, many, context)

    with connection.execute_wrapper(may_break):
        yield thrown


def test_a_copy_whose_maker_is_killed_is_made_by_the_next(
    ana: Participant, breaking: list[type[BaseException]]
) -> None:
    asked, now = ask(ana), timezone.now()
    breaking.append(Killed)
    with pytest.raises(Killed):
        make_waiting(now=lambda: now)
    breaking.clear()

    left = told(ana, asked)
    assert (left["status"], left["progress"]) == ("running", 95)
    assert (ExportPart.objects.count(), ask(ana)) == (0, asked)
    assert make_waiting(now=lambda: now + LEASE - timedelta(seconds=1)) == 0
    assert make_waiting(now=lambda: now + LEASE) == 1
    assert told(ana, asked)["status"] == "ready"
    assert ExportPart.objects.count() == 1
    assert [action for action, _ in actions(ana)] == ["export.requested", "export.made"]


def test_a_copy_that_cannot_be_made_has_failed_and_says_so_kindly(
    ana: Participant, ben: Participant, breaking: list[type[BaseException]]
) -> None:
    asked, now = ask(ana), timezone.now()
    breaking.append(ThrownError)

    for attempt in range(1, MOST_ATTEMPTS + 1):
        at = now + attempt * PAUSE
        assert make_waiting(now=partial(passed, at)) == 0
        assert Export.objects.get().attempts == attempt
        if attempt < MOST_ATTEMPTS:
            assert told(ana, asked)["status"] == "queued"
            assert make_waiting(now=partial(passed, at + PAUSE - timedelta(seconds=1))) == 0

    breaking.clear()
    assert make_waiting(now=lambda: now + 2 * LEASE) == 0
    assert told(ana, asked)["status"] == "failed"
    refused = fetch(ana, asked)
    assert (refused.status_code, refused.json()["code"]) == (409, "export_failed")
    assert [action for action, _ in actions(ana)] == ["export.requested", "export.failed"]
    assert ask(ana) != asked


def test_a_maker_killed_again_and_again_is_given_up(
    ana: Participant, breaking: list[type[BaseException]]
) -> None:
    asked, now = ask(ana), timezone.now()
    breaking.append(Killed)
    for attempt in range(MOST_ATTEMPTS):
        with pytest.raises(Killed):
            make_waiting(now=partial(passed, now + attempt * LEASE))
    breaking.clear()

    assert make_waiting(now=lambda: now + MOST_ATTEMPTS * LEASE) == 0
    assert told(ana, asked)["status"] == "failed"


def test_whoever_was_taken_over_finishes_nothing(ana: Participant) -> None:
    asked, now = ask(ana), timezone.now()
    before = statements_until_pieces = 0

    def taken_over(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        nonlocal before, statements_until_pieces
        if 'FROM "scales_trend"' in sql and not before:
            before = 1
            with connection.cursor() as cursor:
                cursor.execute("UPDATE rights_export SET attempts = attempts + 1")
        statements_until_pieces += 'INSERT INTO "rights_exportpart"' in sql
        return execute(sql, params, many, context)

    with connection.execute_wrapper(taken_over):
        assert make_waiting(now=lambda: now) == 0

    assert (before, statements_until_pieces) == (1, 0)
    assert (told(ana, asked)["status"], ExportPart.objects.count()) == ("running", 0)


def test_everybody_who_waits_has_a_turn(ana: Participant, ben: Participant) -> None:
    first, second = ask(ana), ask(ben)

    assert make_waiting(now=timezone.now) == 2

    assert [told(ana, first)["status"], told(ben, second)["status"]] == ["ready", "ready"]


def test_a_large_copy_is_whole_in_its_pieces(ana: Participant, client_for: ClientFor) -> None:
    # What hardly compresses: random words, in answers that fit nothing.
    client = client_for(ana)
    for _ in range(5):
        words = {f"{uuid4().hex}{uuid4().hex}": 1 for _ in range(1_700)}
        sent = client.post(f"{API}/administrations", submission(responses=words), "application/json")
        assert sent.status_code == 422
    asked = ask(ana)

    copy = copy_of(ana, asked)

    size = told(ana, asked)["size"]
    assert size > PART_BYTES
    assert list(ExportPart.objects.order_by("number").values_list("number", flat=True)) == [1, 2]
    assert len(copy.rows("scales_quarantined")) == 5


def test_ten_administrations_cost_as_many_statements_as_one(ana: Participant, client_for: ClientFor) -> None:
    client, counts = client_for(ana), []
    copy_of(ana)  # the first one also makes her key
    for so_many in (1, 9):
        for _ in range(so_many):
            client.post(f"{API}/administrations", submission(), "application/json")
        ask(ana)
        with CaptureQueriesContext(connection) as caught:
            assert make_waiting(now=timezone.now) == 1
        counts.append(len(statements(caught)))

    assert counts[0] == counts[1]


def test_who_cannot_sign_in_has_rows_all_the_same(ana: Participant) -> None:
    Participant.objects.filter(pk=ana.pk).update(user=None)

    with access.participants_of_a_job([ana.pk]) as found:
        reader_ = reader(found[ana.pk])
        rows = {model._meta.db_table: len(reader_.table(model).rows) for model in somebodys()}

    assert (rows["care_participant"], rows["care_consent"], rows["accounts_user"]) == (1, 1, 0)
