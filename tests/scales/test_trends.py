"""Trends over HTTP, as a worker left them: CLINICAL rules in numbers worked out by hand."""

from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.test import Client
from django.utils import timezone
from scipy.stats import theilslopes

from backend.care.models import Membership, Participant
from scales.trends import compute_behind
from tests.conftest import responses, submission
from tests.scales.phone import ClientFor, post

TRENDS = "/api/v1/me/trends"
KINDNESS = ("scs05", "scs12", "scs19", "scs23", "scs26")
SESSION = date(2026, 3, 27)


def kindness(value: float) -> dict[str, Any]:
    """Answers whose self-kindness is that value, in fifths, and all else 3."""
    more = round(value * 5) - 5 * int(value)
    answers = [int(value) + 1] * more + [int(value)] * (5 - more)
    return responses("scs-26", 3) | dict(zip(KINDNESS, answers, strict=True))


def send(client: Client, day: int, value: float, **fields: Any) -> str:
    """The id of an administration at noon of that day from the session, with that self-kindness."""
    at = datetime(2026, 3, 27, 11, tzinfo=UTC) + timedelta(days=day)
    body = submission(completed_at=at.isoformat(), responses=kindness(value), **fields)
    assert post(client, body).status_code == 201
    return str(body["id"])


def session(client: Client, person: Participant, at: str = "2026-03-27T10:00:00+01:00") -> str:
    body = {"id": str(uuid4()), "started_at": at}
    answer = client.post(
        f"/api/v1/participants/{person.public_id}/dosing-sessions", body, content_type="application/json"
    )
    assert answer.status_code == 201
    return body["id"]


def compute() -> int:
    return compute_behind(now=timezone.now())


def trends(client: Client, query: str = "", code: str = "scs-26") -> dict[str, Any]:
    answer = client.get(f"{TRENDS}?instrument={code}{query}")
    assert answer.status_code == 200, answer.content
    return dict(answer.json())


def of(found: dict[str, Any], subscale: str = "self_kindness") -> dict[str, Any]:
    return next(s for s in found["subscales"] if s["subscale"] == subscale)


def test_nothing_yet_has_the_shape_of_everything(ana: Participant, client_for: ClientFor) -> None:
    found = trends(client_for(ana))

    assert (found["computed_at"], found["up_to_date"]) == (None, True)
    assert of(found) == {
        "subscale": "self_kindness",
        "higher_is": "better",
        "points": [],
        "baseline": {"value": None, "rule": "first", "m": 0, "administrations": [], "day": None},
        "latest": None,
        "change": None,
        "reliable_change": dict.fromkeys(of(found)["reliable_change"]) | {"status": "no_norm"},
        "slope": {
            "per_30_days": None,
            "low": None,
            "high": None,
            "method": "theil-sen",
            "points": 0,
            "reason": "too_few_points",
        },
        "words": None,
    }


def test_one_point_is_its_own_baseline_and_no_change(ana: Participant, client_for: ClientFor) -> None:
    client = client_for(ana)
    only = send(client, 0, 3.4)
    compute()

    kindly = of(trends(client))

    assert kindly["points"] == [
        {
            "administration": only,
            "completed_at": "2026-03-27T11:00:00+00:00",
            "value": 3.4,
            "prorated": False,
            "session": None,
        }
    ]
    assert kindly["baseline"] == {
        "value": 3.4,
        "rule": "first",
        "m": 1,
        "administrations": [only],
        "day": None,
    }
    assert (kindly["latest"], kindly["change"], kindly["reliable_change"]["status"]) == (3.4, None, None)
    assert (kindly["reliable_change"]["claim"], kindly["words"]) == (None, None)


def test_up_to_date_is_said_truly(ana: Participant, thea: Membership, client_for: ClientFor) -> None:
    client = client_for(ana)
    send(client, -9, 2.4)
    behind = trends(client)

    before = timezone.now()
    assert compute() == 1
    found = trends(client)
    send(client, 7, 3.4)
    again = trends(client)

    assert (behind["up_to_date"], behind["computed_at"], of(behind)["points"]) == (False, None, [])
    assert found["up_to_date"]
    assert before <= datetime.fromisoformat(found["computed_at"]) <= timezone.now()
    assert again == found | {"up_to_date": False}
    assert compute() == 1
    assert compute() == 0
    assert [p["value"] for p in of(trends(client))["points"]] == [2.4, 3.4]
    seen = client_for(thea).get(f"/api/v1/participants/{ana.public_id}/trends?instrument=scs-26")
    assert seen.json() == trends(client)


