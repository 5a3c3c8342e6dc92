"""Every route, with every method, as every role: what stands in the table here, and nothing else.

The table is written by hand and compared with the URLconf. A new route fails until it has its row.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import orjson
import pytest
from django.db import connection
from django.test import Client
from django.urls import get_resolver
from django.urls.resolvers import URLPattern, URLResolver
from django.utils import timezone

from backend.audit.models import Entry
from backend.care.models import Membership, Participant
from scales.trends import compute_behind
from tests.conftest import sign_in, submission

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
ROLES = ("anonymous", "ana", "ben", "thea", "theo", "carla", "rosa", "adam")
PUBLIC = "200 200 200 200 200 200 200 200"
RELEASE = "POST api/v1/participants/<str:participant>/administrations/<str:administration>/release"
SIGNED = "401 200 200 200 200 200 200 200"

# Where a route names somebody's data it is Ana's. Thea is her therapist and Theo was; Carla is another
# clinic's; Rosa is a researcher and Adam an administrator of Ana's clinic; Ben another participant.
TABLE = {
    # Each cell in the order of ROLES.
    "GET api/v1/schema": PUBLIC,
    "GET api/v1/me": SIGNED,
    "GET api/v1/me/trends": "401 200 200 403 403 403 403 403",
    "GET api/v1/me/consents": "401 200 200 403 403 403 403 403",
    "POST api/v1/me/consents": "401 201 201 403 403 403 403 403",
    "GET api/v1/me/disclosure": "401 200 200 403 403 403 403 403",
    "PUT api/v1/me/disclosure": "401 200 200 403 403 403 403 403",
    "GET api/v1/consents": SIGNED,
    "GET api/v1/participants": "401 403 403 200 200 200 403 403",
    "GET api/v1/participants/<str:participant>": "401 200 404 200 404 404 404 404",
    "GET api/v1/participants/<str:participant>/dosing-sessions": "401 200 404 200 404 404 404 404",
    "POST api/v1/participants/<str:participant>/dosing-sessions": "401 201 404 201 404 404 404 404",
    "GET api/v1/participants/<str:participant>/administrations": "401 200 404 200 404 404 404 404",
    RELEASE: "401 403 404 201 404 404 404 404",
    "GET api/v1/participants/<str:participant>/trends": "401 200 404 200 404 404 404 404",
    "GET api/v1/instruments": SIGNED,
    "GET api/v1/instruments/<str:code>": SIGNED,
    "GET api/v1/instruments/<str:code>/versions/<str:version>": SIGNED,
    "GET api/v1/administrations": "401 200 200 403 403 403 403 403",
    "POST api/v1/administrations": "401 201 201 403 403 403 403 403",
    "GET api/v1/administrations/<str:administration>": "401 200 404 200 404 404 404 404",
    "POST api/v1/administrations/<str:administration>/corrections": "401 201 404 403 403 403 403 403",
    "GET healthz": PUBLIC,
    "GET readyz": PUBLIC,
    "GET welcome": PUBLIC,
    "GET welcome/<uidb64>/<token>": PUBLIC,
    "POST welcome/<uidb64>/<token>": PUBLIC,
}

# Sign-in is allauth's, in its own shapes, and none of its routes names anybody: each speaks of the
# person who asks. tests/accounts/test_sign_in.py tries it out.
SIGN_IN = "_allauth/app/v1/"
SIGN_IN_ROUTES = {
    "account/email",
    "account/password/change",
    "account/phone",
    "auth/code/confirm",
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
    "config",
    "tokens/refresh",
}

# What an allowed cell must show, so that refusing everybody is no way to pass.
BY_ANA_OR_THEA = ("ana", "thea")
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
    },
    "GET api/v1/me/trends": {"ana": '"latest":4.2', "ben": '"latest":1.8'},
    "GET api/v1/me/consents": dict.fromkeys(("ana", "ben"), '"decision":"given"'),
    "POST api/v1/me/consents": dict.fromkeys(("ana", "ben"), '"decision":"withdrawn"'),
    "GET api/v1/me/disclosure": dict.fromkeys(("ana", "ben"), '"substance":"shown"'),
    "PUT api/v1/me/disclosure": dict.fromkeys(("ana", "ben"), '"substance":"withheld"'),
    "GET api/v1/consents": {
        **dict.fromkeys(("ana", "ben"), '"decision":"given"'),
        **dict.fromkeys(ROLES[3:], '"streams":null'),
    },
    "GET api/v1/participants": {
        "thea": '"pseudonym":"ana heron"',
        "theo": '{"results":[],"next":null}',
        "carla": '{"results":[],"next":null}',
    },
    "GET api/v1/participants/<str:participant>": dict.fromkeys(BY_ANA_OR_THEA, '"pseudonym":"ana heron"'),
    "GET api/v1/participants/<str:participant>/dosing-sessions": dict.fromkeys(
        BY_ANA_OR_THEA, '"substance":"ayahuasca"'
    ),
    "POST api/v1/participants/<str:participant>/dosing-sessions": dict.fromkeys(
        BY_ANA_OR_THEA, '"substance":"mdma"'
    ),
    "GET api/v1/participants/<str:participant>/administrations": dict.fromkeys(
        BY_ANA_OR_THEA, '"subscale":"self_kindness","value":4.2'
    ),
    RELEASE: {"thea": '"released_at":'},
    "GET api/v1/participants/<str:participant>/trends": dict.fromkeys(BY_ANA_OR_THEA, '"latest":4.2'),
    "GET api/v1/instruments": dict.fromkeys(ROLES[1:], '"code":"scs-26"'),
    "GET api/v1/instruments/<str:code>": dict.fromkeys(ROLES[1:], '"id":"scs26"'),
    "GET api/v1/instruments/<str:code>/versions/<str:version>": dict.fromkeys(ROLES[1:], '"id":"scs26"'),
    "GET api/v1/administrations": {
        "ana": '"subscale":"self_kindness","value":4.2',
        "ben": '"subscale":"self_kindness","value":1.8',
    },
    "POST api/v1/administrations": dict.fromkeys(("ana", "ben"), '"subscale":"self_kindness","value":2.0'),
    "GET api/v1/administrations/<str:administration>": dict.fromkeys(
        BY_ANA_OR_THEA, '"subscale":"self_kindness","value":4.2'
    ),
    "POST api/v1/administrations/<str:administration>/corrections": {
        "ana": '"subscale":"self_kindness","value":1.0'
    },
    "GET healthz": dict.fromkeys(ROLES, '"status":"alive"'),
    "GET readyz": dict.fromkeys(ROLES, '"status":"ready"'),
    "GET welcome": dict.fromkeys(ROLES, "<h1>"),
    "GET welcome/<uidb64>/<token>": dict.fromkeys(ROLES, "<h1>"),
    "POST welcome/<uidb64>/<token>": dict.fromkeys(ROLES, "<h1>"),
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
ROUTES = {route: view for route, view in ALL.items() if not route.startswith(SIGN_IN)}
UNTAKEN = [f"{method} {route}" for route in ROUTES for method in METHODS if f"{method} {route}" not in TABLE]
HIDING = [row for row, cells in TABLE.items() if "404" in cells]


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

    def call(self, role: str, row: str, *, about: str | None = None, body: bytes | None = None) -> Any:
        """The answer to that role, about Ana or the id `about`, with a body the route takes or another."""
        method, route = row.split(" ")
        address = (
            route.replace("<str:participant>", about or str(self.ana.public_id))
            .replace("<str:administration>", about or self.administration)
            .replace("<str:code>", "scs-26")
            .replace("<str:version>", "1")
            .replace("<uidb64>/<token>", "MQ/no-such-link")
        )
        query = "?instrument=scs-26" if route.endswith("trends") else ""
        data = orjson.dumps(body_for(row)) if body is None else body
        return self.clients[role].generic(method, f"/{address}{query}", data, "application/json")


def body_for(row: str) -> dict[str, Any]:
    """A new body that the route takes; {} where it takes none."""
    if row.endswith("/corrections"):
        return {"id": str(uuid4()), "responses": submission(answer=1)["responses"], "reason": "A slip."}
    if row == "POST api/v1/administrations":
        return submission(answer=2)
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
    rosa: Membership,
    adam: Membership,
) -> World:
    """Ana with a dosing session and a self-kindness of 4.2, Ben with 1.8, their trends up to date."""
    people: dict[str, Participant | Membership] = {
        "ana": ana,
        "ben": ben,
        "thea": thea,
        "theo": theo,
        "carla": carla,
        "rosa": rosa,
        "adam": adam,
    }
    clients = {"anonymous": Client()}
    for name, person in people.items():
        assert person.user is not None
        clients[name] = Client(headers={"authorization": f"Bearer {sign_in(person.user)}"})
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
    return World(clients, users, ana, mine["id"])


def contents() -> dict[str, str]:
    """A fingerprint of every table but the audit's."""
    with connection.cursor() as cursor:
        tables = sorted(set(connection.introspection.table_names(cursor)) - {"audit_entry"})
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
            showing[role] = SHOWS[row].get(role, "") in answer.content.decode()
        else:
            assert contents() == before, f"{role} was refused, and something changed"
            assert b"heron" not in answer.content
            assert b"4.2" not in answer.content

    assert dict(zip(ROLES, found, strict=True)) == dict(zip(ROLES, TABLE[row].split(), strict=True))
    assert showing == dict.fromkeys(allowed(row), True)


