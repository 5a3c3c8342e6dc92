"""One person is erased: nothing of theirs is left, nothing of anybody else's is touched, and it says so."""

import base64
import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import orjson
import pytest
from allauth.account.models import EmailAddress, EmailConfirmation
from allauth.mfa.models import Authenticator
from django.db import DatabaseError, connection, transaction
from django.test import Client

from backend.accounts.models import User
from backend.accounts.passkeys import keep as call_passkey
from backend.audit.models import Entry
from backend.care.models import CareRelationship, DosingSession, Invitation, Membership, Participant
from backend.care.roles import Role
from backend.care.services import add_member
from backend.changes.models import Tombstone
from backend.changes.tombstones import of_object, of_user
from backend.keys import signing
from backend.keys.fields import sealed_fields
from backend.keys.ring import keyring
from backend.keys.sealing import Destroyed, Holder
from backend.rights.erasure import ledger, services
from backend.rights.erasure.guard import undone
from backend.rights.erasure.models import Erasure
from backend.rights.erasure.receipt import WORDS
from backend.rights.plan import rows, tables, whose
from scales.models import Administration, Correction, Quarantined
from tests.accounts.phone import phone, signed_in
from tests.conftest import ENROLLED_AT, ClientFor, as_owner, enrol, sign_in, submission
from tests.rights.conftest import Ask
from tests.scales.test_corrections import correction
from tests.turns import ThrownError

TABLES = importlib.import_module("backend.rights.migrations.0002_erasure").TABLES
NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
LATER = NOW + timedelta(days=8)
ME = "/api/v1/me/erasure"


def destroyed_at(holder: UUID) -> str | None:
    """When the holder's keys were destroyed, by the key store."""
    record = keyring().store.get(holder)
    return record.destroyed_at if record else None


def post(client: Client, path: str, body: Any = None) -> Any:
    return client.post(path, body or {}, "application/json")


def erase(person: Participant, ask: Ask) -> Erasure:
    """The erasure of that person, done."""
    Erasure.objects.filter(participant=person.pk).delete()
    erasure = ask(person, now=NOW)
    assert services.erase_due(now=LATER) == 1
    erasure.refresh_from_db()
    return erasure


# --- Asking


def test_it_waits_a_week_and_can_be_taken_back(
    ana: Participant, client_for: ClientFor, ledger_file: Path
) -> None:
    client = client_for(ana)
    assert client.get(ME).status_code == 404

    asked, again = post(client, ME), post(client, ME)

    told = asked.json()
    erases = datetime.fromisoformat(told["requested_at"]) + timedelta(days=7)
    assert (asked.status_code, again.status_code, again.json()) == (202, 202, told)
    assert (told["status"], datetime.fromisoformat(told["erases_at"])) == ("waiting", erases)
    assert told["receipt_url"].endswith(f"/api/v1/erasures/{told['id']}")
    assert client.get(ME).json() == told
    assert Client().get(f"/api/v1/erasures/{told['id']}").json() == {
        "id": told["id"],
        "status": "waiting",
        "erases_at": told["erases_at"],
        "receipt": None,
        "signature": None,
        "public_key": None,
    }
    taken_back = client.delete(ME)
    assert (taken_back.status_code, taken_back.json()["status"]) == (200, "cancelled")
    assert (client.delete(ME).status_code, client.get(ME).status_code) == (404, 404)
    assert services.erase_due(now=erases + timedelta(days=100)) == 0
    assert post(client, ME).json()["id"] != told["id"]
    assert not ledger_file.exists()
    assert list(Entry.objects.filter(action__startswith="erasure.").values_list("action", flat=True)) == [
        "erasure.requested",
        "erasure.cancelled",
        "erasure.requested",
    ]


