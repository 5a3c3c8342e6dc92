"""Instruments, administrations and trends over HTTP."""

import hashlib
import re
from functools import partial

import orjson
from django.db import transaction
from django.http import HttpResponse
from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request

from backend import openapi
from backend.api import (
    View,
    answer,
    bad_cursor,
    cursor_for,
    cursor_parts,
    device,
    filter_value,
    instant_value,
    limit,
    misfit,
)
from backend.body import read_json, read_nothing
from backend.care import access
from backend.care.access import SeenParticipant, who
from backend.errors import Fault, Problem, pointer
from backend.wake import wake
from backend.wire import instant, rfc3339, uuid
from scales import queries, schemas, services, trends, wire
from scales.instrument import Instrument
from scales.services import Kept, Sender, Settled

_VERSION = re.compile(r"[1-9][0-9]{0,8}", re.ASCII)


class Instruments(View):
    """`GET /instruments`"""

    @extend_schema(
        operation_id="instruments_list",
        parameters=[openapi.IF_NONE_MATCH],
        responses={200: schemas.Instruments, 304: None, **openapi.errors(401)},
        tags=["instruments"],
    )
    def get(self, request: Request) -> HttpResponse:
        """The newest version of every instrument. `ready` is false while its wording is missing."""
        newest = queries.newest(queries.instruments())
        return _tagged(request, {"results": [wire.definition(i) for i in newest.values()], "next": None})


class NewestInstrument(View):
    """`GET /instruments/{code}`"""

    @extend_schema(
        parameters=[openapi.IF_NONE_MATCH],
        responses={200: schemas.Instrument, 304: None, **openapi.errors(401, 404)},
        tags=["instruments"],
    )
    def get(self, request: Request, code: str) -> HttpResponse:
        """The newest version of one instrument."""
        found = queries.newest(queries.instruments()).get(code)
        return _tagged(request, wire.definition(_known(found)))


class InstrumentVersion(View):
    """`GET /instruments/{code}/versions/{n}`"""

    @extend_schema(
        parameters=[openapi.IF_NONE_MATCH],
        responses={200: schemas.Instrument, 304: None, **openapi.errors(401, 404)},
        tags=["instruments"],
    )
    def get(self, request: Request, code: str, version: str) -> HttpResponse:
        """One version of one instrument. A released version never changes."""
        number = int(version) if _VERSION.fullmatch(version) else 0
        return _tagged(request, wire.definition(_known(queries.instruments().get((code, number)))))


def _known(found: Instrument | None) -> Instrument:
    if found is None:
        raise Problem(404, "not_found")
    return found


def _tagged(request: Request, data: object) -> HttpResponse:
    """The data under a strong ETag; 304 without it where the client has it already."""
    body = orjson.dumps(data)
    tag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
    headers = {"ETag": tag, "Cache-Control": "private, no-cache"}
    held = [t.strip().removeprefix("W/") for t in request.META.get("HTTP_IF_NONE_MATCH", "").split(",")]
    if tag in held or "*" in held:
        return HttpResponse(status=304, headers=headers)
    return HttpResponse(body, content_type="application/json", headers=headers)


class Administrations(View):
    """`GET, POST /administrations`"""

    @extend_schema(
        operation_id="administrations_list",
        parameters=[schemas.INSTRUMENT_FILTER, schemas.SINCE, openapi.LIMIT, openapi.CURSOR],
        responses={200: schemas.Administrations, **openapi.errors(401, 403, 422)},
        tags=["administrations"],
    )
    def get(self, request: Request) -> HttpResponse:
        """One's own administrations, newest completion first."""
        return _page(request, access.own_participant(who(request), right="administrations.read"))

    @extend_schema(
        parameters=[openapi.DEVICE],
        request=openapi.json(schemas.AdministrationBody),
        examples=schemas.SCS_EXAMPLES,
        responses={
            200: schemas.Administration,
            201: schemas.Administration,
            202: schemas.KeptAdministration,
            **openapi.errors(400, 401, 403, 409, 410, 413, 415, 422),
        },
        tags=["administrations"],
    )
    def post(self, request: Request) -> HttpResponse:
        """Send one filling of one instrument, as the participant.

        201 the first time; 200 for the same content again, with the first answer; 202 for an
        instrument version unknown here: kept, and scored when it arrives; and 202 for somebody who takes no
        part: kept, and not scored unless it is sent again once they do. 409 for an id taken by
        other content and 422 for content that does not fit: both are kept for staff to see.
        """
        own = access.own_participant(who(request), right="administration.recorded")
        result = services.record_administration(
            participant=own,
            body=read_json(request._request),
            received_at=timezone.now(),
            sender=Sender(user=who(request).id, device=device(request)),
        )
        return _outcome(result)


