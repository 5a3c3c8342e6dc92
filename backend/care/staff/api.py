"""A clinic's staff, who cares for whom, and who covers: for those who manage them."""

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import structlog
from django.db import transaction
from django.http import HttpResponse
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request

from backend import openapi
from backend.accounts import queries as users
from backend.accounts.queries import KnownAs
from backend.api import (
    View,
    after_key,
    answer,
    checked,
    cursor_for,
    limit,
)
from backend.audit import services as audit
from backend.body import read_json, read_nothing
from backend.care import access
from backend.care.access import who
from backend.care.models import CareRelationship, Cover, Membership
from backend.care.roles import Role, Why
from backend.care.staff import mail, queries, services
from backend.care.staff.schemas import (
    CARE_EXAMPLE,
    COVER_EXAMPLE,
    HAND_OVER_EXAMPLE,
    MEMBER_EXAMPLE,
    AcceptedSchema,
    CareBody,
    CareListSchema,
    CareSchema,
    CoverBody,
    CoverSchema,
    CoversSchema,
    HandedOverSchema,
    HandOverBody,
    MemberBody,
    MemberSchema,
    MembersSchema,
)
from backend.errors import Problem
from backend.wire import rfc3339

log = structlog.get_logger()

STAFF, CARE = "staff.managed", "care.managed"


def shown_member(m: Membership, known: KnownAs) -> dict[str, Any]:
    """A membership as the wire shows it."""
    return {
        "id": str(m.public_id),
        "clinic": str(m.clinic.public_id),
        "email": known.email,
        "name": known.name,
        "role": m.role,
        "started_at": rfc3339(m.started_at),
        "ended_at": rfc3339(m.ended_at) if m.ended_at else None,
        "suspended_at": rfc3339(m.suspended_at) if m.suspended_at else None,
    }


def shown_care(c: CareRelationship) -> dict[str, Any]:
    """A care relationship as the wire shows it."""
    return {
        "id": str(c.public_id),
        "clinic": str(c.clinic.public_id),
        "participant": str(c.participant.public_id),
        "therapist": str(c.therapist.public_id),
        "started_at": rfc3339(c.started_at),
        "ended_at": rfc3339(c.ended_at) if c.ended_at else None,
        "ended_because": c.ended_because,
    }


def shown_cover(c: Cover) -> dict[str, Any]:
    """A cover as the wire shows it."""
    return {
        "id": str(c.public_id),
        "clinic": str(c.clinic.public_id),
        "therapist": str(c.therapist.public_id),
        "covered_by": str(c.covered_by.public_id),
        "started_at": rfc3339(c.started_at),
        "ended_at": rfc3339(c.ended_at),
    }


def _known(m: Membership) -> KnownAs:
    return users.known_as([m.user_id])[m.user_id]


def page(
    request: Request, rows: Callable[..., Sequence[Any]], right: str
) -> tuple[Sequence[Any], str | None]:
    """A page of what the clinics have in which somebody has that right; and where the next begins."""
    clinics = {a.clinic_id for a in access.acting_anywhere(who(request), right=right)}
    size, after = limit(request), after_key(request)
    found = rows(clinics, after=after, limit=size + 1)
    listed = found[:size]
    return listed, cursor_for(str(listed[-1].pk)) if len(found) > size else None


class Staff(View):
    """`GET, POST /staff`"""

    @extend_schema(
        operation_id="staff_list",
        parameters=[openapi.LIMIT, openapi.CURSOR],
        responses={200: MembersSchema, **openapi.errors(401, 403, 422)},
        tags=["staff"],
    )
    def get(self, request: Request) -> HttpResponse:
        """Who is on the staff of one's clinic, and who was."""
        members, following = page(request, queries.staff, STAFF)
        known = users.known_as({m.user_id for m in members})
        return answer({"results": [shown_member(m, known[m.user_id]) for m in members], "next": following})

    @extend_schema(
        request=openapi.json(MemberBody),
        examples=[MEMBER_EXAMPLE],
        responses={
            200: MemberSchema,
            201: MemberSchema,
            **openapi.errors(400, 401, 403, 409, 413, 415, 422),
        },
        tags=["staff"],
    )
    def post(self, request: Request) -> HttpResponse:
        """Add somebody by their address: 201, or 200 where they have that role already.

        They are written to: with a one-time link to choose a password where the address is new here, else
        with a word that they can sign in as always. The answer is the same, and tells nothing of who has
        an account. Sent again, it writes to them again. Where no mail server is set, messages are files.
        """
        access.acting_anywhere(who(request), right=STAFF)
        fields = checked(MemberBody, read_json(request._request))
        acting = access.acting(who(request), right=STAFF, clinic=fields.get("clinic"))
        with transaction.atomic():
            added, new = services.add_staff(
                clinic_id=acting.clinic_id,
                email=fields["email"],
                role=Role(fields["role"]),
                now=queries.clock(),
                actor=who(request).id,
            )
            try:
                mail.tell(added)
            except OSError as error:  # and what was added is undone: the answer says that nothing was stored
                log.warning("mail_failed", exc_info=error)
                raise Problem(503, "unavailable") from None
        return answer(shown_member(added, _known(added)), 201 if new else 200)