@pytest.mark.parametrize(
    ("sessions", "waits"),
    [
        ([], timedelta(days=7)),
        ([timedelta(days=-1)], timedelta(days=7)),
        # The week ends within the days around the last one: 24 hours before it until 72 hours after it.
        ([timedelta(days=6)], timedelta(days=9)),
        ([timedelta(days=7, hours=20)], timedelta(days=10, hours=20)),
        # One after another, from today on.
        ([timedelta(days=3 * n) for n in range(4)], timedelta(days=12)),
    ],
)
def test_it_waits_past_the_days_around_a_dosing_session(
    ana: Participant, ask: Ask, sessions: list[timedelta], waits: timedelta
) -> None:
    for after in sessions:
        DosingSession.objects.create(
            participant=ana, id=f"{len(DosingSession.objects.all()):032}", started_at=NOW + after,
            recorded_by_id=ana.user_id or 0,
        )  # fmt: skip

    erasure = ask(ana, now=NOW)

    assert erasure.erases_at == NOW + waits
    assert services.erase_due(now=NOW + waits - timedelta(seconds=1)) == 0
    assert services.erase_due(now=NOW + waits) == 1


def test_once_begun_it_cannot_be_taken_back(ana: Participant, client_for: ClientFor, ask: Ask) -> None:
    erasure = ask(ana, now=NOW)
    Erasure.objects.filter(pk=erasure.pk).update(state="due")

    late = client_for(ana).delete(ME)

    assert (late.status_code, late.json()["code"]) == (409, "erasure_began")


# --- Everything of theirs


def everywhere(person: Participant, therapist: Membership) -> None:
    """Nothing; the person has rows in each of the accounts' tables too."""
    user = person.user
    assert user is not None
    access, _ = signed_in(phone(), user)
    named = Client(headers={"authorization": f"Bearer {access}"})
    named.patch("/api/v1/me", {"name": "Robin"}, "application/json")
    Authenticator.objects.create(user=user, type="recovery_codes", data={})
    call_passkey(user=user, name="Phone", now=NOW)
    confirmed = EmailAddress.objects.get_or_create(user=user, defaults={"email": user.email})[0]
    EmailConfirmation.objects.create(email_address=confirmed, key=str(user.pk), sent=NOW)
    if not Invitation.objects.filter(participant=person).exists():
        invitation = Invitation.objects.filter(participant=None).first()
        assert invitation is not None
        Invitation.objects.filter(pk=invitation.pk).update(
            participant=person, redeemed_at=NOW, clinic=person.clinic, therapist=therapist
        )
    if not CareRelationship.objects.filter(participant=person).exists():
        CareRelationship.objects.create(
            participant=person, therapist=therapist, clinic=person.clinic, started_at=NOW
        )


def all_rows() -> dict[str, dict[Any, str]]:
    """Each row there is, as text, by table and key."""
    found = {}
    for model in tables():
        key, table = model._meta.pk, model._meta.db_table
        assert key is not None
        with connection.cursor() as cursor:
            cursor.execute(f'SELECT t."{key.column}"::text, t::text FROM {table} t')
            found[model._meta.label] = dict(cursor.fetchall())
    return found


def theirs(person: Participant) -> dict[str, set[str]]:
    """The keys of their rows, by table."""
    return {
        model._meta.label: {str(pk) for pk in of_them.values_list("pk", flat=True)}
        for model in tables()
        if (of_them := rows(model, participant=person.pk, user=person.user_id)).exists()
    }


def test_the_database_erases_from_every_table_that_is_somebodys() -> None:
    somebodys = {
        model._meta.db_table
        for model in tables()
        if (whose(model).participant or whose(model).user) and not whose(model).kept
    }

    assert len(TABLES) == len({table for table, *_ in TABLES}) == len({kind for _, kind, _ in TABLES})
    assert {table for table, *_ in TABLES} == somebodys | {"django_session"}


