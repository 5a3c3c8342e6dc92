"""Every route, with every method, as every role: what `roles.TABLE` gives them, and nothing else.

Which right a route asks for is written down here by hand and compared with the URLconf: a new route
fails until it has its row.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import count, cycle
from pathlib import Path
from typing import Any
from uuid import uuid4

import orjson
import pytest
import yaml
from django.apps import apps
from django.conf import settings
from django.db import connection
from django.test import Client
from django.urls import get_resolver
from django.urls.resolvers import URLPattern, URLResolver
from django.utils import timezone

from backend.accounts.addresses import lookup
from backend.audit.models import Entry
from backend.care import roles
from backend.care.joining.models import Invitation
from backend.care.models import Membership, Participant
from backend.care.roles import Reach, Role
from backend.care.services import arrange_cover
from backend.rights.export.services import make_waiting
from scales.trends import compute_behind
from tests.care.joining.door import invited, recovery_codes
from tests.care.opened.emergencies import opened_in_emergency
from tests.conftest import sign_in, submission

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
RELEASE = "POST api/v1/participants/<str:participant>/administrations/<str:administration>/release"

EMERGENCY = "POST api/v1/participants/<str:participant>/emergency-access"


@dataclass(frozen=True)
class Standing:
    """What ties one of the cast to Ana: whether they are her, or a participant at all; their roles in her
    clinic and anywhere; whether she is in their care."""

    own: bool = False
    participant: bool = False
    here: tuple[Role, ...] = ()
    anywhere: tuple[Role, ...] = ()
    in_care: bool = False


def staff(role: Role, *, in_care: bool = False) -> Standing:
    return Standing(here=(role,), anywhere=(role,), in_care=in_care)


# Where a route names somebody's data it is Ana's.
CAST = {
    "ana": Standing(own=True, participant=True),
    "ben": Standing(participant=True),
    "thea": staff(Role.THERAPIST, in_care=True),
    "cass": staff(Role.THERAPIST, in_care=True),
    "theo": staff(Role.THERAPIST),
    "carla": Standing(anywhere=(Role.THERAPIST,)),
    "sam": staff(Role.SUPERVISOR),
    "cora": staff(Role.COORDINATOR),
    "rosa": staff(Role.RESEARCHER),
    "adam": staff(Role.CLINIC_ADMIN),
}
ROLES = ("anonymous", *CAST)
PUBLIC = " ".join("200" for _ in ROLES)
SIGNED = " ".join("401" if role == "anonymous" else "200" for role in ROLES)


def _cells(status: Callable[[Standing], int]) -> str:
    return " ".join(["401", *(str(status(standing)) for standing in CAST.values())])


def about(right: str, done: int = 200) -> str:
    """Cells of a route about one participant: what one may not see does not exist."""

    def status(one: Standing) -> int:
        if roles.may(right, own=one.own, held=one.here, in_care=one.in_care):
            return done
        return 403 if one.own else 404

    return _cells(status)


def own(right: str, done: int = 200) -> str:
    """Cells of a route about oneself, for participants."""
    assert roles.TABLE[right].get(Role.PARTICIPANT) == Reach.OWN
    return _cells(lambda one: done if one.participant else 403)


def own_named(right: str, done: int) -> str:
    """Cells of a route about something of one's own that is named by its id."""
    assert roles.TABLE[right] == {Role.PARTICIPANT: Reach.OWN}
    return _cells(lambda one: done if one.own else 404 if one.participant else 403)


def anas_alone(done: int) -> str:
    """Cells of a route about something that belongs to whoever made it, whatever they are here."""
    return _cells(lambda one: done if one.own else 404)


def clinic_wide(right: str, done: int = 200) -> str:
    """Cells of a route about a whole clinic, for those whose right reaches one."""
    reach = roles.TABLE[right]
    return _cells(lambda one: done if any(reach.get(r) == Reach.CLINIC for r in one.anywhere) else 403)


def clinics_own(right: str, done: int) -> str:
    """Cells of a route about something of one clinic's, named by its id."""
    reach = roles.TABLE[right]

    def status(one: Standing) -> int:
        if any(reach.get(r) == Reach.CLINIC for r in one.here):
            return done
        return 404 if any(reach.get(r) == Reach.CLINIC for r in one.anywhere) else 403

    return _cells(status)


def inviting() -> str:
    """Cells of inviting into one's own care: who is no therapist must name one."""
    reach = roles.TABLE["invitation.created"]
    return _cells(
        lambda one: (
            403 if not set(one.anywhere) & set(reach) else 201 if Role.THERAPIST in one.anywhere else 422
        )
    )


def emergency() -> str:
    """Cells of opening Ana's data in an emergency: those who care for her have no need to."""
    allowed = about("emergency.opened", 201).split()
    return " ".join(
        "409" if role in ("thea", "cass") else cell for role, cell in zip(ROLES, allowed, strict=True)
    )