class OneMember(View):
    """What is done to one membership: a route for each, without fields."""

    service: ClassVar[Any]

    def done(self, request: Request, membership: str) -> HttpResponse:
        found = access.managed(who(request), Membership, membership, right=STAFF)
        read_nothing(request._request)
        changed = type(self).service(membership=found, now=queries.clock(), actor=who(request).id)
        return answer(shown_member(changed, _known(changed)))


NO_FIELDS = openapi.errors(400, 401, 403, 404, 409, 413, 415, 422)


class EndMembership(OneMember):
    """`POST /staff/{membership}/end`"""

    service = staticmethod(services.end_membership)

    @extend_schema(request=None, responses={200: MemberSchema, **NO_FIELDS}, tags=["staff"])
    def post(self, request: Request, membership: str) -> HttpResponse:
        """End a membership, from the next request on. A caseload is handed over first."""
        return self.done(request, membership)


class SuspendMembership(OneMember):
    """`POST /staff/{membership}/suspend`"""

    service = staticmethod(services.suspend_membership)

    @extend_schema(request=None, responses={200: MemberSchema, **NO_FIELDS}, tags=["staff"])
    def post(self, request: Request, membership: str) -> HttpResponse:
        """Let a membership rest, from the next request on. Whoever covers goes on caring."""
        return self.done(request, membership)


class RestoreMembership(OneMember):
    """`POST /staff/{membership}/restore`"""

    service = staticmethod(services.restore_membership)

    @extend_schema(request=None, responses={200: MemberSchema, **NO_FIELDS}, tags=["staff"])
    def post(self, request: Request, membership: str) -> HttpResponse:
        """Give a suspended membership its rights again."""
        return self.done(request, membership)


class ResetSecondFactor(View):
    """`POST /staff/{membership}/reset-second-factor`"""

    @extend_schema(request=None, responses={202: AcceptedSchema, **NO_FIELDS}, tags=["staff"])
    def post(self, request: Request, membership: str) -> HttpResponse:
        """Take a lost second factor off a colleague's account, and sign them out everywhere. Never one's own.

        Done for whoever is staff here and nothing else. An account that opens more than this clinic is
        left as it is, under the same answer: there, whoever runs the server does it.
        """
        clinics = {a.clinic_id for a in access.acting_anywhere(who(request), right=STAFF)}
        found = access.managed(who(request), Membership, membership, right=STAFF)
        read_nothing(request._request)
        services.reset_second_factor(
            membership=found, clinics=clinics, now=queries.clock(), actor=who(request).id
        )
        return answer({"status": "accepted"}, 202)


class ResetPassword(View):
    """`POST /staff/{membership}/reset-password`"""

    @extend_schema(request=None, responses={202: AcceptedSchema, **NO_FIELDS}, tags=["staff"])
    def post(self, request: Request, membership: str) -> HttpResponse:
        """End a colleague's password and sign-ins, and send them a link to choose another. Never one's own.

        As with a second factor: an account that opens more than this clinic is left as it is, under the
        same answer.
        """
        clinics = {a.clinic_id for a in access.acting_anywhere(who(request), right=STAFF)}
        found = access.managed(who(request), Membership, membership, right=STAFF)
        read_nothing(request._request)
        link = services.reset_password(
            membership=found, clinics=clinics, now=queries.clock(), actor=who(request).id
        )
        if link is not None:
            try:
                mail.send_link(found, link)
            except OSError as error:  # a 503 undoes what was done: they keep the password they have
                log.warning("mail_failed", exc_info=error)
                raise Problem(503, "unavailable") from None
        return answer({"status": "accepted"}, 202)


