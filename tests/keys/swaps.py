"""Ciphertext moved by somebody who can run SQL as the tables' owner, and what is then read over HTTP."""

import random
from dataclasses import dataclass, field
from typing import Any

from django.db import connection
from django.test import Client
from django.utils import timezone

from backend.audit.models import Entry
from backend.care.models import Membership, Participant
from backend.keys import rotation
from scales.models import Correction, Quarantined
from tests.conftest import as_owner, submission
from tests.scales.phone import URL, ClientFor, correct, post
from tests.scales.test_corrections import correction

KINDS = ("rows", "columns", "participants", "clinics", "old versions")


@dataclass
class Report:
    """What became of so many swaps."""

    swaps: dict[str, int] = field(default_factory=lambda: dict.fromkeys(KINDS, 0))
    refused: int = 0
    audited: int = 0
    told: int = 0


@dataclass(frozen=True)
class Words:
    """A reason that somebody wrote: whose, where, in clear, and as it was sealed before keys turned over."""

    person: Participant
    correction: Correction
    reason: str
    sealed: bytes
    old: bytes


class Thief:
    """Two clinics' people with words of theirs in the database, and somebody who moves them."""

    def __init__(self, people: list[Participant], readers: list[Membership], client_for: ClientFor) -> None:
        self.clients: dict[int, list[Client]] = {
            person.pk: [client_for(person), client_for(reader)]
            for person, reader in zip(people, readers, strict=True)
        }
        told: dict[str, str] = {}
        for person in people:
            client = client_for(person)
            for _ in range(2):
                sent = submission()
                assert post(client, sent).status_code == 201
                for _ in range(2):
                    body = correction(reason=f"words of {person.pseudonym}, number {len(told)}")
                    assert correct(client, sent["id"], body).status_code == 201
                    told[body["id"]] = body["reason"]
            assert post(client, submission(answer=9)).status_code == 422
        old = {c.pk: bytes(c.reason) for c in Correction.objects.all()}
        assert rotation.rotate_data_keys(say=lambda _: None, now=timezone.now(), pause=0) == 0
        self.words = [
            Words(c.administration.participant, c, told[str(c.pk)], bytes(c.reason), old[c.pk])
            for c in Correction.objects.select_related("administration__participant").order_by("pk")
        ]
        self.elsewhere = {
            q.participant_id: [bytes(q.body), bytes(q.faults)] for q in Quarantined.objects.all()
        }

    def swap(self, count: int, seed: int) -> Report:
        """The report on so many swaps, of each kind in turn, each read by the person or their therapist."""
        rng, report = random.Random(seed), Report()
        triggers("DISABLE TRIGGER")
        for number in range(count):
            kind, victim = KINDS[number % len(KINDS)], rng.choice(self.words)
            report.swaps[kind] += 1
            self.put(victim, rng.choice(self.moved(kind, victim)))
            answer, audited = self.read(victim, rng)
            report.refused += (answer.status_code, answer.json()["code"]) == (409, "unreadable")
            report.audited += audited == [f"scales_correction.reason {victim.correction.pk}"]
            report.told += any(words.reason in answer.content.decode() for words in self.words)
            self.put(victim, victim.sealed)
        triggers("ENABLE ALWAYS TRIGGER")
        return report

    def moved(self, kind: str, victim: Words) -> list[bytes]:
        """What could be put in that place."""
        others = [w for w in self.words if w.correction != victim.correction]
        return {
            "rows": [w.sealed for w in others if w.person == victim.person],
            "columns": self.elsewhere[victim.person.pk],
            "participants": [
                w.sealed
                for w in others
                if w.person != victim.person and w.person.clinic_id == victim.person.clinic_id
            ],
            "clinics": [w.sealed for w in others if w.person.clinic_id != victim.person.clinic_id],
            "old versions": [victim.old],
        }[kind]

    def put(self, victim: Words, sealed: bytes) -> None:
        """Nothing; that stands in the victim's place."""
        with as_owner(), connection.cursor() as cursor:
            cursor.execute(
                "UPDATE scales_correction SET reason = %s WHERE id = %s", [sealed, victim.correction.pk]
            )
            assert cursor.rowcount == 1

    def read(self, victim: Words, rng: random.Random) -> tuple[Any, list[str]]:
        """What is answered to one who may read it, and what the audit says did not open."""
        last = Entry.objects.latest("id").pk
        client = rng.choice(self.clients[victim.person.pk])
        answer = client.get(f"{URL}/{victim.correction.administration_id}")
        noted = Entry.objects.filter(id__gt=last, action="sealed.unreadable")
        return answer, list(noted.values_list("subject", flat=True))


def triggers(how: str) -> None:
    with as_owner(), connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        cursor.execute(f"ALTER TABLE scales_correction {how} append_only")
