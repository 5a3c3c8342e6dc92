"""How the API describes itself beyond what the code already says: errors, pages, sign-in."""

from typing import Any

from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse
from rest_framework import serializers

LIMIT = OpenApiParameter("limit", int, description="Results a page: 1 to 200, else 50.")
CURSOR = OpenApiParameter("cursor", str, description="The `next` of the page before, with the same filters.")
DEVICE = OpenApiParameter(
    "X-Device", OpenApiTypes.UUID, OpenApiParameter.HEADER, description="The installation that sends."
)
IF_NONE_MATCH = OpenApiParameter(
    "If-None-Match", str, OpenApiParameter.HEADER, description="The ETag held: 304 where it still stands."
)

_MEANINGS = {
    400: "Unreadable. Nothing was stored.",
    401: "Not signed in.",
    403: "A right you do not have yourself, or one that needs a consent: `no_consent`.",
    404: "Not there, or not yours to see: the answer is the same.",
    409: "The id is taken by other content, which stands; or what is stored does not open.",
    410: "Erased, and nothing of it is kept.",
    413: "Too large.",
    415: "Not JSON in UTF-8, or encoded.",
    422: "Readable, but wrong where `errors` points.",
    429: "Too many wrong codes; `Retry-After` says when to come back.",
    503: "Writes do not succeed just now; try again after `Retry-After` seconds.",
}


class FaultSchema(serializers.Serializer[Any]):
    pointer = serializers.CharField(allow_blank=True, help_text="RFC 6901 pointer to the place.")
    code = serializers.CharField(help_text="Stable; listed in docs/errors.md.")
    detail = serializers.CharField(allow_blank=True)


class ProblemSchema(serializers.Serializer[Any]):
    """An error, as RFC 9457 has it."""

    type = serializers.CharField()
    title = serializers.CharField()
    status = serializers.IntegerField()
    code = serializers.CharField(help_text="Stable; listed in docs/errors.md.")
    detail = serializers.CharField(allow_blank=True)
    errors = FaultSchema(many=True)  # type: ignore[assignment]


def json(body: type[serializers.Serializer[Any]]) -> dict[str, type[serializers.Serializer[Any]]]:
    """The body of an operation. Said outright, because no parser of REST framework reads our bodies."""
    return {"application/json": body}


def errors(*statuses: int) -> dict[Any, OpenApiResponse]:
    """The error answers of these statuses, the 503 any endpoint can give, and, where somebody signs in, the
    410 that tells a phone that its owner was erased."""
    return {
        (status, "application/problem+json"): OpenApiResponse(ProblemSchema, description=_MEANINGS[status])
        for status in sorted({*statuses, 503, *({410} if 401 in statuses else ())})
    }


class AccessTokenScheme(OpenApiAuthenticationExtension):
    target_class = "backend.care.access.PersonToken"
    name = "access_token"

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:
        return {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}
