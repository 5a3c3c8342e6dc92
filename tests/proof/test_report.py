"""What somebody saw and did: at the machine, and for those who answer for a clinic."""

import csv
from datetime import UTC, datetime, timedelta
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.test.utils import CaptureQueriesContext

from backend.audit.models import Entry
from backend.care.models import Membership, Participant
from tests.conftest import ClientFor, statements

MARCH = ("--since", "2026-03-01", "--until", "2026-04-01")


def saw(actor: int, action: str, at: datetime, about: Participant | None = None, **more: Any) -> None:
    of = {"participant": about.pk, "clinic": about.clinic_id} if about else {}
    Entry.objects.create(actor=actor, action=action, at=at, **{**of, **more})


def march(day: int, hour: int = 9) -> datetime:
    return datetime(2026, 3, day, hour, tzinfo=UTC)


def report(*options: str) -> list[list[str]]:
    said = StringIO()
    call_command("audit", "report", *options, stdout=said)
    return list(csv.reader(StringIO(said.getvalue())))


def test_everything_somebody_saw_in_march(ana: Participant, thea: Membership, theo: Membership) -> None:
    user = thea.user_id
    saw(user, "trends.read", march(1, 0), ana)
    saw(user, "release.opened", march(2), ana, subject='a, "b"', why="emergency")
    saw(user, "administrations.read", march(31, 23), ana)
    saw(user, "trends.read", march(1) - timedelta(hours=9, microseconds=1), ana)
    saw(user, "trends.read", datetime(2026, 4, 1, tzinfo=UTC), ana)
    saw(theo.user_id, "trends.read", march(3), ana)
    of_ana = [str(ana.clinic.public_id), str(ana.public_id), "ana heron"]
    heading = ["at", "action", "clinic", "participant", "pseudonym", "subject", "request", "device", "why"]
    first = ["2026-03-01T00:00:00+00:00", "trends.read", *of_ana, "", "", "", ""]
    second = ["2026-03-02T09:00:00+00:00", "release.opened", *of_ana, 'a, "b"', "", "", "emergency"]
    third = ["2026-03-31T23:00:00+00:00", "administrations.read", *of_ana, "", "", "", ""]

    assert report("--actor", "Thea@cast.example", *MARCH) == [heading, first, second, third]
    assert report("--actor", str(user), "--reads", *MARCH) == [heading, first, third]
    told = Entry.objects.filter(action="audit.reported").values_list("actor", "subject")
    assert list(told) == [(None, str(user))] * 2


@pytest.mark.parametrize(
    "options",
    [
        ("--actor", "nobody@cast.example", *MARCH),
        ("--actor", "999999999", *MARCH),
        ("--actor", "1" * 30, *MARCH),
    ],
)
def test_of_nobody_there_is_no_report(db: None, options: tuple[str, ...]) -> None:
    with pytest.raises(CommandError, match="no such user"):
        report(*options)


def test_a_day_that_is_none_is_refused(db: None) -> None:
    with pytest.raises(CommandError, match="a day like"):
        report("--actor", "1", "--since", "yesterday", "--until", "2026-04-01")


def entries(client: Any, member: object, **query: object) -> Any:
    return client.get("/api/v1/audit-entries", {"member": str(member), **query})