def test_nothing_of_theirs_is_left_and_nothing_of_anybody_elses_is_touched(
    two_clinics: dict[str, Participant], thea: Membership, ask: Ask
) -> None:
    ana = two_clinics["ana"]
    for person in (ana, two_clinics["ben"]):
        everywhere(person, thea)
    hers = theirs(ana)
    kept = {"audit.Entry", "rights.Erasure"}
    assert set(hers) - kept == {
        model._meta.label
        for model in tables()
        if (whose(model).participant or whose(model).user) and not whose(model).kept
    }, "there is a table that she is not in: it proves nothing"
    sessions = {f.session_key for f in ana.user.tokenfamily_set.all()} if ana.user else set()
    Erasure.objects.filter(participant=ana.pk).delete()
    ask(ana, now=NOW)
    before, made = all_rows(), set(hers["scales.Administration"])

    assert services.erase_due(now=LATER) == 1

    after = all_rows()
    assert theirs(ana).keys() == kept
    changing = {"audit.Entry", "audit.Pending", "rights.Erasure", "changes.Tombstone", "sessions.Session"}
    for label in set(before) - changing:
        left = {key: row for key, row in before[label].items() if key not in hers.get(label, set())}
        assert after[label] == left, label
    assert before["audit.Entry"].items() <= after["audit.Entry"].items()
    assert set(before["sessions.Session"]) - set(after["sessions.Session"]) == sessions != set()
    assert {of_object(id_) for id_ in map(UUID, made)} <= {
        bytes(t) for t in Tombstone.objects.values_list("object", flat=True)
    }


def test_what_was_sealed_under_their_keys_opens_never_again(
    two_clinics: dict[str, Participant], thea: Membership, ask: Ask
) -> None:
    for name in ("ana", "ben"):
        everywhere(two_clinics[name], thea)
    kept = [
        (field, row, bytes(value), holder)
        for field in sealed_fields()
        for row, value, holder in field.model._default_manager.values_list(
            field.row, field.name, field.holder
        )
        if value is not None
    ]
    ana, ben = two_clinics["ana"], two_clinics["ben"]
    assert ana.user is not None and ben.user is not None
    hers, his = ({p.public_id, p.user.key} for p in (ana, ben) if p.user)
    opened = {holder: set[str]() for _, _, _, holder in kept}
    assert opened.keys() & hers and opened.keys() & his

    erase(ana, ask)

    for field, row, value, holder in kept:
        try:
            field.unseal_bytes(value, row=row, holder=Holder(holder))
            opened[holder].add("open")
        except Destroyed:
            opened[holder].add("destroyed")
    assert {h: found for h, found in opened.items() if h in hers} == {
        h: {"destroyed"} for h in opened if h in hers
    }
    assert {h: found for h, found in opened.items() if h not in hers} == {
        h: {"open"} for h in opened if h not in hers
    }


def test_who_also_works_here_keeps_the_sign_in(ana: Participant, ask: Ask, thea: Membership) -> None:
    assert ana.user is not None
    add_member(clinic=ana.clinic, user=ana.user, role=Role.COORDINATOR, started_at=ENROLLED_AT)
    client = Client(headers={"authorization": f"Bearer {sign_in(ana.user)}"})

    erasure = erase(ana, ask)

    me = client.get("/api/v1/me").json()
    assert (me["participant"], [m["role"] for m in me["memberships"]]) == (None, ["coordinator"])
    assert me["email"] == "ana@cast.example"
    assert orjson.loads(erasure.receipt or "")["keys_destroyed"] == 1
    assert [destroyed_at(h) for h in (ana.public_id, ana.user.key)] == [LATER.isoformat(), None]


# --- What is left


