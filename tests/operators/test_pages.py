"""What operators see: the columns on the list, of every model there is, and nothing that anybody wrote."""

import re
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest
from allauth.mfa.models import Authenticator
from django.apps import apps
from django.core.management import call_command
from django.db import connection, models
from django.db.models.functions import Length
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import get_resolver
from django.urls.resolvers import URLPattern, URLResolver
from django.utils import timezone

from backend.accounts.addresses import lookup
from backend.accounts.models import User
from backend.audit.models import Entry
from backend.care.models import Clinic, Membership, Participant
from backend.operators.admin import PAGE, site
from backend.operators.shown import SHOWN
from tests.care.opened.emergencies import opened_in_emergency
from tests.conftest import statements, submission
from tests.operators.conftest import HOME, browser

# Every column there is that operators do not see. It is not even read.
HIDDEN = {
    "accounts.User": {"email", "key", "name", "password", "session_salt"},
    "mfa.Authenticator": {"data"},
    "care.Clinic": set[str](),
    "care.Membership": set[str](),
    "care.Participant": {"user_id", "timezone", "withdrawn_at"},
    "care.CareRelationship": set[str](),
    "care.Cover": set[str](),
    "care.Consent": {"decided_at", "device", "rules", "text_hash", "timezone"},
    "care.ConsentText": {"source"},
    "care.Invitation": {"created_by_id", "digest", "protocol", "redeemed_by_device", "repeats"},
    "care.EmergencyAccess": {"reason"},
    "care.DosingSession": {"substance", "dose", "dose_unit", "route", "setting", "supervised"},
    "scales.Administration": {
        "answer",
        "assessment",
        "content_hash",
        "responses",
        "scores",
        "skipped",
        "started_at",
        "timezone",
        "utc_offset",
    },
    "scales.Correction": {"answer", "content_hash", "reason", "responses", "scores"},
    "scales.Quarantined": {"body", "content_hash", "faults", "instrument_code", "instrument_version"},
    "scales.Trend": {"result"},
    "scales.LoadedFile": {"text"},
    "changes.Change": set[str](),
    "audit.Entry": set[str](),
    "backup.Run": set[str](),
    "audit.History": {"before"},
    "rights.Erasure": {"holders", "receipt", "signature"},
    "demo.Mark": set[str](),
}
# Models without any page: Django's and allauth's own.
UNSEEN = {
    "account.EmailAddress",
    "account.EmailConfirmation",
    "accounts.Address",
    "accounts.Device",
    "accounts.Guess",
    "accounts.OutgoingMail",
    "accounts.PasskeyName",
    "accounts.TokenFamily",
    "admin.LogEntry",
    "audit.Pending",
    "audit.Seal",
    "care.CodeGuess",
    "care.Disclosure",
    "care.RecoveryCode",
    "rights.Export",
    "rights.ExportPart",
    "changes.Tombstone",
    "scales.Held",
    "scales.Release",
    "auth.Group",
    "auth.Permission",
    "contenttypes.ContentType",
    "sessions.Session",
}
# The texts among what is shown, each with why it is no free text.
TEXTS = {
    "mfa.Authenticator.type": "a choice",
    "care.Clinic.name": "an operator named it",
    "care.Clinic.missing_answers": "a choice",
    "care.Membership.role": "a choice",
    "care.Participant.pseudonym": "what the participant is called here, instead of their name",
    "care.CareRelationship.ended_because": "a choice",
    "care.Consent.stream": "a choice",
    "care.Consent.decision": "a choice",
    "care.Consent.language": "of a text that was there",
    "care.ConsentText.stream": "a choice",
    "care.ConsentText.language": "an operator loaded it",
    "care.Invitation.kind": "a choice",
    "scales.Administration.instrument_code": "of an instrument that was there",
    "scales.Administration.clock": "a code of ours",
    "scales.Administration.missing_answers": "a choice",
    "scales.Quarantined.kind": "a choice",
    "scales.Trend.instrument_code": "of an instrument that was there",
    "scales.LoadedFile.kind": "a choice",
    "scales.LoadedFile.code": "an operator loaded it",
    "scales.LoadedFile.sha256": "a digest",
    "changes.Change.kind": "a code of ours",
    "backup.Run.name": "a name of ours",
    "backup.Run.kind": "a choice",
    "backup.Run.failed": "a code of ours",
    "rights.Erasure.state": "a choice",
    "audit.Entry.action": "a code of ours",
    "audit.Entry.subject": "ids and codes of ours",
    "audit.Entry.why": "a code of ours",
    "audit.History.change": "a choice",
    "audit.History.row": "an id",
    "audit.History.table": "a table's name",
}
CANARY = "canary"


def columns(label: str) -> set[str]:
    return {field.attname for field in apps.get_model(label)._meta.concrete_fields}