def test_an_administrator_reads_what_a_colleague_did(
    ana: Participant, thea: Membership, adam: Membership, client_for: ClientFor
) -> None:
    saw(thea.user_id, "trends.read", march(1), ana, subject="77")
    id_ = "0199f1aa-3c00-7d10-9a77-0b6f5c1d2e3f"
    saw(thea.user_id, "release.opened", march(2), ana, subject=id_, device=id_, request=id_, why="emergency")
    saw(thea.user_id, "caseload.handed_over", march(3), clinic=ana.clinic_id)
    saw(thea.user_id, "trends.read", march(4), clinic=ana.clinic_id, participant=99_999)
    nothing = {"participant": None, "subject": None, "request": None, "device": None, "why": None}
    about = {"id": str(ana.public_id), "pseudonym": "ana heron"}

    answer = entries(client_for(adam), thea.public_id, since=march(1).isoformat(), until=march(5).isoformat())
    assert (answer.status_code, answer.json()) == (
        200,
        {
            "results": [
                {**nothing, "at": "2026-03-04T09:00:00+00:00", "action": "trends.read"},
                {**nothing, "at": "2026-03-03T09:00:00+00:00", "action": "caseload.handed_over"},
                {
                    "at": "2026-03-02T09:00:00+00:00",
                    "action": "release.opened",
                    "participant": about,
                    "subject": id_,
                    "request": id_,
                    "device": id_,
                    "why": "emergency",
                },
                {**nothing, "at": "2026-03-01T09:00:00+00:00", "action": "trends.read", "participant": about},
            ],
            "next": None,
        },
    )
    told = Entry.objects.filter(action="audit.read").values_list("actor", "clinic", "subject")
    assert list(told) == [(adam.user_id, adam.clinic_id, str(thea.public_id))]


def test_only_what_is_the_clinics_own(
    ana: Participant, thea: Membership, carla: Membership, adam: Membership, client_for: ClientFor
) -> None:
    """Thea also works where Carla does, and signs in: neither is Adam's to know."""
    Membership.objects.create(clinic=carla.clinic, user=thea.user, role="therapist")
    saw(thea.user_id, "invitation.created", march(1), clinic=carla.clinic_id)
    saw(thea.user_id, "signed_in", march(2))
    saw(thea.user_id, "trends.read", march(3), ana)

    answer = entries(client_for(adam), thea.public_id)
    assert [entry["at"][:10] for entry in answer.json()["results"]] == ["2026-03-03"]
    hidden = entries(client_for(adam), carla.public_id)
    never = entries(client_for(adam), "11111111-2222-4333-8444-555555555555")
    assert (hidden.status_code, hidden.content) == (never.status_code, never.content) == (404, never.content)


def test_pages_follow_each_other(
    ana: Participant, thea: Membership, adam: Membership, client_for: ClientFor
) -> None:
    """Several at one instant among them: the key decides between those."""
    for number in range(7):
        saw(thea.user_id, f"n{number}.read", march(1 + number // 3), ana)
    client, seen, cursor = client_for(adam), [], ""
    for _ in range(4):
        page = entries(client, thea.public_id, limit=2, cursor=cursor).json()
        seen += [entry["action"] for entry in page["results"]]
        cursor = page["next"]
    assert seen == [f"n{number}.read" for number in reversed(range(7))]
    assert cursor is None


@pytest.mark.parametrize(
    ("query", "pointer", "code"),
    [
        ({"member": ""}, "/member", "required"),
        ({"since": "yesterday"}, "/since", "invalid_datetime"),
        ({"until": "2026-03-01"}, "/until", "invalid_datetime"),
        ({"limit": "0"}, "/limit", "invalid_limit"),
        ({"cursor": "x"}, "/cursor", "invalid_cursor"),
        ({"cursor": "WyIyMDI2LTAzLTAxVDA5OjAwOjAwKzAwOjAwIiwieCJd"}, "/cursor", "invalid_cursor"),
    ],
)
def test_what_does_not_fit_is_named(
    thea: Membership, adam: Membership, client_for: ClientFor, query: dict[str, str], pointer: str, code: str
) -> None:
    answer = entries(client_for(adam), **{"member": thea.public_id, **query})
    assert (answer.status_code, [(e["pointer"], e["code"]) for e in answer.json()["errors"]]) == (
        422,
        [(pointer, code)],
    )


@pytest.mark.parametrize("rows", [1, 3])
def test_a_list_costs_the_same_statements(
    ana: Participant, thea: Membership, adam: Membership, client_for: ClientFor, rows: int
) -> None:
    for number in range(rows):
        saw(thea.user_id, "trends.read", march(1 + number), ana)
    client = client_for(adam)
    with CaptureQueriesContext(connection) as caught:
        assert len(entries(client, thea.public_id).json()["results"]) == rows
    assert len(statements(caught)) == 7
