"""The shapes of this feature's bodies and answers, for the OpenAPI description.

Nothing here reads or writes: administrations are read by `scales.entry`, on a lean path.
"""

from typing import Any

from drf_spectacular.utils import OpenApiExample, OpenApiParameter, extend_schema_field
from rest_framework import serializers

from scales.entry import WHY_SKIPPED

INSTRUMENT_FILTER = OpenApiParameter("instrument", str, description="Only this instrument, by code.")
INSTRUMENT = OpenApiParameter("instrument", str, required=True, description="The instrument's code.")
SINCE = OpenApiParameter("since", str, description="Only completed at or after this RFC 3339 instant.")
ANCHOR = OpenApiParameter(
    "anchor", str, description="Id of a dosing session of the person's: days count from it."
)


class Responses(serializers.Serializer[Any]):
    kind = serializers.ChoiceField(["likert", "vas"])
    min = serializers.FloatField()
    max = serializers.FloatField()
    step = serializers.FloatField()
    labels = serializers.DictField(child=serializers.CharField())


class Item(serializers.Serializer[Any]):
    id = serializers.CharField()
    text = serializers.CharField(allow_null=True, help_text="null while the wording is not loaded.")
    scored = serializers.BooleanField(required=False, help_text="Absent means true.")
    labels = serializers.DictField(
        child=serializers.CharField(), required=False, help_text="Where the item has labels of its own."
    )


class Subscale(serializers.Serializer[Any]):
    id = serializers.CharField()
    name = serializers.CharField()
    higher_is = serializers.ChoiceField(["better", "worse"])
    range = serializers.ListField(child=serializers.FloatField(), allow_null=True)
    disputed = serializers.CharField(allow_null=True, help_text="What the field disputes about this score.")
    items = serializers.ListField(child=serializers.CharField())


class Total(serializers.Serializer[Any]):
    id = serializers.CharField()
    name = serializers.CharField()
    higher_is = serializers.ChoiceField(["better", "worse"])
    range = serializers.ListField(child=serializers.FloatField(), allow_null=True)
    disputed = serializers.CharField(allow_null=True)
    method = serializers.CharField(help_text="By name: `mean_of_subscales` and `mean_of_items` differ.")
    default = serializers.BooleanField()


class Instrument(serializers.Serializer[Any]):
    code = serializers.CharField()
    version = serializers.IntegerField()
    name = serializers.CharField()
    abbreviation = serializers.CharField()
    language = serializers.CharField()
    construct = serializers.CharField()
    source = serializers.CharField()  # type: ignore[assignment]
    doi = serializers.CharField(allow_null=True)
    licence = serializers.CharField(help_text="Of the wording, apart from the code's own.")
    attribution = serializers.CharField()
    ready = serializers.BooleanField(help_text="Every item has its wording.")
    requires = serializers.ListField(
        child=serializers.CharField(), help_text="What must stand behind it before it can be administered."
    )
    minutes = serializers.IntegerField(allow_null=True)
    instructions = serializers.CharField()
    recall_period = serializers.CharField(allow_null=True)
    responses = Responses()
    items = Item(many=True)
    subscales = Subscale(many=True)
    totals = Total(many=True)


class Instruments(serializers.Serializer[Any]):
    results = Instrument(many=True)
    next = serializers.CharField(allow_null=True)


class AdministrationBody(serializers.Serializer[Any]):
    """One filling of one instrument. Unanswered items are null or left out."""

    id = serializers.UUIDField(help_text="Made by the phone, once. The key for ever.")
    instrument = serializers.CharField(max_length=64)
    version = serializers.IntegerField(min_value=1)
    started_at = serializers.DateTimeField(required=False, allow_null=True)
    completed_at = serializers.DateTimeField()
    timezone = serializers.CharField(required=False, allow_null=True, help_text="IANA zone.")
    assessment = serializers.UUIDField(required=False, allow_null=True)
    responses = serializers.DictField(
        child=serializers.FloatField(allow_null=True), help_text="Item id to answer."
    )
    skipped = serializers.DictField(
        child=serializers.ChoiceField(WHY_SKIPPED),
        required=False,
        allow_null=True,
        help_text="Item id to why it has no answer.",
    )


