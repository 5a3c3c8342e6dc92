"""`GET /metrics`: counts and ages for a monitor on this machine, in Prometheus' text format."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.utils import timezone
from drf_spectacular.utils import extend_schema
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Gauge, generate_latest
from rest_framework.request import Request

from backend import scope, wake
from backend.api import PublicView
from backend.backup.queries import age
from backend.errors import handler404
from backend.origin import direct
from backend.proof.queries import unsealed
from scales.queries import trends_behind, waiting_in_quarantine


class Metrics(PublicView):
    """`GET /metrics`"""

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        """As where there is nothing, by every method, for whoever does not ask on this machine itself."""
        if not direct.get():
            return handler404(request)
        return super().dispatch(request, *args, **kwargs)

    @extend_schema(exclude=True)
    def get(self, request: Request) -> HttpResponse:
        """200 with one line for each figure; one that is not known is left out."""
        return HttpResponse(_text(_figures()), content_type=CONTENT_TYPE_LATEST)


# What each figure is called and tells; the names stay.
HELP: Mapping[str, str] = {
    "selfkind_backup_taken_age_seconds": "Since the newest backup was made.",
    "selfkind_backup_verified_age_seconds": "Since a backup was last restored, and held.",
    "selfkind_backup_alarm": "1 where no backup was restored within 8 days.",
    "selfkind_failed_wakes": "Wake-ups that did not reach the broker since this web process started.",
    "selfkind_quarantined": "Submissions that were kept and not recorded, and wait for somebody.",
    "selfkind_trends_behind": "Trends that wait for a worker.",
    "selfkind_audit_unsealed": "Audit entries that wait to be chained.",
    "selfkind_audit_unsealed_age_seconds": "Since the oldest of them was written.",
}


def _figures() -> dict[str, float | None]:
    now = timezone.now()
    backups = age(now)
    with scope.everything():
        waiting, oldest = unsealed()
        return {
            "selfkind_backup_taken_age_seconds": _seconds(backups.taken_at, now),
            "selfkind_backup_verified_age_seconds": _seconds(backups.verified_at, now),
            "selfkind_backup_alarm": backups.alarm,
            "selfkind_failed_wakes": wake.failures,
            "selfkind_quarantined": waiting_in_quarantine(),
            "selfkind_trends_behind": trends_behind(),
            "selfkind_audit_unsealed": waiting,
            "selfkind_audit_unsealed_age_seconds": _seconds(oldest, now),
        }


def _seconds(since: datetime | None, now: datetime) -> float | None:
    return None if since is None else (now - since).total_seconds()


def _text(figures: Mapping[str, float | None]) -> bytes:
    registry = CollectorRegistry(auto_describe=True)
    for name, value in figures.items():
        if value is not None:
            Gauge(name, HELP[name], registry=registry).set(value)
    return generate_latest(registry)
