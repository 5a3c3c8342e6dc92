"""What beat rings for."""

from celery import shared_task
from django.contrib.sessions.backends.db import SessionStore
from django.contrib.sessions.models import Session
from django.db import connection
from django.db.models import Exists, OuterRef
from django.utils import timezone

from backend.accounts import addresses, mail, throttle
from backend.accounts.models import TokenFamily


@shared_task
def clear_expired_sessions() -> None:
    """Nothing; what ran out long ago leaves no row: sign-ins, their families, guesses, unconfirmed
    addresses, what was cached."""
    now = timezone.now()
    SessionStore.clear_expired()
    TokenFamily.objects.exclude(Exists(Session.objects.filter(session_key=OuterRef("session_key")))).delete()
    throttle.forget(now=now)
    addresses.forget_unconfirmed(now=now)
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM accounts_cache WHERE expires < %s", [now])


@shared_task
def send_mail() -> None:
    """Nothing; every message about signing in that waited has been sent, or waits for the next time."""
    mail.send_waiting(now=timezone.now)
