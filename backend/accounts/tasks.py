"""What beat rings for."""

from celery import shared_task
from django.contrib.sessions.backends.db import SessionStore


@shared_task
def clear_expired_sessions() -> None:
    """Nothing; sign-ins that ran out long ago leave no row behind."""
    SessionStore.clear_expired()
