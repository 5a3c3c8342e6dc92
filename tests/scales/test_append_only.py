"""What was submitted cannot be changed or removed, not even by the owner of the tables."""

import hashlib

import pytest
from django.db import DatabaseError, connection, transaction
from django.utils import timezone
from psycopg.errors import InsufficientPrivilege, RestrictViolation

from backend.care.models import ConsentText, Disclosure, Participant
from backend.keys.fields import sealed_fields
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
    "id",
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

    assert columns - set(KEPT_COLUMNS) == {"resolved_at"}


def test_the_triggers_fire_in_every_session(db: None) -> None:
    """`A`: as a replica too, which only a superuser can try out."""
    elsewhere = {"audit_history", "audit_pending", "audit_seal", "care_emergencyaccess", "changes_tombstone"}
    tables = {*APPEND_ONLY, "scales_quarantined"} | elsewhere
    sealed = {field.model._meta.db_table for field in sealed_fields()} & tables
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT tgrelid::regclass::text, tgfoid::regproc::text, tgenabled FROM pg_trigger"
            " WHERE tgfoid IN ('refuse_change'::regproc, 'refuse_all_but_resealing'::regproc)",
        )
        found = cursor.fetchall()

    assert sealed == {"care_emergencyaccess", "scales_correction", "scales_quarantined"}
    assert sorted(found) == sorted(
        (table, function, "A")
        for table in tables
        for function in ("refuse_change", "refuse_all_but_resealing" if table in sealed else "refuse_change")
    )


def resealed(table: str, column: str) -> tuple[bytes, bytes]:
    """What stands sealed in the only row of that table, and the same sealed under a next key."""
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {column} FROM {table}")
        ((before,),) = cursor.fetchall()
    version = int.from_bytes(before[1:5])
    return before, before[:1] + (version + 1).to_bytes(4) + before[5:-1] + b"!"


def with_version(sealed: bytes, version: int) -> bytes:
    return sealed[:1] + version.to_bytes(4) + sealed[5:]


SEALED = [
    ("scales_correction", "reason", "revision = revision"),
    ("scales_correction", "reason", "responses = '{}'"),
    ("scales_quarantined", "body", "kind = 'conflict'"),
    ("scales_quarantined", "faults", "resolved_at = now()"),
]


@pytest.mark.parametrize(("table", "column"), sorted({(table, column) for table, column, _ in SEALED}))
def test_what_is_sealed_can_be_sealed_anew_under_a_newer_key(written: None, table: str, column: str) -> None:
    _, after = resealed(table, column)

    with connection.cursor() as cursor:
        cursor.execute(f"UPDATE {table} SET {column} = %s", [after])
        assert cursor.rowcount == 1
        cursor.execute(f"SELECT {column} FROM {table}")
        assert cursor.fetchall() == [(after,)]


@pytest.mark.parametrize(("table", "column"), sorted({(table, column) for table, column, _ in SEALED}))
def test_what_is_sealed_can_be_put_to_no_other_use(written: None, table: str, column: str) -> None:
    before, after = resealed(table, column)
    version = int.from_bytes(before[1:5])
    abused = {
        "the same version": with_version(after, version),
        "a lower version": with_version(after, version - 1),
        "no change at all": before,
        "longer": after + b"!",
        "shorter": after[:-1],
        "another format": b"\x02" + after[1:],
        "a header alone": after[:5],
        "nothing": b"",
    }
    for how, value in abused.items():
        assert refused(f"UPDATE {table} SET {column} = '\\x{value.hex()}'"), how
    assert refused(f"UPDATE {table} SET {column} = NULL")
    assert refused(f"UPDATE {table} SET id = id")
    assert refused(f"DELETE FROM {table}")
    assert refused(f"TRUNCATE {table} CASCADE")


def test_versions_are_compared_as_numbers_without_a_sign(written: None) -> None:
    _, after = resealed("scales_correction", "reason")
    highest, low = with_version(after, 2**32 - 1), with_version(after, 256)
    with connection.cursor() as cursor:
        for value in (low, highest):
            cursor.execute("UPDATE scales_correction SET reason = %s", [value])

    assert refused(f"UPDATE scales_correction SET reason = '\\x{with_version(after, 255).hex()}'")


@pytest.mark.parametrize(("table", "column", "otherwise"), SEALED)
def test_nothing_else_comes_along_with_what_is_sealed_anew(
    written: None, table: str, column: str, otherwise: str
) -> None:
    _, after = resealed(table, column)
    change = f"UPDATE {table} SET {column} = '\\x{after.hex()}'"

    # A column that is set to what it is does not change; any other does.
    assert refused(f"{change}, {otherwise}") == (otherwise != "revision = revision")
    assert refused(f"{change}, content_hash = ''")
    assert refused(f"{change}, received_at = received_at + interval '1 microsecond'")


def test_a_number_written_otherwise_is_a_change(written: None) -> None:
    """3.0 equals 3 to jsonb, and is not what was submitted."""
    _, after = resealed("scales_correction", "reason")

    assert refused(
        f"UPDATE scales_correction SET reason = '\\x{after.hex()}',"
        " responses = jsonb_set(responses, '{scs01}', '4.0')"
    )


def test_both_sealed_columns_of_a_row_can_be_sealed_anew_at_once_and_not_one_of_them_wrongly(
    written: None,
) -> None:
    body, new_body = resealed("scales_quarantined", "body")
    _, new_faults = resealed("scales_quarantined", "faults")
    statement = "UPDATE scales_quarantined SET body = '\\x{}', faults = '\\x{}'"

    assert not refused(statement.format(new_body.hex(), new_faults.hex()))
    assert refused(statement.format(new_body.hex(), with_version(new_faults, 1).hex()))
    assert refused(statement.format(body.hex(), new_body.hex()))