@pytest.mark.parametrize(
    ("days", "rule", "used", "day"),
    [
        ([-28, -2], "mean of two", [0, 1], -2),
        ([-20, -9], "mean of two", [0, 1], -9),
        ([-25, -20, -9], "mean of two", [1, 2], -9),
        ([-20, -10, -4], "mean of two", [0, 2], -4),
        ([-9, -2], "mean of two", [0, 1], -2),
        ([-8, -2], "one", [1], -2),
        ([-9], "one", [0], -9),
        ([-29, -1], "no_baseline", [], None),
        ([0, 7], "no_baseline", [], None),
    ],
)
def test_baselines(
    ana: Participant, client_for: ClientFor, days: list[int], rule: str, used: list[int], day: int | None
) -> None:
    client = client_for(ana)
    session(client, ana)
    values = [2.4, 2.6, 3.0]
    sent = [send(client, on, values[n]) for n, on in enumerate(days)]
    send(client, 28, 4.0)
    compute()

    kindly = of(trends(client))

    mean = round(sum(values[n] for n in used) / len(used), 4) if used else None
    assert kindly["baseline"] == {
        "value": mean,
        "rule": rule,
        "m": len(used),
        "administrations": [sent[n] for n in used],
        "day": day,
    }
    assert kindly["latest"] == 4.0
    assert kindly["change"] == (None if mean is None else round(4.0 - mean, 4))


def test_an_incomplete_administration_is_no_baseline(ana: Participant, client_for: ClientFor) -> None:
    client = client_for(ana)
    session(client, ana)
    whole = send(client, -20, 2.4)
    body = submission(completed_at="2026-03-18T12:00:00+01:00", responses=kindness(5) | {"scs05": None})
    post(client, body)
    compute()

    kindly = of(trends(client))

    assert kindly["baseline"]["administrations"] == [whole]
    assert [p["value"] for p in kindly["points"]] == [2.4, None]
    assert kindly["latest"] == 2.4


# T_B of CLINICAL 2.3 for self-kindness: .7201 from one administration, .6237 from the mean of two.
# The index: the change over .75 * sqrt(.12) * sqrt(1 + 1 / m).
@pytest.mark.parametrize(
    ("before", "latest", "status", "threshold", "rci"),
    [
        ([2.4], 3.2, "improved", 0.7201, 2.1773),
        ([2.4], 3.0, "none", 0.7201, 1.6330),
        ([2.4, 2.6], 3.2, "improved", 0.6237, 2.1999),
        ([2.4, 2.6], 3.0, "none", 0.6237, 1.5713),
        ([2.4, 2.6], 1.8, "deteriorated", 0.6237, -2.1999),
    ],
)
def test_reliable_change(
    ana: Participant,
    client_for: ClientFor,
    before: list[float],
    latest: float,
    status: str,
    threshold: float,
    rci: float,
) -> None:
    client = client_for(ana)
    session(client, ana)
    for day, value in zip([-20, -9], before, strict=False):
        send(client, day, value)
    send(client, 7, latest)
    compute()

    changed = of(trends(client))["reliable_change"]

    start = sum(before) / len(before)
    assert (
        changed
        | {
            "status": status,
            "claim": None,
            "rci": rci,
            "threshold": threshold,
            "threshold_between_two": 0.7201,
            "method": "jacobson-truax",
            "provisional": True,
            "reliability": "test-retest",
            "interval": "about 3 weeks",
            # Drawn towards the mean of 3.05 by a reliability of .88.
            "expected_without_change": round(3.05 + 0.88 * (start - 3.05), 4),
        }
        == changed
    )


def test_more_of_what_is_worse_is_deterioration(ana: Participant, client_for: ClientFor) -> None:
    client = client_for(ana)
    for day, answer in ((0, 2), (30, 4)):
        at = datetime(2026, 3, 27, 11, tzinfo=UTC) + timedelta(days=day)
        post(client, submission(answer=answer, completed_at=at.isoformat()))
    compute()
    found = trends(client)

    assert {s["subscale"]: (s["change"], s["reliable_change"]["status"]) for s in found["subscales"][:6]} == {
        "self_kindness": (2.0, "improved"),
        "self_judgment": (2.0, "deteriorated"),
        "common_humanity": (2.0, "improved"),
        "isolation": (2.0, "deteriorated"),
        "mindfulness": (2.0, "improved"),
        "over_identification": (2.0, "deteriorated"),
    }


def test_facets_of_the_short_form_have_no_norm(ana: Participant, client_for: ClientFor) -> None:
    client = client_for(ana)
    for day, answer in ((1, 1), (9, 5)):
        post(client, submission("scs-sf-12", answer=answer, completed_at=f"2026-03-0{day}T10:00:00Z"))
    compute()

    found = trends(client, code="scs-sf-12")

    facets = found["subscales"][:6]
    assert [(s["change"], s["reliable_change"]["status"], s["reliable_change"]["rci"]) for s in facets] == [
        (4.0, "no_norm", None)
    ] * 6


@pytest.mark.parametrize("code", ["pcl-5", "gad-7"])
def test_yes_and_no_have_no_trend(ana: Participant, client_for: ClientFor, code: str) -> None:
    client = client_for(ana)
    scores = post(client, submission(code, answer=2)).json()["scores"]
    compute()

    shown = [s["subscale"] for s in trends(client, code=code)["subscales"]]

    assert shown == [s["subscale"] for s in scores if type(s["value"]) in (int, float)]
    assert any(isinstance(s["value"], bool) for s in scores) is (code == "pcl-5")


