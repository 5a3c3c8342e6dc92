"""What people wrote lies in the tables as ciphertext, those of an older version included."""

import hashlib
from collections.abc import Iterator
from contextlib import closing
from typing import Any
from uuid import uuid4

import orjson
import pytest
from django.core.management import call_command
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from django.test import Client
from pytest_django import DjangoDbBlocker

from backend.audit.models import Entry
from backend.care.models import Participant
from backend.keys import blind, envelope
from backend.keys.ring import keyring
from backend.stack.dsn import AS_APP, SEES_ALL
from scales import entry as entries
from scales.models import Administration, Correction, Quarantined
from scales.services import record_waiting
from tests.conftest import as_owner, responses, sign_in, submission
from tests.scales.phone import URL, ClientFor, correct, opened, post
from tests.scales.test_corrections import correction
from tests.scales.test_unknown_versions import arrive

CANARY = "A canary in my own words."
# The last version that sealed nothing.
LAST = (
    ("scales", "0004_walls"),
    ("audit", "0005_device_and_why"),
    ("care", "0006_joining"),
    ("accounts", "0003_operators"),
)


def everything() -> bytes:
    """All that the tables hold, as bytes; what is sealed as it is."""
    with connection.cursor() as cursor:
        tables = ("scales_administration", "scales_correction", "scales_quarantined", "audit_entry")
        found = b""
        for table in tables:
            cursor.execute(f"SELECT * FROM {table}")
            for row in cursor.fetchall():
                found += b"|".join(v if isinstance(v, bytes) else str(v).encode() for v in row)
        return found


def test_no_word_that_somebody_typed_lies_there_in_clear(ana: Participant, client_for: ClientFor) -> None:
    client, sent = client_for(ana), submission()
    assert post(client, sent).status_code == 201
    assert correct(client, sent["id"], correction(reason=CANARY)).status_code == 201
    for wrong in (
        submission(note=CANARY),
        submission(responses={CANARY: 3}),
        submission(responses={"scs01": CANARY}),
        submission(skipped={"scs01": CANARY}),
        submission(version=9, responses={"scs01": CANARY}),
        {CANARY: CANARY},
        [CANARY],
    ):
        assert post(client, wrong).status_code in (202, 422)
    assert (
        correct(client, sent["id"], correction(reason=CANARY, responses={"scs01": CANARY})).status_code == 422
    )

    assert Quarantined.objects.count() == 8
    assert any(CANARY in fault[0] for q in Quarantined.objects.all() for fault in opened(q, "faults"))
    assert CANARY.encode() not in everything()
    assert b"canary" not in everything().lower()


def test_a_reason_is_as_long_as_its_bucket_whatever_it_says(ana: Participant, client_for: ClientFor) -> None:
    client, sent = client_for(ana), submission()
    post(client, sent)

    for text in ("n" * 125, "ä" * 126, "x" * 252):
        assert correct(client, sent["id"], correction(reason=text)).status_code == 201

    assert {len(c.reason) for c in Correction.objects.all()} == {5 + 12 + 256 + 16}


def test_nobody_can_try_out_what_a_hash_is_of(ana: Participant, client_for: ClientFor) -> None:
    """Hashes of what is sealed are keyed; that of an administration is of what lies beside it."""
    client, sent, body, wrong = client_for(ana), submission(), correction(), submission(version=9)
    for url, one in ((URL, sent), (f"{URL}/{sent['id']}/corrections", body), (URL, wrong)):
        post(client, one, url)

    tried = entries.read_correction(body).content_hash()
    assert bytes(Correction.objects.get().content_hash) == blind.fingerprint("content", tried)
    tried = entries.read(wrong).content_hash()
    assert bytes(Quarantined.objects.get().content_hash) == blind.fingerprint("content", tried)
    assert bytes(Administration.objects.get().content_hash) == entries.read(sent).content_hash()