def test_what_is_sent_again_is_answered_as_erased_and_not_stored(
    ana: Participant, ben: Participant, client_for: ClientFor, ask: Ask
) -> None:
    client, sent, later, fixed = client_for(ana), submission(), submission(version=99), correction()
    session = {"id": submission()["id"], "started_at": "2025-12-01T10:00:00Z"}
    consent = {
        "id": submission()["id"], "stream": "care", "decision": "withdrawn",
        "decided_at": "2026-01-01T10:00:00Z",
    }  # fmt: skip
    to = "/api/v1/participants/{}/dosing-sessions"
    his = submission()
    for path, body, status in (
        ("/api/v1/administrations", sent, 201),
        ("/api/v1/administrations", later, 202),
        (f"/api/v1/administrations/{sent['id']}/corrections", fixed, 201),
        (to.format(ana.public_id), session, 201),
        ("/api/v1/me/consents", consent, 201),
    ):
        assert post(client, path, body).status_code == status
    assert post(client_for(ben), "/api/v1/administrations", his).status_code == 201
    # Somebody else's id, sent by her, stays somebody else's.
    assert post(client, "/api/v1/administrations", his).status_code == 409
    erase(ana, ask)
    anew = client_for(ben)

    answers = [
        post(anew, path, body)
        for path, body in (
            ("/api/v1/administrations", sent),
            ("/api/v1/administrations", {**sent, "timezone": "Europe/Paris"}),
            ("/api/v1/administrations", {"id": sent["id"]}),
            ("/api/v1/administrations", later),
            (f"/api/v1/administrations/{his['id']}/corrections", fixed),
            (to.format(ben.public_id), session),
            ("/api/v1/me/consents", consent),
        )
    ]

    assert [(a.status_code, a.json()["code"]) for a in answers] == [(410, "erased")] * len(answers)
    assert (Administration.objects.count(), Correction.objects.count(), Quarantined.objects.count()) == (
        1,
        0,
        0,
    )
    assert DosingSession.objects.count() == 0
    assert post(anew, "/api/v1/administrations", his).status_code == 200


def test_their_access_token_is_told_so(
    ana: Participant, ben: Participant, client_for: ClientFor, ask: Ask
) -> None:
    hers, his = client_for(ana), client_for(ben)
    erase(ana, ask)

    answer = hers.get("/api/v1/me")

    assert (answer.status_code, answer.json()["code"]) == (410, "erased")
    assert his.get("/api/v1/me").status_code == 200
    assert Client(headers={"authorization": "Bearer x"}).get("/api/v1/me").status_code == 401


def test_the_receipt_says_what_is_gone_and_what_is_kept(
    ana: Participant, client_for: ClientFor, ask: Ask
) -> None:
    assert post(client_for(ana), "/api/v1/administrations", submission()).status_code == 201
    erasure = erase(ana, ask)

    told = Client().get(f"/api/v1/erasures/{erasure.pk}").json()

    receipt = told["receipt"]
    assert (told["status"], receipt["erased_at"]) == ("done", "2026-05-09T12:00:00+00:00")
    assert receipt["destroyed"] == {
        "administrations": 1, "trends": 1, "changes for phones": 2, "consents": 1,
        "addresses": 1,
        "addresses to sign in with": 1, "participants": 1, "users": 1, "lines of what was before": 1,
    }  # fmt: skip
    assert (receipt["keys_destroyed"], receipt["copies_until"]) == (2, "2026-05-16T12:00:00+00:00")
    assert [k["what"] for k in receipt["kept"]] == [
        "who saw and did what, by number",
        "that you were erased, by number, and this receipt",
        "hashes of what your phone had named",
    ]
    assert receipt["words"] == WORDS
    signed = orjson.dumps(receipt, option=orjson.OPT_SORT_KEYS)
    signature, key = base64.b64decode(told["signature"]), base64.b64decode(told["public_key"])
    assert signing.verifies(signed, signature, key)
    assert not signing.verifies(signed.replace(b"2", b"3"), signature, key)


def test_it_leaves_audit_rows_and_takes_none(ana: Participant, ask: Ask) -> None:
    user, before = ana.user, list(Entry.objects.order_by("id").values())
    assert user is not None
    erasure = erase(ana, ask)

    left = list(Entry.objects.order_by("id").values())

    assert left[: len(before)] == before
    assert [(e["action"], e["actor"], e["participant"], e["subject"]) for e in left[len(before) :]] == [
        ("erasure.requested", user.pk, ana.pk, str(erasure.pk)),
        ("key.destroyed", None, ana.pk, str(ana.public_id)),
        ("key.destroyed", None, ana.pk, str(user.key)),
        ("erasure.done", None, ana.pk, str(erasure.pk)),
    ]


# --- Nobody else may


@contextmanager
def naming(erasure: Erasure | None) -> Iterator[None]:
    """A savepoint in which the transaction names an erasure, as only the database's own function does."""
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT set_config('selfkind.erasure', %s, true)", [str(erasure.pk) if erasure else ""]
            )
        yield
        transaction.set_rollback(True)


