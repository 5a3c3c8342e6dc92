"""The second wall by itself: what the database shows to a transaction, whatever the code asks for."""

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from django.conf import settings
from django.db import connection, transaction
from django.test import Client
from django.utils import timezone

from backend import scope
from backend.audit.sealing import seal_all
from backend.care import access
from backend.care.models import Clinic, Membership, Participant
from backend.care.roles import Role
from backend.care.services import arrange_cover, start_care
from backend.errors import Problem
from backend.keys.envelope import Holder
from backend.keys.fields import sealed
from backend.keys.sealing import seal_bytes
from backend.rights.export.models import Export, ExportPart
from scales.library import load_instrument
from scales.models import Held, Release
from scales.services import record_waiting
from scales.trends import compute_behind
from tests.care.joining.door import invited, recovery_codes
from tests.care.opened.emergencies import opened_in_emergency
from tests.conftest import ClientFor, as_owner, decide, enrol, join, submission
from tests.scales.test_corrections import correction
from tests.turns import ThrownError, alternate, as_if_all

# Each table that holds a participant's or a clinic's data, and how its rows say whose.
OF_PARTICIPANTS = {
    "audit_entry": "participant",
    "audit_history": "participant",
    "care_consent": "participant_id",
    "care_disclosure": "participant_id",
    "care_dosingsession": "participant_id",
    "care_recoverycode": "participant_id",
    "care_participant": "id",
    "changes_change": "participant",
    "rights_export": "participant_id",
    "rights_exportpart": "(SELECT participant_id FROM rights_export e WHERE e.id = export_id)",
    "rights_erasure": "participant",
    "scales_administration": "participant_id",
    "scales_correction": (
        "(SELECT participant_id FROM scales_administration a WHERE a.id = administration_id)"
    ),
    "scales_held": "participant_id",
    "scales_quarantined": "participant_id",
    "scales_release": "participant_id",
    "scales_trend": "participant_id",
}
OF_CLINICS = {
    "audit_seal": "chain",
    "care_carerelationship": "clinic_id",
    "care_clinic": "id",
    "care_cover": "clinic_id",
    "care_emergencyaccess": "clinic_id",
    "care_invitation": "clinic_id",
    "care_membership": "clinic_id",
}
# Accounts are looked at before anybody is known; definitions are everybody's; the rest is Django's own.
OPEN = {
    "account_emailaddress",
    "account_emailconfirmation",
    "accounts_address",
    "accounts_cache",
    "accounts_device",
    "accounts_guess",
    "accounts_outgoingmail",
    "accounts_passkeyname",
    "accounts_tokenfamily",
    "accounts_user",
    "audit_pending",
    "auth_group",
    "auth_group_permissions",
    "auth_permission",
    "backup_run",
    "care_codeguess",
    "care_consenttext",
    "changes_tombstone",
    "demo_mark",
    "django_admin_log",
    "django_content_type",
    "django_migrations",
    "django_session",
    "mfa_authenticator",
    "scales_loadedfile",
}
# Who may see everything, and why nobody's request can come by: commands, and work that looks for work.
SEE_EVERYTHING = {
    "backend/care/management/commands/clinic.py",
    "backend/care/joining/api.py",
    "backend/care/management/commands/consents.py",
    "backend/care/services.py",
    "backend/backup/checks.py",
    "backend/backup/services.py",
    "backend/command.py",
    "backend/audit/sealing.py",
    "backend/proof/management/commands/audit.py",
    "backend/proof/services.py",
    "backend/proof/verify.py",
    "backend/demo/management/commands/demo.py",
    "backend/keys/management/commands/keys.py",
    "backend/metrics.py",
    "backend/keys/rotation.py",
    "backend/operators/admin.py",
    "backend/rights/export/services.py",
    "backend/rights/erasure/services.py",
    "backend/rights/management/commands/rights.py",
    "scales/services.py",
    "scales/trends.py",
}


@pytest.fixture
def cleo(rowan: Clinic) -> Participant:
    """A participant of another clinic."""
    return enrol("cleo", rowan)