def by_role(right: str) -> str:
    """Cells of a list that holds what one may see, for those who may see any of it."""
    return _cells(lambda one: 200 if set(one.anywhere) & set(roles.TABLE[right]) else 403)


TABLE = {
    # Each cell in the order of ROLES.
    "GET api/v1/schema": PUBLIC,
    "GET api/v1/me": SIGNED,
    "PATCH api/v1/me": SIGNED,
    "GET api/v1/me/devices": SIGNED,
    "PATCH api/v1/me/devices/<str:device>": anas_alone(200),
    "DELETE api/v1/me/devices/<str:device>": anas_alone(204),
    "GET api/v1/me/trends": own("trends.read"),
    "GET api/v1/participants": by_role("caseload.read"),
    "GET api/v1/participants/<str:participant>": about("participant.read"),
    "GET api/v1/participants/<str:participant>/dosing-sessions": about("dosing_sessions.read"),
    "POST api/v1/participants/<str:participant>/dosing-sessions": about("dosing_sessions.opened", 201),
    "GET api/v1/participants/<str:participant>/administrations": about("administrations.read"),
    "GET api/v1/participants/<str:participant>/trends": about("trends.read"),
    "POST api/v1/me/recovery-codes": own("recovery_codes.made", 201),
    "POST api/v1/recovery": PUBLIC,
    "GET api/v1/invitations": clinic_wide("invitation.created"),
    "POST api/v1/invitations": inviting(),
    "POST api/v1/invitations/preview": PUBLIC,
    "POST api/v1/invitations/redeem": PUBLIC.replace("200", "201"),
    "DELETE api/v1/invitations/<str:invitation>": clinics_own("invitation.created", 204),
    "POST api/v1/participants/<str:participant>/relink": about("participant.relinked", 201),
    "GET api/v1/me/access-log": own("access_log.read"),
    EMERGENCY: emergency(),
    "GET api/v1/emergency-accesses": clinic_wide("emergency.read"),
    "GET api/v1/me/consents": own("consents.read"),
    "POST api/v1/me/consents": own("consent.recorded", 201),
    "GET api/v1/me/disclosure": own("disclosure.read"),
    "PUT api/v1/me/disclosure": own("disclosure.changed"),
    "POST api/v1/me/export": own("export.requested", 202),
    "GET api/v1/me/exports": own("exports.read"),
    "GET api/v1/me/exports/<str:export>": own_named("exports.read", 200),
    "GET api/v1/me/exports/<str:export>/archive": own_named("export.downloaded", 200),
    "POST api/v1/me/withdrawal": own("withdrawal.made", 201),
    "DELETE api/v1/me/withdrawal": own("withdrawal.undone", 204),
    # Ana waits for an erasure, Ben does not.
    "GET api/v1/me/erasure": own_named("erasure.read", 200),
    "POST api/v1/me/erasure": own("erasure.requested", 202),
    "DELETE api/v1/me/erasure": own_named("erasure.cancelled", 200),
    "GET api/v1/erasures/<str:erasure>": PUBLIC,
    "GET api/v1/consents": SIGNED,
    RELEASE: about("release.opened").replace("200", "201", 1),  # once is enough
    "GET api/v1/instruments": SIGNED,
    "GET api/v1/instruments/<str:code>": SIGNED,
    "GET api/v1/instruments/<str:code>/versions/<str:version>": SIGNED,
    "GET api/v1/administrations": own("administrations.read"),
    "POST api/v1/administrations": own("administration.recorded", 201),
    "GET api/v1/administrations/<str:administration>": about("administration.read"),
    "POST api/v1/administrations/<str:administration>/corrections": own_named("administration.opened", 201),
    # The membership is Theo's, the care relationship Thea's with Ana.
    "GET api/v1/staff": clinic_wide("staff.managed"),
    "POST api/v1/staff": clinic_wide("staff.managed", 201),
    "POST api/v1/staff/<str:membership>/end": clinic_wide("staff.managed"),
    "POST api/v1/staff/<str:membership>/suspend": clinic_wide("staff.managed"),
    "POST api/v1/staff/<str:membership>/restore": clinic_wide("staff.managed"),
    "POST api/v1/staff/<str:membership>/reset-second-factor": clinic_wide("staff.managed", 202),
    "POST api/v1/staff/<str:membership>/reset-password": clinic_wide("staff.managed", 202),
    "GET api/v1/care-relationships": clinic_wide("care.managed"),
    "POST api/v1/care-relationships": clinic_wide("care.managed", 201),
    "POST api/v1/care-relationships/<str:care_relationship>/end": clinic_wide("care.managed"),
    "GET api/v1/covers": clinic_wide("care.managed"),
    "POST api/v1/covers": clinic_wide("care.managed", 201),
    "POST api/v1/covers/<str:cover>/end": clinic_wide("care.managed"),
    "POST api/v1/caseloads/<str:membership>/hand-over": clinic_wide("care.managed"),
    "GET api/v1/audit-entries": clinic_wide("audit.read"),
    "GET healthz": PUBLIC,
    "GET readyz": PUBLIC,
    "GET metrics": PUBLIC,  # on this machine; from anywhere else nothing is there
    "GET welcome": PUBLIC,
    "GET welcome/<uidb64>/<token>": PUBLIC,
    "POST welcome/<uidb64>/<token>": PUBLIC,
}

