"""The cast, and a client for each of them. The servers behind are started by `tests.servers`."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from allauth.account.authentication import AUTHENTICATION_METHODS_SESSION_KEY
from allauth.headless.tokens.strategies.jwt.internal import create_access_token
from django.conf import settings
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
from django.contrib.sessions.backends.db import SessionStore
from django.core.signals import request_finished, request_started
from django.db import connection
from django.db.backends.base.creation import TEST_DATABASE_PREFIX
from django.dispatch import receiver
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from pytest_django import DjangoDbBlocker

from backend.accounts.models import User
from backend.accounts.services import create_user
from backend.care import access
from backend.care import services as care
from backend.care.consent import queries as consents
from backend.care.consent.models import Consent
from backend.care.consent.services import record_decision
from backend.care.consent.text import Stream
from backend.care.models import Clinic, Membership, Participant
from backend.care.roles import Role
from backend.stack.dsn import AS_APP, SEES_ALL
from scales.queries import instrument
from tests.hashers import SHIPPED
from tests.running import reachable_folder

# Else every client looks through the admin's files anew.
settings.WHITENOISE_AUTOREFRESH = True
assert settings.PASSWORD_HASHERS == SHIPPED
settings.PASSWORD_HASHERS = ["tests.hashers.QuickArgon2"]

ENROLLED_AT = datetime(2024, 1, 1, tzinfo=UTC)
ClientFor = Callable[[Participant | Membership], Client]


def statements(caught: CaptureQueriesContext) -> list[str]:
    """The product's own statements among these, without what begins and ends transactions and scopes."""
    aside = ("SAVEPOINT", "RELEASE SAVEPOINT", "SELECT set_config(", "SELECT coalesce(current_setting(")
    return [query["sql"] for query in caught if not query["sql"].startswith(aside)]


@contextmanager
def as_owner() -> Iterator[None]:
    """What follows is done by the role that owns the tables, on the same connection."""
    with connection.cursor() as cursor:
        cursor.execute("SET ROLE NONE")
        try:
            yield
        finally:
            if not connection.needs_rollback:
                cursor.execute("SET ROLE selfkind_app")


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder for a STATE: other accounts can pass through, as root's PostgreSQL must."""
    with reachable_folder() as folder:
        yield folder


@pytest.fixture
def linden(db: None) -> Clinic:
    return care.create_clinic(name="Linden")


@pytest.fixture
def rowan(db: None) -> Clinic:
    return care.create_clinic(name="Rowan")


def user(name: str) -> User:
    return create_user(email=f"{name}@cast.example", password=None)


def enrol(name: str, clinic: Clinic, timezone: str = "Europe/Berlin") -> Participant:
    return care.enrol_participant(
        clinic=clinic, user=user(name), pseudonym=f"{name} heron", timezone=timezone, enrolled_at=ENROLLED_AT
    )


def decide(
    person: Participant,
    decision: str = "given",
    stream: Stream = Stream.CARE,
    *,
    at: datetime = ENROLLED_AT,
    decided_at: datetime | None = None,
    **fields: Any,
) -> Consent:
    """That person's decision on a stream, in today's English words, received at that instant."""
    with access.participants_of_a_job([person.pk]) as found:
        seen = found[person.pk]
        text = next(t for t in consents.current() if (t.stream, t.language) == (stream, "en"))
        words = {
            "version": text.version,
            "language": text.language,
            "text_hash": text.shown(seen.clinic_hold_hours).hash,
        }
        decided, _ = record_decision(
            participant=seen,
            actor=person.user_id or 0,
            device=None,
            id=uuid4(),
            fields={
                "stream": stream,
                "decision": decision,
                "decided_at": decided_at or at,
                **words,
                **fields,
            },
            received_at=at,
        )
    return decided


def join(name: str, clinic: Clinic, role: Role) -> Membership:
    return care.add_member(clinic=clinic, user=user(name), role=role, started_at=ENROLLED_AT)


@pytest.fixture
def ana(linden: Clinic) -> Participant:
    """A participant, who shares with those who care for her."""
    person = enrol("ana", linden)
    decide(person)
    return person


@pytest.fixture
def ben(linden: Clinic) -> Participant:
    """Another participant of Ana's clinic, who shares too."""
    person = enrol("ben", linden)
    decide(person)
    return person


@pytest.fixture
def thea(ana: Participant) -> Membership:
    """Ana's therapist."""
    membership = join("thea", ana.clinic, Role.THERAPIST)
    care.start_care(participant=ana, therapist=membership, started_at=ENROLLED_AT)
    return membership


@pytest.fixture
def theo(ana: Participant) -> Membership:
    """Ana's former therapist, still of her clinic."""
    membership = join("theo", ana.clinic, Role.THERAPIST)
    past = care.start_care(participant=ana, therapist=membership, started_at=ENROLLED_AT)
    care.end_care(care=past, ended_at=datetime(2025, 1, 1, tzinfo=UTC))
    return membership


@pytest.fixture
def carla(rowan: Clinic) -> Membership:
    """A therapist of another clinic."""
    return join("carla", rowan, Role.THERAPIST)


@pytest.fixture
def rosa(linden: Clinic) -> Membership:
    """A researcher of Ana's clinic."""
    return join("rosa", linden, Role.RESEARCHER)