def addresses(resolver: URLResolver, before: str = "") -> Iterator[tuple[str, Any]]:
    for entry in resolver.url_patterns:
        route = before + str(entry.pattern)
        if isinstance(entry, URLPattern):
            yield route, entry.callback
        else:
            yield from addresses(entry, route)


PAGES = [route for route, _ in addresses(get_resolver()) if route.startswith("operators/")]
LISTS = [route for route in PAGES if route.count("/") == 3 and not route.endswith("<path:object_id>/")]


def test_every_column_of_every_model_is_decided() -> None:
    """A new one fails here until somebody says, in `shown.py` or above, whether operators see it."""
    every = {model._meta.label for model in apps.get_models()}

    assert every == set(SHOWN) | UNSEEN
    assert set(HIDDEN) == set(SHOWN)
    for label, shown in SHOWN.items():
        assert sorted(columns(label)) == sorted([*shown.columns, *HIDDEN[label]]), label
        assert set(shown.filters) <= set(shown.columns), label


def test_every_text_that_is_shown_has_its_reason() -> None:
    texts = {
        f"{label}.{field.attname}"
        for label, shown in SHOWN.items()
        for field in apps.get_model(label)._meta.concrete_fields
        if field.attname in shown.columns
        and isinstance(field, models.CharField | models.TextField | models.JSONField | models.BinaryField)
    }

    assert texts == set(TEXTS)


def test_the_admin_registers_what_is_shown_and_no_more() -> None:
    from django.contrib import admin

    assert {model._meta.label for model in site._registry} == set(SHOWN)
    assert not admin.site._registry


@pytest.fixture
def written(ana: Participant, ben: Participant, thea: Membership, client_for: Any) -> None:
    """A row of everything, with a word to look for in each column that could hold one."""
    client = client_for(ana)
    body = submission()
    assert client.post("/api/v1/administrations", body, "application/json").status_code == 201
    correction = {"id": str(uuid4()), "responses": submission(answer=1)["responses"], "reason": CANARY}
    address = f"/api/v1/administrations/{body['id']}/corrections"
    assert client.post(address, correction, "application/json").status_code == 201
    for odd in ({"instrument": CANARY}, {"responses": {CANARY: 1}}):
        sent = client.post("/api/v1/administrations", submission(**odd), "application/json")
        assert sent.status_code in (202, 422)
    session = {"id": str(uuid4()), "started_at": "2026-03-27T10:00:00+01:00", "substance": "ayahuasca"}
    address = f"/api/v1/participants/{ana.public_id}/dosing-sessions"
    assert client.post(address, session, "application/json").status_code == 201
    assert client.post("/api/v1/me/erasure", {}, "application/json").status_code == 202
    relink = f"/api/v1/participants/{ana.public_id}/relink"
    assert client_for(thea).post(relink, {"id": str(uuid4())}, "application/json").status_code == 201
    night = opened_in_emergency(ana, thea, CANARY, now=timezone.now())
    assert CANARY not in str(bytes(night.reason))
    Participant.objects.filter(pk=ana.pk).update(timezone=CANARY)
    Participant.objects.filter(pk=ana.pk).update(timezone="Europe/Berlin")
    hers = {"email": lookup(f"{CANARY}@cast.example"), "name": CANARY.encode(), "password": CANARY}
    User.objects.filter(participant=ana).update(**hers)
    # A passkey has a name that its owner chose, and allauth's own text for it is that name.
    Authenticator.objects.create(
        user_id=ana.user_id, type="recovery_codes", data={"name": CANARY, "secret": CANARY}
    )


def ids(client: Client, route: str) -> list[str]:
    """The addresses of the objects on a list."""
    page = client.get("/" + route).content.decode()
    return re.findall(rf'href="(/{re.escape(route)}[^"?]+/)', page)


def test_no_page_shows_a_word(written: None, olga: User, olgas: Client) -> None:
    seen = []
    for route in LISTS:
        for address in ["/" + route, *ids(olgas, route)]:
            page = olgas.get(address).content.decode()
            assert "Sign out" in page, address
            for word in (
                CANARY,
                "ayahuasca",
                "cast.example",
                "sealed.invalid",
                "argon2",
                '"scs07"',
                "self_kindness",
            ):
                assert word not in page, (address, word)
            seen.append(address)

    for table in ("scales/quarantined", "scales/correction", "care/dosingsession", "mfa/authenticator"):
        one = [a for a in seen if a.startswith(f"/operators/{table}/") and a.count("/") == 5]
        assert len(one) == (2 if table in ("scales/quarantined", "mfa/authenticator") else 1)