# Sign-in is allauth's, in its own shapes, and none of its routes names anybody: each speaks of the
# person who asks. tests/accounts/test_sign_in.py tries it out.
SIGN_IN = "_allauth/app/v1/"
SIGN_IN_ROUTES = {
    "account/authenticators",
    "account/authenticators/recovery-codes",
    "account/authenticators/totp",
    "account/authenticators/webauthn",
    "account/email",
    "account/password/change",
    "account/phone",
    "auth/2fa/authenticate",
    "auth/2fa/reauthenticate",
    "auth/code/confirm",
    "auth/code/request",
    "auth/code/resend",
    "auth/email/verify",
    "auth/email/verify/resend",
    "auth/login",
    "auth/password/request",
    "auth/password/reset",
    "auth/phone/verify",
    "auth/phone/verify/resend",
    "auth/reauthenticate",
    "auth/session",
    "auth/signup",
    "auth/webauthn/authenticate",
    "auth/webauthn/login",
    "auth/webauthn/reauthenticate",
    "config",
    "tokens/refresh",
}

ANAS_PHONE = "0199f1aa-3c00-7d10-9a77-0b6f5c1d2e3f"
# The operators' pages open to no access token: tests/operators walks them.
OPERATORS = "operators/"

# What an allowed cell must show, so that refusing everybody is no way to pass.
CLINICAL = ("ana", "thea", "cass", "sam")  # who sees Ana's answers
WRITING = ("ana", "thea", "cass", "cora")  # who enters her sessions
PLANNING = (*CLINICAL, "cora")  # who sees that she is, and when her sessions are
SHOWS = {
    "GET api/v1/schema": dict.fromkeys(ROLES, "openapi: 3.1"),
    "GET api/v1/me": {
        "ana": '"pseudonym":"ana heron"',
        "ben": '"pseudonym":"ben heron"',
        "thea": '"clinic_name":"Linden","role":"therapist"',
        "theo": '"clinic_name":"Linden","role":"therapist"',
        "carla": '"clinic_name":"Rowan","role":"therapist"',
        "rosa": '"clinic_name":"Linden","role":"researcher"',
        "adam": '"clinic_name":"Linden","role":"clinic admin"',
        "cass": '"clinic_name":"Linden","role":"therapist"',
        "sam": '"clinic_name":"Linden","role":"supervisor"',
        "cora": '"clinic_name":"Linden","role":"coordinator"',
    },
    "PATCH api/v1/me": dict.fromkeys(ROLES[1:], '"name":"Robin"'),
    "GET api/v1/me/devices": {"ana": ANAS_PHONE, **dict.fromkeys(ROLES[2:], '{"results":[],"next":null}')},
    "PATCH api/v1/me/devices/<str:device>": {"ana": '"name":"Mine"'},
    "DELETE api/v1/me/devices/<str:device>": {"ana": ""},
    "GET api/v1/me/trends": {"ana": '"latest":4.2', "ben": '"latest":1.8'},
    "GET api/v1/me/access-log": {
        "ana": '"action":"emergency.started"',
        "ben": '"action":"participant.enrolled"',
    },
    EMERGENCY: dict.fromkeys(("theo", "sam"), '"until":"2'),
    "GET api/v1/emergency-accesses": dict.fromkeys(("sam", "adam"), '"reason":"She called last year."'),
    "GET api/v1/me/consents": dict.fromkeys(("ana", "ben"), '"decision":"given"'),
    "POST api/v1/me/consents": dict.fromkeys(("ana", "ben"), '"decision":"withdrawn"'),
    "GET api/v1/me/disclosure": dict.fromkeys(("ana", "ben"), '"substance":"shown"'),
    "PUT api/v1/me/disclosure": dict.fromkeys(("ana", "ben"), '"substance":"withheld"'),
    "POST api/v1/me/export": dict.fromkeys(("ana", "ben"), '"status":"queued"'),
    "GET api/v1/me/exports": {"ana": '"status":"ready"', "ben": '{"results":[],"next":null}'},
    "GET api/v1/me/exports/<str:export>": {"ana": '"status":"ready","progress":100'},
    "GET api/v1/me/exports/<str:export>/archive": {"ana": "PK"},
    "POST api/v1/me/withdrawal": dict.fromkeys(("ana", "ben"), '"stopped":["care"]'),
    "DELETE api/v1/me/withdrawal": dict.fromkeys(("ana", "ben"), ""),
    "GET api/v1/me/erasure": {"ana": '"status":"waiting"'},
    "POST api/v1/me/erasure": dict.fromkeys(("ana", "ben"), '"status":"waiting"'),
    "DELETE api/v1/me/erasure": {"ana": '"status":"cancelled"'},
    "GET api/v1/erasures/<str:erasure>": dict.fromkeys(ROLES, '"receipt":null'),
    "GET api/v1/consents": {
        **dict.fromkeys(("ana", "ben"), '"decision":"given"'),
        **dict.fromkeys(ROLES[3:], '"streams":null'),
    },
    "GET api/v1/participants": {
        "thea": '"pseudonym":"ana heron"',
        "cass": '"pseudonym":"ana heron"',
        "sam": '"pseudonym":"ben heron"',
        "cora": '"pseudonym":"ben heron"',
        "theo": '{"results":[],"next":null}',
        "carla": '{"results":[],"next":null}',
    },
    "GET api/v1/participants/<str:participant>": dict.fromkeys(PLANNING, '"pseudonym":"ana heron"'),
    "GET api/v1/participants/<str:participant>/dosing-sessions": dict.fromkeys(
        PLANNING, '"substance":"ayahuasca"'
    ),
    "POST api/v1/participants/<str:participant>/dosing-sessions": dict.fromkeys(
        WRITING, '"substance":"mdma"'
    ),
    "GET api/v1/participants/<str:participant>/administrations": dict.fromkeys(
        CLINICAL, '"subscale":"self_kindness","value":4.2'
    ),
    "GET api/v1/participants/<str:participant>/trends": dict.fromkeys(CLINICAL, '"latest":4.2'),
    "POST api/v1/me/recovery-codes": dict.fromkeys(("ana", "ben"), '"recovery_codes":["'),
    "POST api/v1/recovery": dict.fromkeys(ROLES, '"recovery_codes_left":7'),
    "GET api/v1/invitations": {
        "thea": '"kind":"join"',
        "theo": '"kind":"join"',
        "cass": '"kind":"join"',
        "cora": '"kind":"join"',
        "carla": '{"results":[],"next":null}',
        "adam": '"kind":"join"',
    },
    "POST api/v1/invitations": dict.fromkeys(("thea", "theo", "cass", "carla"), '"kind":"join"'),
    "POST api/v1/invitations/preview": dict.fromkeys(ROLES, '"clinic":{"name":"Linden"}'),
    "POST api/v1/invitations/redeem": dict.fromkeys(ROLES, '"clinic":{"id":"'),
    "DELETE api/v1/invitations/<str:invitation>": dict.fromkeys(("thea", "theo", "cass", "cora", "adam"), ""),
    "POST api/v1/participants/<str:participant>/relink": dict.fromkeys(
        ("thea", "cass", "cora", "adam"), '"kind":"relink"'
    ),
    RELEASE: dict.fromkeys(("thea", "cass", "sam"), '"released_at":'),
    "GET api/v1/instruments": dict.fromkeys(ROLES[1:], '"code":"scs-26"'),
    "GET api/v1/instruments/<str:code>": dict.fromkeys(ROLES[1:], '"id":"scs26"'),
    "GET api/v1/instruments/<str:code>/versions/<str:version>": dict.fromkeys(ROLES[1:], '"id":"scs26"'),
    "GET api/v1/administrations": {
        "ana": '"subscale":"self_kindness","value":4.2',
        "ben": '"subscale":"self_kindness","value":1.8',
    },
    "POST api/v1/administrations": dict.fromkeys(("ana", "ben"), '"subscale":"self_kindness","value":2.0'),
    "GET api/v1/administrations/<str:administration>": dict.fromkeys(
        CLINICAL, '"subscale":"self_kindness","value":4.2'
    ),
    "POST api/v1/administrations/<str:administration>/corrections": {
        "ana": '"subscale":"self_kindness","value":1.0'
    },
    "GET api/v1/staff": {"adam": '"email":"thea@cast.example","name":null,"role":"therapist"'},
    "POST api/v1/staff": {"adam": '"email":"nina@cast.example","name":null,"role":"coordinator"'},
    "POST api/v1/staff/<str:membership>/end": {"adam": '"ended_at":"2'},
    "POST api/v1/staff/<str:membership>/suspend": {"adam": '"suspended_at":"2'},
    "POST api/v1/staff/<str:membership>/restore": {"adam": '"suspended_at":null'},
    "POST api/v1/staff/<str:membership>/reset-second-factor": {"adam": '{"status":"accepted"}'},
    "POST api/v1/staff/<str:membership>/reset-password": {"adam": '{"status":"accepted"}'},
    "GET api/v1/care-relationships": dict.fromkeys(("cora", "adam"), '"ended_at":null,"ended_because":null'),
    "POST api/v1/care-relationships": dict.fromkeys(("cora", "adam"), '"ended_at":null,"ended_because":null'),
    "POST api/v1/care-relationships/<str:care_relationship>/end": dict.fromkeys(
        ("cora", "adam"), '"ended_at":"2'
    ),
    "GET api/v1/covers": dict.fromkeys(("cora", "adam"), '"ended_at":"2099-01-01T00:00:00+00:00"'),
    "POST api/v1/covers": dict.fromkeys(("cora", "adam"), '"ended_at":"9000-01-01T00:00:00+00:00"'),
    "POST api/v1/covers/<str:cover>/end": dict.fromkeys(("cora", "adam"), '"ended_at":"2'),
    "POST api/v1/caseloads/<str:membership>/hand-over": dict.fromkeys(("cora", "adam"), '{"moved":0}'),
    "GET api/v1/audit-entries": {"adam": '"action":"audit.read","participant":null'},
    "GET healthz": dict.fromkeys(ROLES, '"status":"alive"'),
    "GET readyz": dict.fromkeys(ROLES, '"status":"ready"'),
    "GET metrics": dict.fromkeys(ROLES, "selfkind_trends_behind "),
    "GET welcome": dict.fromkeys(ROLES, "<h1>"),
    "GET welcome/<uidb64>/<token>": dict.fromkeys(ROLES, "<h1>"),
    "POST welcome/<uidb64>/<token>": dict.fromkeys(ROLES, "<h1>"),
}

