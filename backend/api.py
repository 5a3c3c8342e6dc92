"""What every endpoint shares: JSON in and out, pages, and the description of errors."""

import base64
from collections.abc import Iterable
from datetime import datetime
from http import HTTPStatus
from typing import Any
from uuid import UUID

import orjson
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers
from rest_framework.negotiation import BaseContentNegotiation
from rest_framework.renderers import BaseRenderer
from rest_framework.request import Request
from rest_framework.views import APIView

from backend import scope
from backend.errors import Fault, Problem, pointer, problem_for
from backend.wire import instant, rfc3339, uuid

PAGE = 50
LARGEST_PAGE = 200


class OnlyJSON(BaseContentNegotiation):
    """There is one representation, so there is nothing to negotiate."""

    def select_parser(self, request: Request, parsers: Iterable[Any]) -> None:
        return None

    def select_renderer(
        self,
        request: Request,
        renderers: Iterable[BaseRenderer],
        format_suffix: str | None = None,
    ) -> tuple[BaseRenderer, str]:
        return next(iter(renderers)), "application/json"


class View(APIView):
    """An endpoint. Bodies are read by `backend.body`, and only after access is decided."""

    parser_classes = ()
    content_negotiation_class = OnlyJSON
    metadata_class = None  # OPTIONS would tell of the code behind

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        """The answer, once everything behind it is committed; after a fault of ours, undone.

        A refusal is an answer like others: what is kept of it (an audit row, a body in quarantine) stays.
        """
        with scope.request_transaction() as transaction:
            response = super().dispatch(request, *args, **kwargs)
            transaction.failed = response.status_code >= HTTPStatus.INTERNAL_SERVER_ERROR
        return response


class PublicView(View):
    """An endpoint for anybody: it tells nothing of anybody."""

    authentication_classes = ()
    permission_classes = ()


def answer(data: object, status: int = 200, headers: dict[str, str] | None = None) -> HttpResponse:
    """The data as JSON."""
    return HttpResponse(orjson.dumps(data), status=status, content_type="application/json", headers=headers)


def device(request: HttpRequest | Request) -> UUID | None:
    """The installation an app names in `X-Device`; None where it names none we can read."""
    return uuid(request.META.get("HTTP_X_DEVICE"))


def filter_value(request: Request, name: str) -> str | None:
    """A query parameter; an empty one is none: `?instrument=&since=` filters nothing."""
    text = request.query_params.get(name)
    if text and "\0" in text:  # PostgreSQL takes no such text, not even to compare with
        raise misfit([Fault(pointer(name), "invalid_value")])
    return text or None


def instant_value(request: Request, name: str) -> datetime | None:
    """An instant given as a query parameter; None where none is given."""
    text = filter_value(request, name)
    if text is None:
        return None
    # A plus sign in a query is a space to most readers; an instant has none.
    at = instant(text.replace(" ", "+"))
    if at is None:
        raise misfit([Fault(pointer(name), "invalid_datetime")])
    return at


def limit(request: Request) -> int:
    """How many results are asked for: `?limit=`, 1 to 200, else 50."""
    text = filter_value(request, "limit")
    if text is None:
        return PAGE
    if text.isascii() and text.isdecimal() and len(text) <= 3 and 1 <= int(text) <= LARGEST_PAGE:
        return int(text)
    raise misfit([Fault("/limit", "invalid_limit")])


def cursor_for(*parts: str) -> str:
    """An opaque, URL-safe cursor that says where a page ended."""
    return base64.urlsafe_b64encode(orjson.dumps(parts)).rstrip(b"=").decode()


def cursor_parts(text: str, count: int) -> list[str]:
    """What `cursor_for` was given. A cursor we did not make is refused."""
    try:
        parts = orjson.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    except ValueError:
        parts = None
    if not (isinstance(parts, list) and len(parts) == count and all(isinstance(p, str) for p in parts)):
        raise bad_cursor()
    return parts


def after_key(request: Request) -> int:
    """The key beyond which a list in the order of keys goes on: 0 at its beginning."""
    cursor = filter_value(request, "cursor")
    if cursor is None:
        return 0
    (key,) = cursor_parts(cursor, 1)
    if not (key.isascii() and key.isdecimal() and len(key) < 19):
        raise bad_cursor()
    return int(key)


def after_instant(request: Request) -> tuple[datetime, UUID] | None:
    """The instant and id beyond which a list in that order goes on; None at its beginning."""
    cursor = filter_value(request, "cursor")
    if cursor is None:
        return None
    at, id_ = cursor_parts(cursor, 2)
    ended_at, ended_with = instant(at), uuid(id_)
    if ended_at is None or ended_with is None:
        raise bad_cursor()
    return ended_at, ended_with


def bad_cursor() -> Problem:
    return misfit([Fault("/cursor", "invalid_cursor")])


@extend_schema_field(OpenApiTypes.DATETIME)
class InstantField(serializers.Field):
    """An RFC 3339 instant with its offset."""

    def to_internal_value(self, data: object) -> datetime:
        if (at := instant(data)) is None:
            raise serializers.ValidationError("An RFC 3339 instant with its offset.", "invalid_datetime")
        return at

    def to_representation(self, value: datetime) -> str:
        return rfc3339(value)


@extend_schema_field(OpenApiTypes.UUID)
class IdField(serializers.Field):
    """A UUID of any version, which the phone made."""

    def to_internal_value(self, data: object) -> UUID:
        if (id_ := uuid(data)) is None:
            raise serializers.ValidationError("A UUID in its usual form.", "invalid_uuid")
        return id_

    def to_representation(self, value: UUID) -> str:
        return str(value)


class TextField(serializers.CharField):
    """A text, as a text: 7 is a number."""

    def to_internal_value(self, data: Any) -> str:
        if not isinstance(data, str):
            raise serializers.ValidationError("A text.", "wrong_type")
        return super().to_internal_value(data)


class WholeField(serializers.IntegerField):
    """A whole number, as a number: "7" is a text."""

    def to_internal_value(self, data: Any) -> int:
        if isinstance(data, bool) or not isinstance(data, int):
            raise serializers.ValidationError("A whole number.", "wrong_type")
        return super().to_internal_value(data)


class TruthField(serializers.BooleanField):
    """true or false: "yes" is a text."""

    def to_internal_value(self, data: Any) -> bool:
        if not isinstance(data, bool):
            raise serializers.ValidationError("true or false.", "wrong_type")
        return data


class AmountField(serializers.DecimalField):
    """A number, as a number: "25" is a text."""

    def to_internal_value(self, data: Any) -> Any:
        if isinstance(data, bool) or not isinstance(data, int | float):
            raise serializers.ValidationError("A number.", "not_a_number")
        return super().to_internal_value(data)


def checked(serializer_class: type[serializers.Serializer[Any]], body: object) -> dict[str, Any]:
    """The body's fields as the serializer reads them. Raises Problem 422 naming each that does not fit."""
    if not isinstance(body, dict):
        raise misfit([Fault("", "wrong_type")])
    serializer = serializer_class(data=body)
    faults = [Fault(pointer(name), "unknown_field") for name in body if name not in serializer.fields]
    if not serializer.is_valid():
        faults += problem_for(serializers.ValidationError(serializer.errors)).errors
    if faults:
        raise misfit(faults)
    return dict(serializer.validated_data)


def misfit(faults: list[Fault]) -> Problem:
    """The 422 for a readable body that is wrong in these places."""
    return Problem(422, "validation_failed", errors=faults)
