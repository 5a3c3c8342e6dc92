"""A ledger of the test's own, and people with rows everywhere."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from backend.care import access
from backend.care.models import Participant
from backend.rights.erasure import services
from backend.rights.erasure.models import Erasure
from tests.test_walls import cleo, two_clinics

__all__ = ["cleo", "two_clinics"]
Ask = Callable[..., Erasure]


@pytest.fixture
def ledger_file(settings: Any, tmp_path: Path) -> Path:
    """Where erasures are noted, with nobody in it yet."""
    file = tmp_path / "erasures" / "ledger.jsonl"
    settings.ERASURE_LEDGER = str(file)
    return file


@pytest.fixture
def ask(ledger_file: Path) -> Ask:
    """The erasure that this person asks for at that instant."""

    def asked(person: Participant, *, now: Any) -> Erasure:
        with access.participants_of_a_job([person.pk]) as found:
            return services.request_erasure(participant=found[person.pk], actor=person.user_id or 0, now=now)

    return asked