class CareRelationships(View):
    """`GET, POST /care-relationships`"""

    @extend_schema(
        operation_id="care_relationships_list",
        parameters=[openapi.LIMIT, openapi.CURSOR],
        responses={200: CareListSchema, **openapi.errors(401, 403, 422)},
        tags=["staff"],
    )
    def get(self, request: Request) -> HttpResponse:
        """Who cares for whom in one's clinic, and who did."""
        rows, following = page(request, queries.care, CARE)
        seen = dict.fromkeys((row.participant_id, row.clinic_id, Why.OVERSIGHT.value) for row in rows)
        audit.record_each(actor=who(request).id, action=CARE, participants=list(seen))
        return answer({"results": [shown_care(row) for row in rows], "next": following})

    @extend_schema(
        request=openapi.json(CareBody),
        examples=[CARE_EXAMPLE],
        responses={
            200: CareSchema,
            201: CareSchema,
            **openapi.errors(400, 401, 403, 404, 409, 413, 415, 422),
        },
        tags=["staff"],
    )
    def post(self, request: Request) -> HttpResponse:
        """Give a participant a therapist: 201, or 200 where that therapist cares for them already."""
        user = who(request)
        access.acting_anywhere(user, right=CARE)
        fields = checked(CareBody, read_json(request._request))
        participant = access.participant(user, str(fields["participant"]), right=CARE)
        therapist = access.managed(user, Membership, str(fields["therapist"]), right=CARE)
        if therapist.clinic_id != participant.clinic_id:
            raise Problem(404, "not_found")
        begun, new = services.start_care(
            participant_id=participant.id, therapist=therapist, now=queries.clock(), actor=user.id
        )
        return answer(shown_care(begun), 201 if new else 200)


class EndCareRelationship(View):
    """`POST /care-relationships/{id}/end`"""

    @extend_schema(request=None, responses={200: CareSchema, **NO_FIELDS}, tags=["staff"])
    def post(self, request: Request, care_relationship: str) -> HttpResponse:
        """End a care relationship, from the next request on."""
        found = access.managed(who(request), CareRelationship, care_relationship, right=CARE)
        read_nothing(request._request)
        ended = services.end_care(relationship=found, now=queries.clock(), actor=who(request).id)
        return answer(shown_care(ended))


class Covers(View):
    """`GET, POST /covers`"""

    @extend_schema(
        operation_id="covers_list",
        parameters=[openapi.LIMIT, openapi.CURSOR],
        responses={200: CoversSchema, **openapi.errors(401, 403, 422)},
        tags=["staff"],
    )
    def get(self, request: Request) -> HttpResponse:
        """Who covers for whom in one's clinic, and who did."""
        rows, following = page(request, queries.covers, CARE)
        return answer({"results": [shown_cover(row) for row in rows], "next": following})

    @extend_schema(
        request=openapi.json(CoverBody),
        examples=[COVER_EXAMPLE],
        responses={
            200: CoverSchema,
            201: CoverSchema,
            **openapi.errors(400, 401, 403, 404, 409, 413, 415, 422),
        },
        tags=["staff"],
    )
    def post(self, request: Request) -> HttpResponse:
        """Arrange who cares while a therapist is away: 201, or 200 where that stands already."""
        user = who(request)
        access.acting_anywhere(user, right=CARE)
        fields = checked(CoverBody, read_json(request._request))
        therapist = access.managed(user, Membership, str(fields["therapist"]), right=CARE)
        covered_by = access.managed(user, Membership, str(fields["covered_by"]), right=CARE)
        arranged, new = services.arrange_cover(
            therapist=therapist,
            covered_by=covered_by,
            started_at=fields["started_at"],
            ended_at=fields["ended_at"],
            now=queries.clock(),
            actor=user.id,
        )
        return answer(shown_cover(arranged), 201 if new else 200)


class EndCover(View):
    """`POST /covers/{id}/end`"""

    @extend_schema(request=None, responses={200: CoverSchema, **NO_FIELDS}, tags=["staff"])
    def post(self, request: Request, cover: str) -> HttpResponse:
        """End a cover, from the next request on."""
        found = access.managed(who(request), Cover, cover, right=CARE)
        read_nothing(request._request)
        ended = services.end_cover(cover=found, now=queries.clock(), actor=who(request).id)
        return answer(shown_cover(ended))


class HandOver(View):
    """`POST /caseloads/{membership}/hand-over`"""

    @extend_schema(
        request=openapi.json(HandOverBody),
        examples=[HAND_OVER_EXAMPLE],
        responses={200: HandedOverSchema, **NO_FIELDS},
        tags=["staff"],
    )
    def post(self, request: Request, membership: str) -> HttpResponse:
        """Hand a therapist's whole caseload on to another, all of it or nothing."""
        giver = access.managed(who(request), Membership, membership, right=CARE)
        fields = checked(HandOverBody, read_json(request._request))
        taker = access.managed(who(request), Membership, str(fields["to"]), right=CARE)
        moved = services.hand_over(
            giver=giver,
            taker=taker,
            because=fields.get("reason"),
            now=queries.clock(),
            actor=who(request).id,
        )
        return answer({"moved": moved})