class OneAdministration(View):
    """`GET /administrations/{id}`"""

    @extend_schema(
        responses={200: schemas.AdministrationWithRevisions, **openapi.errors(401, 404, 409, 410)},
        tags=["administrations"],
    )
    def get(self, request: Request, administration: str) -> HttpResponse:
        """One administration with its answers and every revision, for its participant or their therapist."""
        id_ = uuid(administration)
        owner = queries.owner_of(id_) if id_ else None
        if id_ is None or owner is None:
            raise Problem(404, "not_found")
        try:
            seen = access.participant(who(request), owner, right="administration.read", subject=id_)
        except Problem as refused:
            # Which ids there are is the participant's to share as well: no consent is no administration.
            raise Problem(404, "not_found") from refused
        held_at = queries.held_from(seen, who(request).id, timezone.now())
        held = queries.held_revisions(id_, held_at=held_at) if held_at else {}
        return answer(wire.with_revisions(*queries.revisions(id_, seen.holder), held))


class Corrections(View):
    """`POST /administrations/{id}/corrections`"""

    @extend_schema(
        parameters=[openapi.DEVICE],
        request=openapi.json(schemas.CorrectionBody),
        examples=schemas.CORRECTION_EXAMPLES,
        responses={
            200: schemas.CurrentAdministration,
            201: schemas.CurrentAdministration,
            202: schemas.KeptCorrection,
            **openapi.errors(400, 401, 403, 404, 409, 410, 413, 415, 422),
        },
        tags=["administrations"],
    )
    def post(self, request: Request, administration: str) -> HttpResponse:
        """Correct one's own administration: a further revision with a reason. All stay readable.

        202 for somebody who takes no part: kept, and not scored.
        """
        own = access.own_participant(who(request), right="administration.opened")
        id_ = uuid(administration)
        owner = queries.owner_of(id_) if id_ else None
        if id_ is None or owner is None:
            raise Problem(404, "not_found")
        # One's therapist may read it, and correct it no more than anybody else.
        if access.participant(who(request), owner, right="administration.opened", subject=id_) != own:
            raise Problem(404, "not_found")
        result = services.correct_administration(
            participant=own,
            administration=id_,
            body=read_json(request._request),
            received_at=timezone.now(),
            sender=Sender(user=who(request).id, device=device(request)),
        )
        return _outcome(result)


class ParticipantAdministrations(View):
    """`GET /participants/{id}/administrations`"""

    @extend_schema(
        operation_id="participants_administrations_list",
        parameters=[schemas.INSTRUMENT_FILTER, schemas.SINCE, openapi.LIMIT, openapi.CURSOR],
        responses={200: schemas.Administrations, **openapi.errors(401, 403, 404, 422)},
        tags=["administrations"],
    )
    def get(self, request: Request, participant: str) -> HttpResponse:
        """A participant's administrations, newest completion first."""
        return _page(request, access.participant(who(request), participant, right="administrations.read"))


class Releases(View):
    """`POST /participants/{id}/administrations/{id}/release`"""

    @extend_schema(
        request=None,
        responses={
            200: schemas.Released,
            201: schemas.Released,
            **openapi.errors(400, 401, 403, 404, 409, 413, 415, 422),
        },
        tags=["administrations"],
    )
    def post(self, request: Request, participant: str, administration: str) -> HttpResponse:
        """Let a participant see all scores of an administration now: 201, or 200 where they may already.

        A score that a clinic holds back comes to its participant by itself at `release_at`, at the latest.
        """
        seen = access.participant(who(request), participant, right="release.opened")
        id_ = uuid(administration)
        if id_ is None or not queries.is_of(id_, seen.id):
            raise Problem(404, "not_found")
        read_nothing(request._request)
        released_at, new = services.release_scores(
            participant=seen, administration=id_, actor=who(request).id, released_at=timezone.now()
        )
        released = {"administration": str(id_), "released_at": rfc3339(released_at)}
        return answer(released, 201 if new else 200)