# Fields a route takes beyond those of `body_for`.
OPTIONAL: dict[str, tuple[str, ...]] = {
    "POST api/v1/staff": ("clinic",),
    "POST api/v1/me/consents": ("version", "language", "text_hash", "timezone", "rules"),
    "POST api/v1/invitations": ("clinic", "therapist", "protocol", "expires_in_days"),
    "POST api/v1/invitations/redeem": ("email", "password", "keep_other_devices"),
    "POST api/v1/participants/<str:participant>/relink": ("expires_in_days",),
    "POST api/v1/caseloads/<str:membership>/hand-over": ("reason",),
}

# What Thea's reading of Ana is recorded as.
READ_AS = {
    "GET api/v1/participants": "caseload.read",
    "GET api/v1/participants/<str:participant>": "participant.read",
    "GET api/v1/participants/<str:participant>/dosing-sessions": "dosing_sessions.read",
    "GET api/v1/participants/<str:participant>/administrations": "administrations.read",
    "GET api/v1/participants/<str:participant>/trends": "trends.read",
    "GET api/v1/administrations/<str:administration>": "administration.read",
}


def routes(resolver: URLResolver, before: str = "") -> Iterator[tuple[str, Any]]:
    for entry in resolver.url_patterns:
        route = before + str(entry.pattern)
        if isinstance(entry, URLPattern):
            yield route, entry.callback
        else:
            yield from routes(entry, route)


