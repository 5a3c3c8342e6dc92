"""Who opened one's data, when and why; and opening somebody's in an emergency."""

from datetime import datetime
from typing import Any
from uuid import UUID

from django.http import HttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiExample, OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.request import Request

from backend import openapi
from backend.api import (
    TextField,
    View,
    after_instant,
    answer,
    bad_cursor,
    checked,
    cursor_for,
    cursor_parts,
    filter_value,
    instant_value,
    limit,
)
from backend.audit import services as audit
from backend.audit.actions import ACTIONS
from backend.body import read_json
from backend.care import access
from backend.care.access import SeenParticipant, who
from backend.care.models import EmergencyAccess
from backend.care.opened import queries, services
from backend.care.opened.queries import Acted
from backend.care.queries import clinic_name, clock
from backend.care.roles import Why
from backend.errors import Problem
from backend.keys import blind
from backend.keys.sealing import Holder
from backend.wire import instant, rfc3339, uuid

SINCE = OpenApiParameter("since", OpenApiTypes.DATETIME, description="From this instant on.")
UNTIL = OpenApiParameter("until", OpenApiTypes.DATETIME, description="Before this instant.")
_MOST_AT_ONCE = 9  # digits of how many entries there are of one instant


class WhoSchema(serializers.Serializer[Any]):
    role = serializers.CharField(
        allow_null=True,
        help_text="What they were then: `therapist`, `supervisor`, `coordinator`, `clinic admin`,"
        " `researcher` or `operator`, who keeps the service running, at its pages or at the machine."
        " Null for somebody who was nothing in your clinic.",
    )
    membership = serializers.UUIDField(allow_null=True)
    clinic_name = serializers.CharField(allow_null=True)
    name = serializers.CharField(allow_null=True)


class OpenedSchema(serializers.Serializer[Any]):
    id = serializers.UUIDField()
    at = serializers.DateTimeField()
    action = serializers.CharField(help_text="A code that stays: `administrations.read`.")
    words = serializers.CharField(help_text="What was done, to be shown as it stands.")
    refused = serializers.BooleanField(help_text="It was only tried; nothing was seen.")
    who = WhoSchema()
    subject = serializers.UUIDField(
        allow_null=True, help_text="The one thing of yours that was opened: an administration's id."
    )
    why = serializers.ChoiceField(
        [why.value for why in Why], allow_null=True, help_text="How they were entitled, where that is known."
    )
    reason = serializers.CharField(allow_null=True, help_text="In an emergency: theirs, in their words.")
    device = serializers.UUIDField(
        allow_null=True, help_text="Tells their devices apart, and nothing else about them."
    )


class AccessLogSchema(serializers.Serializer[Any]):
    results = OpenedSchema(many=True)
    next = serializers.CharField(allow_null=True)


class EmergencyBody(serializers.Serializer[Any]):
    reason = TextField(
        max_length=500,
        help_text="Why, for the participant and those who answer for the clinic. It stays.",
    )


class EmergencySchema(serializers.Serializer[Any]):
    id = serializers.UUIDField()
    until = serializers.DateTimeField()


class WhomSchema(serializers.Serializer[Any]):
    id = serializers.UUIDField()
    pseudonym = serializers.CharField()


class ByWhomSchema(serializers.Serializer[Any]):
    membership = serializers.UUIDField()
    role = serializers.CharField(help_text="`therapist` or `supervisor`.")


class ListedEmergencySchema(EmergencySchema):
    clinic = serializers.UUIDField()
    participant = WhomSchema()
    who = ByWhomSchema()
    opened_at = serializers.DateTimeField()
    reason = serializers.CharField(allow_null=True, help_text="Null where the participant was erased.")


class EmergenciesSchema(serializers.Serializer[Any]):
    results = ListedEmergencySchema(many=True)
    next = serializers.CharField(allow_null=True)


EMERGENCY_EXAMPLE = OpenApiExample(
    "A call at night",
    request_only=True,
    value={"reason": "They called the night line in distress, and their therapist cannot be reached."},
)


class MyAccessLog(View):
    """`GET /me/access-log`"""

    @extend_schema(
        operation_id="me_access_log_list",
        parameters=[SINCE, UNTIL, openapi.LIMIT, openapi.CURSOR],
        responses={200: AccessLogSchema, **openapi.errors(401, 403, 422)},
        tags=["people"],
    )
    def get(self, request: Request) -> HttpResponse:
        """Who opened, changed or tried to see what of one's data, when and why, newest first.

        Everybody but oneself: staff, operators, and what was done at the server itself.
        """
        own = access.own_participant(who(request), right="access_log.read")
        size = limit(request)
        since, until = instant_value(request, "since"), instant_value(request, "until")
        filters = f"{since}|{until}"
        after = _after(request, filters)
        found = queries.done_by_others(own, since=since, until=until, after=after, limit=size + 1)
        page = found[:size]
        clinic = clinic_name(own.clinic_id)
        following = _next(page, after, filters) if len(found) > size else None
        return answer({"results": [_opened(a, own, clinic) for a in page], "next": following})