def test_slope_of_a_course_that_has_one(ana: Participant, client_for: ClientFor) -> None:
    client = client_for(ana)
    session(client, ana)
    course = [(14, 3.0), (28, 3.2), (49, 3.0), (70, 3.6), (91, 3.8)]
    for day, value in [(-9, 2.4), (7, 4.6), *course]:
        send(client, day, value)
    compute()

    found = of(trends(client))["slope"]

    middle, _, low, high = theilslopes([y for _, y in course], [x for x, _ in course], alpha=0.95)
    assert found == {
        "per_30_days": round(middle * 30, 4),
        "low": round(low * 30, 4),
        "high": round(high * 30, 4),
        "method": "theil-sen",
        "points": 5,
        "reason": None,
    }


@pytest.mark.parametrize(
    ("days", "points", "reason"),
    [
        ([14, 28, 49, 70], 4, "too_few_points"),
        ([14, 20, 30, 40, 69], 5, "too_short"),
        ([-20, -15, -10, -5, 7], 0, "too_early"),
    ],
)
def test_no_slope_without_its_conditions(
    ana: Participant, client_for: ClientFor, days: list[int], points: int, reason: str
) -> None:
    client = client_for(ana)
    session(client, ana)
    for n, day in enumerate(days):
        send(client, day, 2 + n / 5)
    compute()

    found = of(trends(client))["slope"]

    assert (found["per_30_days"], found["points"], found["reason"]) == (None, points, reason)


BERLIN_NIGHTS = [
    ("2026-03-26T23:59:59+01:00", -1),
    ("2026-03-27T00:00:00+01:00", 0),
    ("2026-03-27T23:30:00+01:00", 0),
    ("2026-03-29T00:30:00+01:00", 2),  # the clock goes forward an hour and a half later
    ("2026-03-29T23:59:59+02:00", 2),
    ("2026-03-29T22:00:00Z", 3),
    ("2026-04-03T23:59:00+02:00", 7),
    ("2026-04-03T22:00:00Z", 8),
    ("2026-10-25T23:30:00+01:00", 212),  # the clock went back: still that day
    ("2026-10-25T23:00:00Z", 213),
]


def test_days_are_counted_in_the_persons_zone(ana: Participant, client_for: ClientFor) -> None:
    client = client_for(ana)
    late = session(client, ana, "2026-03-27T23:30:00+01:00")
    for at, _ in BERLIN_NIGHTS:
        post(client, submission(completed_at=at))
    compute()

    points = of(trends(client))["points"]

    assert {datetime.fromisoformat(p["completed_at"]): p["session"] for p in points} == {
        datetime.fromisoformat(at): {"id": late, "ordinal": 1, "day": day} for at, day in BERLIN_NIGHTS
    }


def test_a_persons_new_zone_counts_the_days_anew(ana: Participant, client_for: ClientFor) -> None:
    client = client_for(ana)
    session(client, ana, "2026-03-27T23:30:00+01:00")
    post(client, submission(completed_at="2026-03-29T03:00:00+02:00"))
    compute()
    in_berlin = of(trends(client))["points"][0]["session"]["day"]

    Participant.objects.filter(pk=ana.pk).update(timezone="America/New_York")

    assert not trends(client)["up_to_date"]
    assert compute() == 1
    # The session is still on the 27th there, the answer on the 28th.
    assert (in_berlin, of(trends(client))["points"][0]["session"]["day"]) == (2, 1)


def test_a_new_session_counts_the_days_anew(
    ana: Participant, ben: Participant, client_for: ClientFor
) -> None:
    client, his = client_for(ana), client_for(ben)
    for each in (client, his):
        send(each, -9, 2.4)
        send(each, 30, 3.4)
    compute()
    assert of(trends(client))["baseline"]["rule"] == "first"

    first = session(client, ana)

    assert (trends(client)["up_to_date"], trends(his)["up_to_date"]) == (False, True)
    assert compute() == 1
    kindly = of(trends(client))
    assert (kindly["baseline"]["rule"], kindly["baseline"]["day"]) == ("one", -9)
    assert [p["session"] for p in kindly["points"]] == [
        {"id": first, "ordinal": 1, "day": -9},
        {"id": first, "ordinal": 1, "day": 30},
    ]


def test_a_point_has_the_instant_its_sender_was_answered(ana: Participant, client_for: ClientFor) -> None:
    client = client_for(ana)
    recorded = post(client, submission(completed_at="2026-01-10T10:00:00+05:30")).json()
    compute()

    (point,) = of(trends(client))["points"]

    assert point["completed_at"] == recorded["completed_at"] == "2026-01-10T10:00:00+05:30"