ALL = dict(routes(get_resolver()))
ROUTES = {route: view for route, view in ALL.items() if not route.startswith((SIGN_IN, OPERATORS))}
UNTAKEN = {r: [m for m in METHODS if f"{m} {r}" not in TABLE] for r in ROUTES}
HIDING = [row for row, cells in TABLE.items() if "404" in cells]
# Whose looks for one's own only, and so never finds another's that it would refuse.
ONES_OWN = [row for row in HIDING if "api/v1/me/" in row]
# An invitation is no participant's: asking for another clinic's leaves no row about anybody.
HIDING_A_PARTICIPANT = [row for row in HIDING if "invitation" not in row and row not in ONES_OWN]
OPEN_TO_ALL = {row.split(" ")[1] for row, cells in TABLE.items() if not cells.startswith("401")}


def methods_of(view: Any) -> list[str]:
    kind = view.view_class
    return [m for m in METHODS if m.lower() in kind.http_method_names and hasattr(kind, m.lower())]


def allowed(row: str) -> list[str]:
    return [role for role, cell in zip(ROLES, TABLE[row].split(), strict=True) if cell < "300"]


@dataclass(frozen=True)
class World:
    """The cast, a client for each of them, and what there is of Ana's to see."""

    clients: dict[str, Client]
    users: dict[str, int]
    ana: Participant
    administration: str
    staff: dict[str, str]
    invitation: str
    export: str
    erasure: str

    def call(self, role: str, row: str, *, about: str | None = None, body: bytes | None = None) -> Any:
        """The answer to that role, about Ana or the id `about`, with a body the route takes or another."""
        method, route = row.split(" ")
        address = (
            route.replace("<str:participant>", about or str(self.ana.public_id))
            .replace("<str:administration>", about or self.administration)
            .replace("<str:device>", about or ANAS_PHONE)
            .replace("<str:membership>", about or self.staff["theo"])
            .replace("<str:care_relationship>", about or self.staff["care"])
            .replace("<str:cover>", about or self.staff["cover"])
            .replace("<str:invitation>", about or self.invitation)
            .replace("<str:export>", about or self.export)
            .replace("<str:erasure>", about or self.erasure)
            .replace("<str:code>", "scs-26")
            .replace("<str:version>", "1")
            .replace("<uidb64>/<token>", "MQ/no-such-link")
        )
        query = "?instrument=scs-26" if route.endswith("trends") else ""
        query = f"?member={self.staff['adam']}" if route.endswith("audit-entries") else query
        data = orjson.dumps(body_for(row, self.staff)) if body is None else body
        return self.clients[role].generic(method, f"/{address}{query}", data, "application/json")