def test_what_is_shown_is_what_is_on_the_list(ana: Participant, olgas: Client) -> None:
    address = f"/operators/care/participant/{ana.pk}/"
    rows = re.findall(r'<th scope="row">(.*?)</th><td>(.*?)</td>', olgas.get(address).content.decode())

    assert rows == [
        ("ID", str(ana.pk)),
        ("Public id", str(ana.public_id)),
        ("Clinic id", str(ana.clinic_id)),
        ("Pseudonym", "ana heron"),
        ("Enrolled at", "Jan. 1, 2024, midnight"),
    ]


@pytest.mark.parametrize("route", LISTS)
def test_a_hidden_column_is_not_even_read(written: None, olgas: Client, route: str) -> None:
    app, name = route.split("/")[1:3]
    model = apps.get_model(app, name)
    hidden = HIDDEN[model._meta.label]

    with CaptureQueriesContext(connection) as caught:
        for address in ids(olgas, route):
            olgas.get(address)

    read = " ".join(q["sql"] for q in caught if f'FROM "{model._meta.db_table}"' in q["sql"])
    if model is User:  # who asks is looked up too, and that is another statement
        read = " ".join(part for part in read.split("SELECT") if "seen_clinic" in part)
    assert [column for column in hidden if f'"{model._meta.db_table}"."{column}"' in read] == []


@pytest.mark.parametrize(
    "query",
    ["email__startswith=a", "password__contains=x", "email=ana%40cast.example"],
)
def test_nobody_guesses_at_a_hidden_column(ana: Participant, olgas: Client, query: str) -> None:
    assert olgas.get(f"/operators/accounts/user/?{query}").status_code == 400


@pytest.mark.parametrize(
    "address",
    [
        "scales/correction/?reason__contains=a",
        "scales/administration/?responses__scs07=3",
        "scales/quarantined/?body__contains=a",
        "care/participant/?user__email__startswith=a",
        "care/participant/?clinic__name=Linden",
        "care/dosingsession/?substance=mdma",
        "care/participant/?pseudonym__regex=a",
        "accounts/user/?_to_field=email",
    ],
)
def test_nor_across_a_relation(ana: Participant, olgas: Client, address: str) -> None:
    assert olgas.get(f"/operators/{address}").status_code == 400


@pytest.mark.parametrize(
    "query",
    [
        "q=heron",
        "o=3.-1",
        "o=99",
        "p=9",
        "all=",
        "_popup=1",
        "_facets=1",
        "id=x",
        "participant=",
        "e=1",
        "nothing=1",
    ],
)
def test_odd_queries_are_harmless(ana: Participant, olgas: Client, query: str) -> None:
    answer = olgas.get(f"/operators/care/participant/?{query}")

    assert answer.status_code in (200, 302, 400)
    assert b"Traceback" not in answer.content


def test_a_list_is_narrowed_by_what_it_shows(
    ana: Participant, thea: Membership, adam: Membership, olgas: Client
) -> None:
    address = "operators/care/membership/"
    page = olgas.get(f"/{address}?role__exact=therapist").content.decode()

    assert re.findall(rf'href="/{address}(\d+)/', page) == [str(thea.pk)]
    page = olgas.get(f"/{address}?user_id={adam.user_id}").content.decode()
    assert re.findall(rf'href="/{address}(\d+)/', page) == [str(adam.pk)]


# Every look is recorded


def entries(since: int) -> list[tuple[Any, ...]]:
    return list(
        Entry.objects.filter(id__gt=since)
        .order_by("id")
        .values_list("actor", "action", "subject", "participant", "clinic")
    )


def newest() -> int:
    return Entry.objects.order_by("-id").values_list("id", flat=True)[0]


def test_every_page_and_every_object_seen_leaves_a_row(
    ana: Participant, ben: Participant, thea: Membership, olga: User, olgas: Client
) -> None:
    since = newest()

    olgas.get(HOME)
    listed = olgas.get("/operators/care/participant/")
    olgas.get(f"/operators/care/participant/{ana.pk}/")
    olgas.get("/operators/demo/mark/")

    saw = (olga.pk, "operator.viewed")
    assert entries(since) == [
        (*saw, "admin:index", None, None),
        (*saw, "admin:care_participant_changelist", None, None),
        (*saw, f"care.Participant:{ben.pk}", ben.pk, ben.clinic_id),
        (*saw, f"care.Participant:{ana.pk}", ana.pk, ana.clinic_id),
        (*saw, "admin:care_participant_change", None, None),
        (*saw, f"care.Participant:{ana.pk}", ana.pk, ana.clinic_id),
        (*saw, "admin:demo_mark_changelist", None, None),
    ]
    of_the_list = Entry.objects.filter(id__gt=since, subject__startswith="care.").order_by("id")[0]
    assert str(of_the_list.request) == listed.headers["X-Request-Id"]