def test_what_waits_and_does_not_open_holds_up_nobody(ana: Participant, client_for: ClientFor) -> None:
    client, wrong, right = client_for(ana), submission(version=2), submission(version=2)
    for body in (wrong, right):
        assert post(client, body).status_code == 202
    with as_owner(), connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        cursor.execute("ALTER TABLE scales_quarantined DISABLE TRIGGER content_kept")
        cursor.execute(
            "UPDATE scales_quarantined SET body = set_byte(body, 40, 255 - get_byte(body, 40))"
            " WHERE administration = %s RETURNING id",
            [wrong["id"]],
        )
        broken = cursor.fetchone()[0]
    arrive()

    assert record_waiting() == 1

    assert [str(a.pk) for a in Administration.objects.all()] == [right["id"]]
    assert list(Quarantined.objects.filter(resolved_at=None).values_list("id", flat=True)) == [broken]
    assert list(Entry.objects.filter(action="sealed.unreadable").values_list("subject", flat=True)) == [
        f"scales_quarantined.body {broken}"
    ]


@pytest.fixture
def older(migrated: str, django_db_blocker: DjangoDbBlocker) -> Iterator[None]:
    """A database of the last version that sealed nothing, in which commits stay, worked in as its owner."""
    name = f"{migrated}_older"
    with django_db_blocker.unblock():
        options = connection.settings_dict["OPTIONS"]
        before = (connection.settings_dict["NAME"], options["options"])
        connection.close()
        options["options"] = SEES_ALL
        _maintain(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)', f'CREATE DATABASE "{name}"')
        connection.settings_dict["NAME"] = name
        try:
            MigrationExecutor(connection).migrate(list(LAST))
            yield
        finally:
            connection.close()
            connection.settings_dict["NAME"], options["options"] = before[0], SEES_ALL
            _maintain(f'DROP DATABASE "{name}" WITH (FORCE)')
            options["options"] = before[1]


def _go_on_as_the_product() -> None:
    connection.close()
    connection.settings_dict["OPTIONS"]["options"] = f"{AS_APP} {SEES_ALL}"


def _maintain(*statements: str) -> None:
    with connection._nodb_cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)


class Before:
    """What the version before left of one person: an administration, its correction, and three misfits."""

    def __init__(self) -> None:
        self.public_id = uuid4()
        self.sent, self.body = submission(), correction(reason=CANARY)
        self.waiting = submission(version=2)
        self.misfit = submission(answer=9) | {"id": "x", "note": CANARY}
        self.conflict = self.sent | {"responses": responses("scs-26", 1)}
        first = entries.read(self.sent)
        fixed = entries.read_correction(self.body)
        with closing(connection.cursor()) as cursor:
            self.clinic = _insert(cursor, "care_clinic", public_id=uuid4(), name="Linden", created_at="now")
            self.user = _insert(
                cursor, "accounts_user", password="!", is_active=True, joined_at="now", email=None
            )
            participant = _insert(
                cursor, "care_participant", public_id=self.public_id, clinic_id=self.clinic,
                user_id=self.user, pseudonym="calm heron", timezone="UTC", enrolled_at="2024-01-01",
            )  # fmt: skip
            answered = {"responses": _json(self.sent["responses"]), "scores": "{}", "received_at": "now"}
            _insert(
                cursor, "scales_administration", id=first.id, participant_id=participant, **answered,
                instrument_code="scs-26", instrument_version=1, completed_at=first.completed_at,
                utc_offset=60, timezone="Europe/Berlin", skipped="{}", missing_answers="strict",
                answer='{"id":"first","scores":[]}', content_hash=first.content_hash(),
            )  # fmt: skip
            _insert(
                cursor, "scales_correction", id=fixed.id, administration_id=first.id, revision=2, **answered,
                reason=CANARY, corrected_by_id=self.user, answer='{"id":"first","scores":[]}',
                content_hash=fixed.content_hash(),
            )  # fmt: skip
            for kind, body, content_hash, named in (
                ("unknown_version", self.waiting, entries.read(self.waiting).content_hash(), True),
                ("conflict", self.conflict, entries.read(self.conflict).content_hash(), True),
                ("rejected", self.misfit, _of_body(self.misfit), False),
            ):
                _insert(
                    cursor, "scales_quarantined", participant_id=participant, kind=kind,
                    administration=body["id"] if named else None,
                    instrument_code="scs-26" if named else None,
                    instrument_version=body["version"] if named else None,
                    sent_by_id=self.user, body=_json(body), content_hash=content_hash,
                    faults=_json([[["note"], "unknown_field", CANARY]]), received_at="now",
                )  # fmt: skip


