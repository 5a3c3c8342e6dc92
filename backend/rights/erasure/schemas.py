"""Withdrawal and erasure as the wire shows them, and the words that go with them."""

from typing import Any

from drf_spectacular.utils import OpenApiExample
from rest_framework import serializers

from backend.rights.erasure.models import Erasure

# What stays with the clinic when somebody stops: it must keep its records, and nobody is shown answers from
# them without consent to care.
KEPT = ("administrations", "dosing_sessions", "consents", "audit")
WITHDRAWN_WORDS = (
    "You have stopped taking part, and that is all you need to do. From now on nobody reads your answers,"
    " and nothing new is used. What you told before stays with your clinic, which has to keep its"
    " records; you can have it erased. If you ever want to come back, you are welcome."
)
WAITING_WORDS = (
    "We will erase what you told us, and the keys it is sealed under, on the day below. Until then you can"
    " change your mind, and nothing is lost. If you would like a copy first, ask for one. Keep the address of"
    " your receipt: once you are erased, we no longer know whose it is."
)
BEGUN_WORDS = "What you told us is being erased. The address of your receipt will say when it is done."
CANCELLED_WORDS = "Nothing is erased. Everything is as it was."


def words_for(state: str) -> str:
    """What somebody is told of their erasure in that state."""
    return {
        Erasure.State.WAITING: WAITING_WORDS,
        Erasure.State.CANCELLED: CANCELLED_WORDS,
    }.get(Erasure.State(state), BEGUN_WORDS)


class WithdrawalSchema(serializers.Serializer[Any]):
    withdrawn_at = serializers.DateTimeField()
    stopped = serializers.ListField(
        child=serializers.CharField(), help_text="The streams whose consent ended with it."
    )
    kept = serializers.ListField(
        child=serializers.ChoiceField(KEPT), help_text="What stays with the clinic, until it is erased."
    )
    words = serializers.CharField(help_text="To be shown.")


class ErasureSchema(serializers.Serializer[Any]):
    id = serializers.UUIDField(help_text="Keep it: afterwards it is the only way to the receipt.")
    status = serializers.ChoiceField(Erasure.State.choices)
    requested_at = serializers.DateTimeField()
    erases_at = serializers.DateTimeField(help_text="Not before: until then it can be cancelled.")
    receipt_url = serializers.CharField()
    words = serializers.CharField(help_text="To be shown.")


class KeptSchema(serializers.Serializer[Any]):
    what = serializers.CharField()
    why = serializers.CharField()


class ReceiptSchema(serializers.Serializer[Any]):
    id = serializers.UUIDField()
    requested_at = serializers.DateTimeField()
    erased_at = serializers.DateTimeField()
    destroyed = serializers.DictField(child=serializers.IntegerField(), help_text="How many of each kind.")
    keys_destroyed = serializers.IntegerField()
    kept = KeptSchema(many=True)
    copies_until = serializers.DateTimeField(
        help_text="Until then a copy of the keys may lie in a backup of them; not after."
    )
    words = serializers.CharField()


class ErasureToldSchema(serializers.Serializer[Any]):
    """What is told to whoever has the address."""

    id = serializers.UUIDField()
    status = serializers.ChoiceField(Erasure.State.choices)
    erases_at = serializers.DateTimeField()
    receipt = ReceiptSchema(allow_null=True, help_text="Once it is done.")
    signature = serializers.CharField(
        allow_null=True,
        help_text="Ed25519, in base64, over `receipt` as JSON in UTF-8, keys sorted, without blanks.",
    )
    public_key = serializers.CharField(allow_null=True, help_text="32 bytes in base64.")


_ID = "5a0f4c1e-90d5-4c55-9a34-7d1be7a6f0c2"
WITHDRAWAL_EXAMPLE = OpenApiExample(
    "Stopped",
    response_only=True,
    status_codes=["201"],
    value={
        "withdrawn_at": "2026-05-04T18:30:00+00:00",
        "stopped": ["care", "research"],
        "kept": list(KEPT),
        "words": WITHDRAWN_WORDS,
    },
)
ERASURE_EXAMPLE = OpenApiExample(
    "It waits",
    response_only=True,
    status_codes=["202"],
    value={
        "id": _ID,
        "status": "waiting",
        "requested_at": "2026-05-04T18:30:00+00:00",
        "erases_at": "2026-05-11T18:30:00+00:00",
        "receipt_url": f"https://selfkind.example/api/v1/erasures/{_ID}",
        "words": WAITING_WORDS,
    },
)
