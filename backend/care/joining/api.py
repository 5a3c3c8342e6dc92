"""Invitations, joining with one, a new phone, and coming back with a recovery code."""

from collections.abc import Callable
from datetime import datetime
from typing import Any, TypeVar

from django.conf import settings
from django.db import transaction
from django.http import HttpResponse
from django.utils.timezone import now as clock
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request

from backend import openapi, scope
from backend.accounts import by_code
from backend.api import (
    PublicView,
    View,
    after_instant,
    answer,
    checked,
    cursor_for,
    device,
    limit,
    misfit,
)
from backend.body import read_json, read_nothing
from backend.care import access, codes
from backend.care.access import who
from backend.care.api import person
from backend.care.joining import queries, services, sheet
from backend.care.joining.models import Invitation
from backend.care.joining.schemas import (
    CODE_EXAMPLE,
    INVITATION_EXAMPLE,
    REDEEM_EXAMPLE,
    RELINK_EXAMPLE,
    CodeBody,
    InvitationBody,
    InvitationsSchema,
    NewInvitationSchema,
    PreviewSchema,
    RecoveredSchema,
    RecoveryCodesSchema,
    RedeemBody,
    RedeemedSchema,
    RelinkBody,
)
from backend.care.models import Clinic
from backend.errors import Fault, Problem, problem_response
from backend.wire import rfc3339, uuid

Found = TypeVar("Found")


REFUSALS = (400, 413, 415, 422, 429)


class Invitations(View):
    """`GET, POST /invitations`"""

    @extend_schema(
        operation_id="invitations_list",
        parameters=[openapi.LIMIT, openapi.CURSOR],
        responses={200: InvitationsSchema, **openapi.errors(401, 403, 422)},
        tags=["joining"],
    )
    def get(self, request: Request) -> HttpResponse:
        """The open invitations of the clinics one may invite to, newest first, without their codes.

        A therapist sees only their own of those for a new phone.
        """
        places = access.acting_anywhere(who(request), right="invitation.created")
        size = limit(request)
        found = queries.open_invitations(
            places, user=who(request).id, now=clock(), after=after_instant(request), limit=size + 1
        )
        page = found[:size]
        last = page[-1] if len(found) > size else None
        following = cursor_for(rfc3339(last.created_at), str(last.pk)) if last else None
        return answer({"results": [_invitation(i) for i in page], "next": following})

    @extend_schema(
        request=openapi.json(InvitationBody),
        examples=[INVITATION_EXAMPLE],
        responses={
            200: NewInvitationSchema,
            201: NewInvitationSchema,
            **openapi.errors(400, 401, 403, 409, 413, 415, 422),
        },
        tags=["joining"],
    )
    def post(self, request: Request) -> HttpResponse:
        """Invite somebody new: 201 with the code, or 200 without it where the same id is known."""
        user = who(request)
        access.acting_anywhere(user, right="invitation.created")
        fields = checked(InvitationBody, read_json(request._request))
        place = access.acting(user, right="invitation.created", clinic=fields.get("clinic"))
        now, named = clock(), fields.get("therapist")
        therapist = queries.therapist(clinic=place.clinic_id, now=now, public_id=named, user=user.id)
        if therapist is None:
            raise misfit([Fault("/therapist", "invalid_value" if named else "required")])
        made, code = services.invite(
            id=fields["id"],
            therapist=therapist,
            protocol=fields.get("protocol"),
            days=fields["expires_in_days"],
            actor=user.id,
            now=now,
        )
        return _made(made, code)


class OneInvitation(View):
    """`DELETE /invitations/{id}`"""

    @extend_schema(responses={204: None, **openapi.errors(401, 403, 404, 409)}, tags=["joining"])
    def delete(self, request: Request, invitation: str) -> HttpResponse:
        """Withdraw an invitation, from the next request on. Doing it again changes nothing."""
        user = who(request)
        places = access.acting_anywhere(user, right="invitation.created")
        id_ = uuid(invitation)
        if id_ is None:
            raise Problem(404, "not_found")
        with transaction.atomic():
            found = queries.lock_invitation(places, user=user.id, id=id_)
            if found is None:
                raise Problem(404, "not_found")
            services.withdraw(invitation=found, actor=user.id, now=clock())
        return HttpResponse(status=204)