def test_whose_a_row_is_is_recorded_of_every_model(written: None, ana: Participant, olgas: Client) -> None:
    since = newest()
    for route in LISTS:
        if not route.startswith("operators/audit/entry"):
            olgas.get("/" + route)

    of_ana = Entry.objects.filter(id__gt=since, participant=ana.pk)
    assert set(of_ana.values_list("clinic", flat=True)) - {None} == {ana.clinic_id}
    assert {s.partition(":")[0] for s in of_ana.values_list("subject", flat=True)} == {
        label for label, shown in SHOWN.items() if shown.participant and label != "audit.Entry"
    }
    longest = Entry.objects.aggregate(most=models.Max(Length("subject")))["most"]
    assert longest <= 64


def test_the_record_stands_or_falls_with_the_page(ana: Participant, olgas: Client, settings: Any) -> None:
    """A page that breaks while it is rendered showed nothing, and leaves no row."""
    since, options = newest(), settings.TEMPLATES[0]
    settings.TEMPLATES = [{**options, "OPTIONS": {**options["OPTIONS"], "builtins": []}, "APP_DIRS": False}]

    assert olgas.get("/operators/care/participant/").status_code == 500
    assert entries(since) == []


@pytest.mark.parametrize("count", [1, 3])
def test_statements_do_not_grow_with_the_rows(linden: Clinic, olgas: Client, count: int) -> None:
    for n in range(count):
        Participant.objects.create(clinic=linden, pseudonym=f"{n} heron")

    with CaptureQueriesContext(connection) as caught:
        assert olgas.get("/operators/care/participant/").status_code == 200

    # Session, user; page; count twice, rows; objects; session kept.
    assert len(statements(caught)) == 7


def test_a_page_holds_fifty(linden: Clinic, olgas: Client) -> None:
    for n in range(PAGE + 1):
        Participant.objects.create(clinic=linden, pseudonym=f"{n} heron")
    since = newest()

    page = olgas.get("/operators/care/participant/?all=").content.decode()

    assert page.count(" heron</td>") == PAGE
    assert len(entries(since)) == PAGE + 1


# Nobody changes anything, and nobody else sees anything


def address_of(route: str, pk: object) -> str:
    return "/" + route.replace("<path:object_id>", str(pk))


def test_every_page_is_behind_the_door(
    ana: Participant, thea: Membership, adam: Membership, client_for: Any
) -> None:
    people = [browser(), *(client_for(person) for person in (ana, thea, adam))]
    walked = [
        r for r in PAGES if r not in ("operators/sign-in", "operators/second-factor", "operators/sign-out")
    ]
    assert len(walked) == 1 + len({m._meta.app_label for m in site._registry}) + 2 * len(SHOWN)

    for route in walked:
        for client in people:
            for method in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"):
                answer = client.generic(method, address_of(route, ana.pk))
                assert (answer.status_code, answer.headers["Location"]) == (302, "/operators/sign-in"), route
                assert answer.content == b""


def test_no_page_takes_anything(ana: Participant, olgas: Client) -> None:
    for route in (r for r in PAGES if r.count("/") != 1 or r == "operators/"):
        for method in ("POST", "PUT", "PATCH", "DELETE"):
            assert olgas.generic(method, address_of(route, ana.pk)).status_code == 405, route


@pytest.mark.parametrize(
    "address",
    ["care/participant/add/", "care/participant/{pk}/delete/", "care/participant/{pk}/change/",
     "care/participant/{pk}/history/", "password_change/", "jsi18n/", "autocomplete/", "login/", "logout/",
     "r/1/1/", "account/emailaddress/", "sessions/session/", "admin/logentry/", "care/participant/0/",
     "nothing/", "care/participant/x/",
     "care/participant/99999999999999999999999/", "scales/administration/%00/"],
)  # fmt: skip
def test_there_is_nothing_else(ana: Participant, olgas: Client, address: str) -> None:
    answer = olgas.get("/operators/" + address.format(pk=ana.pk))

    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


def test_the_style_is_served_without_anybody_beside_us(olgas: Client) -> None:
    page = olgas.get("/operators/care/participant/").content.decode()
    sheets = re.findall(r'<link rel="stylesheet" href="([^"]+)"', page)

    assert len(sheets) >= 3
    for address in sheets:
        sheet = browser().get(address)
        assert (sheet.status_code, sheet.headers["Content-Type"]) == (200, 'text/css; charset="utf-8"')
        assert sheet.headers["X-Content-Type-Options"] == "nosniff"
        assert "Access-Control-Allow-Origin" not in sheet.headers
    for path in ("/static/admin/../../settings.py", "/static/", "/static/admin/css/", "/static/%2e%2e/x"):
        assert browser().get(path).status_code == 404


def test_the_checks_are_clean() -> None:
    call_command("check")
