"""Who is who, and dosing sessions."""

from typing import Any

from django.http import HttpResponse
from drf_spectacular.utils import OpenApiExample, extend_schema
from rest_framework import serializers
from rest_framework.request import Request

from backend import openapi
from backend.accounts import queries as users
from backend.accounts.services import name_user
from backend.api import (
    AmountField,
    IdField,
    InstantField,
    TextField,
    TruthField,
    View,
    after_key,
    answer,
    checked,
    cursor_for,
    limit,
)
from backend.body import read_json
from backend.care import access, queries, services
from backend.care.access import Person, SeenParticipant, who
from backend.care.consent.disclosure import disclosed
from backend.care.models import DosingSession, Participant
from backend.care.timeline import local_date
from backend.wire import rfc3339


class PersonSchema(serializers.Serializer[Any]):
    id = serializers.UUIDField(help_text="Public id. It never changes and tells nothing.")
    pseudonym = serializers.CharField()
    timezone = serializers.CharField(help_text="IANA zone: `Europe/Berlin`.")
    enrolled_at = serializers.DateTimeField()


class MembershipSchema(serializers.Serializer[Any]):
    clinic = serializers.UUIDField()
    clinic_name = serializers.CharField()
    role = serializers.CharField(
        help_text="`therapist`, `supervisor`, `coordinator`, `clinic admin` or `researcher`."
    )


class MeSchema(serializers.Serializer[Any]):
    email = serializers.EmailField(allow_null=True, help_text="Null for who joined without an address.")
    name = serializers.CharField(allow_null=True, help_text="What I am called here, where I said so.")
    participant = PersonSchema(allow_null=True)
    memberships = MembershipSchema(many=True)


class MeBody(serializers.Serializer[Any]):
    """What somebody is called."""

    name = TextField(max_length=100, allow_null=True, help_text="Null takes it back.")


class PeopleSchema(serializers.Serializer[Any]):
    results = PersonSchema(many=True)
    next = serializers.CharField(allow_null=True)


class DosingSessionBody(serializers.Serializer[Any]):
    """One dosing session, under the id its maker gave it."""

    id = IdField()
    started_at = InstantField()
    substance = serializers.ChoiceField(DosingSession.Substance.choices, required=False, allow_null=True)
    dose = AmountField(max_digits=9, decimal_places=3, min_value=0, required=False, allow_null=True)
    dose_unit = serializers.ChoiceField(DosingSession.DoseUnit.choices, required=False, allow_null=True)
    route = serializers.ChoiceField(DosingSession.Route.choices, required=False, allow_null=True)
    setting = serializers.ChoiceField(DosingSession.Setting.choices, required=False, allow_null=True)
    supervised = TruthField(
        required=False, allow_null=True, help_text="Whether somebody was there to look after them."
    )

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if (attrs.get("dose") is None) != (attrs.get("dose_unit") is None):
            raise serializers.ValidationError(
                {"dose_unit": ["A dose and its unit belong together."]}, "required"
            )
        return attrs


SESSION_EXAMPLE = OpenApiExample(
    "25 mg of psilocybin",
    request_only=True,
    value={
        "id": "0199f1aa-3c00-7d10-9a77-0b6f5c1d2e3f",
        "started_at": "2026-03-27T10:00:00+01:00",
        "substance": "psilocybin",
        "dose": 25,
        "dose_unit": "mg",
        "route": "oral",
        "setting": "clinic",
        "supervised": True,
    },
)


class DosingSessionSchema(DosingSessionBody):
    ordinal = serializers.IntegerField(help_text="Its place in time among the person's sessions, from 1.")
    on = serializers.DateField(help_text="Its date in the person's zone.")
    recorded_at = serializers.DateTimeField()
    substance_class = serializers.ChoiceField(
        ["classic", "entactogen", "dissociative", "other"],
        allow_null=True,
        help_text="What kind of substance: all that is shown of it where the participant chose so.",
    )
    withheld = serializers.ListField(
        child=serializers.ChoiceField(["substance", "dose", "supervision"]),
        help_text="What the participant does not show the reader, whether or not there is something: null"
        " there says nothing. The route goes with the dose, the setting with supervision.",
    )


class DosingSessionsSchema(serializers.Serializer[Any]):
    results = DosingSessionSchema(many=True)
    next = serializers.CharField(allow_null=True)


def person(seen: SeenParticipant | Participant) -> dict[str, Any]:
    """A participant as the wire shows them."""
    return {
        "id": str(seen.public_id),
        "pseudonym": seen.pseudonym,
        "timezone": seen.timezone,
        "enrolled_at": rfc3339(seen.enrolled_at),
    }


