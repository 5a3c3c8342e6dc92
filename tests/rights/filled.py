"""People of whom there is a row in every table, with words of their own in it; and copies, opened."""

import csv
import io
import json
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from allauth.account.models import EmailAddress, EmailConfirmation
from allauth.mfa.models import Authenticator
from django.test import Client
from django.utils import timezone

from backend.accounts.addresses import keep
from backend.accounts.models import TokenFamily
from backend.accounts.passkeys import keep as call_passkey
from backend.accounts.services import name_device, name_user
from backend.care.models import Membership, Participant
from backend.rights.export.services import make_waiting
from scales.models import Held, Release
from tests.care.joining.door import new_phone_code, recovery_codes
from tests.care.opened.emergencies import opened_in_emergency
from tests.conftest import sign_in, submission
from tests.scales.test_corrections import correction

API = "/api/v1"
HOSTILE = "<script>alert(1)</script>"


def signed_in(person: Participant | Membership) -> Client:
    assert person.user is not None
    return Client(headers={"authorization": f"Bearer {sign_in(person.user)}"})


def fill(person: Participant, by: Membership, word: str) -> list[str]:
    """The ids that are that person's; there is a row of theirs in every table that is somebody's, and the
    word wherever somebody may write one."""
    client, user, now = signed_in(person), person.user, timezone.now()
    assert user is not None
    sent = [submission(completed_at=f"2026-0{month}-10T10:00:00+01:00", answer=2) for month in (1, 2)]
    session = {"id": str(uuid4()), "started_at": "2025-12-01T10:00:00Z", "substance": "ayahuasca"}
    corrected = [
        correction(reason=f"=1+1 {word}\nand then {HOSTILE}"),
        correction(answer=5, reason=f"{word} and another"),
    ]
    nothing = dict.fromkeys(("substance", "dose", "supervision"), "withheld")
    shown = {"therapist": nothing, "research": {**nothing, "date": "week"}}
    for method, address, body, status in (
        ("POST", "administrations", sent[0], 201),
        ("POST", "administrations", sent[1], 201),
        ("POST", f"administrations/{sent[0]['id']}/corrections", corrected[0], 201),
        ("POST", f"administrations/{sent[0]['id']}/corrections", corrected[1], 201),
        ("POST", "administrations", submission(responses={word: -3}), 422),
        ("POST", "administrations", submission(instrument=word), 202),
        ("POST", f"participants/{person.public_id}/dosing-sessions", session, 201),
        ("PUT", "me/disclosure", shown, 200),
        ("POST", "me/erasure", {}, 202),
    ):
        answer = client.generic(method, f"{API}/{address}", json.dumps(body), "application/json")
        assert answer.status_code == status, (address, answer.content)
    recovery_codes(person)
    new_phone_code(by, person)
    device = user.devices.create(installation=uuid4(), first_seen_on=now.date(), last_seen_on=now.date())
    name_device(user=user.pk, installation=device.installation, name=f"-{word}")
    name_user(user=user.pk, name=f"@{word}")
    call_passkey(user=user, name=f"+{word}", now=now)
    hidden = keep(user=user, address=f"{word}@words.example", now=now)
    address = EmailAddress.objects.create(user=user, email=hidden, verified=True)
    opened_in_emergency(person, by, f"={word}", now=now)
    Participant.objects.filter(pk=person.pk).update(timezone="Europe/Vienna")
    EmailConfirmation.objects.create(email_address=address, created=now, key=f"secret-{word}")
    Authenticator.objects.create(user=user, type="totp", data={"secret": f"secret-{word}"})
    TokenFamily.objects.create(
        user=user, device=device, session_key=f"secret-{word}", jti=uuid4(), issued_at=now, expires_at=now
    )
    of: dict[str, Any] = {
        "clinic": person.clinic, "participant": person, "administration_id": sent[1]["id"]
    }  # fmt: skip
    Held.objects.create(**of, revision=1, scores=["self_kindness"], answer="{}", release_at=now)
    Release.objects.create(**of, released_by_id=by.user_id, released_at=now)
    own = [body["id"] for body in (*sent, *corrected, session)]
    return [*own, str(person.public_id), str(device.installation)]


@dataclass(frozen=True)
class Copy:
    """An archive that somebody fetched."""

    files: dict[str, bytes]

    def rows(self, table: str) -> list[dict[str, Any]]:
        return list(json.loads(self.files[f"data/{table}.json"]))

    def cells(self, table: str) -> list[dict[str, str]]:
        return lines(self.files[f"data/{table}.csv"])

    def tables(self) -> list[str]:
        return [n.removeprefix("data/").removesuffix(".json") for n in self.files if n.endswith(".json")][:-1]

    def everything(self) -> str:
        return "\n".join(content.decode() for content in self.files.values())


def lines(content: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(content.decode(), newline="")))


def ask(person: Participant) -> str:
    """The id of a copy the person asked for."""
    answer = signed_in(person).post(f"{API}/me/export", {}, "application/json")
    assert answer.status_code == 202
    return str(answer.json()["id"])


def fetch(person: Participant, id: str) -> Any:
    return signed_in(person).get(f"{API}/me/exports/{id}/archive")


def copy_of(person: Participant, id: str | None = None) -> Copy:
    """A copy, asked for, made and fetched."""
    asked = id or ask(person)
    assert make_waiting(now=timezone.now) == 1
    answer = fetch(person, asked)
    assert (answer.status_code, answer["Content-Type"]) == (200, "application/zip")
    content = answer.getvalue()
    assert answer["Content-Length"] == str(len(content))
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert archive.testzip() is None
        return Copy({name: archive.read(name) for name in archive.namelist()})


def read_back(copy: Copy, table: str) -> Iterator[dict[str, Any]]:
    """The rows of a table's CSV as its JSON has them, by what dictionary.csv says of each column."""
    said = {line["column"]: line for line in lines(copy.files["dictionary.csv"]) if line["table"] == table}
    for line in copy.cells(table):
        yield {name: _value(cell, said[name]) for name, cell in line.items()}


def _value(cell: str, said: dict[str, str]) -> Any:
    optional = said["may be empty"] == "yes"
    if said["kind"] == "text":
        return None if optional and not cell else cell.removeprefix("'")
    if not cell:
        return None
    return json.loads(cell) if said["kind"] in ("number", "true or false", "JSON") else cell