# So that what one of the cast makes is new for the next.
THERAPISTS, YEARS = cycle(("theo", "cass", "thea")), count(2100)


def body_for(row: str, staff: dict[str, str]) -> dict[str, Any]:
    """A new body that the route takes; {} where it takes none."""
    if row == "POST api/v1/staff":
        return {"email": "nina@cast.example", "role": "coordinator"}
    if row == "POST api/v1/care-relationships":
        return {"participant": staff["ben"], "therapist": staff[next(THERAPISTS)]}
    if row == "POST api/v1/covers":
        return {
            "therapist": staff["thea"],
            "covered_by": staff["theo"],
            "started_at": f"{next(YEARS)}-01-01T00:00:00Z",
            "ended_at": "9000-01-01T00:00:00Z",
        }
    if row == EMERGENCY:
        return {"reason": "She called at night."}
    if row.endswith("/hand-over"):
        return {"to": staff["thea"]}
    if row.endswith("/corrections"):
        return {"id": str(uuid4()), "responses": submission(answer=1)["responses"], "reason": "A slip."}
    if row == "PATCH api/v1/me":
        return {"name": "Robin"}
    if row == "PATCH api/v1/me/devices/<str:device>":
        return {"name": "Mine"}
    if row == "POST api/v1/administrations":
        return submission(answer=2)
    if row in ("POST api/v1/invitations", "POST api/v1/participants/<str:participant>/relink"):
        return {"id": str(uuid4())}
    if row == "POST api/v1/invitations/preview":
        return {"code": invited(Membership.objects.get(user__email=lookup("thea@cast.example")))}
    if row == "POST api/v1/invitations/redeem":
        return {
            "code": invited(Membership.objects.get(user__email=lookup("thea@cast.example"))),
            "timezone": "Europe/Berlin",
        }
    if row == "POST api/v1/recovery":
        ana = Participant.objects.get(user__email=lookup("ana@cast.example"))
        return {"code": recovery_codes(ana)[0]}
    if row.startswith("POST") and row.endswith("/dosing-sessions"):
        return {"id": str(uuid4()), "started_at": timezone.now().isoformat(), "substance": "mdma"}
    if row == "POST api/v1/me/consents":
        now = timezone.now().isoformat()
        return {"id": str(uuid4()), "stream": "care", "decision": "withdrawn", "decided_at": now}
    if row == "PUT api/v1/me/disclosure":
        nothing = dict.fromkeys(("substance", "dose", "supervision"), "withheld")
        return {"therapist": nothing, "research": {**nothing, "date": "week"}}
    return {}


