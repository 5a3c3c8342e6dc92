"""What was submitted cannot be changed or removed, not even by the owner of the tables."""

import hashlib

import pytest
from django.db import DatabaseError, connection, transaction
from django.utils import timezone
from psycopg.errors import InsufficientPrivilege, RestrictViolation

from backend.care.models import ConsentText, Disclosure, Participant
from scales.models import Held, LoadedFile, Quarantined, Release
from tests.conftest import as_owner, submission
from tests.scales.phone import ClientFor, correct, post
from tests.scales.test_corrections import correction

APPEND_ONLY = {
    "scales_administration": "SET responses = '{}'",
    "scales_correction": "SET reason = ''",
    "scales_loadedfile": "SET text = ''",
    "audit_entry": "SET action = ''",
    "care_consent": "SET decision = 'withdrawn'",
    "care_consenttext": "SET source = ''",
    "care_disclosure": "SET in_force = wanted",
    "scales_held": "SET release_at = now()",
    "scales_release": "SET released_at = now()",
}
KEPT_COLUMNS = (
    "participant_id",
    "kind",
    "administration",
    "instrument_code",
    "instrument_version",
    "sent_by_id",
    "device",
    "body",
    "content_hash",
    "faults",
    "received_at",
)


@pytest.fixture
def written(ana: Participant, client_for: ClientFor) -> None:
    """At least one row in each of the tables."""
    client, body = client_for(ana), submission()
    text = "code = 'own'"
    LoadedFile.objects.create(
        kind="wording", code="own", version=1, text=text, sha256=hashlib.sha256(text.encode()).hexdigest()
    )
    assert post(client, body).status_code == 201
    assert correct(client, body["id"], correction()).status_code == 201
    assert post(client, submission(answer=9)).status_code == 422
    ConsentText.objects.create(stream="care", version=2, language="en", source=text)
    Disclosure.objects.create(
        clinic=ana.clinic, participant=ana, wanted={}, in_force={}, received_at=timezone.now()
    )
    row = {"clinic": ana.clinic, "participant": ana, "administration_id": body["id"]}
    Held.objects.create(**row, revision=1, scores=["total"], answer="{}", release_at=timezone.now())
    Release.objects.create(**row, released_by_id=ana.user_id or 0, released_at=timezone.now())
    # As after a commit: a table with checks outstanding could not be truncated anyway.
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")


def as_replica() -> str:
    """How to become a session in which ordinary triggers are silent; nothing where we may not."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT rolsuper FROM pg_roles WHERE rolname = current_user")
        return "SET LOCAL session_replication_role = replica" if cursor.fetchone()[0] else ""


def refused(statement: str) -> bool:
    """Whether our trigger refuses the statement, to the owner and in a replica's session where we may have
    one; and the product, whose role may not do some of it at all."""
    with as_owner():
        held = all(_refused(before, statement, RestrictViolation) for before in {"", as_replica()})
    return held and _refused("", statement, RestrictViolation, InsufficientPrivilege)


def _refused(before: str, statement: str, *by: type[Exception]) -> bool:
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            if before:
                cursor.execute(before)
            cursor.execute(statement)
            transaction.set_rollback(True)
    except DatabaseError as error:
        return isinstance(error.__cause__, by)
    return False


@pytest.mark.parametrize("table", APPEND_ONLY)
def test_rows_can_be_neither_changed_nor_removed(written: None, table: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT count(*) FROM {table}")
        assert cursor.fetchone()[0] > 0

    assert refused(f"UPDATE {table} {APPEND_ONLY[table]}")
    key = "administration_id" if table == "scales_release" else "id"
    assert refused(f"UPDATE {table} SET {key} = {key}")
    assert refused(f"DELETE FROM {table}")
    assert refused(f"TRUNCATE {table} CASCADE")


@pytest.mark.parametrize("column", KEPT_COLUMNS)
def test_what_waits_in_quarantine_keeps_its_content(written: None, column: str) -> None:
    assert refused(f"UPDATE scales_quarantined SET {column} = {column}")


def test_what_waits_in_quarantine_stays_and_can_be_settled(written: None) -> None:
    assert refused("DELETE FROM scales_quarantined")
    assert refused("TRUNCATE scales_quarantined")
    settled = timezone.now()

    Quarantined.objects.update(resolved_at=settled)

    assert Quarantined.objects.get().resolved_at == settled


def test_every_column_of_the_quarantine_but_the_settling_is_kept() -> None:
    columns = {field.column for field in Quarantined._meta.local_fields}

    assert columns - set(KEPT_COLUMNS) == {"id", "resolved_at"}


def test_the_triggers_fire_in_every_session(db: None) -> None:
    """`A`: as a replica too, which only a superuser can try out."""
    tables = [*APPEND_ONLY, "scales_quarantined"]
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT tgrelid::regclass::text, tgenabled FROM pg_trigger"
            " WHERE tgfoid = 'refuse_change'::regproc ORDER BY 1",
        )
        found = cursor.fetchall()

    assert sorted(found) == sorted((table, "A") for table in tables for _ in range(2))
