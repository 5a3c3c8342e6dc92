"""The description of the API, tried out: whatever is sent, the answer is one that it names."""

import os
import re
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any
from uuid import uuid4

import orjson
import pytest
import schemathesis
import yaml
from django.conf import settings
from django.core.signals import request_finished, request_started
from django.core.wsgi import get_wsgi_application
from django.db import close_old_connections
from django.test import Client
from django.urls import get_resolver
from django.utils import timezone
from hypothesis import HealthCheck, Phase, given, seed
from hypothesis import settings as bounds
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from backend.care.joining.models import Invitation
from backend.care.models import Membership, Participant
from backend.errors import CODES
from backend.rights.export.services import make_waiting
from scales.trends import compute_behind
from tests.care.joining.door import invited, recovery_codes
from tests.conftest import sign_in, submission
from tests.test_access import methods_of, routes

application = get_wsgi_application()
TODAY = date(2026, 1, 1)
# For each operation and person; `make battery` asks for more.
EXAMPLES = int(os.environ.get("EXAMPLES") or 5)
FILE = Path(settings.BASE_DIR) / "docs" / "openapi.yaml"


def on_this_machine(environ: dict[str, Any], start_response: Any) -> Any:
    """The application as a server on loopback calls it: nothing else here says where a request comes from."""
    return application({**environ, "REMOTE_ADDR": "127.0.0.1"}, start_response)


DESCRIBED: dict[str, Any] = yaml.safe_load(FILE.read_text())
SCHEMA = schemathesis.openapi.from_dict(DESCRIBED)
SCHEMA.app = on_this_machine
STAFF = ("/api/v1/staff", "/api/v1/care-relationships", "/api/v1/covers", "/api/v1/caseloads")
OPERATIONS = {r.ok().label: r.ok() for r in SCHEMA.get_all_operations() if isinstance(r, Ok)}
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]


@pytest.fixture
def people(ana: Participant, thea: Membership, adam: Membership, client_for: Any) -> Iterator[dict[str, Any]]:
    """Ana, with a session and two administrations in her trends; and Thea."""
    client = client_for(ana)
    for day in (1, 30):
        body = submission(completed_at=f"2026-01-{day:02}T10:00:00+01:00", answer=3)
        assert client.post("/api/v1/administrations", body, "application/json").status_code == 201
    session = {"id": str(uuid4()), "started_at": "2026-01-10T10:00:00+01:00"}
    address = f"/api/v1/participants/{ana.public_id}/dosing-sessions"
    assert client.post(address, session, "application/json").status_code == 201
    erasure = client.post("/api/v1/me/erasure", {}, "application/json").json()["id"]
    compute_behind(now=ana.enrolled_at)
    asked = client.post("/api/v1/me/export", {}, "application/json")
    assert (asked.status_code, make_waiting(now=timezone.now)) == (202, 1)
    # Each request would close the connection, and with it the test's transaction.
    for signal in (request_started, request_finished):
        signal.disconnect(close_old_connections)
    invited(thea)
    yield {
        "erasure": erasure,
        "ana": ana,
        "thea": thea,
        "adam": adam,
        "administration": body["id"],
        "invitation": str(Invitation.objects.get().pk),
        "export": asked.json()["id"],
    }
    for signal in (request_started, request_finished):
        signal.connect(close_old_connections)


# An administrator where there is something to administer: elsewhere he is refused like anonymous.
ASKED = [
    (person, label)
    for label in OPERATIONS
    for person in ("ana", "thea", "adam", "anonymous")
    if person != "adam"
    or any(route in label for route in (*STAFF, "/invitations", "/relink", "/audit-entries", "/emergency"))
]