class Relink(View):
    """`POST /participants/{id}/relink`"""

    @extend_schema(
        request=openapi.json(RelinkBody),
        examples=[RELINK_EXAMPLE],
        responses={
            200: NewInvitationSchema,
            201: NewInvitationSchema,
            **openapi.errors(400, 401, 403, 404, 409, 413, 415, 422),
        },
        tags=["joining"],
    )
    def post(self, request: Request, participant: str) -> HttpResponse:
        """A code for a participant's new phone: 201, or 200 without it where the same id is known.

        It replaces an open one. Worth nothing once its maker may no longer make it, nor for somebody who
        also belongs to a clinic's staff.
        """
        seen = access.participant(who(request), participant, right="participant.relinked")
        fields = checked(RelinkBody, read_json(request._request))
        made, code = services.relink(
            id=fields["id"],
            participant=seen,
            days=fields["expires_in_days"],
            actor=who(request).id,
            now=clock(),
        )
        return _made(made, code)


class Preview(PublicView):
    """`POST /invitations/preview`"""

    @extend_schema(
        request=openapi.json(CodeBody),
        parameters=[openapi.DEVICE],
        examples=[CODE_EXAMPLE],
        responses={200: PreviewSchema, **openapi.errors(*REFUSALS)},
        tags=["joining"],
    )
    def post(self, request: Request) -> HttpResponse:
        """Who invites, who runs this server, and what will be kept. Uses nothing up."""
        fields = checked(CodeBody, read_json(request._request))

        def look(now: datetime) -> HttpResponse | None:
            seen = services.look_at(code=fields["code"], device=device(request), now=now)
            return None if seen is None else answer(_preview(*seen))

        return _with_code(request, look)


class Redeem(PublicView):
    """`POST /invitations/redeem`"""

    @extend_schema(
        request=openapi.json(RedeemBody),
        parameters=[openapi.DEVICE],
        examples=[REDEEM_EXAMPLE],
        responses={201: RedeemedSchema, **openapi.errors(*REFUSALS)},
        tags=["joining"],
    )
    def post(self, request: Request) -> HttpResponse:
        """Join, or come back on a new phone: signed in at once, with eight recovery codes.

        Consents to nothing. If the answer was lost, the same device (`X-Device`) may send it again within
        15 minutes. A code that cannot be used is `code_unusable`, whatever the reason.
        """
        fields = checked(RedeemBody, read_json(request._request))
        email = fields.get("email")

        def use(now: datetime) -> HttpResponse | None:
            redeemed = services.redeem(
                code=fields["code"],
                device=device(request),
                timezone=fields["timezone"],
                email=email,
                password=fields.get("password"),
                keep_other_devices=fields["keep_other_devices"],
                now=now,
            )
            if redeemed is None:
                return None
            tokens = by_code.sign_in(request._request, user=redeemed.user, email=email)
            return answer(
                {
                    **tokens,
                    "participant": person(redeemed.participant),
                    "clinic": _clinic(redeemed.clinic),
                    "kind": redeemed.kind,
                    "recovery_codes": [codes.grouped(code) for code in redeemed.recovery_codes],
                    "email_to_confirm": email is not None,
                },
                201,
            )

        return _with_code(request, use)