class Me(View):
    """`GET, PATCH /me`"""

    @extend_schema(responses={200: MeSchema, **openapi.errors(401)}, tags=["people"])
    def get(self, request: Request) -> HttpResponse:
        """Who I am: my participant, and my memberships of clinics' staff."""
        return answer(_me(who(request)))

    @extend_schema(
        request=openapi.json(MeBody),
        examples=[OpenApiExample("A name", request_only=True, value={"name": "Dr Thea Linden"})],
        responses={200: MeSchema, **openapi.errors(400, 401, 413, 415, 422)},
        tags=["people"],
    )
    def patch(self, request: Request) -> HttpResponse:
        """Say what I am called. A clinic's staff are named so to participants and colleagues."""
        fields = checked(MeBody, read_json(request._request))
        name_user(user=who(request).id, name=fields["name"])
        return answer(_me(who(request)))


def _me(user: Person) -> dict[str, Any]:
    known = users.known_as([user.id])[user.id]
    return {
        "email": known.email,
        "name": known.name,
        "participant": person(user.participant) if user.participant else None,
        "memberships": [
            {"clinic": str(m.clinic.public_id), "clinic_name": m.clinic.name, "role": m.role}
            for m in access.memberships(user)
        ],
    }


class Participants(View):
    """`GET /participants`"""

    @extend_schema(
        operation_id="participants_list",
        parameters=[openapi.LIMIT, openapi.CURSOR],
        responses={200: PeopleSchema, **openapi.errors(401, 403, 422)},
        tags=["people"],
    )
    def get(self, request: Request) -> HttpResponse:
        """Who is in one's care today; for a supervisor or coordinator, everybody in their clinic."""
        access.require_caseload(who(request))
        size, after = limit(request), after_key(request)
        seen, more = access.caseload(who(request), after=after, limit=size)
        following = cursor_for(str(seen[-1].id)) if more else None
        return answer({"results": [person(s) for s in seen], "next": following})


class OneParticipant(View):
    """`GET /participants/{id}`"""

    @extend_schema(responses={200: PersonSchema, **openapi.errors(401, 404)}, tags=["people"])
    def get(self, request: Request, participant: str) -> HttpResponse:
        """One participant, for themselves or their therapist."""
        seen = access.participant(who(request), participant, right="participant.read")
        return answer(person(seen))


class DosingSessions(View):
    """`GET, POST /participants/{id}/dosing-sessions`"""

    @extend_schema(
        operation_id="participants_dosing_sessions_list",
        responses={200: DosingSessionsSchema, **openapi.errors(401, 404)},
        tags=["dosing sessions"],
    )
    def get(self, request: Request, participant: str) -> HttpResponse:
        """A participant's dosing sessions, first to last."""
        seen = access.participant(who(request), participant, right="dosing_sessions.read")
        return answer({"results": _numbered(seen, who(request)), "next": None})

    @extend_schema(
        request=openapi.json(DosingSessionBody),
        examples=[SESSION_EXAMPLE],
        responses={
            200: DosingSessionSchema,
            201: DosingSessionSchema,
            **openapi.errors(400, 401, 404, 409, 413, 415, 422),
        },
        tags=["dosing sessions"],
    )
    def post(self, request: Request, participant: str) -> HttpResponse:
        """Record a dosing session: 201, or 200 where the same id already holds the same content."""
        seen = access.participant(who(request), participant, right="dosing_sessions.opened")
        fields = checked(DosingSessionBody, read_json(request._request))
        id_ = fields.pop("id")
        _, new = services.record_dosing_session(
            participant=seen, actor=who(request).id, id=id_, fields=fields
        )
        recorded = next(s for s in _numbered(seen, who(request)) if s["id"] == str(id_))
        return answer(recorded, 201 if new else 200)


def _numbered(seen: SeenParticipant, reader: Person) -> list[dict[str, Any]]:
    """A participant's sessions as that reader is shown them, first to last."""
    level = queries.level(seen, reader=reader.id)
    return [
        disclosed(
            {
                "id": str(s.id),
                "ordinal": ordinal,
                "started_at": rfc3339(s.started_at),
                "on": local_date(s.started_at, seen.timezone).isoformat(),
                "substance": s.substance,
                "dose": None if s.dose is None else float(s.dose),
                "dose_unit": s.dose_unit,
                "route": s.route,
                "setting": s.setting,
                "supervised": s.supervised,
                "recorded_at": rfc3339(s.recorded_at),
            },
            level,
        )
        for ordinal, s in enumerate(queries.dosing_sessions(seen.id), 1)
    ]
