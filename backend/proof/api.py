"""What a colleague saw and did, for those who answer for a clinic."""

from datetime import UTC, datetime
from typing import Any

from django.http import HttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.request import Request

from backend import openapi
from backend.api import View, answer, bad_cursor, cursor_for, cursor_parts, filter_value, limit, misfit
from backend.audit import services as audit
from backend.care import access
from backend.care.access import who
from backend.care.models import Membership
from backend.errors import Fault
from backend.proof import queries
from backend.wire import instant, rfc3339, uuid

READ = "audit.read"
_EVER = datetime(2, 1, 1, tzinfo=UTC), datetime(9998, 1, 1, tzinfo=UTC)


class AboutSchema(serializers.Serializer[Any]):
    id = serializers.UUIDField()
    pseudonym = serializers.CharField()


class AuditEntrySchema(serializers.Serializer[Any]):
    at = serializers.DateTimeField()
    action = serializers.CharField(help_text="Noun and past verb: `trends.read`.")
    participant = AboutSchema(allow_null=True, help_text="Whose data; null where nobody's, or erased.")
    subject = serializers.UUIDField(allow_null=True, help_text="What it was done to, where that has an id.")
    request = serializers.UUIDField(allow_null=True, help_text="The `X-Request-Id` of the answer.")
    device = serializers.UUIDField(allow_null=True, help_text="The installation that asked.")
    why = serializers.CharField(allow_null=True, help_text="Why somebody was let through who usually is not.")


class AuditEntriesSchema(serializers.Serializer[Any]):
    results = AuditEntrySchema(many=True)
    next = serializers.CharField(allow_null=True)


class AuditEntries(View):
    """`GET /audit-entries`"""

    @extend_schema(
        operation_id="audit_entries_list",
        parameters=[
            OpenApiParameter("member", OpenApiTypes.UUID, required=True, description="A membership."),
            OpenApiParameter("since", OpenApiTypes.DATETIME, description="From this instant on."),
            OpenApiParameter("until", OpenApiTypes.DATETIME, description="Before this instant."),
            openapi.LIMIT,
            openapi.CURSOR,
        ],
        responses={200: AuditEntriesSchema, **openapi.errors(401, 403, 404, 422)},
        tags=["staff"],
    )
    def get(self, request: Request) -> HttpResponse:
        """What a member of one's clinic's staff saw and did there, newest first.

        Asking is itself in the audit.
        """
        user = who(request)
        access.acting_anywhere(user, right=READ)
        wanted = filter_value(request, "member")
        if wanted is None:
            raise misfit([Fault("/member", "required")])
        member = access.managed(user, Membership, wanted, right=READ)
        since, until = _instant(request, "since") or _EVER[0], _instant(request, "until") or _EVER[1]
        size, before = limit(request), _before(request) or (until, 0)
        audit.record(actor=user.id, action=READ, clinic=member.clinic_id, subject=member.public_id)
        found = queries.of_member(
            clinic=member.clinic_id,
            user=member.user_id,
            since=since,
            until=until,
            before=before,
            most=size + 1,
        )
        listed = found[:size]
        called = queries.called({row[3] for row in listed if row[3] is not None})
        following = cursor_for(rfc3339(listed[-1][1]), str(listed[-1][0])) if len(found) > size else None
        return answer({"results": [shown(row, called) for row in listed], "next": following})


def shown(row: tuple[Any, ...], called: dict[int, tuple[Any, str]]) -> dict[str, Any]:
    """An entry as the wire shows it. Keys of ours are nobody's business: only a public id is told."""
    _, at, action, participant, subject, request, device, why = row
    about = called.get(participant)
    return {
        "at": rfc3339(at),
        "action": action,
        "participant": {"id": str(about[0]), "pseudonym": about[1]} if about else None,
        "subject": str(uuid(subject)) if uuid(subject) else None,
        "request": str(request) if request else None,
        "device": str(device) if device else None,
        "why": why or None,
    }


def _instant(request: Request, name: str) -> datetime | None:
    text = filter_value(request, name)
    if text is None:
        return None
    # A plus that was not escaped arrives as a space.
    if (at := instant(text.replace(" ", "+"))) is None:
        raise misfit([Fault(f"/{name}", "invalid_datetime")])
    return at


def _before(request: Request) -> tuple[datetime, int] | None:
    cursor = filter_value(request, "cursor")
    if cursor is None:
        return None
    at, key = cursor_parts(cursor, 2)
    ended_at = instant(at)
    if ended_at is None or not (key.isascii() and key.isdecimal() and len(key) < 19):
        raise bad_cursor()
    return ended_at, int(key)
