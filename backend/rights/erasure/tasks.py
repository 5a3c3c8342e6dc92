"""What beat rings for."""

from celery import shared_task
from django.utils import timezone

from backend.rights.erasure import services


@shared_task
def erase_due() -> None:
    """Nothing; whoever's time has come is erased."""
    services.erase_due(now=timezone.now())


def replay() -> int:
    """How many erasures of the ledger were done again, in a database that was brought back."""
    return services.replay(now=timezone.now())