@extend_schema_field(
    {
        "type": ["number", "boolean", "null"],
        "description": "A number (4 decimals, half to even), a boolean where the authors' rule is one,"
        " or null.",
    }
)
class ValueSchema(serializers.Field[Any, Any, Any, Any]):
    """What a score came to."""


class Result(serializers.Serializer[Any]):
    subscale = serializers.CharField(help_text="Id of the subscale, total or algorithm.")
    value = ValueSchema()
    answered = serializers.IntegerField()
    of = serializers.IntegerField()
    higher_is = serializers.ChoiceField(["better", "worse"])
    reason = serializers.ChoiceField(
        ["missing_answers", "too_few_answers", "undecided", "released_later"],
        required=False,
        help_text="Why the value is null. `too_few_answers`: not enough to prorate; `undecided`: a missing"
        " answer could change the result; `released_later`: a worse score that the participant sees when"
        " somebody who cares for them releases it, and at `release_at` at the latest, as they were told.",
    )
    release_at = serializers.DateTimeField(required=False, help_text="With `released_later`.")
    prorated = serializers.BooleanField(required=False)


class Administration(serializers.Serializer[Any]):
    id = serializers.UUIDField()
    instrument = serializers.CharField()
    version = serializers.IntegerField()
    started_at = serializers.DateTimeField(allow_null=True)
    completed_at = serializers.DateTimeField(help_text="The phone's word.")
    received_at = serializers.DateTimeField(help_text="Ours.")
    timezone = serializers.CharField(allow_null=True)
    assessment = serializers.UUIDField(allow_null=True)
    clock = serializers.CharField(
        allow_null=True,
        help_text="What is doubted of the phone's clock: `in_the_future`, `starts_after_end`,"
        " `before_enrolment`. The answer counts all the same.",
    )
    scores = Result(many=True)
    safety = serializers.DictField(allow_null=True, help_text="null: no safety rules stand here yet.")


class Released(serializers.Serializer[Any]):
    administration = serializers.UUIDField()
    released_at = serializers.DateTimeField()


class KeptAdministration(serializers.Serializer[Any]):
    id = serializers.UUIDField()
    instrument = serializers.CharField()
    version = serializers.IntegerField()
    completed_at = serializers.DateTimeField()
    outcome = serializers.CharField(help_text="`quarantined`: kept, and not scored now.")


class KeptCorrection(serializers.Serializer[Any]):
    outcome = serializers.CharField(help_text="`quarantined`: kept, and not scored.")


class CurrentAdministration(Administration):
    revision = serializers.IntegerField(help_text="1 as submitted; counted up by corrections.")


class Administrations(serializers.Serializer[Any]):
    results = CurrentAdministration(many=True)
    next = serializers.CharField(allow_null=True)


class Revision(serializers.Serializer[Any]):
    revision = serializers.IntegerField()
    received_at = serializers.DateTimeField()
    reason = serializers.CharField(allow_null=True)
    responses = serializers.DictField(child=serializers.FloatField())
    scores = Result(many=True)


class AdministrationWithRevisions(CurrentAdministration):
    responses = serializers.DictField(child=serializers.FloatField())
    skipped = serializers.DictField(child=serializers.ChoiceField(WHY_SKIPPED))
    revisions = Revision(many=True)


class CorrectionBody(serializers.Serializer[Any]):
    """All the answers anew, and why."""

    id = serializers.UUIDField()
    responses = serializers.DictField(child=serializers.FloatField(allow_null=True))
    reason = serializers.CharField(max_length=500)


class Place(serializers.Serializer[Any]):
    id = serializers.UUIDField()
    ordinal = serializers.IntegerField()
    day = serializers.IntegerField()


