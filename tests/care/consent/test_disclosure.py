"""How much of a session others are shown: pure."""

from itertools import product
from typing import Any

import pytest

from backend.care.consent.disclosure import (
    EVERYTHING,
    NOTHING,
    STEPS,
    UNCHANGED,
    Level,
    disclosed,
    narrower,
    substance_class,
)
from backend.care.models import DosingSession

SESSION = {
    "id": "0199f1aa-3c00-7d10-9a77-0b6f5c1d2e3f",
    "ordinal": 2,
    "started_at": "2026-03-27T09:00:00+00:00",
    "on": "2026-03-27",  # a Friday
    "substance": "mdma",
    "dose": 120.0,
    "dose_unit": "mg",
    "route": "oral",
    "setting": "home",
    "supervised": False,
    "recorded_at": "2026-03-27T19:00:00+00:00",
}
OF_THE_SUBSTANCE = {"substance": None}
OF_THE_DOSE = {"dose": None, "dose_unit": None, "route": None}
OF_SUPERVISION = {"supervised": None, "setting": None}
OF_THE_DATE = {"started_at": None, "recorded_at": None, "on": "2026-03-23"}  # its Monday


@pytest.mark.parametrize(
    ("level", "missing", "kind", "withheld"),
    [
        (EVERYTHING, {}, "entactogen", []),
        (Level("shown", "withheld", "shown"), OF_THE_DOSE, "entactogen", ["dose"]),
        (
            Level("class", "shown", "shown"),
            OF_THE_SUBSTANCE | OF_THE_DOSE,
            "entactogen",
            ["substance", "dose"],
        ),
        (Level("withheld", "shown", "shown"), OF_THE_SUBSTANCE | OF_THE_DOSE, None, ["substance", "dose"]),
        (Level("shown", "shown", "withheld"), OF_SUPERVISION, "entactogen", ["supervision"]),
        (Level("shown", "shown", "shown", "week"), OF_THE_DATE, "entactogen", ["date"]),
        (
            NOTHING,
            OF_THE_SUBSTANCE | OF_THE_DOSE | OF_SUPERVISION,
            None,
            ["substance", "dose", "supervision"],
        ),
        (
            UNCHANGED["research"],
            OF_THE_SUBSTANCE | OF_THE_DOSE | OF_SUPERVISION | OF_THE_DATE,
            "entactogen",
            ["substance", "dose", "supervision", "date"],
        ),
    ],
)
def test_what_a_level_leaves_of_a_session(
    level: Level, missing: dict[str, Any], kind: str | None, withheld: list[str]
) -> None:
    assert disclosed(SESSION, level) == SESSION | missing | {"substance_class": kind, "withheld": withheld}


def test_what_is_withheld_looks_the_same_recorded_or_not() -> None:
    unknown = dict.fromkeys(("substance", "dose", "dose_unit", "route", "setting", "supervised"))

    assert disclosed(SESSION, NOTHING) == disclosed(SESSION | unknown, NOTHING)


def test_until_one_says_otherwise() -> None:
    assert dict(UNCHANGED) == {
        "therapist": Level("shown", "shown", "shown", "shown"),
        "research": Level("class", "withheld", "withheld", "week"),
    }


def test_the_classes_of_substances() -> None:
    assert {s: substance_class(s) for s in [*DosingSession.Substance.values, None]} == {
        "psilocybin": "classic",
        "mdma": "entactogen",
        "lsd": "classic",
        "ayahuasca": "classic",
        "dmt": "classic",
        "5-meo-dmt": "classic",
        "mescaline": "classic",
        "ketamine": "dissociative",
        "ibogaine": "other",
        "placebo": "other",
        "blinded": "other",
        "other": "other",
        None: None,
    }


def test_the_narrower_of_two_shows_no_more_than_either() -> None:
    levels = [Level(*steps) for steps in product(*STEPS.values())]
    assert len(levels) == 24

    for one, other in product(levels, levels):
        less = narrower(one, other)
        assert less == narrower(other, one) == narrower(less, one)
        for shown in (disclosed(SESSION, one), disclosed(SESSION, other)):
            assert set(shown["withheld"]) <= set(disclosed(SESSION, less)["withheld"])
