"""The OpenAPI description at `/api/v1/schema`, the same as `docs/openapi.yaml`."""

from functools import cache
from pathlib import Path

from django.conf import settings
from django.http import HttpResponse
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request

from backend.api import PublicView

FILE = Path(settings.BASE_DIR) / "docs" / "openapi.yaml"


class Schema(PublicView):
    """`GET /schema`"""

    @extend_schema(exclude=True)
    def get(self, request: Request) -> HttpResponse:
        """This description."""
        return HttpResponse(_text(), content_type="application/yaml; charset=utf-8")


@cache
def _text() -> bytes:
    return FILE.read_bytes()