@pytest.fixture
def world(
    ana: Participant,
    ben: Participant,
    thea: Membership,
    theo: Membership,
    carla: Membership,
    cass: Membership,
    sam: Membership,
    cora: Membership,
    rosa: Membership,
    adam: Membership,
    request: pytest.FixtureRequest,
) -> World:
    """Ana with a dosing session and a self-kindness of 4.2, Ben with 1.8, their trends up to date."""
    people: dict[str, Participant | Membership] = {
        "ana": ana,
        "ben": ben,
        "thea": thea,
        "theo": theo,
        "carla": carla,
        "cass": cass,
        "sam": sam,
        "cora": cora,
        "rosa": rosa,
        "adam": adam,
    }
    clients = {"anonymous": Client()}
    for name, person in people.items():
        assert person.user is not None
        clients[name] = Client(headers={"authorization": f"Bearer {sign_in(person.user)}"})
    assert ana.user is not None
    ana.user.devices.create(installation=ANAS_PHONE, first_seen_on="2026-01-01", last_seen_on="2026-01-01")
    mine = submission(answer=4)
    mine["responses"]["scs05"] = 5
    his = submission(answer=2)
    his["responses"]["scs05"] = 1
    session = {
        "id": str(uuid4()),
        "started_at": "2025-12-01T10:00:00+01:00",
        "substance": "ayahuasca",
    }
    for name, address, body in (
        ("ana", "administrations", mine),
        ("ben", "administrations", his),
        ("ana", f"participants/{ana.public_id}/dosing-sessions", session),
    ):
        sent = clients[name].post(f"/api/v1/{address}", body, content_type="application/json")
        assert sent.status_code == 201
    compute_behind(now=timezone.now())
    users = {name: int(person.user_id or 0) for name, person in people.items()}
    theas_care = thea.care_relationships.get()
    cover = arrange_cover(
        therapist=thea,
        covered_by=theo,
        started_at=datetime(2098, 1, 1, tzinfo=UTC),
        ended_at=datetime(2099, 1, 1, tzinfo=UTC),
    )
    named: dict[str, Any] = {
        "thea": thea,
        "theo": theo,
        "cass": cass,
        "adam": adam,
        "ben": ben,
        "care": theas_care,
        "cover": cover,
    }
    staff = {name: str(row.public_id) for name, row in named.items()}
    invited(thea)
    opened_in_emergency(ana, theo, "She called last year.", now=timezone.now() - timedelta(days=365))
    asked = clients["ana"].post("/api/v1/me/export", {}, content_type="application/json")
    assert asked.status_code == 202
    if "/me/exports" in str(request.node.name):  # it takes longer than all the rest
        assert make_waiting(now=timezone.now) == 1
    erasure = clients["ana"].post("/api/v1/me/erasure", {}, "application/json").json()["id"]
    invitation = str(Invitation.objects.get().pk)
    return World(clients, users, ana, mine["id"], staff, invitation, asked.json()["id"], erasure)


def contents() -> dict[str, str]:
    """A fingerprint of every table but the audit's, and what tells its sealer of a new entry."""
    with connection.cursor() as cursor:
        tables = sorted(set(connection.introspection.table_names(cursor)) - {"audit_entry", "audit_pending"})
        each = (
            f"SELECT '{table}', coalesce(md5(string_agg(t::text, '\n' ORDER BY t::text)), '') FROM {table} t"
            for table in tables
        )
        cursor.execute(" UNION ALL ".join(each))
        return dict(cursor.fetchall())


def newest_entry() -> int:
    return Entry.objects.order_by("-id").values_list("id", flat=True)[0]


def entries_after(newest: int) -> list[tuple[Any, ...]]:
    return list(
        Entry.objects.filter(id__gt=newest)
        .order_by("id")
        .values_list("actor", "action", "participant", "clinic", "request")
    )


def seen_outside(answer: Any) -> tuple[Any, ...]:
    headers = {name: value for name, value in answer.items() if name != "X-Request-Id"}
    return answer.status_code, headers, answer.content


def test_every_route_has_its_row_and_every_row_its_route() -> None:
    real = {f"{method} {route}" for route, view in ROUTES.items() for method in methods_of(view)}

    assert sorted(real - set(TABLE)) == [], "Routes without a row: write down in TABLE who may use them."
    assert sorted(set(TABLE) - real) == [], "Rows without a route: they test nothing."
    assert {r.removeprefix(SIGN_IN) for r in ALL if r.startswith(SIGN_IN)} == SIGN_IN_ROUTES
    assert {row: sorted(SHOWS[row]) for row in TABLE} == {row: sorted(allowed(row)) for row in TABLE}


@pytest.mark.parametrize("row", TABLE)
def test_cells_are_as_written(world: World, row: str) -> None:
    found, showing = [], {}
    for role in ROLES:
        before = contents()
        answer = world.call(role, row)
        found.append(str(answer.status_code))
        if answer.status_code < 300:
            showing[role] = SHOWS[row].get(role, "") in answer.getvalue().decode(errors="replace")
        else:
            assert contents() == before, f"{role} was refused, and something changed"
            assert b"heron" not in answer.content
            assert b"last year" not in answer.content
            assert b"4.2" not in answer.content

    assert dict(zip(ROLES, found, strict=True)) == dict(zip(ROLES, TABLE[row].split(), strict=True))
    assert showing == dict.fromkeys(allowed(row), True)


@pytest.mark.parametrize("route", UNTAKEN)
def test_methods_a_route_does_not_have_are_405(world: World, route: str) -> None:
    expected = dict.fromkeys(ROLES, 405) | {"anonymous": 405 if route in OPEN_TO_ALL else 401}
    before = contents()
    newest = newest_entry()

    for method in UNTAKEN[route]:
        found = {role: world.call(role, f"{method} {route}").status_code for role in ROLES}
        assert found == expected, method

    assert contents() == before
    assert entries_after(newest) == []


@pytest.mark.parametrize("row", HIDING)
def test_hidden_looks_like_nothing(world: World, row: str) -> None:
    nowhere = ["11111111-2222-4333-8444-555555555555", "x", "%00", "0" * 36, "É", "'; --", "1" * 3000]

    for role, cell in zip(ROLES, TABLE[row].split(), strict=True):
        if cell == "404":
            hidden = seen_outside(world.call(role, row))
            assert [seen_outside(world.call(role, row, about=id_)) for id_ in nowhere] == [hidden] * 7


