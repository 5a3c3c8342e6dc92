"""T19 in short: ciphertext moved by SQL is refused when read, noted, and never shown as another's words."""

import random
from pathlib import Path

import pytest

from backend.care.models import Clinic, Membership, Participant
from backend.care.roles import Role
from backend.care.services import start_care
from backend.keys.envelope import Holder
from backend.keys.fields import sealed
from scales.models import Correction
from tests.conftest import ClientFor, decide, enrol, join
from tests.keys.swaps import KINDS, Report, Thief, triggers
from tests.scales.test_append_only import refused


@pytest.fixture
def thief(
    ana: Participant,
    ben: Participant,
    thea: Membership,
    rowan: Clinic,
    client_for: ClientFor,
    own_keys: Path,
) -> Thief:
    """Ana and Ben of one clinic and Cleo and Dora of another, each with a therapist."""
    start_care(participant=ben, therapist=thea, started_at=ben.enrolled_at)
    others, carl = [enrol("cleo", rowan), enrol("dora", rowan)], join("carl", rowan, Role.THERAPIST)
    for person in others:
        decide(person)
        start_care(participant=person, therapist=carl, started_at=person.enrolled_at)
    return Thief([ana, ben, *others], [thea, thea, carl, carl], client_for)


def test_what_is_read_where_it_was_written_is_what_was_written(thief: Thief) -> None:
    rng = random.Random(1)
    for words in thief.words:
        answer, noted = thief.read(words, rng)
        assert (answer.status_code, noted) == (200, [])
        assert words.reason in [r["reason"] for r in answer.json()["revisions"]]


def test_every_kind_of_swap_is_refused_and_noted_and_tells_nothing(thief: Thief) -> None:
    assert thief.swap(len(KINDS), seed=20261125) == Report(
        swaps=dict.fromkeys(KINDS, 1), refused=5, audited=5, told=0
    )
    answer, noted = thief.read(thief.words[0], random.Random(1))
    assert (answer.status_code, noted) == (200, [])


def test_an_older_value_of_the_same_row_and_key_opens_and_the_database_keeps_it_out(thief: Thief) -> None:
    """No cipher can tell two values that were both sealed for this place under this key: both are its own.

    So a column that may change under one key could be set back by whoever has the tables; the sealed columns
    here never change but to be sealed anew, and the database holds even their owner to that.
    """
    words = thief.words[0]
    holder = Holder(words.person.public_id, words.person.clinic_id)
    other = sealed(Correction, "reason").seal("said otherwise", row=words.correction.pk, holder=holder)

    assert refused(
        f"UPDATE scales_correction SET reason = '\\x{other.hex()}' WHERE id = '{words.correction.pk}'"
    )
    triggers("DISABLE TRIGGER")
    thief.put(words, other)
    answer, noted = thief.read(words, random.Random(1))
    assert (answer.status_code, noted) == (200, [])
    assert "said otherwise" in [r["reason"] for r in answer.json()["revisions"]]
