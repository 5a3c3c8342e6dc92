"""Housekeeping of sign-ins, and that everything beat rings for exists."""

from datetime import UTC, datetime

from django.contrib.sessions.models import Session

from backend.accounts.tasks import clear_expired_sessions
from backend.care.models import Participant
from backend.celery import app
from tests.conftest import sign_in


def test_only_sessions_that_ran_out_are_cleared(ana: Participant, ben: Participant) -> None:
    for person in (ana, ben):
        assert person.user is not None
        sign_in(person.user)
    first, second = Session.objects.order_by("pk")
    Session.objects.filter(pk=first.pk).update(expire_date=datetime(2020, 1, 1, tzinfo=UTC))

    clear_expired_sessions()

    assert list(Session.objects.values_list("pk", flat=True)) == [second.pk]


def test_every_task_that_beat_rings_for_is_known_to_the_worker() -> None:
    app.loader.import_default_modules()

    wanted = {entry["task"] for entry in app.conf.beat_schedule.values()}

    assert wanted
    assert wanted <= set(app.tasks)
