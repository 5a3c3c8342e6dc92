"""The shapes of this feature's bodies and answers: read by its views, told in the OpenAPI description."""

from typing import Any

from drf_spectacular.utils import OpenApiExample
from rest_framework import serializers

from backend.api import (
    IdField,
    InstantField,
    TextField,
    WholeField,
)
from backend.care.consent import queries
from backend.care.consent.disclosure import STEPS
from backend.care.consent.models import Consent
from backend.care.consent.text import LONGEST_HOLD, Stream
from backend.wire import zones


class Strict(serializers.Serializer[Any]):
    """An object within a body: what it does not know, it refuses."""

    def to_internal_value(self, data: Any) -> Any:
        if isinstance(data, dict) and (strange := [name for name in data if name not in self.fields]):
            raise serializers.ValidationError({name: ["No such field."] for name in strange}, "unknown_field")
        return super().to_internal_value(data)


class RulesBody(Strict):
    """What a clinic does, told in the words of the consent to it."""

    worse_scores = serializers.ChoiceField(["at_once", "with_therapist"], required=False)
    hold_hours = WholeField(min_value=1, max_value=LONGEST_HOLD, required=False)


class ConsequenceSchema(serializers.Serializer[Any]):
    given = serializers.CharField(help_text="What follows from a yes.")
    not_given = serializers.CharField(help_text="What follows from a no, or from taking a yes back.")


class ConsentTextSchema(serializers.Serializer[Any]):
    stream = serializers.ChoiceField([s.value for s in Stream])
    version = serializers.IntegerField()
    language = serializers.CharField()
    title = serializers.CharField()
    text = serializers.CharField(
        help_text="All the words, title, rules and consequences included, in paragraphs: what to show."
    )
    text_hash = serializers.CharField(help_text="SHA-256 of `text` in UTF-8, in hexadecimal.")
    consequence = ConsequenceSchema()
    rules = RulesBody(help_text="What of the clinic's rules `text` tells.")


class PendingSchema(serializers.Serializer[Any]):
    id = serializers.UUIDField()
    version = serializers.IntegerField()
    language = serializers.CharField()
    ask_again_at = serializers.DateTimeField(help_text="Ask again from then on: a second yes confirms it.")


class StreamSchema(serializers.Serializer[Any]):
    stream = serializers.ChoiceField([s.value for s in Stream])
    decision = serializers.ChoiceField(
        Consent.Decision.choices, allow_null=True, help_text="In force; null: never decided, which is a no."
    )
    version = serializers.IntegerField(allow_null=True)
    language = serializers.CharField(allow_null=True)
    rules = RulesBody()
    decided_at = serializers.DateTimeField(allow_null=True)
    received_at = serializers.DateTimeField(allow_null=True)
    pending = PendingSchema(allow_null=True, help_text="A yes of suggestible days, without effect.")


class AskingSchema(serializers.Serializer[Any]):
    allowed = serializers.BooleanField(
        help_text="false from 24 hours before a dosing session until 72 hours after it: ask for nothing new."
    )
    again_at = serializers.DateTimeField(allow_null=True)


class ConsentsSchema(serializers.Serializer[Any]):
    results = ConsentTextSchema(many=True)
    next = serializers.CharField(allow_null=True)
    streams = StreamSchema(many=True, allow_null=True, help_text="null for somebody who is no participant.")
    asking = AskingSchema(allow_null=True)


class ConsentBody(serializers.Serializer[Any]):
    """One decision on one stream. A withdrawal need not name a text: it takes back the stream."""

    id = IdField()
    stream = serializers.ChoiceField([s.value for s in Stream])
    version = WholeField(min_value=1, max_value=9999, required=False, allow_null=True)
    language = TextField(max_length=8, required=False, allow_null=True)
    text_hash = TextField(max_length=64, required=False, allow_null=True)
    decision = serializers.ChoiceField(Consent.Decision.choices)
    decided_at = InstantField()
    timezone = TextField(required=False, allow_null=True)
    rules = RulesBody(
        required=False, allow_null=True, help_text="As told in the text; left out: the clinic's of today."
    )

    def validate_timezone(self, value: str | None) -> str | None:
        if value is not None and value not in zones():
            raise serializers.ValidationError("An IANA zone.", "unknown_timezone")
        return value

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        named = {name: attrs.get(name) for name in ("version", "language", "text_hash")}
        missing = [name for name, value in named.items() if value is None]
        if missing and (attrs["decision"] == Consent.Decision.GIVEN or len(missing) < len(named)):
            raise serializers.ValidationError({name: ["Which text it is."] for name in missing}, "required")
        return attrs


class ConsentSchema(ConsentBody):
    rules = RulesBody()
    received_at = serializers.DateTimeField()
    device = serializers.UUIDField(allow_null=True)
    status = serializers.ChoiceField(
        ["in_force", "pending", "past"],
        help_text="`pending`: a yes of suggestible days, without effect until it is given again.",
    )
    ask_again_at = serializers.DateTimeField(allow_null=True, help_text="Where it is pending.")


class DecisionsSchema(serializers.Serializer[Any]):
    results = ConsentSchema(many=True)
    next = serializers.CharField(allow_null=True)
    streams = StreamSchema(many=True)
    asking = AskingSchema()


def examples() -> list[OpenApiExample]:
    shown = queries.released()[Stream.CARE, 1, "en"].shown(None)
    given = {
        "id": "0199f1aa-3c00-7d10-9a77-0b6f5c1d2e40",
        "stream": "care",
        "version": 1,
        "language": "en",
        "text_hash": shown.hash,
        "decision": "given",
        "decided_at": "2026-03-01T10:00:00+01:00",
        "timezone": "Europe/Berlin",
        "rules": dict(shown.rules),
    }
    withdrawn = {
        "id": "0199f1aa-3c00-7d10-9a77-0b6f5c1d2e41",
        "stream": "care",
        "decision": "withdrawn",
        "decided_at": "2026-03-09T08:30:00+01:00",
    }
    return [
        OpenApiExample("Given", request_only=True, value=given),
        OpenApiExample("Taken back", request_only=True, value=withdrawn),
    ]


class TherapistLevel(Strict):
    """What those who care for one are shown of a dosing session."""

    substance = serializers.ChoiceField(STEPS["substance"], help_text="`class`: only what kind it is.")
    dose = serializers.ChoiceField(STEPS["dose"], help_text="Shown only where the substance is.")
    supervision = serializers.ChoiceField(STEPS["supervision"], help_text="And the setting with it.")


class ResearchLevel(TherapistLevel):
    """What a research file holds of a dosing session."""

    date = serializers.ChoiceField(STEPS["date"], help_text="`week`: the Monday of its week.")


class DisclosureBody(serializers.Serializer[Any]):
    """How much of a dosing session others are shown. Its place and every count of days always stay."""

    therapist = TherapistLevel()
    research = ResearchLevel()


class PendingDisclosureSchema(DisclosureBody):
    ask_again_at = serializers.DateTimeField()


class DisclosureSchema(DisclosureBody):
    pending = PendingDisclosureSchema(
        allow_null=True, help_text="What was widened in suggestible days: ask again, and put it again."
    )


DISCLOSURE_EXAMPLE = OpenApiExample(
    "The kind of substance and nothing more",
    request_only=True,
    value={
        "therapist": {"substance": "class", "dose": "withheld", "supervision": "shown"},
        "research": {"substance": "withheld", "dose": "withheld", "supervision": "withheld", "date": "week"},
    },
)
