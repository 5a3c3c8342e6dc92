"""A worse score waits for the therapist, where the clinic does so and the participant was told."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from backend.audit.models import Entry
from backend.care import access
from backend.care.consent.queries import with_research_consent
from backend.care.consent.services import set_hold
from backend.care.consent.text import Stream
from backend.care.models import Clinic, Membership, Participant
from backend.changes.models import Change
from scales.change import worse
from scales.models import Administration, Held, Release
from scales.services import Sender, record_administration
from scales.trends import compute_behind
from tests.conftest import decide, enrol, responses, statements, submission
from tests.scales.phone import URL, ClientFor, correct, post

SUBSCALES = {
    "self_kindness",
    "self_judgment",
    "common_humanity",
    "isolation",
    "mindfulness",
    "over_identification",
}
RECEIVED = datetime(2026, 2, 1, 10, tzinfo=UTC)


@pytest.fixture
def told(linden: Clinic, ana: Participant) -> Participant:
    """Ana, whose clinic lets a worse score wait for 48 hours, and who was told so and agreed."""
    set_hold(clinic=linden, hold_hours=48)
    decide(ana, at=datetime(2024, 2, 1, tzinfo=UTC))
    ana.clinic.refresh_from_db()
    return ana


def kinder(day: int, **fields: Any) -> dict[str, Any]:
    """All at 3, but the five items of self-kindness at 4."""
    body = submission(completed_at=f"2026-01-{day:02}T10:00:00+01:00", **fields)
    return body | {
        "responses": responses("scs-26", 3, **dict.fromkeys(("scs05", "scs12", "scs19", "scs23", "scs26"), 4))
    }


def harsher(day: int, **fields: Any) -> dict[str, Any]:
    """All at 3: one administration after `kinder`, self-kindness and the totals it is in are worse."""
    return submission(completed_at=f"2026-01-{day:02}T10:00:00+01:00", answer=3, **fields)


def scores(answer: dict[str, Any]) -> dict[str, Any]:
    return {s["subscale"]: s for s in answer["scores"]}


def values(answer: dict[str, Any]) -> dict[str, Any]:
    return {s["subscale"]: s["value"] for s in answer["scores"]}


def waiting(answer: dict[str, Any]) -> set[str]:
    return {s["subscale"] for s in answer["scores"] if s.get("reason") == "released_later"}


def listed(client: Client, url: str = URL) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = client.get(url).json()["results"]
    return found


def of(ana: Participant) -> str:
    return f"/api/v1/participants/{ana.public_id}"


@pytest.fixture
def sent(told: Participant, client_for: ClientFor) -> dict[str, Any]:
    """The harsher of two, as Ana was answered."""
    assert post(client_for(told), kinder(1)).status_code == 201
    answer = post(client_for(told), harsher(10))
    assert answer.status_code == 201
    compute_behind(now=timezone.now())
    found: dict[str, Any] = answer.json()
    return found


def test_a_worse_score_waits_and_no_other(sent: dict[str, Any]) -> None:
    held = scores(sent)["self_kindness"]
    received_at = datetime.fromisoformat(sent["received_at"])

    assert held == {
        "subscale": "self_kindness",
        "value": None,
        "answered": 5,
        "of": 5,
        "higher_is": "better",
        "reason": "released_later",
        "release_at": (received_at + timedelta(hours=48)).isoformat(),
    }
    assert waiting(sent) & SUBSCALES == {"self_kindness"}
    assert "total" in waiting(sent)
    others = SUBSCALES - {"self_kindness"}
    assert {s: values(sent)[s] for s in others} == dict.fromkeys(others, 3.0)


def test_sent_again_it_has_the_first_answer_byte_for_byte_for_ever(
    told: Participant, thea: Membership, client_for: ClientFor
) -> None:
    client, body = client_for(told), harsher(10)
    post(client, kinder(1))
    first = post(client, body)
    assert waiting(first.json())

    before = post(client, body)
    assert post(client_for(thea), {}, f"{of(told)}/administrations/{body['id']}/release").status_code == 201
    after = post(client, body)

    assert [a.status_code for a in (first, before, after)] == [201, 200, 200]
    assert {a.content for a in (before, after)} == {first.content}


def test_lists_show_it_as_it_stands_to_its_participant(
    told: Participant, client_for: ClientFor, sent: dict[str, Any]
) -> None:
    newest, older = listed(client_for(told))

    assert newest == sent | {"revision": 1}
    assert waiting(older) == set()
    one = client_for(told).get(f"{URL}/{sent['id']}").json()
    assert (one["scores"], one["revisions"][0]["scores"]) == (sent["scores"], sent["scores"])


def test_the_therapist_sees_it_at_once(
    told: Participant, thea: Membership, client_for: ClientFor, sent: dict[str, Any]
) -> None:
    client = client_for(thea)

    newest, _ = listed(client, f"{of(told)}/administrations")
    one = client.get(f"{URL}/{sent['id']}").json()

    assert (values(newest)["self_kindness"], waiting(newest)) == (3.0, set())
    assert (values(one)["self_kindness"], waiting(one)) == (3.0, set())
    trend = client.get(f"{of(told)}/trends?instrument=scs-26").json()
    assert [p["value"] for p in _subscale(trend, "self_kindness")["points"]] == [4.0, 3.0]


def _subscale(trend: dict[str, Any], name: str) -> dict[str, Any]:
    return next(s for s in trend["subscales"] if s["subscale"] == name)


def test_nothing_made_of_it_tells_it_in_ones_own_trends(
    told: Participant, client_for: ClientFor, sent: dict[str, Any]
) -> None:
    trend = client_for(told).get("/api/v1/me/trends?instrument=scs-26").json()

    kindness, isolation = _subscale(trend, "self_kindness"), _subscale(trend, "isolation")
    first, second = kindness["points"]
    assert (trend["up_to_date"], first["value"], second["value"]) == (True, 4.0, None)
    assert (second["reason"], second["release_at"]) == (
        "released_later",
        scores(sent)["self_kindness"]["release_at"],
    )
    assert (kindness["latest"], kindness["change"]) == (4.0, None)
    assert kindness["reliable_change"]["status"] is None
    assert [p["value"] for p in isolation["points"]] == [3.0, 3.0]
    assert (isolation["latest"], isolation["change"]) == (3.0, 0.0)
    assert "reason" not in isolation["points"][1]


def test_days_from_an_anchor_are_counted_without_it_too(
    told: Participant, client_for: ClientFor, sent: dict[str, Any]
) -> None:
    client = client_for(told)
    session = {"id": str(uuid4()), "started_at": "2026-01-05T10:00:00+01:00"}
    assert post(client, session, f"{of(told)}/dosing-sessions").status_code == 201

    trend = client.get(f"/api/v1/me/trends?instrument=scs-26&anchor={session['id']}").json()

    points = _subscale(trend, "self_kindness")["points"]
    assert [(p["value"], p["session"]["day"]) for p in points] == [(4.0, -4), (None, 5)]


def test_the_therapist_releases_it(
    told: Participant, thea: Membership, client_for: ClientFor, sent: dict[str, Any]
) -> None:
    url = f"{of(told)}/administrations/{sent['id']}/release"
    changes = Change.objects.filter(object=sent["id"]).count()

    first, again = post(client_for(thea), {}, url), post(client_for(thea), {}, url)

    assert [first.status_code, again.status_code, again.json()] == [201, 200, first.json()]
    release = Release.objects.get()
    assert first.json() == {"administration": sent["id"], "released_at": release.released_at.isoformat()}
    assert (release.released_by, release.participant) == (thea.user, told)
    newest, _ = listed(client_for(told))
    assert (values(newest)["self_kindness"], waiting(newest)) == (3.0, set())
    one = client_for(told).get(f"{URL}/{sent['id']}").json()
    assert (waiting(one), one["revisions"][0]["scores"]) == (set(), newest["scores"])
    trend = client_for(told).get("/api/v1/me/trends?instrument=scs-26").json()
    assert [p["value"] for p in _subscale(trend, "self_kindness")["points"]] == [4.0, 3.0]
    assert Change.objects.filter(object=sent["id"]).count() == changes + 1
    assert Entry.objects.filter(action="administration.released").get().subject == sent["id"]


def test_one_cannot_release_ones_own_nor_a_therapist_anothers(
    told: Participant, ben: Participant, thea: Membership, client_for: ClientFor, sent: dict[str, Any]
) -> None:
    his = post(client_for(ben), submission()).json()["id"]

    own = post(client_for(told), {}, f"{of(told)}/administrations/{sent['id']}/release")
    crossed = [
        post(client_for(thea), {}, f"{of(told)}/administrations/{his}/release"),
        post(client_for(thea), {}, f"{of(ben)}/administrations/{his}/release"),
        post(client_for(thea), {}, f"{of(told)}/administrations/x/release"),
    ]
    body = post(client_for(thea), {"all": True}, f"{of(told)}/administrations/{sent['id']}/release")

    assert (own.status_code, own.json()["code"]) == (403, "not_allowed")
    assert [a.status_code for a in crossed] == [404] * 3
    assert body.status_code == 422
    assert Release.objects.count() == 0


def record(person: Participant, body: dict[str, Any], at: datetime) -> None:
    with access.participants_of_a_job([person.pk]) as found:
        record_administration(
            participant=found[person.pk], body=body, received_at=at, sender=Sender(user=person.user_id or 0)
        )


@pytest.mark.parametrize(("hours", "held"), [(47.99, True), (48, False), (100, False)])
def test_it_comes_by_itself(told: Participant, client_for: ClientFor, hours: float, held: bool) -> None:
    """Received so many hours ago."""
    received_at = timezone.now() - timedelta(hours=hours)
    record(told, kinder(1), RECEIVED)
    record(told, harsher(10), received_at)
    compute_behind(now=timezone.now())

    newest, _ = listed(client_for(told))
    trend = client_for(told).get("/api/v1/me/trends?instrument=scs-26").json()

    assert (values(newest)["self_kindness"] is None) == held
    assert _subscale(trend, "self_kindness")["latest"] == (4.0 if held else 3.0)
    assert Held.objects.get().release_at == received_at + timedelta(hours=48)


def test_what_is_held_never_waits_longer_than_told_or_than_the_clinic_says(
    told: Participant, linden: Clinic, client_for: ClientFor
) -> None:
    client = client_for(told)
    post(client, kinder(1))
    found = []
    for day, hours in ((10, 72), (12, 1)):
        set_hold(clinic=linden, hold_hours=hours)
        body = harsher(day)
        post(client, kinder(day - 1))
        post(client, body)
        kept = Held.objects.get(administration=UUID(body["id"]))
        found.append(kept.release_at - Administration.objects.get(pk=body["id"]).received_at)

    assert found == [timedelta(hours=48), timedelta(hours=1)]


def not_told(ana: Participant) -> None:
    """She agreed when the clinic showed every score at once."""
    set_hold(clinic=ana.clinic, hold_hours=None)
    decide(ana, at=datetime(2024, 3, 1, tzinfo=UTC))
    set_hold(clinic=ana.clinic, hold_hours=48)


def taken_back(ana: Participant) -> None:
    decide(ana, "withdrawn", at=datetime(2024, 3, 1, tzinfo=UTC))


def no_longer_done(ana: Participant) -> None:
    set_hold(clinic=ana.clinic, hold_hours=None)


def only_research_told(ana: Participant) -> None:
    taken_back(ana)
    decide(ana, stream=Stream.RESEARCH, at=datetime(2024, 4, 1, tzinfo=UTC))


@pytest.mark.parametrize("change", [not_told, taken_back, no_longer_done, only_research_told])
def test_without_the_clinics_rule_and_consent_to_it_nothing_waits(
    told: Participant, client_for: ClientFor, change: Any
) -> None:
    change(told)
    client = client_for(told)

    post(client, kinder(1))
    answer = post(client, harsher(10))

    assert (waiting(answer.json()), values(answer.json())["self_kindness"]) == (set(), 3.0)
    assert Held.objects.count() == 0


@pytest.mark.parametrize("change", [not_told, taken_back, no_longer_done])
def test_what_waits_is_seen_when_either_ends(
    told: Participant, client_for: ClientFor, sent: dict[str, Any], change: Any
) -> None:
    change(told)

    newest, _ = listed(client_for(told))

    assert (waiting(newest), values(newest)["self_kindness"]) == (set(), 3.0)


def test_a_first_administration_has_nothing_to_be_worse_than(
    told: Participant, client_for: ClientFor
) -> None:
    client = client_for(told)

    first = post(client, submission(answer=1))
    # Another instrument, and another person, are no earlier time.
    other = post(client, submission("wcs-19", 50))
    dora = enrol("dora", told.clinic)
    decide(dora)
    hers = post(client_for(dora), submission(answer=1))

    assert [waiting(a.json()) for a in (first, other, hers)] == [set()] * 3


def test_before_is_before_by_completion_not_by_arrival(told: Participant, client_for: ClientFor) -> None:
    client = client_for(told)
    post(client, harsher(10))

    # It was completed before, and arrives after.
    assert waiting(post(client, kinder(1)).json()) == set()
    assert "self_kindness" in waiting(post(client, harsher(5)).json())


def test_a_correction_reveals_nothing_that_waits(
    told: Participant, thea: Membership, client_for: ClientFor, sent: dict[str, Any]
) -> None:
    client = client_for(told)
    body = {"id": str(uuid4()), "responses": responses("scs-26", 3, scs01=4), "reason": "A slip."}

    answers = [correct(client, sent["id"], body) for _ in range(2)]

    assert [a.status_code for a in answers] == [201, 200]
    assert answers[0].content == answers[1].content
    assert "self_kindness" in waiting(answers[0].json())
    assert (
        scores(answers[0].json())["self_kindness"]["release_at"]
        == (scores(sent)["self_kindness"]["release_at"])
    )
    one = client.get(f"{URL}/{sent['id']}").json()
    assert ["self_kindness" in waiting(r) for r in (one, *one["revisions"])] == [True] * 3
    by_thea = client_for(thea).get(f"{URL}/{sent['id']}").json()
    assert [waiting(r) for r in (by_thea, *by_thea["revisions"])] == [set()] * 3
    # Released, all its revisions are.
    post(client_for(thea), {}, f"{of(told)}/administrations/{sent['id']}/release")
    one = client.get(f"{URL}/{sent['id']}").json()
    assert [waiting(r) for r in (one, *one["revisions"])] == [set()] * 3


def test_a_correction_to_the_better_has_nothing_to_wait_for(
    told: Participant, client_for: ClientFor, sent: dict[str, Any]
) -> None:
    body = {"id": str(uuid4()), "responses": responses("scs-26", 4), "reason": "A slip."}

    answer = correct(client_for(told), sent["id"], body).json()

    assert (values(answer)["self_kindness"], "self_kindness" in waiting(answer)) == (4.0, False)
    newest, _ = listed(client_for(told))
    assert values(newest)["self_kindness"] == 4.0


def test_an_export_holds_it_as_it_is(told: Participant, sent: dict[str, Any]) -> None:
    decide(told, stream=Stream.RESEARCH)

    kept = with_research_consent(Administration.objects.all()).order_by("-completed_at")[0]

    assert (str(kept.pk), kept.scores["self_kindness"]) == (sent["id"], [3.0, 5])
    assert "released_later" not in kept.answer


def test_where_nothing_can_wait_it_costs_no_statement(ana: Participant, client_for: ClientFor) -> None:
    client = client_for(ana)
    post(client, kinder(1))

    with CaptureQueriesContext(connection) as sending:
        post(client, harsher(10))
    compute_behind(now=timezone.now())
    with CaptureQueriesContext(connection) as reading:
        client.get("/api/v1/me/trends?instrument=scs-26")

    assert (len(statements(sending)), len(statements(reading))) == (2, 2)


HIGHER = {"kind": "better", "harsh": "worse", "met": "worse", "band": "worse"}


@pytest.mark.parametrize(
    ("before", "now", "found"),
    [
        ({"kind": 3.0}, {"kind": 2.9}, {"kind"}),
        ({"kind": 3.0}, {"kind": 3.0}, set()),
        ({"kind": 3.0}, {"kind": 3.1}, set()),
        ({"harsh": 3.0}, {"harsh": 3.1}, {"harsh"}),
        ({"harsh": 3.0}, {"harsh": 2.9}, set()),
        ({"met": False}, {"met": True}, {"met"}),
        ({"met": True}, {"met": False}, set()),
        ({"kind": None}, {"kind": 1.0}, set()),
        ({"kind": 3.0}, {"kind": None}, set()),
        ({}, {"kind": 1.0}, set()),
        # What is shown the same is no worse: 3.0 and 2.99999.
        ({"kind": 3.0}, {"kind": 2.99999}, set()),
        # A band goes with its total.
        ({"harsh": 9.0, "band": "mild"}, {"harsh": 10.0, "band": "moderate"}, {"harsh", "band"}),
        ({"harsh": 9.0, "band": "mild"}, {"harsh": 9.5, "band": "mild"}, {"harsh"}),
        ({"harsh": 10.0, "band": "moderate"}, {"harsh": 9.0, "band": "mild"}, set()),
    ],
)
def test_worse_is_by_direction(before: Any, now: Any, found: set[str]) -> None:
    assert worse(before, now, HIGHER) == found
