"""One's own devices: which there are, what one calls them, and signing one out from elsewhere."""

from typing import Any

from django.http import HttpResponse
from drf_spectacular.utils import OpenApiExample, extend_schema
from rest_framework import serializers
from rest_framework.exceptions import NotAuthenticated
from rest_framework.request import Request

from backend import openapi
from backend.accounts import queries, services
from backend.accounts.authentication import SignedInUser
from backend.accounts.queries import KnownDevice
from backend.api import (
    TextField,
    View,
    after_key,
    answer,
    checked,
    cursor_for,
    limit,
)
from backend.api import device as installation_of
from backend.body import read_json, read_nothing
from backend.errors import Problem
from backend.wire import uuid


class DeviceBody(serializers.Serializer[Any]):
    """What a person calls a device of theirs."""

    name = TextField(max_length=100)


class DeviceSchema(serializers.Serializer[Any]):
    id = serializers.UUIDField(help_text="What the installation sends as `X-Device`.")
    name = serializers.CharField(allow_null=True)
    first_seen_on = serializers.DateField(help_text="In UTC. A day is as much as is kept.")
    last_seen_on = serializers.DateField(help_text="The day it last signed in or renewed its tokens.")
    signed_in = serializers.BooleanField()
    current = serializers.BooleanField(help_text="Whether this request says it comes from it.")


class DevicesSchema(serializers.Serializer[Any]):
    results = DeviceSchema(many=True)
    next = serializers.CharField(allow_null=True)


class Devices(View):
    """`GET /me/devices`"""

    @extend_schema(
        operation_id="me_devices_list",
        parameters=[openapi.LIMIT, openapi.CURSOR, openapi.DEVICE],
        responses={200: DevicesSchema, **openapi.errors(401, 422)},
        tags=["people"],
    )
    def get(self, request: Request) -> HttpResponse:
        """The devices I have signed in on, first come first."""
        me, size, after = _me(request), limit(request), after_key(request)
        found = queries.devices(me, after=after, limit=size + 1)
        seen = found[:size]
        following = cursor_for(str(seen[-1].key)) if len(found) > size else None
        return answer({"results": [_shown(request, d) for d in seen], "next": following})


class OneDevice(View):
    """`PATCH, DELETE /me/devices/{id}`"""

    @extend_schema(
        request=openapi.json(DeviceBody),
        examples=[OpenApiExample("A name", request_only=True, value={"name": "The old phone"})],
        parameters=[openapi.DEVICE],
        responses={200: DeviceSchema, **openapi.errors(400, 401, 404, 413, 415, 422)},
        tags=["people"],
    )
    def patch(self, request: Request, device: str) -> HttpResponse:
        """Name a device of mine."""
        mine = _mine(request, device)
        fields = checked(DeviceBody, read_json(request._request))
        services.name_device(user=_me(request), installation=mine.installation, name=fields["name"])
        return answer(_shown(request, _mine(request, device)))

    @extend_schema(
        request=None,
        responses={204: None, **openapi.errors(401, 404, 413, 422)},
        tags=["people"],
    )
    def delete(self, request: Request, device: str) -> HttpResponse:
        """Sign a device of mine out, at once, and forget it."""
        mine = _mine(request, device)
        read_nothing(request._request)
        services.revoke_device(user=_me(request), installation=mine.installation)
        return HttpResponse(status=204)


def _me(request: Request) -> int:
    if not isinstance(request.user, SignedInUser):
        raise NotAuthenticated
    return request.user.id


def _mine(request: Request, id: str) -> KnownDevice:
    """A device of the asker's. Raises Problem 404 for another's as for one that never was."""
    installation = uuid(id)
    found = queries.device(_me(request), installation) if installation else None
    if found is None:
        raise Problem(404, "not_found")
    return found


def _shown(request: Request, device: KnownDevice) -> dict[str, Any]:
    return {
        "id": str(device.installation),
        "name": device.name,
        "first_seen_on": device.first_seen_on.isoformat(),
        "last_seen_on": device.last_seen_on.isoformat(),
        "signed_in": device.signed_in,
        "current": device.installation == installation_of(request),
    }
