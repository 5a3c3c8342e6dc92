"""Copies as the wire shows them."""

from datetime import datetime
from typing import Any

from rest_framework import serializers

from backend.rights.export import queries
from backend.rights.export.models import Export
from backend.wire import rfc3339


class ExportSchema(serializers.Serializer[Any]):
    id = serializers.UUIDField()
    status = serializers.ChoiceField(
        Export.Status.choices,
        help_text="`queued`, `running`, then `ready` for seven days and `expired`; or `failed`: ask again.",
    )
    progress = serializers.IntegerField(min_value=0, max_value=100)
    requested_at = serializers.DateTimeField()
    ready_at = serializers.DateTimeField(allow_null=True)
    expires_at = serializers.DateTimeField(allow_null=True, help_text="Until when it can be fetched.")
    size = serializers.IntegerField(allow_null=True, help_text="Of the archive, in bytes.")


class ExportsSchema(serializers.Serializer[Any]):
    results = ExportSchema(many=True)
    next = serializers.CharField(allow_null=True)


def shown(export: Export, *, now: datetime) -> dict[str, Any]:
    """A copy as the wire shows it."""
    return {
        "id": str(export.pk),
        "status": queries.status(export, now=now).value,
        "progress": export.progress,
        "requested_at": rfc3339(export.requested_at),
        "ready_at": export.ready_at and rfc3339(export.ready_at),
        "expires_at": export.expires_at and rfc3339(export.expires_at),
        "size": export.size,
    }
