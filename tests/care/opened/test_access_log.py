"""What a participant is told of who opened what of theirs, when and why."""

import base64
import re
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.core.management import call_command
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from backend.accounts.services import name_user
from backend.audit import services as audit
from backend.audit.actions import ACTIONS
from backend.audit.models import Entry
from backend.care.models import Membership, Participant
from backend.operators.services import record_seen
from tests.care.opened.emergencies import API, ask
from tests.conftest import ENROLLED_AT, ClientFor, statements, submission

LOG = f"{API}/me/access-log"


def log(client: Client, query: str = "") -> list[dict[str, Any]]:
    answer = client.get(f"{LOG}{query}")
    assert answer.status_code == 200
    found: list[dict[str, Any]] = answer.json()["results"]
    return found


def at(when: datetime, actor: int | None, action: str, ana: Participant, **fields: Any) -> Entry:
    return Entry.objects.create(
        at=when, actor=actor, action=action, participant=ana.pk, clinic=ana.clinic_id, **fields
    )


WHEN = datetime(2026, 1, 1, 12, tzinfo=UTC)


def test_one_entry_is_all_of_this(ana: Participant, thea: Membership, client_for: ClientFor) -> None:
    body, desk = submission(), uuid4()
    assert client_for(ana).post(f"{API}/administrations", body, "application/json").status_code == 201
    address = f"{API}/administrations/{body['id']}"
    assert thea.user_id is not None
    name_user(user=thea.user_id, name="Thea Winter")
    assert client_for(thea).get(address, headers={"x-device": str(desk)}).status_code == 200

    newest = log(client_for(ana))[0]

    entry = Entry.objects.get(action="administration.read")
    assert {k: v for k, v in newest.items() if k not in ("id", "device")} == {
        "at": entry.at.isoformat(),
        "action": "administration.read",
        "words": "Somebody looked at one of your questionnaires closely.",
        "refused": False,
        "who": {
            "role": "therapist",
            "membership": str(thea.public_id),
            "clinic_name": "Linden",
            "name": "Thea Winter",
        },
        "subject": body["id"],
        "why": "care",
        "reason": None,
    }
    assert newest["device"] not in (None, str(desk))
    assert log(client_for(ana))[0] == newest, "the same again"
    assert Entry.objects.filter(action="administration.recorded", participant=ana.pk).count() == 1
    assert "administration.recorded" not in {one["action"] for one in log(client_for(ana))}, "her own"


def test_everybody_who_asks_is_there_and_nobody_is_oneself(
    ana: Participant, thea: Membership, cass: Membership, sam: Membership, cora: Membership,
    theo: Membership, carla: Membership, ben: Participant, client_for: ClientFor,
) -> None:  # fmt: skip
    mine = client_for(ana)
    began = len(log(mine))
    address = f"{API}/participants/{ana.public_id}"
    for person in (ana, thea, cass, sam, cora, theo, carla, ben):
        client_for(person).get(address)

    seen = log(mine)[: len(log(mine)) - began][::-1]

    assert [(one["who"]["role"], one["action"], one["why"], one["refused"]) for one in seen] == [
        ("therapist", "participant.read", "care", False),
        ("therapist", "participant.read", "cover", False),
        ("supervisor", "participant.read", "oversight", False),
        ("coordinator", "participant.read", "oversight", False),
        ("therapist", "participant.refused", None, True),
        (None, "participant.refused", None, True),
        (None, "participant.refused", None, True),
    ]
    assert [one["who"] for one in seen[5:]] == [
        dict.fromkeys(("role", "membership", "clinic_name", "name"))
    ] * 2, "who is of another clinic, or a participant, looks like anybody"


def test_an_emergency_comes_with_its_reason(
    ana: Participant, theo: Membership, client_for: ClientFor
) -> None:
    assert ask(client_for(theo), ana, "She called at night.").status_code == 201
    client_for(theo).get(f"{API}/participants/{ana.public_id}")

    seen = log(client_for(ana))[:3][::-1]

    assert {(one["action"], one["why"], one["reason"]) for one in seen} == {
        (action, "emergency", "She called at night.")
        for action in ("emergency.opened", "emergency.started", "participant.read")
    }


