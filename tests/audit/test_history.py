"""Rows that staff can change keep what they were, whatever statement changes them."""

from datetime import timedelta
from io import StringIO
from typing import Any

import orjson
import pytest
from django.core.management import call_command
from django.db import connection, transaction
from django.utils import timezone

from backend import scope
from backend.audit.models import Entry, History
from backend.audit.queries import history
from backend.care.joining.models import Invitation
from backend.care.models import CareRelationship, Clinic, Cover, DosingSession, Membership, Participant
from backend.care.services import arrange_cover
from tests.care.joining.door import invited
from tests.conftest import ClientFor, as_owner

KEPT = {
    "care_carerelationship",
    "care_clinic",
    "care_cover",
    "care_dosingsession",
    "care_invitation",
    "care_membership",
    "care_participant",
}
SESSION = {
    "id": "0199f1aa-3c00-7d10-9a77-0b6f5c1d2e3f",
    "started_at": "2026-03-27T10:00:00+01:00",
    "substance": "psilocybin",
}


@pytest.fixture
def everything(ana: Participant, thea: Membership, theo: Membership, client_for: ClientFor) -> Participant:
    """Ana, with a row in each of the tables."""
    now = timezone.now()
    arrange_cover(therapist=thea, covered_by=theo, started_at=now, ended_at=now + timedelta(days=1))
    invited(thea)
    Invitation.objects.update(participant=ana, redeemed_at=now)
    address = f"/api/v1/participants/{ana.public_id}/dosing-sessions"
    assert client_for(ana).post(address, SESSION, "application/json").status_code == 201
    return ana


def test_these_tables_keep_history_and_nothing_turns_it_off(db: None) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT tgrelid::regclass::text, tgenabled FROM pg_trigger WHERE tgname = 'keep_history'"
        )
        assert dict(cursor.fetchall()) == dict.fromkeys(KEPT, "A")


CHANGES: list[tuple[Any, dict[str, Any]]] = [
    (Clinic, {"name": "Elm"}),
    (Membership, {"suspended_at": timezone.now()}),
    (Participant, {"timezone": "Europe/Lisbon"}),
    (CareRelationship, {"ended_because": None, "ended_at": timezone.now() + timedelta(days=1)}),
    (Cover, {"ended_at": timezone.now() + timedelta(days=2)}),
    (Invitation, {"repeats": 3}),
    (DosingSession, {"substance": "mdma"}),
]


@pytest.mark.parametrize(("model", "change"), CHANGES)
def test_what_a_row_was_is_kept(everything: Participant, model: Any, change: dict[str, Any]) -> None:
    table, row = model._meta.db_table, model.objects.order_by("pk")[0]
    (name,) = set(change) - {"ended_because"}
    was = getattr(row, name)

    model.objects.filter(pk=row.pk).update(**change)
    model.objects.filter(pk=row.pk).update(**{name: was})

    *_, first, second = history(table, str(row.pk))
    secret = {"digest"} if model is Invitation else set()
    columns = {field.column for field in model._meta.concrete_fields}
    assert (set(first.before), set(second.before)) == (columns - secret, columns - secret)
    assert first.before[name] != second.before[name]
    assert (first.change, first.participant, first.clinic) == (
        "update",
        None if model in (Clinic, Membership, Cover) else everything.pk,
        None if model is DosingSession else everything.clinic_id,
    )


def test_three_hundred_rows_changed_at_once_are_three_hundred_rows_of_history(linden: Clinic) -> None:
    Participant.objects.bulk_create(Participant(clinic=linden, pseudonym=f"{n} heron") for n in range(300))

    assert Participant.objects.update(timezone="Asia/Tokyo") == 300
    assert History.objects.filter(table="care_participant", change="update").count() == 300
    assert set(History.objects.values_list("before__timezone", flat=True)) == {"UTC"}
    assert Participant.objects.update(timezone="Asia/Tokyo") == 300, "the same once more"
    assert History.objects.count() == 300


def test_a_deleted_row_is_kept(everything: Participant) -> None:
    cover = Cover.objects.get()

    Cover.objects.filter(pk=cover.pk).delete()

    (kept,) = history("care_cover", str(cover.pk))
    assert (kept.change, kept.before["therapist_id"]) == ("delete", cover.therapist_id)


def test_it_says_who_in_which_request(adam: Membership, theo: Membership, client_for: ClientFor) -> None:
    address = f"/api/v1/staff/{theo.public_id}/suspend"
    answer = client_for(adam).post(address, content_type="application/json")

    (kept,) = history("care_membership", str(theo.pk))
    assert (kept.actor, str(kept.request)) == (adam.user_id, answer["X-Request-Id"])
    assert kept.before["suspended_at"] is None
    Membership.objects.filter(pk=theo.pk).update(suspended_at=None)
    with scope.everything():
        Membership.objects.filter(pk=theo.pk).update(ended_at=timezone.now())
    assert [h.actor for h in history("care_membership", str(theo.pk))] == [adam.user_id, None, None]


@pytest.mark.parametrize(
    "statement",
    [
        'INSERT INTO audit_history (at, change, "table", "row", before) VALUES (now(), %s, %s, %s, %s)',
        "UPDATE audit_history SET change = %s",
        "DELETE FROM audit_history WHERE change = %s",
        "TRUNCATE audit_history",
        "ALTER TABLE care_participant DISABLE TRIGGER keep_history",
    ],
)
def test_the_product_can_neither_invent_nor_change_nor_stop_it(ana: Participant, statement: str) -> None:
    Participant.objects.update(timezone="Asia/Tokyo")
    values = ["update", "care_participant", "1", "{}"][: statement.count("%s")]

    with pytest.raises(Exception, match=r"permission denied|must be owner"), transaction.atomic():
        connection.cursor().execute(statement, values)
    with as_owner():
        if statement.startswith(("UPDATE", "DELETE", "TRUNCATE")):
            with pytest.raises(Exception, match="append-only"), transaction.atomic():
                connection.cursor().execute(statement, values)


def test_a_command_shows_it_and_is_audited(ana: Participant) -> None:
    Participant.objects.update(timezone="Asia/Tokyo")
    out = StringIO()

    call_command("history", "care_participant", str(ana.pk), stdout=out)

    (line,) = out.getvalue().splitlines()
    kept = orjson.loads(line)
    assert (kept["change"], kept["before"]["timezone"], kept["actor"]) == ("update", "Europe/Berlin", None)
    entry = Entry.objects.get(action="history.read")
    assert (entry.actor, entry.participant, entry.clinic) == (None, ana.pk, ana.clinic_id)
    assert entry.subject == f"care_participant:{ana.pk}"