def deletes(table: str, person: Participant) -> int:
    column = "administration_id IN (SELECT id FROM scales_administration WHERE participant_id" + " = %s)"
    where = column if table == "scales_correction" else "participant_id = %s"
    with connection.cursor() as cursor:
        cursor.execute(f"DELETE FROM {table} WHERE {where}", [person.pk])
        return int(cursor.rowcount)


GUARDED = [
    "care_consent", "care_disclosure", "scales_correction", "scales_held", "scales_quarantined",
    "scales_release",
]  # fmt: skip


@pytest.mark.parametrize("table", GUARDED)
def test_append_only_tables_let_go_of_an_erasures_own_rows_to_the_owner_alone(
    two_clinics: dict[str, Participant], table: str
) -> None:
    ana, ben = two_clinics["ana"], two_clinics["ben"]
    erasure = Erasure.objects.get(participant=ana.pk)

    def refused(person: Participant, named: Erasure | None) -> bool:
        with naming(named):
            try:
                return deletes(table, person) == 0
            except DatabaseError as error:
                return "append-only" in str(error)

    with as_owner():
        assert refused(ana, None), "the owner alone"
        assert refused(ana, erasure), "an erasure that waits"
    Erasure.objects.filter(pk=erasure.pk).update(state="destroying")
    assert refused(ana, erasure), "the product's role"
    with as_owner():
        assert refused(ben, erasure), "another participant"
        assert not refused(ana, erasure), "this test has no teeth"
        with (
            naming(erasure),
            pytest.raises(DatabaseError, match="append-only"),
            connection.cursor() as cursor,
        ):
            cursor.execute("UPDATE care_consent SET stream = 'research' WHERE participant_id = %s", [ana.pk])
        for kept, column in (("audit_entry", "participant"), ("changes_tombstone", "1 = 1 OR -1")):
            with naming(erasure), connection.cursor() as cursor:
                cursor.execute("INSERT INTO changes_tombstone VALUES ('x')")
                with pytest.raises(DatabaseError, match="append-only"):
                    cursor.execute(f"DELETE FROM {kept} WHERE {column} = %s", [ana.pk])


def test_the_function_wants_an_erasure_under_way_and_its_own_people(ana: Participant, ask: Ask) -> None:
    erasure = ask(ana, now=NOW)
    for state in ("waiting", "due"):
        Erasure.objects.filter(pk=erasure.pk).update(state=state)
        with pytest.raises(DatabaseError, match="no erasure under way"), transaction.atomic():
            services._erase(erasure.pk)
    # A number that is somebody else's by now: no key of theirs was destroyed for it.
    Erasure.objects.filter(pk=erasure.pk).update(state="destroying", holders=[erasure.pk])

    assert set(services._erase(erasure.pk).values()) == {0}
    assert Participant.objects.filter(pk=ana.pk).exists()


# --- Broken off anywhere


def test_broken_off_at_any_statement_it_is_done_once(
    ana: Participant, client_for: ClientFor, ask: Ask, ledger_file: Path
) -> None:
    assert post(client_for(ana), "/api/v1/administrations", submission()).status_code == 201
    ask(ana, now=NOW)
    broken = 0
    while True:
        with transaction.atomic():
            ledger_file.unlink(missing_ok=True)
            left = _broken_off_after(broken)
            if left:
                # Whoever broke off holds it for a while; then somebody else takes it up.
                assert services.erase_due(now=LATER + timedelta(minutes=1)) <= 1
            done = Erasure.objects.get(participant=ana.pk)
            assert (done.state, len(ledger.read())) == ("done", 1)
            assert ledger.read()[0].erasure == done.pk
            assert not Participant.objects.filter(pk=ana.pk).exists()
            assert Entry.objects.filter(action="erasure.done").count() == 1
            assert orjson.loads(done.receipt or "")["destroyed"]["administrations"] == 1
            transaction.set_rollback(True)
        if not left:
            break
        broken += 1
    assert broken > 15