@pytest.fixture
def two_clinics(
    ana: Participant,
    ben: Participant,
    cleo: Participant,
    thea: Membership,
    rowan: Clinic,
    client_for: ClientFor,
) -> dict[str, Participant]:
    """Ana and Ben of one clinic and Cleo of another, each with a row in every table of participants."""
    cleos = join("carl", rowan, Role.THERAPIST)
    start_care(participant=cleo, therapist=cleos, started_at=cleo.enrolled_at)
    away = join("tess", ana.clinic, Role.THERAPIST)
    arrange_cover(therapist=away, covered_by=thea, started_at=cleo.enrolled_at, ended_at=timezone.now())
    people = {"ana": ana, "ben": ben, "cleo": cleo}
    for therapist in (thea, cleos):
        invited(therapist)
    for person in people.values():
        recovery_codes(person)
        if person is cleo:
            decide(cleo)
        client, sent = client_for(person), submission()
        session = {"id": sent["id"], "started_at": "2025-12-01T10:00:00Z", "substance": "ayahuasca"}
        for address, body, status in (
            ("administrations", sent, 201),
            (f"administrations/{sent['id']}/corrections", correction(), 201),
            ("administrations", submission(answer=9), 422),
            (f"participants/{person.public_id}/dosing-sessions", session, 201),
        ):
            answer = client.post(f"/api/v1/{address}", body, content_type="application/json")
            assert answer.status_code == status
        nothing = dict.fromkeys(("substance", "dose", "supervision"), "withheld")
        shown = {"therapist": nothing, "research": {**nothing, "date": "week"}}
        assert client.put("/api/v1/me/disclosure", shown, content_type="application/json").status_code == 200
        assert client.post("/api/v1/me/erasure", {}, "application/json").status_code == 202
        of = {"clinic": person.clinic, "participant": person, "administration_id": sent["id"]}
        Participant.objects.filter(pk=person.pk).update(timezone="Europe/Lisbon")
        opened_in_emergency(person, cleos if person is cleo else away, "A call.", now=timezone.now())
        Held.objects.create(**of, revision=1, scores=[], answer="{}", release_at=timezone.now())
        Release.objects.create(**of, released_by_id=thea.user_id, released_at=timezone.now())
    compute_behind(now=timezone.now())
    seal_all()
    for person in people.values():
        asked = client_for(person).post("/api/v1/me/export", {}, content_type="application/json")
        assert asked.status_code == 202
        export = Export.objects.get(pk=asked.json()["id"])
        piece = ExportPart(pk=f"{export.pk}/1", export=export, number=1)
        place = sealed(ExportPart, "content").place(piece.pk, Holder(person.public_id, person.clinic_id))
        piece.content = seal_bytes(b"a piece", place)
        piece.save()
    return people


def rows(table: str, whose: str) -> set[Any]:
    """Whose rows an unrestricted SELECT of the table finds."""
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT DISTINCT {whose} FROM {table}")
        return {row[0] for row in cursor.fetchall()}


@pytest.fixture
def nothing_set(db: None) -> Iterator[None]:
    """As a connection of the product's is before anybody came through a door."""
    _set("")
    yield
    if not connection.needs_rollback:
        _set("on")


def _set(everything: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT set_config('selfkind.everything', %s, false)", [everything])


def test_every_table_is_walled_or_known_to_be_open(db: None) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT c.relname, c.relrowsecurity, c.relforcerowsecurity FROM pg_class c"
            " WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p', 'v', 'm')"
        )
        found = {name: (enabled, forced) for name, enabled, forced in cursor.fetchall()}

    walled = {*OF_PARTICIPANTS, *OF_CLINICS}
    assert {name for name, held in found.items() if held == (True, True)} == walled
    assert {name for name, held in found.items() if held == (False, False)} == OPEN
    assert set(found) == walled | OPEN


def test_no_open_table_names_a_participant_or_a_clinic(db: None) -> None:
    with connection.cursor() as cursor:
        columns = {
            t: {c.name for c in connection.introspection.get_table_description(cursor, t)} for t in OPEN
        }

    assert [t for t in OPEN if columns[t] & {"participant", "participant_id", "clinic", "clinic_id"}] == []


@pytest.mark.parametrize("table", [*OF_PARTICIPANTS, *OF_CLINICS])
def test_with_nothing_set_there_are_no_rows(
    two_clinics: dict[str, Participant], table: str, nothing_set: None
) -> None:
    _set("on")
    whose = {**OF_PARTICIPANTS, **OF_CLINICS}[table]
    assert len(rows(table, whose)) >= (1 if table == "care_cover" else 2), "nothing there to leak"
    _set("")

    assert rows(table, whose) == set()
    with as_owner():
        assert rows(table, whose) == set(), "the owner is not held"


