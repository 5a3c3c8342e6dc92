"""The shapes of this feature's bodies and answers: read by its views, told in the OpenAPI description."""

from typing import Any

from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from drf_spectacular.utils import OpenApiExample
from rest_framework import serializers

from backend.api import (
    IdField,
    TextField,
    TruthField,
    WholeField,
)
from backend.care import codes
from backend.care.api import PersonSchema
from backend.care.codes import is_protocol
from backend.care.joining.models import DEFAULT_DAYS, LONGEST, Invitation
from backend.wire import zones

# A code for a new phone opens what somebody has written already: it lives shorter.
DEFAULT_RELINK_DAYS, MOST_RELINK_DAYS = 3, 14

_LONGEST_CODE = 64  # with every way of grouping it


class AddressField(serializers.EmailField):
    """An e-mail address."""

    def to_internal_value(self, data: Any) -> str:
        if not isinstance(data, str):
            raise serializers.ValidationError("A text.", "wrong_type")
        return super().to_internal_value(data)


class CodeField(TextField):
    """A code as somebody typed it, read: in any case, grouped in any way."""

    def __init__(self) -> None:
        super().__init__(
            max_length=_LONGEST_CODE,
            help_text="Sixteen characters without look-alikes, in any case, grouped in any way. The last"
            " one is a check: `code_mistyped` means a slip, and does not count as a wrong code.",
        )

    def to_internal_value(self, data: Any) -> str:
        code = codes.read(super().to_internal_value(data))
        if code is None:
            raise serializers.ValidationError("A slip.", "code_mistyped")
        return code


class InvitationBody(serializers.Serializer[Any]):
    """A code for somebody new, under the id its maker gave it."""

    id = IdField()
    clinic = IdField(required=False, allow_null=True, help_text="Needed by who belongs to several.")
    therapist = IdField(
        required=False,
        allow_null=True,
        help_text="The membership of the therapist who will care for them. Left out: one's own.",
    )
    protocol = TextField(
        max_length=64,
        required=False,
        allow_null=True,
        help_text="What is asked, and when, by code: lower-case letters, digits, and `.`, `_`, `-` between.",
    )
    expires_in_days = WholeField(min_value=1, max_value=LONGEST.days, default=DEFAULT_DAYS)

    def validate_protocol(self, value: str | None) -> str | None:
        if value is not None and not is_protocol(value):
            raise serializers.ValidationError("A protocol's code.", "invalid_value")
        return value


class RelinkBody(serializers.Serializer[Any]):
    """A code for a participant's new phone, under the id its maker gave it."""

    id = IdField()
    expires_in_days = WholeField(min_value=1, max_value=MOST_RELINK_DAYS, default=DEFAULT_RELINK_DAYS)


class CodeBody(serializers.Serializer[Any]):
    """A code."""

    code = CodeField()


class RedeemBody(serializers.Serializer[Any]):
    """A code, and what somebody brings along."""

    code = CodeField()
    timezone = TextField(max_length=64, help_text="IANA zone: `Europe/Berlin`. Only looked at when joining.")
    email = AddressField(
        max_length=254,
        required=False,
        allow_null=True,
        help_text="Needed for nothing. Theirs once they confirmed the code that is sent to it.",
    )
    password = TextField(max_length=256, required=False, allow_null=True, trim_whitespace=False)
    keep_other_devices = TruthField(
        default=False, help_text="With a code for a new phone: leave the others signed in."
    )

    def validate_timezone(self, value: str) -> str:
        if value not in zones():
            raise serializers.ValidationError("An IANA time zone.", "unknown_timezone")
        return value

    def validate_password(self, value: str | None) -> str | None:
        if value is not None:
            try:
                validate_password(value)
            except ValidationError:
                raise serializers.ValidationError("Too weak.", "password_too_weak") from None
        return value

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if attrs.get("password") is not None and attrs.get("email") is None:
            raise serializers.ValidationError({"email": ["A password goes with an address."]}, "required")
        return attrs


class InvitationSchema(serializers.Serializer[Any]):
    id = serializers.UUIDField()
    kind = serializers.ChoiceField(Invitation.Kind.choices)
    clinic = serializers.UUIDField()
    therapist = serializers.UUIDField(allow_null=True, help_text="Membership. Null for a new phone.")
    protocol = serializers.CharField(allow_null=True)
    created_at = serializers.DateTimeField()
    expires_at = serializers.DateTimeField()


class NewInvitationSchema(InvitationSchema):
    code = serializers.CharField(
        allow_null=True,
        help_text="Shown this once and kept nowhere: null when the same id is sent again. Was the answer"
        " lost, withdraw the invitation and make another.",
    )
    url = serializers.CharField(allow_null=True, help_text="The code is in the fragment, seen by no server.")
    qr = serializers.CharField(allow_null=True, help_text="The link as a picture: a data URI of an SVG.")


class InvitationsSchema(serializers.Serializer[Any]):
    results = InvitationSchema(many=True)
    next = serializers.CharField(allow_null=True)


class OperatorSchema(serializers.Serializer[Any]):
    name = serializers.CharField(allow_null=True)
    contact = serializers.CharField(allow_null=True)


class ClinicNameSchema(serializers.Serializer[Any]):
    name = serializers.CharField()


class PreviewSchema(serializers.Serializer[Any]):
    kind = serializers.ChoiceField(Invitation.Kind.choices)
    clinic = ClinicNameSchema()
    operator = OperatorSchema(help_text="Who runs this server.")
    stored = serializers.ListField(child=serializers.CharField(), help_text="What is kept, in plain words.")
    email_required = serializers.BooleanField(help_text="Always false.")
    languages = serializers.ListField(child=serializers.CharField())
    expires_at = serializers.DateTimeField()


class ClinicSchema(serializers.Serializer[Any]):
    id = serializers.UUIDField()
    name = serializers.CharField()


class SignedInSchema(serializers.Serializer[Any]):
    access_token = serializers.CharField(help_text="As of a sign-in just made: a passkey can be added now.")
    refresh_token = serializers.CharField()
    participant = PersonSchema()
    clinic = ClinicSchema()


class RedeemedSchema(SignedInSchema):
    kind = serializers.ChoiceField(Invitation.Kind.choices)
    recovery_codes = serializers.ListField(
        child=serializers.CharField(), help_text="Eight, shown this once. Each signs in once, on any phone."
    )
    email_to_confirm = serializers.BooleanField(
        help_text="Whether an address was given: the same whosever it is."
    )


class RecoveredSchema(SignedInSchema):
    recovery_codes_left = serializers.IntegerField()


class RecoveryCodesSchema(serializers.Serializer[Any]):
    recovery_codes = serializers.ListField(child=serializers.CharField())


INVITATION_EXAMPLE = OpenApiExample(
    "Somebody new in my care",
    request_only=True,
    value={
        "id": "0199f1aa-3c00-7d10-9a77-0b6f5c1d2e40",
        "protocol": "integration-12w",
        "expires_in_days": 14,
    },
)


RELINK_EXAMPLE = OpenApiExample(
    "A new phone",
    request_only=True,
    value={"id": "0199f1aa-3c00-7d10-9a77-0b6f5c1d2e41", "expires_in_days": 3},
)


CODE_EXAMPLE = OpenApiExample("As typed", request_only=True, value={"code": "K7QM-2XWP-94HD-RTCW"})


REDEEM_EXAMPLE = OpenApiExample(
    "Without an address",
    request_only=True,
    value={"code": "K7QM-2XWP-94HD-RTCW", "timezone": "Europe/Berlin"},
)
