"""What beat and wake-ups ring for. Each reads the clock and calls a service."""

from celery import shared_task
from django.utils import timezone

from scales import services, trends


@shared_task
def compute_trends() -> None:
    """Nothing; every trend that is behind is brought up to date."""
    trends.compute_behind(now=timezone.now())


@shared_task
def record_waiting() -> None:
    """Nothing; answers kept for an instrument version that has arrived are recorded."""
    services.record_waiting()