def test_the_role_is_that_of_the_time(ana: Participant, thea: Membership, client_for: ClientFor) -> None:
    Membership.objects.filter(pk=thea.pk).update(ended_at=WHEN)
    now_admin = Membership.objects.create(
        clinic=ana.clinic, user=thea.user, role="clinic admin", started_at=WHEN
    )
    for minutes in (-1, 0, 1):
        at(WHEN + timedelta(minutes=minutes), thea.user_id, "participant.read", ana)
    at(ENROLLED_AT - timedelta(days=1), thea.user_id, "participant.read", ana)

    seen = log(client_for(ana), f"?until={(WHEN + timedelta(hours=1)).strftime('%Y-%m-%dT%H:%M:%SZ')}")

    assert [(one["who"]["role"], one["who"]["membership"]) for one in seen] == [
        ("clinic admin", str(now_admin.public_id)),
        ("clinic admin", str(now_admin.public_id)),
        ("therapist", str(thea.public_id)),
        (None, None),
    ]


def test_of_several_roles_it_is_the_one_that_entitled_them(
    ana: Participant, thea: Membership, client_for: ClientFor
) -> None:
    both = Membership.objects.create(
        clinic=ana.clinic, user=thea.user, role="coordinator", started_at=ENROLLED_AT
    )
    at(WHEN, thea.user_id, "participant.read", ana, why="care")
    at(WHEN + timedelta(1), thea.user_id, "participant.read", ana, why="oversight")
    at(WHEN + timedelta(2), thea.user_id, "care.managed", ana, why="oversight")

    seen = log(client_for(ana), "?until=2026-01-05T00:00:00Z")[::-1]

    assert [one["who"]["membership"] for one in seen] == [str(m.public_id) for m in (thea, both, both)]


def test_operators_and_the_machine_are_told_of(
    ana: Participant, thea: Membership, client_for: ClientFor
) -> None:
    administration = str(uuid4())
    for what in (f"scales.Administration:{administration}", f"care.Participant:{ana.pk}"):
        record_seen(actor=thea.user_id, seen=[(what, ana.pk, ana.clinic_id)])
    for action in ("suspend", "restore"):
        call_command("account", action, "--participant", str(ana.public_id))
    assert ana.user is not None
    ana.user.refresh_from_db()

    seen = log(client_for(ana), "?limit=4")[::-1]

    assert [(one["action"], one["who"]["role"], one["subject"]) for one in seen] == [
        ("operator.viewed", "operator", administration),
        ("operator.viewed", "operator", None),
        ("participant.suspended", "operator", None),
        ("participant.restored", "operator", None),
    ]
    assert {one["who"]["membership"] for one in seen} == {None}


def test_ids_of_others_and_numbers_are_not_told(
    ana: Participant, thea: Membership, client_for: ClientFor
) -> None:
    desk = uuid4()
    client_for(thea).get(f"{API}/participants/{ana.public_id}", headers={"x-device": str(desk)})
    client_for(thea).get(f"{API}/participants", headers={"x-device": str(desk)})

    answer = client_for(ana).get(f"{LOG}?limit=1")
    one, other = log(client_for(ana))[:2]

    assert str(desk) not in answer.content.decode()
    assert one["device"] == other["device"], "it tells their devices apart"
    assert one["id"] != other["id"]
    entry = Entry.objects.get(action="caseload.read")
    cursor = answer.json()["next"]
    assert str(entry.pk) not in base64.urlsafe_b64decode(cursor + "==").decode().split('"')
    assert next(o for o in log(client_for(ana)) if o["action"] == "care.started")["subject"] is None, (
        "a care relationship's number"
    )


