"""An audit trail to look at: entries of two clinics and of none, sealed and anchored as they come."""

import random
from datetime import UTC, datetime, timedelta
from pathlib import Path

from backend.audit.sealing import seal_all
from backend.proof import services
from tests.proof.tampering import run

BEGAN = datetime(2026, 3, 1, 8, tzinfo=UTC)
CHAINS = (None, 1, 2)


def write(chance: random.Random, count: int, *, ago: timedelta = timedelta(0)) -> None:
    """So many entries, each an instant after the one before, up to now or so long ago."""
    at = datetime.now(UTC) - ago - timedelta(seconds=count + 1)
    for number in range(count):
        run(
            "INSERT INTO audit_entry (at, actor, action, participant, clinic, subject, request, device, why)"
            " VALUES (%s, %s, %s, %s, %s, %s, gen_random_uuid(), gen_random_uuid(), '')",
            [
                at + timedelta(microseconds=number * 1_000_003),
                chance.choice([None, 1, 2, 3]),
                chance.choice(["administrations.read", "trends.read", "consent.recorded"]),
                chance.choice([None, 4, 5]),
                chance.choice(CHAINS),
                chance.choice(["", "é", "7"]),
            ],
        )


def fill(chance: random.Random, *, rounds: int = 6, count: int = 20) -> None:
    """Rounds of entries, each sealed and anchored."""
    for number in range(rounds):
        write(chance, count, ago=timedelta(minutes=5 * (rounds - number)))
        seal_all()
        services.anchor(now=BEGAN + timedelta(minutes=5 * number))


def file_lines(path: Path) -> list[bytes]:
    return path.read_bytes().splitlines()