def _insert(cursor: Any, table: str, **values: Any) -> Any:
    names = ", ".join(values)
    cursor.execute(
        f"INSERT INTO {table} ({names}) VALUES ({', '.join(['%s'] * len(values))}) RETURNING id",
        list(values.values()),
    )
    return cursor.fetchone()[0]


def _json(value: object) -> str:
    return orjson.dumps(value).decode()


def _of_body(body: object) -> bytes:
    return hashlib.sha256(orjson.dumps(body, option=orjson.OPT_SORT_KEYS)).digest()


def test_what_lay_there_in_clear_is_sealed_and_everything_is_answered_as_before(older: None) -> None:
    left = Before()

    call_command("migrate", verbosity=0)
    _go_on_as_the_product()

    assert b"canary" not in everything().lower()
    fixed, holder = Correction.objects.get(), envelope.Holder(left.public_id, left.clinic)
    place = envelope.Place("scales_correction", "reason", str(fixed.pk), holder)
    key = keyring().key(left.public_id, 1)
    assert envelope.unseal(bytes(fixed.reason), key=key, place=place) == CANARY.encode()
    kept = {q.kind: q for q in Quarantined.objects.all()}
    assert {kind: opened(q) for kind, q in kept.items()} == {
        "unknown_version": left.waiting,
        "conflict": left.conflict,
        "rejected": left.misfit,
    }
    assert {str(opened(q, "faults")) for q in kept.values()} == {str([[["note"], "unknown_field", CANARY]])}
    assert list(Entry.objects.filter(action="key.made").values_list("clinic", "subject")) == [
        (left.clinic, str(left.public_id))
    ]

    person = Participant.objects.get()
    assert person.user is not None
    client = Client(headers={"authorization": f"Bearer {sign_in(person.user)}"})
    answers = [
        post(client, left.sent),
        correct(client, left.sent["id"], left.body),
        correct(client, left.sent["id"], left.body | {"reason": "Another."}),
        post(client, left.conflict),
        post(client, left.waiting),
        post(client, left.waiting | {"responses": responses("scs-26", 1)}),
        post(client, left.misfit),
    ]
    assert [a.status_code for a in answers] == [200, 200, 409, 409, 202, 409, 422]
    # Of these, three were kept already, and the two others are new.
    assert Quarantined.objects.count() == 5
    revisions = client.get(f"{URL}/{left.sent['id']}").json()["revisions"]
    assert [r["reason"] for r in revisions] == [None, CANARY]
    arrive()
    assert record_waiting() == 1
    assert post(client, left.waiting).status_code == 200
    assert {str(a.pk) for a in Administration.objects.all()} == {left.sent["id"], left.waiting["id"]}


def test_the_tables_are_written_anew_once_their_texts_are_sealed(older: None) -> None:
    """A column that was dropped is still in every row until then."""
    Before()
    before = _files("0005_sealed")

    after = _files("0006_rewritten")

    assert set(before) & set(after) == set()


def _files(migration: str) -> list[int]:
    """The files that hold the two tables, and their longer values, after that migration."""
    MigrationExecutor(connection).migrate([("scales", migration)])
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_relation_filenode(oid) FROM pg_class c WHERE relname = ANY(%s) OR EXISTS"
            " (SELECT FROM pg_class t WHERE t.reltoastrelid = c.oid AND t.relname = ANY(%s))",
            [["scales_correction", "scales_quarantined"]] * 2,
        )
        found = [row[0] for row in cursor.fetchall()]
    assert len(found) == 4
    return found