@pytest.mark.parametrize(("person", "label"), ASKED)
def test_every_answer_is_one_of_those_described(people: dict[str, Any], person: str, label: str) -> None:
    operation = OPERATIONS[label]
    headers = {"Authorization": f"Bearer {sign_in(people[person].user)}"} if person in people else {}
    real = {
        "participant": str(people["ana"].public_id),
        "administration": people["administration"],
        "membership": str(people["thea"].public_id),
        "care_relationship": str(people["thea"].care_relationships.get().public_id),
        "cover": str(uuid4()),
        "invitation": people["invitation"],
        "export": people["export"],
        "device": str(uuid4()),
        "erasure": people["erasure"],
        "code": "scs-26",
        "version": "1",
    }
    named = {p.name: real[p.name] for p in operation.path_parameters}
    # What takes nothing can be sent nothing wrong.
    alone = all(p.location == "path" for p in operation.iter_parameters()) and not operation.body
    modes = [GenerationMode.POSITIVE]
    if operation.body or any(True for _ in operation.iter_parameters()):
        modes.append(GenerationMode.NEGATIVE)
    sources = [
        operation.as_strategy(generation_mode=mode, path_parameters=ids)
        for mode in modes
        for ids in ([named] if named else []) + [None]
        # Nothing is wrong with a good id that goes alone.
        if mode == GenerationMode.POSITIVE or ids is None or not alone
    ]

    for source in sources:

        @seed(2026)
        @bounds(
            max_examples=EXAMPLES,
            deadline=None,
            database=None,
            phases=[Phase.explicit, Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(case=source)
        def answered(case: Any) -> None:
            case.call_and_validate(headers=headers, checks=CHECKS)

        answered()


def described() -> dict[tuple[str, str], dict[str, Any]]:
    """What the description says of each path and method."""
    return {
        (path, method): operation
        for path, item in DESCRIBED["paths"].items()
        for method, operation in item.items()
        if method in ("get", "post", "put", "patch", "delete")
    }


def test_the_description_is_of_every_route_and_of_nothing_else() -> None:
    served = {
        ("/" + re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", route), method.lower())
        for route, view in routes(get_resolver())
        if route.startswith("api/v1/") and route != "api/v1/schema"
        for method in methods_of(view)
    }

    assert set(described()) == served | {("/healthz", "get"), ("/readyz", "get")}


def test_the_description_is_served_as_it_is_kept(db: None) -> None:
    answer = Client().get("/api/v1/schema")

    assert answer.content == FILE.read_bytes()
    assert answer["Content-Type"] == "application/yaml; charset=utf-8"


def names_an_id(path: str, method: str) -> bool:
    """Whether the body says which id the new thing has."""
    body = described()[path, method].get("requestBody")
    if body is None:
        return False
    reference = body["content"]["application/json"]["schema"]["$ref"].rpartition("/")[2]
    return "id" in DESCRIBED["components"]["schemas"][reference]["properties"]


@pytest.mark.parametrize(("path", "method"), described())
def test_every_operation_names_its_errors(path: str, method: str) -> None:
    answers = described()[path, method]["responses"]
    expected = {"503"} if path.startswith("/api") else set()
    # Who has a code need not be signed in.
    public = "security" not in described()[path, method]
    expected |= set() if public else {"401"}
    if "{" in path:
        expected |= {"404"}
    if method == "post":
        expected |= {"400", "413", "415", "422"}
        expected |= {"429"} if public else set()
        expected |= {"409"} if names_an_id(path, method) else set()

    assert expected <= set(answers)
    for status, answer in answers.items():
        if status >= "400" and path.startswith("/api"):
            assert list(answer["content"]) == ["application/problem+json"]


def test_every_body_has_an_example_that_is_taken(
    ana: Participant, thea: Membership, theo: Membership, client_for: Any
) -> None:
    assert ana.user is not None
    phone = ana.user.devices.create(installation=uuid4(), first_seen_on=TODAY, last_seen_on=TODAY)
    bodies = {call: o["requestBody"]["content"] for call, o in described().items() if "requestBody" in o}
    assert {tuple(content) for content in bodies.values()} == {("application/json",)}
    examples = {
        call: [e["value"] for e in content["application/json"]["examples"].values()]
        for call, content in bodies.items()
    }
    (administration,) = examples["/api/v1/administrations", "post"]

    for (path, method), values in examples.items():
        if path.startswith(STAFF):  # these name people by id: tests/care/test_staff.py tries them
            continue
        address = path.format(
            participant=ana.public_id, administration=administration["id"], device=phone.installation
        )
        for value in values:
            ana.user.refresh_from_db()  # coming back by a code ends the sessions there were
            asks = thea if path.endswith(("/invitations", "/relink")) else ana
            client = client_for(theo if path.endswith("/emergency-access") else asks)
            sent = value | {"code": code_for(path, ana, thea)} if "code" in value else value
            taken = client.generic(method.upper(), address, orjson.dumps(sent), "application/json")
            assert taken.status_code in (200, 201), path


def code_for(path: str, ana: Participant, thea: Membership) -> str:
    """A code that is good there: one in a page of documentation cannot be."""
    return recovery_codes(ana)[0] if path.endswith("/recovery") else invited(thea)


def test_the_page_of_codes_is_where_problems_point(db: None) -> None:
    page = (Path(settings.BASE_DIR) / "docs" / "errors.md").read_text()

    assert all(f"`{code}`" in page for code in CODES)
    assert Client().get("/api/v1/me").json()["type"] == "/docs/errors#not_signed_in"