class OpenInEmergency(View):
    """`POST /participants/{id}/emergency-access`"""

    @extend_schema(
        request=openapi.json(EmergencyBody),
        examples=[EMERGENCY_EXAMPLE],
        responses={
            200: EmergencySchema,
            201: EmergencySchema,
            **openapi.errors(400, 401, 403, 404, 409, 413, 415, 422),
        },
        tags=["people"],
    )
    def post(self, request: Request, participant: str) -> HttpResponse:
        """Open the data of a participant of one's clinic who is not in one's care, for four hours: 201, or
        200 while it is open already.

        As if they were in one's care: what they have not agreed to share stays closed. They see it at once,
        with the reason, and so do those who answer for the clinic. 409 `in_care` for somebody who cares for
        them.
        """
        user = who(request)
        seen = access.participant(user, participant, right="emergency.opened")
        _, tie = access.ties(user=user.id, participant=seen.id)
        if tie in (Why.CARE, Why.COVER):
            raise Problem(409, "in_care")
        membership = access.membership_in(user, seen, right="emergency.opened")
        fields = checked(EmergencyBody, read_json(request._request))
        opened, new = services.open_in_emergency(
            participant=seen,
            membership=membership,
            reason=fields["reason"],
            actor=user.id,
            now=clock(),
        )
        return answer({"id": str(opened.pk), "until": rfc3339(opened.until)}, 201 if new else 200)


class EmergencyAccesses(View):
    """`GET /emergency-accesses`"""

    @extend_schema(
        operation_id="emergency_accesses_list",
        parameters=[openapi.LIMIT, openapi.CURSOR],
        responses={200: EmergenciesSchema, **openapi.errors(401, 403, 422)},
        tags=["people"],
    )
    def get(self, request: Request) -> HttpResponse:
        """Whose data was opened in an emergency in one's clinic, by whom and why, newest first."""
        user = who(request)
        clinics = {a.clinic_id for a in access.acting_anywhere(user, right="emergency.read")}
        size = limit(request)
        found = queries.emergencies(clinics, after=after_instant(request), limit=size + 1)
        page = found[:size]
        seen = dict.fromkeys((e.participant_id, e.clinic_id, Why.OVERSIGHT.value) for e in page)
        audit.record_each(actor=user.id, action="emergency.read", participants=list(seen))
        last = page[-1] if len(found) > size else None
        following = cursor_for(rfc3339(last.opened_at), str(last.pk)) if last else None
        return answer({"results": [_listed(e) for e in page], "next": following})


def _opened(acted: Acted, own: SeenParticipant, clinic_name: str) -> dict[str, Any]:
    """One entry as the participant is shown it.

    Neither an entry's number nor an installation's id is: the one counts what happens to others, the other
    is known to a member of staff's own device alone. What stands for them comes from a keyed hash.
    """
    entry, action = acted.entry, ACTIONS[acted.entry.action]
    # An operator's page names the kind before the id.
    subject = uuid(entry.subject.rpartition(":")[2]) if action.own else None
    return {
        "id": str(_alias("entry", entry.pk)),
        "at": rfc3339(entry.at),
        "action": entry.action,
        "words": action.words,
        "refused": action.refused,
        "who": {
            "role": acted.role,
            "membership": acted.membership and str(acted.membership),
            "clinic_name": clinic_name if acted.membership else None,
            "name": acted.name,
        },
        "subject": str(subject) if subject else None,
        "why": entry.why or None,
        "reason": acted.reason,
        "device": str(_alias("device", own.id, entry.device)) if entry.device else None,
    }


def _alias(*what: object) -> UUID:
    """A UUID that is always the same for the same, and tells nothing of it."""
    name = " ".join(map(str, what))
    return UUID(bytes=blind.fingerprint("access log", name.encode())[:16], version=5)


def _listed(emergency: EmergencyAccess) -> dict[str, Any]:
    participant = emergency.participant
    holder = Holder(participant.public_id, emergency.clinic_id)
    return {
        "id": str(emergency.pk),
        "clinic": str(emergency.clinic.public_id),
        "participant": {"id": str(participant.public_id), "pseudonym": participant.pseudonym},
        "who": {"membership": str(emergency.membership.public_id), "role": emergency.membership.role},
        "opened_at": rfc3339(emergency.opened_at),
        "until": rfc3339(emergency.until),
        "reason": queries.reason(emergency, holder),
    }


def _after(request: Request, filters: str) -> tuple[datetime, int] | None:
    """Where a page of the log ended: at which instant, after how many entries of it."""
    cursor = filter_value(request, "cursor")
    if cursor is None:
        return None
    at, count, of = cursor_parts(cursor, 3)
    ended_at = instant(at)
    if ended_at is None or of != filters or not (count.isascii() and count.isdecimal()):
        raise bad_cursor()
    if len(count) > _MOST_AT_ONCE:
        raise bad_cursor()
    return ended_at, int(count)


def _next(page: list[Acted], after: tuple[datetime, int] | None, filters: str) -> str:
    """The cursor of the page after this one. Several entries are of one instant, that of their transaction,
    and have no number that may be told: so it counts them."""
    last = page[-1].entry.at
    shown = sum(acted.entry.at == last for acted in page)
    if after is not None and after[0] == last:
        shown += after[1]
    return cursor_for(rfc3339(last), str(shown), filters)
