"""One sign-in that opens very many people is noticed within a minute (T15)."""

from datetime import timedelta

import pytest
from django.utils import timezone

from backend.audit.models import Entry
from backend.audit.services import record
from backend.care.models import Clinic, Membership
from backend.care.services import MANY_PEOPLE, note_many_reads
from backend.celery import app

NOTED = "reads.many"


def looked(actor: int, people: int, action: str = "trends.read") -> None:
    for participant in range(people):
        record(actor=actor, action=action, participant=participant)


def noted() -> list[tuple[int | None, str]]:
    return list(Entry.objects.filter(action=NOTED).values_list("actor", "subject"))


def test_many_people_are_noted_once(linden: Clinic, thea: Membership, theo: Membership) -> None:
    now = timezone.now()
    looked(thea.user_id, MANY_PEOPLE + 1)
    looked(thea.user_id, MANY_PEOPLE + 1, "administrations.read")
    looked(theo.user_id, MANY_PEOPLE)

    assert note_many_reads(now=now) == 1
    assert note_many_reads(now=now + timedelta(minutes=30)) == 0

    assert noted() == [(thea.user_id, str(MANY_PEOPLE + 1))]


@pytest.mark.parametrize("action", ["caseload.read", "administration.recorded", "participant.refused"])
def test_lists_of_names_and_other_things_are_no_looking(thea: Membership, action: str) -> None:
    looked(thea.user_id, MANY_PEOPLE + 1, action)

    assert note_many_reads(now=timezone.now()) == 0


def test_an_hour_later_it_is_forgotten(thea: Membership) -> None:
    looked(thea.user_id, MANY_PEOPLE + 1)

    assert note_many_reads(now=timezone.now() + timedelta(minutes=61)) == 0


def test_it_is_looked_for_within_a_minute() -> None:
    entries = [e for e in app.conf.beat_schedule.values() if e["task"] == "backend.care.tasks.watch_reads"]

    assert [entry["schedule"] <= 30.0 for entry in entries] == [True]
