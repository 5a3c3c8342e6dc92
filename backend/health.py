"""Whether the process lives, and whether a write would succeed."""

from dataclasses import asdict
from typing import Any

from django.conf import settings
from django.db import DatabaseError, connection
from django.db.migrations.executor import MigrationExecutor
from django.http import HttpResponse
from django.utils import timezone
from drf_spectacular.utils import extend_schema
from redis import Redis, RedisError
from rest_framework import serializers
from rest_framework.request import Request

from backend import wake
from backend.api import PublicView, answer
from backend.backup.queries import age
from backend.keys.ring import keyring
from backend.keys.store import StoreFailed

_PATIENCE = 1.0
REACHED = ("ok", "unreachable")


class LiveSchema(serializers.Serializer[Any]):
    status = serializers.ChoiceField(["alive"])


class BackupSchema(serializers.Serializer[Any]):
    taken_at = serializers.DateTimeField(allow_null=True, help_text="When the newest backup was made.")
    verified_at = serializers.DateTimeField(
        allow_null=True, help_text="When a backup was last restored to see that it holds, and did."
    )
    alarm = serializers.BooleanField(help_text="Whether no backup was restored within 8 days.")


class PartsSchema(serializers.Serializer[Any]):
    database = serializers.ChoiceField(["ok", "read-only", "unreachable", "migrations missing"])
    broker = serializers.ChoiceField(REACHED)
    keys = serializers.ChoiceField(REACHED)
    backup = BackupSchema(allow_null=True)


class ReadySchema(serializers.Serializer[Any]):
    status = serializers.ChoiceField(["ready", "not ready"])
    parts = PartsSchema()
    failed_wakes = serializers.IntegerField(help_text="Since this process started.")


class Live(PublicView):
    """`GET /healthz`"""

    @extend_schema(responses={200: LiveSchema}, tags=["operation"])
    def get(self, request: Request) -> HttpResponse:
        """200: this process answers."""
        return answer({"status": "alive"})


class Ready(PublicView):
    """`GET /readyz`"""

    @extend_schema(responses={200: ReadySchema, 503: ReadySchema}, tags=["operation"])
    def get(self, request: Request) -> HttpResponse:
        """200 where writes would succeed, else 503 naming the part that fails.

        The broker only wakes: without it answers are still recorded, so it is named but fails nothing.
        Nor does an old backup, whose age is for whoever watches this.
        """
        parts: dict[str, Any] = {"database": _database(), "broker": _broker(), "keys": _keys()}
        parts["backup"] = _backup() if parts["database"] in ("ok", "read-only") else None
        well = parts["database"] == parts["keys"] == "ok"
        return answer(
            {"status": "ready" if well else "not ready", "parts": parts, "failed_wakes": wake.failures},
            200 if well else 503,
            None if well else {"Retry-After": "2"},
        )


def _database() -> str:
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_is_in_recovery() OR current_setting('transaction_read_only')::bool")
            if cursor.fetchone()[0]:
                return "read-only"
        executor = MigrationExecutor(connection)
        behind = executor.migration_plan(executor.loader.graph.leaf_nodes())
    except DatabaseError:
        return "unreachable"
    return "migrations missing" if behind else "ok"


def _keys() -> str:
    """Whether what people write could be sealed and opened."""
    try:
        keyring().prepare()
    except StoreFailed:
        return "unreachable"
    return "ok"


def _backup() -> dict[str, Any] | None:
    try:
        return asdict(age(timezone.now()))
    except DatabaseError:
        return None


def _broker() -> str:
    try:
        with Redis.from_url(
            settings.REDIS_URL, socket_timeout=_PATIENCE, socket_connect_timeout=_PATIENCE
        ) as broker:
            broker.ping()
    except (RedisError, ValueError):
        return "unreachable"
    return "ok"