@pytest.mark.parametrize("limit", [1, 2, 3, 7])
def test_pages_lose_and_double_nothing(
    ana: Participant, thea: Membership, client_for: ClientFor, limit: int
) -> None:
    for n in range(11):  # in threes of one instant
        at(WHEN + timedelta(minutes=n // 3), thea.user_id, "participant.read", ana)
    client, query = client_for(ana), "until=2026-01-02T00:00:00Z"
    whole = [one["id"] for one in log(client, f"?{query}")]

    paged, cursor = list[str](), ""
    while cursor is not None and len(paged) <= len(whole):
        page = client.get(f"{LOG}?{query}&limit={limit}&cursor={cursor}").json()
        paged += [one["id"] for one in page["results"]]
        cursor = page["next"]

    assert (paged, len(set(paged))) == (whole, 11)
    newest_first = list(Entry.objects.filter(at__lt=WHEN + timedelta(hours=1)).order_by("-at", "-id"))
    assert len([e for e in newest_first if e.actor == thea.user_id]) == 11


def test_since_and_until_are_kept_to_and_a_cursor_to_them(
    ana: Participant, thea: Membership, client_for: ClientFor
) -> None:
    client = client_for(ana)
    for day in range(1, 5):
        at(datetime(2026, 1, day, tzinfo=UTC), thea.user_id, "participant.read", ana)

    days = [one["at"][:10] for one in log(client, "?since=2026-01-02T00:00:00Z&until=2026-01-04T00:00:00Z")]
    cursor = client.get(f"{LOG}?limit=1&since=2026-01-02T00:00:00Z").json()["next"]

    assert days == ["2026-01-03", "2026-01-02"]
    for query, place in (
        (f"cursor={cursor}", "/cursor"),
        ("cursor=x", "/cursor"),
        ("since=yesterday", "/since"),
        ("until=x", "/until"),
        ("limit=0", "/limit"),
    ):
        answer = client.get(f"{LOG}?{query}")
        assert (answer.status_code, [e["pointer"] for e in answer.json()["errors"]]) == (422, [place])


def test_nobody_is_told_of_anybody_else(
    ana: Participant, ben: Participant, thea: Membership, sam: Membership, client_for: ClientFor
) -> None:
    client_for(sam).get(f"{API}/participants/{ben.public_id}")

    assert "participant.read" not in {one["action"] for one in log(client_for(ana))}
    assert log(client_for(ben))[0]["action"] == "participant.read"
    assert client_for(thea).get(LOG).status_code == 403


def test_who_has_no_entries_has_an_empty_list(ana: Participant, client_for: ClientFor) -> None:
    answer = client_for(ana).get(f"{LOG}?since=2090-01-01T00:00:00Z")

    assert answer.json() == {"results": [], "next": None}


@pytest.mark.parametrize("count", [1, 30])
def test_statements_do_not_grow_with_the_entries(
    ana: Participant, thea: Membership, theo: Membership, client_for: ClientFor, count: int
) -> None:
    assert ask(client_for(theo), ana).status_code == 201
    for _ in range(count):
        client_for(theo).get(f"{API}/participants/{ana.public_id}")
    client = client_for(ana)

    with CaptureQueriesContext(connection) as caught:
        assert len(log(client, "?limit=200")) > count

    # Who asks; entries, as what their actors worked, what they are called, emergencies; the clinic's name.
    assert len(statements(caught)) == 6


def test_every_action_can_be_told(ana: Participant, thea: Membership, client_for: ClientFor) -> None:
    for action in ACTIONS:
        audit.record(
            actor=thea.user_id, action=action, participant=ana.pk, clinic=ana.clinic_id, subject=uuid4()
        )

    seen = log(client_for(ana), "?limit=200")

    assert {one["action"] for one in seen} >= set(ACTIONS)
    assert {one["words"] for one in seen} == {ACTIONS[one["action"]].words for one in seen}
    assert {one["action"]: one["refused"] for one in seen}["sign_in.refused"] is True
    own = {one["action"] for one in seen if one["subject"]}
    assert own == {code for code, action in ACTIONS.items() if action.own}
    assert all(UUID(one["id"]) and re.fullmatch(r"[a-z_.]+", one["action"]) for one in seen)
    assert timezone.now() - datetime.fromisoformat(seen[0]["at"]) < timedelta(minutes=5)
