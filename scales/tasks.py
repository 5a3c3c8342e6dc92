"""What beat and wake-ups ring for. Each reads the clock and calls a service."""

from time import monotonic

from celery import shared_task
from django.utils import timezone

from scales import services, trends

# Under load submissions go first: trends get a fifth of one core, in rounds short enough that no page of
# them is held up for long. Beat finds what was left for later.
_ROUND = 0.25  # seconds
_SHARE = 0.2
_rest_until = float("-inf")


@shared_task
def compute_trends() -> None:
    """Nothing; trends that are behind are brought up to date, unless the last round calls for a rest."""
    global _rest_until
    began = monotonic()
    if began < _rest_until:
        return
    trends.compute_behind(now=timezone.now(), enough=lambda: monotonic() - began > _ROUND)
    ended = monotonic()
    _rest_until = ended + (ended - began) * (1 / _SHARE - 1)


@shared_task
def record_waiting() -> None:
    """Nothing; answers kept for an instrument version that has arrived are recorded."""
    services.record_waiting()
