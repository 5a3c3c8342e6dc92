"""What beat and wake-ups ring for."""

from time import monotonic

from celery import shared_task
from django.utils import timezone

from backend.rights.export import services

# A round begins no further copy after this, so that no task comes near its time limit.
_ROUND = 20.0  # seconds


@shared_task
def make_exports() -> None:
    """Nothing; copies that wait are made, and those that are over are gone."""
    began = monotonic()
    services.delete_expired(now=timezone.now())
    services.make_waiting(now=timezone.now, enough=lambda: monotonic() - began > _ROUND)
