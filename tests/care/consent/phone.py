"""What a phone sends when somebody decides."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

from django.test import Client
from django.utils import timezone

from backend.care.models import Membership, Participant

ClientFor = Callable[[Participant | Membership], Client]
TEXTS, MINE, DISCLOSURE = "/api/v1/consents", "/api/v1/me/consents", "/api/v1/me/disclosure"
STREAMS = ("care", "research", "journal_therapist", "contact_after")


def current(client: Client, stream: str = "care", language: str = "en") -> dict[str, Any]:
    """The text a person is asked with."""
    texts: list[dict[str, Any]] = client.get(TEXTS).json()["results"]
    return next(t for t in texts if (t["stream"], t["language"]) == (stream, language))


def yes(client: Client, stream: str = "care", **fields: Any) -> dict[str, Any]:
    """The body that gives a consent, as the phone was told the words."""
    told = current(client, stream)
    named = {name: told[name] for name in ("stream", "version", "language", "text_hash", "rules")}
    decided_at = timezone.now().isoformat()
    return {"id": str(uuid4()), "decision": "given", "decided_at": decided_at, **named, **fields}


def no(stream: str = "care", **fields: Any) -> dict[str, Any]:
    """The body that takes one back."""
    decided_at = timezone.now().isoformat()
    return {"id": str(uuid4()), "stream": stream, "decision": "withdrawn", "decided_at": decided_at, **fields}


def post(client: Client, body: Any, **headers: str) -> Any:
    return client.post(MINE, body, "application/json", headers=headers)


def put(client: Client, body: Any) -> Any:
    return client.put(DISCLOSURE, body, "application/json")


def standing(client: Client) -> dict[str, Any]:
    """What is in force, by stream."""
    return {s["stream"]: s["decision"] for s in client.get(MINE).json()["streams"]}


def record_session(client: Client, ana: Participant, at: datetime, **fields: Any) -> Any:
    body = {"id": str(uuid4()), "started_at": at.isoformat(), **fields}
    return client.post(f"/api/v1/participants/{ana.public_id}/dosing-sessions", body, "application/json")


def in_days(days: float) -> datetime:
    return timezone.now() + timedelta(days=days)
