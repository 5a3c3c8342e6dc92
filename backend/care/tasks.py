"""What beat rings for."""

from celery import shared_task
from django.utils import timezone

from backend.care import services


@shared_task
def watch_reads() -> None:
    """Nothing; whoever looked at unusually many people within the hour is noted, once an hour."""
    services.note_many_reads(now=timezone.now())
