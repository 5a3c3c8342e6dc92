"""The shapes of this feature's bodies and answers: read by its views, told in the OpenAPI description."""

from typing import Any

from drf_spectacular.utils import OpenApiExample
from rest_framework import serializers

from backend.api import (
    IdField,
    InstantField,
)
from backend.care import roles
from backend.care.models import CareRelationship


class MemberSchema(serializers.Serializer[Any]):
    id = serializers.UUIDField(help_text="Of the membership.")
    clinic = serializers.UUIDField()
    email = serializers.EmailField()
    name = serializers.CharField(allow_null=True, help_text="What they say they are called.")
    role = serializers.ChoiceField([role.value for role in roles.STAFF])
    started_at = serializers.DateTimeField()
    ended_at = serializers.DateTimeField(allow_null=True)
    suspended_at = serializers.DateTimeField(allow_null=True, help_text="While set, it gives no right.")


class MembersSchema(serializers.Serializer[Any]):
    results = MemberSchema(many=True)
    next = serializers.CharField(allow_null=True)


class MemberBody(serializers.Serializer[Any]):
    email = serializers.EmailField(max_length=254)
    role = serializers.ChoiceField([role.value for role in roles.STAFF])
    clinic = IdField(required=False, help_text="Needed by somebody who manages the staff of several.")


class CareSchema(serializers.Serializer[Any]):
    id = serializers.UUIDField()
    clinic = serializers.UUIDField()
    participant = serializers.UUIDField()
    therapist = serializers.UUIDField(help_text="Their membership.")
    started_at = serializers.DateTimeField()
    ended_at = serializers.DateTimeField(allow_null=True)
    ended_because = serializers.ChoiceField(CareRelationship.Because.choices, allow_null=True)


class CareListSchema(serializers.Serializer[Any]):
    results = CareSchema(many=True)
    next = serializers.CharField(allow_null=True)


class CareBody(serializers.Serializer[Any]):
    participant = IdField()
    therapist = IdField(help_text="A therapist's membership.")


class CoverSchema(serializers.Serializer[Any]):
    id = serializers.UUIDField()
    clinic = serializers.UUIDField()
    therapist = serializers.UUIDField(help_text="The membership of whoever is away.")
    covered_by = serializers.UUIDField(help_text="The membership of whoever cares meanwhile.")
    started_at = serializers.DateTimeField()
    ended_at = serializers.DateTimeField()


class CoversSchema(serializers.Serializer[Any]):
    results = CoverSchema(many=True)
    next = serializers.CharField(allow_null=True)


class CoverBody(serializers.Serializer[Any]):
    therapist = IdField(help_text="The membership of whoever is away.")
    covered_by = IdField(help_text="A therapist's or supervisor's membership.")
    started_at = InstantField()
    ended_at = InstantField()


class HandOverBody(serializers.Serializer[Any]):
    to = IdField(help_text="The membership of the therapist who goes on.")
    reason = serializers.ChoiceField(CareRelationship.Because.choices, required=False, allow_null=True)


class HandedOverSchema(serializers.Serializer[Any]):
    moved = serializers.IntegerField(help_text="How many care relationships went on.")


class AcceptedSchema(serializers.Serializer[Any]):
    status = serializers.ChoiceField(["accepted"])


_ID, _OTHER_ID = "0199f1aa-3c00-7d10-9a77-0b6f5c1d2e3f", "0199f1aa-3c00-7d10-9a77-0b6f5c1d2e40"
MEMBER_EXAMPLE = OpenApiExample(
    "A new therapist", request_only=True, value={"email": "thea@clinic.example", "role": "therapist"}
)


CARE_EXAMPLE = OpenApiExample(
    "A therapist for a participant", request_only=True, value={"participant": _ID, "therapist": _OTHER_ID}
)


COVER_EXAMPLE = OpenApiExample(
    "Two weeks away",
    request_only=True,
    value={
        "therapist": _ID,
        "covered_by": _OTHER_ID,
        "started_at": "2027-07-05T00:00:00+02:00",
        "ended_at": "2027-07-19T00:00:00+02:00",
    },
)


HAND_OVER_EXAMPLE = OpenApiExample(
    "Somebody leaves", request_only=True, value={"to": _OTHER_ID, "reason": "left"}
)
