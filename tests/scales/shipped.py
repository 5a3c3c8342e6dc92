"""The instruments that ship, and answer sheets for them."""

from collections.abc import Sequence
from pathlib import Path

from scales.instrument import Instrument, load

HERE = Path(__file__).parent
FOLDER = HERE.parent.parent / "scales" / "instruments"
FILES = sorted(FOLDER.glob("*.toml"))
SHIPPED: dict[str, Instrument] = {path.name.removesuffix(".toml"): load(path) for path in FILES}


def sheet(instrument: Instrument, answers: Sequence[float | None]) -> dict[str, float | None]:
    """Responses from answers in item order; items beyond the last answer are missing."""
    padded = [*answers, *[None] * (len(instrument.items) - len(answers))]
    return dict(zip(instrument.item_ids, padded, strict=True))


def all_at(instrument: Instrument, answer: float) -> dict[str, float | None]:
    """Responses with one and the same answer to every item."""
    return dict.fromkeys(instrument.item_ids, answer)


def items(prefix: str, numbers: Sequence[int]) -> list[str]:
    return [f"{prefix}{number:02}" for number in numbers]