@pytest.fixture
def adam(linden: Clinic) -> Membership:
    """An administrator of Ana's clinic."""
    return join("adam", linden, Role.CLINIC_ADMIN)


@pytest.fixture
def sam(linden: Clinic) -> Membership:
    """A supervisor of Ana's clinic."""
    return join("sam", linden, Role.SUPERVISOR)


@pytest.fixture
def cora(linden: Clinic) -> Membership:
    """A coordinator of Ana's clinic."""
    return join("cora", linden, Role.COORDINATOR)


@pytest.fixture
def cass(thea: Membership) -> Membership:
    """A therapist of Ana's clinic who covers for Thea this week."""
    colleague, now = join("cass", thea.clinic, Role.THERAPIST), timezone.now()
    care.arrange_cover(
        therapist=thea,
        covered_by=colleague,
        started_at=now - timedelta(days=1),
        ended_at=now + timedelta(days=6),
    )
    return colleague


def sign_in(signed_in: User, *, second_factor: bool = True) -> str:
    """An access token over a session as allauth makes one, without the cost of a password."""
    session = SessionStore()
    session[SESSION_KEY] = str(signed_in.pk)
    session[BACKEND_SESSION_KEY] = "allauth.account.auth_backends.AuthenticationBackend"
    session[HASH_SESSION_KEY] = signed_in.get_session_auth_hash()
    if second_factor:
        session[AUTHENTICATION_METHODS_SESSION_KEY] = [{"method": "mfa", "at": 0}]
        session["account_authentication_methods_user"] = str(signed_in.pk)
    session.save()
    return str(create_access_token(signed_in, session, {}))


@pytest.fixture
def client_for(db: None) -> ClientFor:
    """A client signed in as a participant or a member of staff, as an app would be."""

    def signed_in(person: Participant | Membership) -> Client:
        assert person.user is not None
        return Client(headers={"authorization": f"Bearer {sign_in(person.user)}"})

    return signed_in


def responses(code: str, answer: float, **others: float | None) -> dict[str, Any]:
    """The same answer to every item of an instrument's newest version, but for these."""
    form = instrument(code, 1)
    assert form is not None
    return {item: others.get(item, answer) for item in form.item_ids}


def submission(code: str = "scs-26", answer: float = 3, **fields: Any) -> dict[str, Any]:
    """A body for `POST /administrations`."""
    return {
        "id": str(uuid4()),
        "instrument": code,
        "version": 1,
        "completed_at": "2026-01-10T10:00:00+01:00",
        "timezone": "Europe/Berlin",
        "responses": responses(code, answer),
        **fields,
    }


@dataclass(frozen=True)
class Copy:
    """A database of one test's own, where commits stay until the test ends."""

    name: str


def _work_as(options: str) -> None:
    """Nothing; from here on connections are made with these options."""
    connection.close()
    connection.settings_dict["OPTIONS"]["options"] = options


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[None]:
    """The test database, worked in as the role that row-level security holds.

    What a test itself makes and looks at is all there for it; a request sees what it is let through to.
    """
    _work_as(f"{AS_APP} {SEES_ALL}")
    yield
    with django_db_blocker.unblock():
        _work_as(SEES_ALL)


def _in_sight(everything: str) -> None:
    if connection.connection is not None and not connection.needs_rollback:
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT set_config('selfkind.everything', %s, false), set_config('selfkind.user', '', false),"
                " set_config('selfkind.participants', '', false), set_config('selfkind.clinics', '', false)",
                [everything],
            )


@receiver(request_started)
def begin_with_nothing_in_sight(**_: object) -> None:
    """As on a connection of the product's own: a request that is not let through to a row finds none."""
    _in_sight("")


@receiver(request_finished)
def look_around_again(**_: object) -> None:
    _in_sight("on")


@pytest.fixture(scope="session")
def migrated(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[str]:
    """The name of the migrated test database, which pytest-django makes only where a test asks for `db`."""
    with django_db_blocker.unblock():
        before = connection.settings_dict["NAME"]
        if before.startswith(TEST_DATABASE_PREFIX):
            yield before
            return
        _work_as(SEES_ALL)
        name = connection.creation.create_test_db(verbosity=0, autoclobber=True)
        _work_as(f"{AS_APP} {SEES_ALL}")
        yield name
        _work_as(SEES_ALL)
        connection.creation.destroy_test_db(before, verbosity=0)


@pytest.fixture
def database_copy(migrated: str, django_db_blocker: DjangoDbBlocker) -> Iterator[Copy]:
    """A fresh copy of the migrated test database, for tests that commit from several connections.

    Flushing between tests would truncate tables that refuse it.
    """
    with django_db_blocker.unblock():
        name = f"{migrated}_copy"
        connection.close()
        _maintain(
            f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)',
            f'CREATE DATABASE "{name}" TEMPLATE "{migrated}"',
        )
        connection.settings_dict["NAME"] = name
        try:
            yield Copy(name)
        finally:
            connection.close()
            connection.settings_dict["NAME"] = migrated
            _maintain(f'DROP DATABASE "{name}" WITH (FORCE)')


def _maintain(*statements: str) -> None:
    options = connection.settings_dict["OPTIONS"]["options"]
    _work_as(SEES_ALL)
    with connection._nodb_cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)
    _work_as(options)
