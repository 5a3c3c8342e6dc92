"""How much of a dosing session others are shown. Pure.

Its place among the person's sessions always stays, and with it every count of days.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import date, timedelta
from types import MappingProxyType
from typing import Any

SHOWN, CLASS, WEEK, WITHHELD = "shown", "class", "week", "withheld"
SUBSTANCE_STEPS, PART_STEPS = (WITHHELD, CLASS, SHOWN), (WITHHELD, SHOWN)
# For each part of a session, how it can be shown: the least first.
STEPS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "substance": SUBSTANCE_STEPS,
        "dose": PART_STEPS,
        "supervision": PART_STEPS,
        "date": (WEEK, SHOWN),
    }
)

# By what they mainly do: 5-HT2A agonists (classic), releasers of serotonin (entactogen), NMDA antagonists
# (dissociative). All else, what was blinded or inert too, is `other`.
_CLASSES = {
    "psilocybin": "classic",
    "lsd": "classic",
    "ayahuasca": "classic",
    "dmt": "classic",
    "5-meo-dmt": "classic",
    "mescaline": "classic",
    "mdma": "entactogen",
    "ketamine": "dissociative",
}


@dataclass(frozen=True, slots=True)
class Level:
    """How a session's substance, dose, supervision and date are shown: each one of its STEPS."""

    substance: str
    dose: str
    supervision: str
    date: str = SHOWN


EVERYTHING = Level(SHOWN, SHOWN, SHOWN)
NOTHING = Level(WITHHELD, WITHHELD, WITHHELD)
# Until the person says otherwise: all to those who care, and to a research file what it cannot do without.
UNCHANGED: Mapping[str, Level] = MappingProxyType(
    {"therapist": EVERYTHING, "research": Level(CLASS, WITHHELD, WITHHELD, WEEK)}
)


def narrower(one: Level, other: Level) -> Level:
    """For each part, the step at which less is shown."""
    first, second = asdict(one), asdict(other)
    return Level(**{part: min(first[part], second[part], key=steps.index) for part, steps in STEPS.items()})


def substance_class(substance: str | None) -> str | None:
    """`classic`, `entactogen`, `dissociative` or `other`; None where the substance was not recorded."""
    return None if substance is None else _CLASSES.get(substance, "other")


def disclosed(session: Mapping[str, Any], level: Level) -> dict[str, Any]:
    """A session, as the wire has it, with what the level does not show taken out and named in `withheld`.

    Amount and route tell of a substance, so they are shown only where it is; the setting tells whether
    somebody was there, so it goes with supervision. A date shown as its week is that week's Monday.
    """
    level = level if level.substance == SHOWN else replace(level, dose=WITHHELD)
    shown, withheld = dict(session), []

    def hide(part: str, *fields: str) -> None:
        withheld.append(part)
        shown.update(dict.fromkeys(fields))

    shown["substance_class"] = substance_class(session["substance"])
    if level.substance == CLASS:
        hide("substance", "substance")
    elif level.substance == WITHHELD:
        hide("substance", "substance", "substance_class")
    if level.dose == WITHHELD:
        hide("dose", "dose", "dose_unit", "route")
    if level.supervision == WITHHELD:
        hide("supervision", "supervised", "setting")
    if level.date == WEEK:
        hide("date", "started_at", "recorded_at")
        on = date.fromisoformat(session["on"])
        shown["on"] = (on - timedelta(days=on.weekday())).isoformat()
    return {**shown, "withheld": withheld}
