"""A person's own copy of everything: asked for, waited for, fetched. By themselves and nobody else."""

from collections.abc import Iterator

from django.db import transaction
from django.http import HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.utils import timezone
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request

from backend import openapi, scope
from backend.api import View, after_instant, answer, cursor_for, limit
from backend.body import read_nothing
from backend.care import access
from backend.care.access import SeenParticipant, who
from backend.errors import Problem
from backend.keys.sealing import Holder
from backend.rights.export import queries, services
from backend.rights.export.models import Export
from backend.rights.export.schemas import ExportSchema, ExportsSchema, shown
from backend.wake import wake
from backend.wire import rfc3339

_NOT_THERE = {
    Export.Status.QUEUED: "export_not_ready",
    Export.Status.RUNNING: "export_not_ready",
    Export.Status.FAILED: "export_failed",
    Export.Status.EXPIRED: "export_expired",
}


class RequestExport(View):
    """`POST /me/export`"""

    @extend_schema(
        request=None,
        responses={202: ExportSchema, **openapi.errors(400, 401, 403, 413, 415, 422)},
        tags=["my data"],
    )
    def post(self, request: Request) -> HttpResponse:
        """Ask for a copy of everything that is kept of me. While one is being made, it is that one."""
        user = who(request)
        own = access.own_participant(user, right="export.requested")
        read_nothing(request._request)
        now = timezone.now()
        export = services.request_export(participant=own, actor=user.id, now=now)
        transaction.on_commit(lambda: wake("backend.rights.export.tasks.make_exports"))
        return answer(shown(export, now=now), 202)


class Exports(View):
    """`GET /me/exports`"""

    @extend_schema(
        operation_id="me_exports_list",
        parameters=[openapi.LIMIT, openapi.CURSOR],
        responses={200: ExportsSchema, **openapi.errors(401, 403, 422)},
        tags=["my data"],
    )
    def get(self, request: Request) -> HttpResponse:
        """The copies I asked for, newest first."""
        own = access.own_participant(who(request), right="exports.read")
        size, now = limit(request), timezone.now()
        found = queries.exports(own.id, before=after_instant(request), limit=size + 1)
        seen = found[:size]
        more = len(found) > size
        following = cursor_for(rfc3339(seen[-1].requested_at), str(seen[-1].pk)) if more else None
        return answer({"results": [shown(export, now=now) for export in seen], "next": following})


class OneExport(View):
    """`GET /me/exports/{id}`"""

    @extend_schema(responses={200: ExportSchema, **openapi.errors(401, 403, 404)}, tags=["my data"])
    def get(self, request: Request, export: str) -> HttpResponse:
        """How far a copy of mine is."""
        own = access.own_participant(who(request), right="exports.read")
        return answer(shown(queries.export(own.id, export), now=timezone.now()))


class Archive(View):
    """`GET /me/exports/{id}/archive`"""

    @extend_schema(
        responses={
            (200, "application/zip"): OpenApiTypes.BINARY,
            **openapi.errors(401, 403, 404, 409),
        },
        tags=["my data"],
    )
    def get(self, request: Request, export: str) -> HttpResponseBase:
        """A copy of mine, as a ZIP archive that opens without this software.

        409 `export_not_ready` before it is ready, `export_failed` where it could not be made, and
        `export_expired` once it was deleted: seven days after it was ready.
        """
        user = who(request)
        own = access.own_participant(user, right="export.downloaded")
        found = queries.export(own.id, export)
        status = queries.status(found, now=timezone.now())
        if status in _NOT_THERE:
            raise Problem(409, _NOT_THERE[status])
        # Opened before anything is answered: a key that is gone is a refusal, not half a file.
        first = queries.part(found, 1, _holder(own))
        services.note_download(export=found, participant=own, actor=user.id)
        return StreamingHttpResponse(
            _pieces(found, own, first),
            content_type="application/zip",
            headers={
                "Content-Length": str(found.size),
                "Content-Disposition": f'attachment; filename="selfkind-{found.requested_at:%Y-%m-%d}.zip"',
            },
        )


def _pieces(export: Export, own: SeenParticipant, first: bytes) -> Iterator[bytes]:
    """The archive, piece by piece, each opened as it is sent: no more than one is in memory.

    By then the request's transaction is over, and what it saw with it: each piece has one of its own.
    """
    yield first
    sent, number = len(first), 1
    while sent < (export.size or 0):
        number += 1
        with scope.participants([own.id]):
            piece = queries.part(export, number, _holder(own))
        yield piece
        sent += len(piece)


def _holder(own: SeenParticipant) -> Holder:
    return Holder(own.public_id, own.clinic_id)