class PointSchema(serializers.Serializer[Any]):
    administration = serializers.UUIDField()
    completed_at = serializers.DateTimeField()
    value = serializers.FloatField(allow_null=True)
    prorated = serializers.BooleanField()
    reason = serializers.ChoiceField(
        ["released_later"], required=False, help_text="Why the value is null, where it is held back."
    )
    release_at = serializers.DateTimeField(required=False, help_text="With `released_later`.")
    session = Place(
        allow_null=True,
        help_text="The latest dosing session up to that date, else the first; and the day from it.",
    )


class Baseline(serializers.Serializer[Any]):
    value = serializers.FloatField(allow_null=True)
    rule = serializers.ChoiceField(["mean of two", "one", "first", "no_baseline"])
    m = serializers.IntegerField(help_text="How many administrations it is the mean of.")
    administrations = serializers.ListField(child=serializers.UUIDField())
    day = serializers.IntegerField(allow_null=True, help_text="Day of the last one used, from session 1.")


class ReliableChange(serializers.Serializer[Any]):
    status = serializers.ChoiceField(["improved", "none", "deteriorated", "no_norm"], allow_null=True)
    claim = serializers.CharField(allow_null=True)
    rci = serializers.FloatField(allow_null=True)
    threshold = serializers.FloatField(allow_null=True, help_text="Least reliable change from the baseline.")
    threshold_between_two = serializers.FloatField(
        allow_null=True, help_text="Least reliable change between two single scores."
    )
    method = serializers.CharField(allow_null=True)
    source = serializers.CharField(allow_null=True)  # type: ignore[assignment]
    provisional = serializers.BooleanField(
        allow_null=True, help_text="true where a constant was not read in its source."
    )
    reliability = serializers.CharField(allow_null=True)
    interval = serializers.CharField(allow_null=True, help_text="Between test and retest.")
    population = serializers.CharField(allow_null=True)
    expected_without_change = serializers.FloatField(allow_null=True)


class Slope(serializers.Serializer[Any]):
    per_30_days = serializers.FloatField(allow_null=True)
    low = serializers.FloatField(allow_null=True)
    high = serializers.FloatField(allow_null=True)
    method = serializers.CharField()
    points = serializers.IntegerField()
    reason = serializers.CharField(allow_null=True)


class SubscaleTrend(serializers.Serializer[Any]):
    subscale = serializers.CharField()
    higher_is = serializers.ChoiceField(["better", "worse"])
    points = PointSchema(many=True)
    baseline = Baseline()
    latest = serializers.FloatField(allow_null=True)
    change = serializers.FloatField(allow_null=True)
    reliable_change = ReliableChange()
    slope = Slope()
    words = serializers.CharField(allow_null=True)


class Trends(serializers.Serializer[Any]):
    instrument = serializers.CharField()
    computed_at = serializers.DateTimeField(allow_null=True)
    up_to_date = serializers.BooleanField()
    subscales = SubscaleTrend(many=True)


_ANSWERS = [2, 4, 3, 4, 2, 3, 3, 4, 3, 2, 4, 2, 4, 3, 3, 4, 3, 4, 2, 3, 3, 3, 2, 3, 4, 3]
SCS_EXAMPLES = [
    OpenApiExample(
        "One SCS-26",
        request_only=True,
        value={
            "id": "0199f2c4-6d1e-7a63-9c1a-5b8f1f0e2d3c",
            "instrument": "scs-26",
            "version": 1,
            "started_at": "2026-11-22T19:58:10+01:00",
            "completed_at": "2026-11-22T20:03:41+01:00",
            "timezone": "Europe/Berlin",
            "assessment": None,
            "responses": {f"scs{n:02}": answer for n, answer in enumerate(_ANSWERS, 1)},
        },
    )
]
CORRECTION_EXAMPLES = [
    OpenApiExample(
        "Item 5 was read backwards",
        request_only=True,
        value={
            "id": "0199f2d0-11aa-7b00-8c21-2f6f0a8f7e10",
            "responses": {f"scs{n:02}": answer for n, answer in enumerate(_ANSWERS, 1)} | {"scs05": 4},
            "reason": "I read item 5 backwards.",
        },
    )
]
