"""Consents, and what others are shown of dosing sessions, over HTTP."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from django.http import HttpResponse
from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request

from backend import openapi
from backend.api import (
    View,
    after_instant,
    answer,
    checked,
    cursor_for,
    device,
    limit,
)
from backend.body import read_json
from backend.care import queries as care
from backend.care.access import SeenParticipant, own_participant, who
from backend.care.consent import queries, services
from backend.care.consent.disclosure import Level
from backend.care.consent.models import Consent, Disclosure
from backend.care.consent.queries import Stand
from backend.care.consent.schemas import (
    DISCLOSURE_EXAMPLE,
    ConsentBody,
    ConsentSchema,
    ConsentsSchema,
    DecisionsSchema,
    DisclosureBody,
    DisclosureSchema,
    examples,
)
from backend.care.consent.text import ConsentText, Stream
from backend.care.timeline import suggestible_until
from backend.wire import rfc3339


class Consents(View):
    """`GET /consents`"""

    @extend_schema(
        operation_id="consents_list",
        responses={200: ConsentsSchema, **openapi.errors(401)},
        tags=["consents"],
    )
    def get(self, request: Request) -> HttpResponse:
        """The current texts of every stream in every language, and how one's own streams stand."""
        own = who(request).participant
        hold_hours = own.clinic_hold_hours if own else None
        return answer(
            {
                "results": [_text(text, hold_hours) for text in queries.current()],
                "next": None,
                **(_standing(own, queries.stands(own.id)) if own else {"streams": None, "asking": None}),
            }
        )


class MyConsents(View):
    """`GET, POST /me/consents`"""

    @extend_schema(
        operation_id="me_consents_list",
        parameters=[openapi.LIMIT, openapi.CURSOR],
        responses={200: DecisionsSchema, **openapi.errors(401, 403, 422)},
        tags=["consents"],
    )
    def get(self, request: Request) -> HttpResponse:
        """Every decision of one's own, newest first, and how the streams stand."""
        own = own_participant(who(request), right="consents.read")
        size, before = limit(request), after_instant(request)
        found = queries.decisions(own.id, before=before, limit=size + 1)
        last = found[size - 1] if len(found) > size else None
        stands = queries.stands(own.id)
        return answer(
            {
                "results": [_decision(c, stands[Stream(c.stream)]) for c in found[:size]],
                "next": last and cursor_for(rfc3339(last.received_at), str(last.id)),
                **_standing(own, stands),
            }
        )

    @extend_schema(
        parameters=[openapi.DEVICE],
        request=openapi.json(ConsentBody),
        examples=examples(),
        responses={
            200: ConsentSchema,
            201: ConsentSchema,
            **openapi.errors(400, 401, 403, 409, 413, 415, 422),
        },
        tags=["consents"],
    )
    def post(self, request: Request) -> HttpResponse:
        """Give or withdraw one consent: 201, or 200 where the same id already holds the same content.

        A withdrawal works from the next request on, always. From 24 hours before a dosing session until
        72 hours after it, a consent that widens who sees something is recorded as `pending`.
        """
        own = own_participant(who(request), right="consent.recorded")
        fields = checked(ConsentBody, read_json(request._request))
        decision, new = services.record_decision(
            participant=own,
            actor=who(request).id,
            device=device(request),
            id=fields.pop("id"),
            fields=fields,
            received_at=timezone.now(),
        )
        stand = queries.stands(own.id)[Stream(decision.stream)]
        return answer(_decision(decision, stand), 201 if new else 200)


def _text(text: ConsentText, hold_hours: int | None) -> dict[str, Any]:
    shown = text.shown(hold_hours)
    return {
        "stream": text.stream,
        "version": text.version,
        "language": text.language,
        "title": text.title,
        "text": shown.whole,
        "text_hash": shown.hash,
        "consequence": {"given": text.given, "not_given": text.not_given},
        "rules": shown.rules,
    }


def _standing(own: SeenParticipant, stands: Mapping[Stream, Stand]) -> dict[str, Any]:
    until = suggestible_until(timezone.now(), care.session_times(own.id))
    return {
        "streams": [_stand(stream, stand) for stream, stand in stands.items()],
        "asking": {"allowed": until is None, "again_at": until and rfc3339(until)},
    }


def _stand(stream: Stream, stand: Stand) -> dict[str, Any]:
    now, waiting = stand.in_force, stand.pending
    return {
        "stream": stream,
        "decision": now and now.decision,
        "version": now and now.version,
        "language": now and now.language,
        "rules": now.rules if now else {},
        "decided_at": now and rfc3339(now.decided_at),
        "received_at": now and rfc3339(now.received_at),
        "pending": waiting
        and {
            "id": str(waiting.id),
            "version": waiting.version,
            "language": waiting.language,
            "ask_again_at": waiting.ask_again_at and rfc3339(waiting.ask_again_at),
        },
    }


def _decision(decision: Consent, stand: Stand) -> dict[str, Any]:
    pending = decision == stand.pending
    status = "in_force" if decision == stand.in_force else "pending" if pending else "past"
    return {
        "id": str(decision.id),
        "stream": decision.stream,
        "version": decision.version,
        "language": decision.language,
        "text_hash": decision.text_hash,
        "decision": decision.decision,
        "decided_at": rfc3339(decision.decided_at),
        "timezone": decision.timezone,
        "rules": decision.rules,
        "received_at": rfc3339(decision.received_at),
        "device": decision.device and str(decision.device),
        "status": status,
        "ask_again_at": rfc3339(decision.ask_again_at) if pending and decision.ask_again_at else None,
    }


class MyDisclosure(View):
    """`GET, PUT /me/disclosure`"""

    @extend_schema(responses={200: DisclosureSchema, **openapi.errors(401, 403)}, tags=["consents"])
    def get(self, request: Request) -> HttpResponse:
        """How much of one's dosing sessions others are shown."""
        own = own_participant(who(request), right="disclosure.read")
        return answer(_disclosure(queries.disclosure(own.id)))

    @extend_schema(
        parameters=[openapi.DEVICE],
        request=openapi.json(DisclosureBody),
        examples=[DISCLOSURE_EXAMPLE],
        responses={200: DisclosureSchema, **openapi.errors(400, 401, 403, 413, 415, 422)},
        tags=["consents"],
    )
    def put(self, request: Request) -> HttpResponse:
        """Say how much of one's dosing sessions others are shown.

        What shows less works from the next request on, always. From 24 hours before a dosing session until
        72 hours after it, what shows more is kept as `pending`, and works when it is put again later.
        """
        own = own_participant(who(request), right="disclosure.changed")
        fields = checked(DisclosureBody, read_json(request._request))
        change = services.change_disclosure(
            participant=own,
            actor=who(request).id,
            device=device(request),
            wanted={viewer: Level(**parts) for viewer, parts in fields.items()},
            received_at=timezone.now(),
        )
        return answer(_disclosure(change))


def _disclosure(last: Disclosure | None) -> dict[str, Any]:
    pending = (
        {**_levels(queries.levels(last.wanted)), "ask_again_at": rfc3339(last.ask_again_at)}
        if last and last.ask_again_at
        else None
    )
    return {**_levels(queries.levels(last.in_force if last else None)), "pending": pending}


def _levels(levels: dict[str, Level]) -> dict[str, Any]:
    # Those who care for somebody see the days counted from a session: a date could not be kept from them.
    therapist = {part: step for part, step in asdict(levels["therapist"]).items() if part != "date"}
    return {"therapist": therapist, "research": asdict(levels["research"])}