@pytest.mark.parametrize("row", HIDING_A_PARTICIPANT)
def test_a_refusal_leaves_one_audit_row_and_an_invention_none(world: World, row: str) -> None:
    for role, cell in zip(ROLES, TABLE[row].split(), strict=True):
        if cell != "404":
            continue
        newest = newest_entry()
        world.call(role, row, about=str(uuid4()))
        assert entries_after(newest) == []
        answer = world.call(role, row)
        assert [(*kept[:4], str(kept[4])) for kept in entries_after(newest)] == [
            (
                world.users[role],
                "participant.refused",
                world.ana.pk,
                world.ana.clinic_id,
                answer["X-Request-Id"],
            )
        ]


@pytest.mark.parametrize("row", READ_AS)
def test_reading_another_persons_data_leaves_one_audit_row(world: World, row: str) -> None:
    newest = newest_entry()
    answer = world.call("thea", row)

    assert answer.status_code == 200
    assert [(*kept[:4], str(kept[4])) for kept in entries_after(newest)] == [
        (world.users["thea"], READ_AS[row], world.ana.pk, world.ana.clinic_id, answer["X-Request-Id"])
    ]


# That a whole copy left is noted, whoever took it.
READS_OF_ONES_OWN = [
    row for row in TABLE if row.startswith("GET") and "ana" in allowed(row) and not row.endswith("/archive")
]


@pytest.mark.parametrize("row", READS_OF_ONES_OWN)
def test_reading_ones_own_leaves_none(world: World, row: str) -> None:
    newest = newest_entry()

    assert world.call("ana", row).status_code == 200
    assert entries_after(newest) == []


@pytest.mark.parametrize("row", [row for row, cells in TABLE.items() if cells.startswith("401")])
def test_who_is_asking_comes_before_what_is_asked(world: World, row: str) -> None:
    method, _ = row.split(" ")
    answer = world.clients["anonymous"].generic(
        method,
        world.call("anonymous", row).wsgi_request.path + "?limit=no&cursor=%FF&since=x&instrument=%00",
        b'\xef\xbb\xbf{"id": NaN',
        "text/plain",
        headers={"content-encoding": "zstd"},
    )

    assert (answer.status_code, answer.json()["code"]) == (401, "not_signed_in")
    assert answer["WWW-Authenticate"] == "Bearer"


@pytest.mark.parametrize("row", [row for row in HIDING if row.startswith("POST")])
def test_whether_one_may_comes_before_what_one_sends(world: World, row: str) -> None:
    for role, cell in zip(ROLES, TABLE[row].split(), strict=True):
        if role != "anonymous" and cell > "400":
            assert str(world.call(role, row, body=b'{"broken').status_code) == cell


def names_seen_anywhere() -> set[str]:
    """Every field of every table and of every answer."""
    described = yaml.safe_load((Path(settings.BASE_DIR) / "docs" / "openapi.yaml").read_text())
    schemas = described["components"]["schemas"].values()
    columns = {field.attname for model in apps.get_models() for field in model._meta.concrete_fields}
    return columns | {name for schema in schemas for name in schema.get("properties", {})} | {"is_staff"}


SMUGGLED = sorted(names_seen_anywhere())
WRITES = [row for row in TABLE if row.split(" ")[0] in ("POST", "PUT", "PATCH") and "welcome" not in row]


@pytest.mark.parametrize("row", WRITES)
def test_no_route_takes_a_field_that_is_not_its_own(world: World, row: str) -> None:
    role = next(role for role in allowed(row) if role != "anonymous")
    body = body_for(row, world.staff)
    taken = {*body, *OPTIONAL.get(row, ())}
    before = contents()

    answers = {
        name: world.call(role, row, body=orjson.dumps({**body, name: 1})).status_code
        for name in SMUGGLED
        if name not in taken
    }

    assert {name: status for name, status in answers.items() if status != 422} == {}
    assert len(answers) > 100
    after = contents()
    assert {table for table in before if before[table] != after[table]} <= {"scales_quarantined"}


@pytest.mark.parametrize("row", [r for r in TABLE if "participants/" in r or r.endswith("administration>")])
def test_whether_one_may_comes_before_parameters(world: World, row: str) -> None:
    method, _ = row.split(" ")
    path = world.call("anonymous", row).wsgi_request.path

    stranger = next(role for role in ("theo", "carla") if TABLE[row].split()[ROLES.index(role)] == "404")

    for query in ("limit=0", "cursor=x", "since=yesterday", "anchor=x", "instrument=nothing"):
        assert world.clients[stranger].generic(method, f"{path}?{query}").status_code == 404
