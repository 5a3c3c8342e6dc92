"""Lists of administrations: newest first, filtered, in pages that miss and repeat nothing."""

from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote
from uuid import uuid4

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from backend.care.models import Membership, Participant
from tests.conftest import statements, submission
from tests.scales.phone import URL, ClientFor, pointers, post

START = datetime(2026, 1, 1, 10, tzinfo=UTC)


def send(client: Client, count: int, code: str = "scs-26", start: datetime = START) -> list[str]:
    """The ids of so many administrations a day apart, newest first."""
    sent = [
        submission(code, completed_at=(start + timedelta(days=n)).isoformat(), answer=3) for n in range(count)
    ]
    assert [post(client, body).status_code for body in sent] == [201] * count
    return [body["id"] for body in reversed(sent)]


def ids(answer: Any) -> list[str]:
    assert answer.status_code == 200, answer.content
    return [found["id"] for found in answer.json()["results"]]


def test_newest_completion_first_whatever_arrived_first(ana: Participant, client_for: ClientFor) -> None:
    client = client_for(ana)
    days = [3, 1, 2]
    sent = {
        day: submission(completed_at=f"2026-01-0{day}T23:30:00-0{day}:00", started_at=None) for day in days
    }
    for day in days:
        post(client, sent[day])

    assert ids(client.get(URL)) == [sent[day]["id"] for day in (3, 2, 1)]


def test_an_entry_is_the_answer_to_its_submission_and_its_revision(
    ana: Participant, client_for: ClientFor
) -> None:
    client = client_for(ana)
    answer = post(client, submission()).json()

    assert client.get(URL).json() == {"results": [answer | {"revision": 1}], "next": None}


def test_filters(ana: Participant, ben: Participant, client_for: ClientFor) -> None:
    client = client_for(ana)
    scs, wcs = send(client, 3), send(client, 2, "wcs-19")
    send(client_for(ben), 2)
    second_day = quote((START + timedelta(days=1)).isoformat())

    assert ids(client.get(f"{URL}?instrument=scs-26")) == scs
    assert ids(client.get(f"{URL}?instrument=wcs-19")) == wcs
    assert ids(client.get(f"{URL}?instrument=gad-7")) == []
    assert ids(client.get(f"{URL}?instrument=scs-26&since={second_day}")) == scs[:2]
    assert ids(client.get(f"{URL}?since=2026-01-03T00:00:00Z")) == [scs[0]]
    assert len(ids(client.get(URL))) == 5


def test_a_plus_sign_in_since_may_come_bare(ana: Participant, client_for: ClientFor) -> None:
    client = client_for(ana)
    sent = send(client, 2)

    for text in ("2026-01-02T11:00:00+01:00", "2026-01-02T11:00:00%2B01:00", "2026-01-02T10:00:00Z"):
        assert ids(client.get(f"{URL}?since={text}")) == sent[:1]


@pytest.mark.parametrize(
    ("query", "place"),
    [
        ("limit=0", ("/limit", "invalid_limit")),
        ("limit=201", ("/limit", "invalid_limit")),
        ("limit=-1", ("/limit", "invalid_limit")),
        ("limit=1.0", ("/limit", "invalid_limit")),
        ("limit=%D9%A1", ("/limit", "invalid_limit")),
        ("since=2026-01-02", ("/since", "invalid_datetime")),
        ("instrument=%00", ("/instrument", "invalid_value")),
        ("cursor=x", ("/cursor", "invalid_cursor")),
        ("cursor=W10", ("/cursor", "invalid_cursor")),
        ("cursor=%FF", ("/cursor", "invalid_cursor")),
        ("cursor=" + "A" * 5000, ("/cursor", "invalid_cursor")),
    ],
)
def test_parameters_that_do_not_fit_are_named(
    ana: Participant, client_for: ClientFor, query: str, place: tuple[str, str]
) -> None:
    answer = client_for(ana).get(f"{URL}?{query}")

    assert (answer.status_code, pointers(answer)) == (422, [place])


def test_an_instrument_nobody_has_is_an_empty_list(ana: Participant, client_for: ClientFor) -> None:
    for code in ("scs-99", "x" * 500, "%F0%9F%8C%B1"):
        assert ids(client_for(ana).get(f"{URL}?instrument={code}")) == []


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 200])
def test_pages_miss_and_repeat_nothing(ana: Participant, client_for: ClientFor, size: int) -> None:
    client = client_for(ana)
    # Two of them complete at the same instant: the id decides.
    sent = send(client, 3) + send(client, 2, start=START + timedelta(days=1))
    found: list[str] = []
    query = f"?limit={size}"

    while query:
        page = client.get(URL + query).json()
        found += [entry["id"] for entry in page["results"]]
        query = page["next"] and f"?limit={size}&cursor={page['next']}"
        assert len(found) <= len(sent)

    assert sorted(found) == sorted(sent)
    assert found == ids(client.get(URL))


def test_a_page_is_not_moved_by_what_arrives_meanwhile(ana: Participant, client_for: ClientFor) -> None:
    client = client_for(ana)
    sent = send(client, 4)
    first = client.get(f"{URL}?limit=2").json()
    send(client, 2, start=START + timedelta(days=9))

    assert ids(client.get(f"{URL}?limit=2&cursor={first['next']}")) == sent[2:]


def test_a_cursor_belongs_to_its_filters_and_is_url_safe(ana: Participant, client_for: ClientFor) -> None:
    client = client_for(ana)
    send(client, 3)
    cursor = client.get(f"{URL}?limit=1&instrument=scs-26&since=2026-01-01T00:00:00Z").json()["next"]

    assert quote(cursor, safe="") == cursor
    with_its = client.get(f"{URL}?limit=2&instrument=scs-26&since=2026-01-01T00:00:00Z&cursor={cursor}")
    assert len(ids(with_its)) == 2
    for other in ("", "instrument=wcs-19&", "instrument=scs-26&", "since=2026-01-01T00:00:00Z&"):
        answer = client.get(f"{URL}?{other}cursor={cursor}")
        assert (answer.status_code, pointers(answer)) == (422, [("/cursor", "invalid_cursor")])


def test_a_cursor_of_somebody_elses_list_shows_ones_own(
    ana: Participant, ben: Participant, client_for: ClientFor
) -> None:
    send(client_for(ana), 3)
    his = send(client_for(ben), 1, start=START - timedelta(days=9))
    cursor = client_for(ana).get(f"{URL}?limit=1").json()["next"]

    assert ids(client_for(ben).get(f"{URL}?cursor={cursor}")) == his


@pytest.mark.parametrize("count", [1, 3])
def test_statements_do_not_grow_with_the_list(
    ana: Participant, thea: Membership, client_for: ClientFor, count: int
) -> None:
    own, therapist = client_for(ana), client_for(thea)
    send(own, count)

    with CaptureQueriesContext(connection) as for_ana:
        assert len(ids(own.get(URL))) == count
    with CaptureQueriesContext(connection) as for_thea:
        assert len(ids(therapist.get(f"/api/v1/participants/{ana.public_id}/administrations"))) == count

    # Who signs in, the list; and for a therapist, whether they may, and the audit row.
    assert (len(statements(for_ana)), len(statements(for_thea))) == (2, 4)


def test_one_administration_that_never_was(ana: Participant, client_for: ClientFor) -> None:
    assert client_for(ana).get(f"{URL}/{uuid4()}").status_code == 404


def test_an_empty_filter_filters_nothing(ana: Participant, client_for: ClientFor) -> None:
    client = client_for(ana)
    post(client, submission())

    assert len(ids(client.get(f"{URL}?instrument=&since=&limit=&cursor="))) == 1
