"""Many people with sealed words, made quickly, and all of them read again: `python -m tests.keys.crowd`.

Runs with the environment of a running stack, in a process of its own that has opened no key yet.
"""

import json
import sys
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import django

ENROLLED_AT = datetime(2024, 1, 1, tzinfo=UTC)


def reason(number: int) -> str:
    """What the person of that number wrote."""
    return f"Person {number} had read it backwards, ä, and says so in words enough to fill a bucket or two."


def move_in(count: int) -> int:
    """So many more people, who have an administration and a correction of it with its reason."""
    from backend.accounts.models import User
    from backend.care.models import Participant
    from backend.care.services import create_clinic
    from backend.keys.fields import sealed
    from backend.keys.sealing import Holder
    from scales.models import Administration, Correction

    clinic = create_clinic(name=f"Crowd {uuid4()}")
    users = User.objects.bulk_create([User(password="!") for _ in range(count)])
    people = Participant.objects.bulk_create(
        [Participant(clinic=clinic, user=user, pseudonym=f"person {n}") for n, user in enumerate(users)]
    )
    answer = json.dumps({"scores": []})
    same: dict[str, Any] = {"responses": {}, "scores": {}, "answer": answer, "received_at": ENROLLED_AT}
    first = Administration.objects.bulk_create(
        [
            Administration(
                id=uuid4(), participant=person, instrument_code="scs-26", instrument_version=1,
                completed_at=ENROLLED_AT, utc_offset=0, skipped={}, missing_answers="strict",
                content_hash=b"", **same,
            )
            for person in people
        ]
    )  # fmt: skip
    column = sealed(Correction, "reason")
    corrections = []
    for number, (person, administration, user) in enumerate(zip(people, first, users, strict=True)):
        id_, holder = uuid4(), Holder(person.public_id, clinic.pk)
        words = column.seal(reason(number), row=id_, holder=holder)
        corrections.append(
            Correction(
                id=id_, administration=administration, revision=2, corrected_by=user, reason=words,
                content_hash=b"", **same,
            )
        )  # fmt: skip
    return len(Correction.objects.bulk_create(corrections))


def look() -> dict[str, Any]:
    """How many sealed values there are, how many do not open or say something else, and which are behind."""
    from backend.errors import Problem
    from backend.keys.envelope import version_of
    from backend.keys.fields import sealed_fields
    from backend.keys.ring import keyring
    from backend.keys.sealing import Holder
    from scales.models import Correction

    found = {"values": 0, "unreadable": 0, "wrong": 0, "behind": 0}
    for column in sealed_fields():
        names = {"pk", column.row, column.holder, column.attname, *filter(None, [column.clinic])}
        crowd = column.model is Correction
        if crowd:
            names |= {"administration__participant__pseudonym", "administration__participant__clinic__name"}
        rows = column.model._base_manager.exclude(**{column.attname: None}).values(*names)
        for row in rows.iterator():
            holder = Holder(row[column.holder], row[column.clinic] if column.clinic else 0)
            found["values"] += 1
            try:
                text = column.unseal_bytes(row[column.attname], row=row[column.row], holder=holder)
            except Problem:
                found["unreadable"] += 1
                continue
            record = keyring().store.get(holder.id)
            found["behind"] += record is None or version_of(bytes(row[column.attname])) != record.current
            if crowd and row["administration__participant__clinic__name"].startswith("Crowd"):
                number = int(row["administration__participant__pseudonym"].split()[1])
                found["wrong"] += text.decode() != reason(number)
    return {**found, "turning": len(keyring().turning())}


if __name__ == "__main__":
    django.setup()
    from backend import scope

    with scope.everything():
        said = look() if sys.argv[1] == "look" else move_in(int(sys.argv[1]))
    sys.stdout.write(json.dumps(said))
