"""To stop taking part and to come back; to have everything erased, and to change one's mind."""

import base64
from typing import Any

from django.conf import settings
from django.http import HttpResponse
from django.utils import timezone
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.request import Request

from backend import openapi
from backend.api import PublicView, View, answer, device
from backend.body import read_nothing
from backend.care.access import own_participant, who
from backend.care.consent.services import come_back, withdraw
from backend.errors import Problem
from backend.keys import signing
from backend.rights.erasure import queries, schemas, services
from backend.rights.erasure.models import Erasure
from backend.wire import rfc3339, uuid


class MyWithdrawal(View):
    """`POST, DELETE /me/withdrawal`"""

    @extend_schema(
        parameters=[openapi.DEVICE],
        request=None,
        examples=[schemas.WITHDRAWAL_EXAMPLE],
        responses={
            200: schemas.WithdrawalSchema,
            201: schemas.WithdrawalSchema,
            **openapi.errors(400, 401, 403, 413, 415, 422),
        },
        tags=["rights"],
    )
    def post(self, request: Request) -> HttpResponse:
        """Stop taking part: every consent ends at once. 200 where one had stopped before.

        What there is stays with the clinic, and nobody is shown answers from it. What a phone still sends
        is kept, and not scored.
        """
        own = own_participant(who(request), right="withdrawal.made")
        read_nothing(request._request)
        withdrawal = withdraw(
            participant=own, actor=who(request).id, device=device(request), now=timezone.now()
        )
        told = {
            "withdrawn_at": rfc3339(withdrawal.at),
            "stopped": withdrawal.stopped,
            "kept": list(schemas.KEPT),
            "words": schemas.WITHDRAWN_WORDS,
        }
        return answer(told, 201 if withdrawal.new else 200)

    @extend_schema(request=None, responses={204: None, **openapi.errors(401, 403)}, tags=["rights"])
    def delete(self, request: Request) -> HttpResponse:
        """Come back. Consents are asked for anew; what was sent meanwhile is scored if it is sent again."""
        own = own_participant(who(request), right="withdrawal.undone")
        come_back(participant=own, actor=who(request).id)
        return HttpResponse(status=204)


class MyErasure(View):
    """`GET, POST, DELETE /me/erasure`"""

    @extend_schema(responses={200: schemas.ErasureSchema, **openapi.errors(401, 403, 404)}, tags=["rights"])
    def get(self, request: Request) -> HttpResponse:
        """The erasure one waits for; 404 where one waits for none."""
        own = own_participant(who(request), right="erasure.read")
        erasure = queries.under_way(own.id)
        if erasure is None:
            raise Problem(404, "not_found")
        return answer(_erasure(erasure))

    @extend_schema(
        request=None,
        examples=[schemas.ERASURE_EXAMPLE],
        responses={202: schemas.ErasureSchema, **openapi.errors(400, 401, 403, 413, 415, 422)},
        tags=["rights"],
    )
    def post(self, request: Request) -> HttpResponse:
        """Ask to be erased. It waits for seven days, and where one is in the days around a dosing session,
        until these are over; asked for again, it is the same one.
        """
        own = own_participant(who(request), right="erasure.requested")
        read_nothing(request._request)
        erasure = services.request_erasure(participant=own, actor=who(request).id, now=timezone.now())
        return answer(_erasure(erasure), 202)

    @extend_schema(
        request=None,
        responses={200: schemas.ErasureSchema, **openapi.errors(401, 403, 404, 409)},
        tags=["rights"],
    )
    def delete(self, request: Request) -> HttpResponse:
        """Change one's mind: nothing is erased. 409 `erasure_began` where it is too late."""
        own = own_participant(who(request), right="erasure.cancelled")
        cancelled = services.cancel_erasure(participant=own, actor=who(request).id, now=timezone.now())
        return answer(_erasure(cancelled))


class OneErasure(PublicView):
    """`GET /erasures/{id}`"""

    @extend_schema(
        auth=[],
        parameters=[OpenApiParameter("erasure", OpenApiTypes.UUID, OpenApiParameter.PATH)],
        responses={200: schemas.ErasureToldSchema, **openapi.errors(404)},
        tags=["rights"],
    )
    def get(self, request: Request, erasure: str) -> HttpResponse:
        """What became of an erasure, for whoever has its address; once it is done, a signed receipt."""
        id_ = uuid(erasure)
        told = queries.told(id_) if id_ else None
        if told is None:
            raise Problem(404, "not_found")
        return answer(
            {
                "id": str(told.id),
                "status": told.state,
                "erases_at": rfc3339(told.erases_at),
                "receipt": told.receipt,
                "signature": told.signature and _base64(told.signature),
                "public_key": _base64(signing.public_key()) if told.signature else None,
            }
        )


def _base64(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


def _erasure(erasure: Erasure) -> dict[str, Any]:
    return {
        "id": str(erasure.pk),
        "status": erasure.state,
        "requested_at": rfc3339(erasure.requested_at),
        "erases_at": rfc3339(erasure.erases_at),
        "receipt_url": f"{settings.PUBLIC_URL.rstrip('/')}/api/v1/erasures/{erasure.pk}",
        "words": schemas.words_for(erasure.state),
    }