def _outcome(result: Settled | Kept) -> HttpResponse:
    """What a sender is answered. Raises the Problem of what could not be recorded, and was kept."""
    if isinstance(result, Settled):
        if result.new:
            # Sooner it would find nothing: the answer is recorded when this request's transaction ends.
            transaction.on_commit(partial(wake, "scales.tasks.compute_trends"))
        status = 201 if result.new else 200
        return HttpResponse(result.answer, status=status, content_type="application/json")
    if result.why in ("unknown_version", "withdrawn"):
        return answer(wire.kept(result.entry) if result.entry else {"outcome": "quarantined"}, 202)
    if result.why == "conflict":
        raise Problem(409, "conflict")
    if result.why == "not_enabled":
        raise Problem(422, "not_enabled")
    raise misfit([Fault(pointer(*place), code, detail) for place, code, detail in result.faults])


def _page(request: Request, seen: SeenParticipant) -> HttpResponse:
    """One page of a participant's administrations."""
    size = limit(request)
    instrument = filter_value(request, "instrument")
    since = instant_value(request, "since")
    filters = f"{instrument}|{since}"
    before = None
    if cursor := filter_value(request, "cursor"):
        at, id_, of = cursor_parts(cursor, 3)
        ended_at, ended_with = instant(at), uuid(id_)
        if ended_at is None or ended_with is None or of != filters:
            raise bad_cursor()
        before = (ended_at, ended_with)
    found = queries.answers(
        seen.id,
        instrument=instrument,
        since=since,
        before=before,
        held_at=queries.held_from(seen, who(request).id, timezone.now()),
        limit=size + 1,
    )
    last = found[size - 1] if len(found) > size else None
    return answer(
        {
            "results": [orjson.Fragment(wire.current(a)) for a in found[:size]],
            "next": last and cursor_for(last.at, last.id, filters),
        }
    )


class MyTrends(View):
    """`GET /me/trends`"""

    @extend_schema(
        parameters=[schemas.INSTRUMENT, schemas.ANCHOR],
        responses={200: schemas.Trends, **openapi.errors(401, 403, 422)},
        tags=["trends"],
    )
    def get(self, request: Request) -> HttpResponse:
        """One's own trends in one instrument. `up_to_date` says whether every administration is in them."""
        return _trends(request, access.own_participant(who(request), right="trends.read"))


class ParticipantTrends(View):
    """`GET /participants/{id}/trends`"""

    @extend_schema(
        parameters=[schemas.INSTRUMENT, schemas.ANCHOR],
        responses={200: schemas.Trends, **openapi.errors(401, 403, 404, 422)},
        tags=["trends"],
    )
    def get(self, request: Request, participant: str) -> HttpResponse:
        """A participant's trends in one instrument, for themselves or their therapist."""
        return _trends(request, access.participant(who(request), participant, right="trends.read"))


def _trends(request: Request, seen: SeenParticipant) -> HttpResponse:
    code = filter_value(request, "instrument")
    if code is None:
        raise misfit([Fault("/instrument", "required")])
    if not queries.exists(code):
        raise misfit([Fault("/instrument", "invalid_value")])
    held_at = queries.held_from(seen, who(request).id, timezone.now())
    found = trends.read(seen, code, filter_value(request, "anchor"), held_at=held_at)
    if found is None:
        raise misfit([Fault("/anchor", "invalid_value")])
    envelope = orjson.dumps(
        {
            "instrument": code,
            "computed_at": found.computed_at and rfc3339(found.computed_at),
            "up_to_date": found.up_to_date,
        }
    )
    # The worker left the subscales as the wire wants them: they are passed on unread.
    return HttpResponse(
        envelope[:-1] + b',"subscales":' + found.subscales + b"}", content_type="application/json"
    )