def _broken_off_after(count: int) -> bool:
    """Whether the erasure due was broken off, at the statement after so many."""
    seen = 0

    def throw(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        nonlocal seen
        if not sql.startswith(
            ("SAVEPOINT", "RELEASE", "ROLLBACK", "SELECT set_config", "SELECT coalesce(cur")
        ):
            seen += 1
            if seen > count:
                raise ThrownError
        return execute(sql, params, many, context)

    try:
        with transaction.atomic(), connection.execute_wrapper(throw):
            services.erase_due(now=LATER)
    except ThrownError:
        return True
    return False


def test_without_ledger_or_key_store_nothing_is_erased_yet(
    ana: Participant, ask: Ask, ledger_file: Path, settings: Any
) -> None:
    erasure = ask(ana, now=NOW)
    ledger_file.parent.write_text("in its place")
    with pytest.raises(OSError):
        services.erase_due(now=LATER)
    assert Participant.objects.filter(pk=ana.pk).exists()
    assert destroyed_at(ana.public_id) is None
    ledger_file.parent.unlink()

    assert services.erase_due(now=LATER + timedelta(minutes=1)) == 1
    erasure.refresh_from_db()
    assert erasure.state == "done"


# --- A database from before


def test_a_database_from_before_is_erased_again_before_anything_is_served(
    two_clinics: dict[str, Participant], thea: Membership, ask: Ask
) -> None:
    ana, ben = two_clinics["ana"], two_clinics["ben"]
    before = all_rows()
    with transaction.atomic():
        first = erase(ana, ask)
        assert undone() == 0
        transaction.set_rollback(True)
    assert Participant.objects.filter(pk=ana.pk).exists(), "this is the copy from before"
    assert ana.user is not None
    hers = theirs(ana)
    assert undone() == 1, "nothing is served"

    assert services.replay(now=LATER + timedelta(days=30)) == 1

    assert undone() == 0
    assert theirs(ana).keys() == {"audit.Entry", "rights.Erasure"}
    again = Erasure.objects.get(pk=first.pk)
    assert (again.state, again.holders) == ("done", [ana.public_id, ana.user.key])
    assert Erasure.objects.filter(participant=ana.pk).values_list("state", flat=True).distinct().count() == 2
    after = all_rows()
    for label in ("scales.Administration", "scales.Correction", "care.Consent", "accounts.User"):
        assert after[label] == {k: row for k, row in before[label].items() if k not in hers[label]}
    assert theirs(ben).keys() >= {"scales.Administration", "accounts.User"}
    assert Tombstone.objects.filter(object=of_user(ana.user.pk)).exists()
    assert services.replay(now=LATER + timedelta(days=31)) == 0


def test_a_number_that_is_somebody_elses_in_a_database_from_before_is_left_alone(
    ana: Participant, ask: Ask, ledger_file: Path
) -> None:
    stranger = Erasure(pk=UUID("5a0f4c1e-90d5-4c55-9a34-7d1be7a6f0c2"))
    ledger.note(ledger.Line(stranger.pk, NOW, ana.pk, ana.user_id, (stranger.pk,)))
    ask(ana, now=NOW)

    assert services.replay(now=LATER) == 1

    assert Participant.objects.filter(pk=ana.pk).exists()
    assert User.objects.get(participant=ana).is_active
    assert not Tombstone.objects.exists()
    assert Erasure.objects.get(participant=ana.pk, state="waiting").pk != stranger.pk


def test_who_came_after_the_copy_was_made_leaves_their_numbers_to_nobody(
    ana: Participant, ask: Ask, ledger_file: Path
) -> None:
    holder = UUID("5a0f4c1e-90d5-4c55-9a34-7d1be7a6f0c2")
    ledger.note(ledger.Line(holder, NOW, ana.pk + 50, (ana.user_id or 0) + 70, (holder,)))

    assert services.replay(now=LATER) == 1

    newcomer = enrol("newcomer", ana.clinic)
    assert (newcomer.pk > ana.pk + 50, (newcomer.user_id or 0) > (ana.user_id or 0) + 70) == (True, True)
