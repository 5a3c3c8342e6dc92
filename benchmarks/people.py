"""Participants with a living session each, as JSON on standard output: `python -m benchmarks.people 64`.

With them comes the statement the product records an administration by, for pgbench to repeat.
Runs with the environment of a running stack. Sessions are made as allauth makes them, without the
passwords, whose hashing would take minutes for hundreds of people.
"""

import json
import sys
from datetime import UTC, datetime
from typing import Any

import django


def move_in(count: int, *, name: str = "person") -> list[dict[str, Any]]:
    """One dictionary a person: `token`, their therapist's, and what their rows are known by."""
    from allauth.headless.tokens.strategies.jwt.internal import create_access_token
    from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
    from django.contrib.sessions.backends.db import SessionStore

    from backend.accounts.models import User
    from backend.accounts.services import create_user
    from backend.care import services as care
    from backend.care.consent.text import Stream
    from backend.care.roles import Role
    from backend.demo.cast import agree

    def signed_in(user: User) -> SessionStore:
        session = SessionStore()
        session[SESSION_KEY] = str(user.pk)
        session[BACKEND_SESSION_KEY] = "allauth.account.auth_backends.AuthenticationBackend"
        session[HASH_SESSION_KEY] = user.get_session_auth_hash()
        session.save()
        return session

    clinic = care.create_clinic(name="Benchmark", second_factor=False)
    enrolled_at = datetime(2024, 1, 1, tzinfo=UTC)
    doctor = create_user(email=f"therapist.{clinic.pk}@bench.example", password=None)
    therapist = care.add_member(clinic=clinic, user=doctor, role=Role.THERAPIST, started_at=enrolled_at)
    theirs = create_access_token(doctor, signed_in(doctor), {})
    people = []
    for number in range(count):
        user = create_user(email=f"{name}{number}.{clinic.pk}@bench.example", password=None)
        participant = care.enrol_participant(
            clinic=clinic,
            user=user,
            pseudonym=f"person {number}",
            timezone="Europe/Berlin",
            enrolled_at=enrolled_at,
        )
        agree(participant, Stream.CARE, actor=user.pk, at=enrolled_at)
        care.start_care(participant=participant, therapist=therapist, started_at=enrolled_at)
        session = signed_in(user)
        people.append(
            {
                "token": create_access_token(user, session, {}),
                "session": session.session_key,
                "user": user.pk,
                "participant": participant.pk,
                "public_id": str(participant.public_id),
                "therapist": theirs,
                "clinic": clinic.pk,
            }
        )
    return people


if __name__ == "__main__":
    django.setup()
    from backend import scope
    from scales import services

    with scope.everything():
        people = move_in(int(sys.argv[1]))
    sys.stdout.write(json.dumps({"people": people, "record": services._RECORD}))