@pytest.mark.parametrize("row", UNTAKEN)
def test_methods_a_route_does_not_have_are_405(world: World, row: str) -> None:
    public = TABLE.get(f"GET {row.split(' ')[1]}") == PUBLIC
    before = contents()
    newest = newest_entry()

    found = {role: world.call(role, row).status_code for role in ROLES}

    assert found == dict.fromkeys(ROLES, 405) | {"anonymous": 405 if public else 401}
    assert contents() == before
    assert entries_after(newest) == []


@pytest.mark.parametrize("row", HIDING)
def test_hidden_looks_like_nothing(world: World, row: str) -> None:
    nowhere = ["11111111-2222-4333-8444-555555555555", "x", "%00", "0" * 36, "É", "'; --", "1" * 3000]

    for role, cell in zip(ROLES, TABLE[row].split(), strict=True):
        if cell == "404":
            hidden = seen_outside(world.call(role, row))
            assert [seen_outside(world.call(role, row, about=id_)) for id_ in nowhere] == [hidden] * 7


@pytest.mark.parametrize("row", HIDING)
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


@pytest.mark.parametrize("row", [row for row in TABLE if row.startswith("GET") and "ana" in allowed(row)])
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


@pytest.mark.parametrize("row", [r for r in TABLE if "participants/" in r or r.endswith("administration>")])
def test_whether_one_may_comes_before_parameters(world: World, row: str) -> None:
    method, _ = row.split(" ")
    path = world.call("anonymous", row).wsgi_request.path

    for query in ("limit=0", "cursor=x", "since=yesterday", "anchor=x", "instrument=nothing"):
        assert world.clients["theo"].generic(method, f"{path}?{query}").status_code == 404