@pytest.mark.parametrize("table", OF_PARTICIPANTS)
def test_a_scope_of_one_participant_shows_theirs_alone(
    two_clinics: dict[str, Participant], table: str, nothing_set: None
) -> None:
    for person in two_clinics.values():
        with scope.participants([person.pk]):
            assert rows(table, OF_PARTICIPANTS[table]) == {person.pk}
    with scope.participants([two_clinics["ana"].pk, two_clinics["cleo"].pk]):
        assert rows(table, OF_PARTICIPANTS[table]) == {two_clinics["ana"].pk, two_clinics["cleo"].pk}


def test_a_scope_of_one_clinic_shows_its_staff_and_nobodys_answers(
    two_clinics: dict[str, Participant], linden: Clinic, rowan: Clinic, nothing_set: None
) -> None:
    for clinic, tables in (
        (linden, OF_CLINICS),
        (rowan, {t: OF_CLINICS[t] for t in OF_CLINICS if "cover" not in t}),
    ):
        with scope.participants([]):
            scope.grant_clinics([clinic.pk])
            assert {table: rows(table, whose) for table, whose in tables.items()} == {
                table: {clinic.pk} for table in tables
            }
            assert rows("care_participant", "clinic_id") == {clinic.pk}
            assert {table: rows(table, whose) for table, whose in OF_PARTICIPANTS.items()} == {
                table: set() for table in OF_PARTICIPANTS
            } | {"care_participant": rows("care_participant", "id")}


def test_a_scope_ends_with_its_transaction(ana: Participant, nothing_set: None) -> None:
    with scope.participants([ana.pk]):
        assert rows("care_participant", "id") == {ana.pk}
    assert rows("care_participant", "id") == set()
    with scope.everything(), scope.participants([]):
        assert rows("care_participant", "id") == set()


def test_a_row_of_somebody_out_of_sight_cannot_be_written(
    ana: Participant, ben: Participant, nothing_set: None
) -> None:
    statement = (
        "INSERT INTO care_dosingsession (id, participant_id, started_at, recorded_by_id)"
        " VALUES (gen_random_uuid(), %s, now(), %s)"
    )
    with scope.participants([ana.pk]), connection.cursor() as cursor:
        cursor.execute(statement, [ana.pk, ana.user_id])
        with pytest.raises(Exception, match="row-level security"):
            cursor.execute(statement, [ben.pk, ben.user_id])
        connection.set_rollback(True)