class RecoveryCodes(View):
    """`POST /me/recovery-codes`"""

    @extend_schema(
        request=None,
        responses={201: RecoveryCodesSchema, **openapi.errors(400, 401, 403, 413, 415, 422)},
        tags=["joining"],
    )
    def post(self, request: Request) -> HttpResponse:
        """Eight new recovery codes, shown this once. Those there were are worth nothing any more.

        Not for somebody who also belongs to a clinic's staff: another member of it helps them.
        """
        user = who(request)
        own = access.own_participant(user, right="recovery_codes.made")
        if access.memberships(user):
            raise Problem(403, "not_allowed", "Staff are helped by another member of staff.")
        read_nothing(request._request)
        made = services.make_recovery_codes(participant=own, actor=user.id, now=clock())
        return answer({"recovery_codes": [codes.grouped(code) for code in made]}, 201)


class Recovery(PublicView):
    """`POST /recovery`"""

    @extend_schema(
        request=openapi.json(CodeBody),
        parameters=[openapi.DEVICE],
        examples=[CODE_EXAMPLE],
        responses={200: RecoveredSchema, **openapi.errors(*REFUSALS)},
        tags=["joining"],
    )
    def post(self, request: Request) -> HttpResponse:
        """Come back with a recovery code: history stays, every other device is signed out.

        If the answer was lost, the same device (`X-Device`) may send it again within 15 minutes.
        """
        fields = checked(CodeBody, read_json(request._request))

        def use(now: datetime) -> HttpResponse | None:
            found = services.recover(code=fields["code"], device=device(request), now=now)
            if found is None:
                return None
            return answer(
                {
                    **by_code.sign_in(request._request, user=found.user),
                    "participant": person(found.participant),
                    "clinic": _clinic(found.clinic),
                    "recovery_codes_left": found.codes_left,
                }
            )

        return _with_code(request, use)


def _with_code(request: Request, use: Callable[[datetime], HttpResponse | None]) -> HttpResponse:
    """What `use` answers; the one refusal there is where its code is none, which then counts as a guess.

    One transaction: using a code and signing in stand or fall together. The refusal is answered, not
    raised, for the count to stay.
    """
    client, now = request.META["REMOTE_ADDR"], clock()
    # A code speaks of people whom nobody has been let through to yet.
    with scope.everything():
        services.throttle(client=client, now=now)
        used = use(now)
        if used is None:
            services.count_wrong_code(client=client, now=now)
            return problem_response(Problem(422, "code_unusable"))
        return used


def _invitation(invitation: Invitation) -> dict[str, Any]:
    therapist = invitation.therapist
    return {
        "id": str(invitation.pk),
        "kind": invitation.kind,
        "clinic": str(invitation.clinic.public_id),
        "therapist": str(therapist.public_id) if therapist else None,
        "protocol": invitation.protocol,
        "created_at": rfc3339(invitation.created_at),
        "expires_at": rfc3339(invitation.expires_at),
    }


def _made(invitation: Invitation, code: str | None) -> HttpResponse:
    url = sheet.link(code) if code else None
    shown = {
        **_invitation(invitation),
        "code": codes.grouped(code) if code else None,
        "url": url,
        "qr": sheet.picture(url) if url else None,
    }
    return answer(shown, 201 if code else 200)


def _clinic(clinic: Clinic) -> dict[str, Any]:
    return {"id": str(clinic.public_id), "name": clinic.name}


def _preview(invitation: Invitation, clinic: Clinic) -> dict[str, Any]:
    return {
        "kind": invitation.kind,
        "clinic": {"name": clinic.name},
        "operator": {"name": settings.OPERATOR_NAME or None, "contact": settings.OPERATOR_CONTACT or None},
        "stored": list(STORED),
        "email_required": False,
        "languages": [settings.LANGUAGE_CODE],
        "expires_at": rfc3339(invitation.expires_at),
    }


STORED = (
    "A name made of words, in place of your own. Nobody asks for yours.",
    "Your time zone, so that a day here is a day where you are.",
    "What you answer and write here, and when.",
    "Which devices are signed in as you.",
    "Who looked at something of yours, and when.",
    "An e-mail address only if you give one. You need none.",
    "Joining shares nothing by itself: what you agree to is asked next, each part on its own.",
)
