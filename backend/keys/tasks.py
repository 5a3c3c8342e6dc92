"""What beat rings for."""

from celery import shared_task
from django.utils import timezone

from backend.keys import rotation


@shared_task
def forget_retired() -> None:
    """Nothing; data keys that were turned over long ago are gone."""
    rotation.forget_retired(now=timezone.now())