def as_if_all_without_the_wall(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
    return as_if_all(
        execute,
        sql.replace("'selfkind.everything', ''", "'selfkind.everything', 'on'"),
        params,
        many,
        context,
    )


READS = (
    "me",
    "participants",
    "administrations",
    "me/trends?instrument=scs-26",
    "participants/{0}",
    "participants/{0}/administrations",
    "participants/{0}/trends?instrument=scs-26",
    "participants/{0}/dosing-sessions",
)


def told_of(
    client: Client, about: Participant, people: dict[str, Participant], ids: dict[str, str]
) -> set[str]:
    """Whose ids any of the reads gives away."""
    said = "".join(client.get(f"/api/v1/{read.format(about.public_id)}").content.decode() for read in READS)
    return {name for name, person in people.items() if str(person.public_id) in said or ids[name] in said}


def test_queries_that_forget_whose_rows_they_want_show_nobody_elses(
    two_clinics: dict[str, Participant], thea: Membership, client_for: ClientFor
) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT participant_id, id::text FROM scales_administration")
        by_key = dict(cursor.fetchall())
    ids = {name: by_key[person.pk] for name, person in two_clinics.items()}
    ana = two_clinics["ana"]
    thea_client, ana_client, ben_client = client_for(thea), client_for(ana), client_for(two_clinics["ben"])

    with connection.execute_wrapper(as_if_all):
        assert told_of(ana_client, ana, two_clinics, ids) == {"ana"}
        assert told_of(thea_client, ana, two_clinics, ids) == {"ana"}
        assert told_of(ben_client, ana, two_clinics, ids) == {"ben"}
    with connection.execute_wrapper(as_if_all_without_the_wall):
        assert told_of(ana_client, ana, two_clinics, ids) == {"ana", "ben", "cleo"}, "this test has no teeth"


def test_whoever_is_refused_at_the_door_sees_nothing_behind_it(
    ana: Participant, theo: Membership, nothing_set: None
) -> None:
    reader = access.Person(
        id=theo.user_id,
        second_factor=True,
        staff=True,
        wants_second_factor=True,
        participant=None,
    )

    with transaction.atomic(), pytest.raises(Problem, match="not_found"):
        access.participant(reader, str(ana.public_id), right="administrations.read")
    assert rows("care_participant", "id") == set()
    with scope.everything():
        start_care(participant=ana, therapist=theo, started_at=ana.enrolled_at)
    with transaction.atomic():
        access.participant(reader, str(ana.public_id), right="administrations.read")
        assert rows("care_participant", "id") == {ana.pk}


def test_a_fault_of_ours_undoes_what_was_written(ana: Participant, client_for: ClientFor) -> None:
    client = client_for(ana)
    client.raise_request_exception = False

    def break_after_writing(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        done = execute(sql, params, many, context)
        if "INSERT INTO scales_administration" in sql:
            raise ThrownError
        return done

    with connection.execute_wrapper(break_after_writing):
        answer = client.post("/api/v1/administrations", submission(), content_type="application/json")

    assert answer.status_code == 500
    assert rows("scales_administration", "id") == set()


def test_jobs_find_their_work_with_nothing_in_sight(
    ana: Participant, cleo: Participant, client_for: ClientFor, nothing_set: None
) -> None:
    for person in (ana, cleo):
        for body in (submission(), submission(version=2)):
            client_for(person).post("/api/v1/administrations", body, content_type="application/json")
    own = Path(settings.BASE_DIR, "scales/instruments/scs-26.v1.toml").read_text()
    load_instrument(own.replace("version = 1", "version = 2", 1), "scs-26.v2.toml")
    _set("")

    assert record_waiting() == 2
    assert compute_behind(now=timezone.now()) == 2
    assert rows("scales_trend", "participant_id") == set()
    _set("on")
    assert rows("scales_trend", "computed") == {2}


def test_two_clinics_take_turns_on_one_connection(
    ana: Participant, cleo: Participant, client_for: ClientFor
) -> None:
    """The short form of `make battery`'s 100,000."""
    clients = {"ana": client_for(ana), "cleo": client_for(cleo)}
    report = alternate(clients, requests=400, seed=20261125)

    assert (report.answered, report.crossed) == (400 - report.failed, 0)
    assert report.failed > 20, "no exception was thrown on the way"
    with as_owner(), connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        cursor.execute("ALTER TABLE scales_administration DISABLE ROW LEVEL SECURITY")
    assert alternate(clients, requests=10, seed=1).crossed > 0, "this test has no teeth"


def test_the_product_does_not_start_where_it_would_see_through(db: None) -> None:
    assert scope.gaps() == []
    with as_owner(), connection.cursor() as cursor:
        assert scope.gaps() == ["the role owns the tables it should be kept from"]
        cursor.execute("ALTER TABLE care_participant NO FORCE ROW LEVEL SECURITY")
    assert scope.gaps() == ["a table's owner is not held to its row-level security"]


def test_a_start_as_the_owner_is_refused_in_one_line(migrated: str) -> None:
    url = urlsplit(os.environ["DATABASE_URL"])._replace(path=f"/{migrated}").geturl()
    started = subprocess.run(
        [sys.executable, "-c", "import backend.wsgi"],
        cwd=settings.BASE_DIR, capture_output=True, text=True, check=False,
        env={**os.environ, "DJANGO_SETTINGS_MODULE": "backend.settings", "DATABASE_URL": url},
    )  # fmt: skip

    assert started.returncode != 0
    assert started.stderr.splitlines()[-1].endswith(
        "DATABASE_URL must sign in as the role selfkind_app: the role owns the tables it should be kept from."
    )


def test_only_those_named_here_see_everything() -> None:
    root = Path(settings.BASE_DIR)
    found = {
        str(file.relative_to(root))
        for folder in ("backend", "integration", "scales")
        for file in (root / folder).rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "scope.everything"
    }

    assert found == SEE_EVERYTHING
