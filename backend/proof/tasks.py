"""What beat rings for."""

from celery import shared_task
from django.utils import timezone

from backend.audit import sealing
from backend.proof import services


@shared_task
def seal_and_anchor() -> None:
    """Nothing; what was written since the last second is in its chain, and anchored if that is due."""
    sealing.seal_all()
    services.anchor_if_due(now=timezone.now())
