"""Housekeeping of sign-ins, and that everything beat rings for exists."""

from datetime import UTC, datetime

from django.contrib.sessions.models import Session
from django.core import mail
from django.core.cache import cache
from django.db import connection
from django.test import Client
from pytest_django import Settings

from backend.accounts.addresses import lookup
from backend.accounts.mail import GOOD_FOR, put, send_waiting
from backend.accounts.models import OutgoingMail, TokenFamily, User
from backend.accounts.services import create_user
from backend.accounts.tasks import clear_expired_sessions, send_mail
from backend.care.models import Participant
from backend.celery import app
from backend.stack.process import free_port
from tests.accounts.phone import MIA, signed_in
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


def test_what_hangs_on_a_session_is_cleared_with_it(mia: User, phone: Client) -> None:
    signed_in(phone, mia)
    Session.objects.update(expire_date=datetime(2020, 1, 1, tzinfo=UTC))
    cache.add("used", "y", 30)
    with connection.cursor() as cursor:
        cursor.execute("UPDATE accounts_cache SET expires = '2020-01-01'")

    clear_expired_sessions()

    assert TokenFamily.objects.count() == 0
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM accounts_cache")
        assert cursor.fetchone() == (0,)


def test_mail_is_sent_once(mia: User) -> None:
    put(template="account/email/login_code", to=lookup(MIA), code="BCDF-GHJK", now=datetime.now(UTC))

    send_mail()
    send_mail()

    assert [(m.to, m.subject) for m in mail.outbox] == [(["mia@cast.example"], "Your code to sign in")]
    assert "\n    BCDF-GHJK\n" in str(mail.outbox[0].body)
    assert OutgoingMail.objects.count() == 0


def test_mail_that_is_not_taken_waits_while_it_is_good(db: None, settings: Settings) -> None:
    now = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
    for name in ("mia", "ana"):
        create_user(email=f"{name}@cast.example", password=None)
        put(template="account/email/login_code", to=lookup(f"{name}@cast.example"), code="BCDF-GHJK", now=now)
    settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", free_port()

    assert send_waiting(now=lambda: now) == 0
    assert OutgoingMail.objects.count() == 2

    settings.EMAIL_BACKEND = "django.core.mail.backends.locmem.EmailBackend"
    assert send_waiting(now=lambda: now + GOOD_FOR) == 2
    put(template="account/email/login_code", to=lookup(MIA), code="BCDF-GHJK", now=now)
    assert send_waiting(now=lambda: now + 2 * GOOD_FOR) == 0
    assert OutgoingMail.objects.count() == 0


def test_mail_goes_to_nobody_where_there_is_no_account(db: None) -> None:
    for template in ("account/email/unknown_account", "account/email/login_code"):
        put(template=template, to=lookup("no@cast.example"), code=None, now=datetime.now(UTC))
    OutgoingMail.objects.create(sealed="not ours", created_at=datetime.now(UTC))

    assert send_waiting(now=lambda: datetime.now(UTC)) == 0
    assert (mail.outbox, OutgoingMail.objects.count()) == ([], 0)
