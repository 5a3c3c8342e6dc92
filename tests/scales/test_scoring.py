"""Validation, rounding, the diagnostic algorithms, and what must hold for any answers."""

import tomllib
from fractions import Fraction
from itertools import product
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scales.instrument import Instrument
from scales.scoring import Value, answers, faults, rounded, score, score_many
from tests.scales.shipped import HERE, SHIPPED, all_at, items, sheet

SCS, WCS, PHQ, PCL = (SHIPPED[name] for name in ("scs-26.v1", "wcs-19.v1", "phq-9.v1", "pcl-5.v1"))
POLICIES = st.sampled_from(["strict", "prorate"])


def any_answer(instrument: Instrument) -> st.SearchStrategy[float]:
    responses = instrument.responses
    if responses.kind == "likert":
        return st.sampled_from(responses.grid)
    return st.floats(responses.min, responses.max)


@st.composite
def sheets(draw: st.DrawFn, missing: bool = True) -> tuple[Instrument, dict[str, float | None]]:
    instrument = draw(st.sampled_from(list(SHIPPED.values())))
    one = any_answer(instrument)
    row = st.lists(
        one | st.none() if missing else one,
        min_size=len(instrument.items),
        max_size=len(instrument.items),
    )
    return instrument, sheet(instrument, draw(row))


@pytest.mark.parametrize(
    ("instrument", "answer", "code"),
    [
        (SCS, 0, "out_of_range"),
        (SCS, 6, "out_of_range"),
        (SCS, 3.5, "off_step"),
        (SCS, True, "not_a_number"),
        (SCS, "3", "not_a_number"),
        (SCS, [3], "not_a_number"),
        (SCS, float("nan"), "not_a_number"),
        (SCS, float("inf"), "not_a_number"),
        (SCS, 10**400, "out_of_range"),
        (PHQ, False, "not_a_number"),
        (PHQ, -1, "out_of_range"),
        (WCS, 100.5, "out_of_range"),
        (WCS, -0.5, "out_of_range"),
        (WCS, float("nan"), "not_a_number"),
        (WCS, float("-inf"), "not_a_number"),
        (WCS, True, "not_a_number"),
    ],
)
def test_an_answer_that_does_not_fit_is_named(instrument: Instrument, answer: object, code: str) -> None:
    item = instrument.item_ids[3]
    responses: dict[str, object] = {**all_at(instrument, instrument.responses.max), item: answer}

    found = faults(instrument, responses)

    assert [(fault.item, fault.code) for fault in found] == [(item, code)]
    assert str(answer) not in found[0].detail


def test_every_fault_is_told_in_the_order_given() -> None:
    found = faults(SCS, {"scs27": 3, "scs02": 9, "scs01": 3, "phq01": None, "scs03": 1.5})

    assert [(fault.item, fault.code) for fault in found] == [
        ("scs27", "unknown_item"),
        ("scs02", "out_of_range"),
        ("phq01", "unknown_item"),
        ("scs03", "off_step"),
    ]


@pytest.mark.parametrize(
    ("instrument", "answer"),
    [(SCS, 3), (SCS, 3.0), (SCS, None), (PHQ, 0), (PHQ, -0.0), (WCS, 0), (WCS, 33.25), (WCS, 100.0)],
)
def test_an_answer_that_fits(instrument: Instrument, answer: float | None) -> None:
    assert faults(instrument, {instrument.item_ids[0]: answer}) == []


def test_answers_come_in_item_order_in_one_form() -> None:
    got = answers(PHQ, {"phq03": 2.0, "phq01": -0.0, "phq02": None, "phq10": 3})

    assert got == [0, None, 2, None, None, None, None, None, None, 3]
    assert [str(answer) for answer in got[:3]] == ["0", "None", "2"]
    assert answers(WCS, {"wcs02": 12.5})[:2] == [None, 12.5]


def test_three_point_zero_scores_as_three() -> None:
    assert score(SCS, all_at(SCS, 3.0)) == score(SCS, all_at(SCS, 3))


def test_an_unknown_policy_is_refused() -> None:
    with pytest.raises(ValueError, match="strict, prorate"):
        score(SCS, {}, "lenient")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (3.0666666666, 3.0667),
        (0.03125, 0.0312),
        (0.09375, 0.0938),
        (78, 78.0),
        (-0.00004, 0.0),
        (None, None),
        (True, True),
        (False, False),
        ("mild", "mild"),
    ],
)
def test_numbers_are_rounded_half_to_even_at_four_decimals(value: Value, expected: Value) -> None:
    got = rounded(value)

    assert (str(got), type(got)) == (str(expected), type(expected))


def test_the_unscored_item_is_taken_and_never_added() -> None:
    without = score(PHQ, all_at(PHQ, 1) | {"phq10": None})

    assert faults(PHQ, {"phq10": 3}) == []
    assert score(PHQ, all_at(PHQ, 1) | {"phq10": 3}) == without
    assert without["total"].value == 9


def test_why_there_is_no_score() -> None:
    two_gone = all_at(SCS, 3) | {"scs05": None, "scs12": None}

    strict, prorated = score(SCS, two_gone), score(SCS, two_gone, "prorate")

    assert strict["self_kindness"] == (None, 3, 5, "missing_answers", False)
    assert prorated["self_kindness"] == (None, 3, 5, "too_few_answers", False)
    assert prorated["total"] == (None, 24, 26, "too_few_answers", False)
    assert prorated["total_sum26"].reason == "missing_answers"
    assert prorated["total_mean26"] == (3.0, 24, 26, None, True)
    assert score(PHQ, {})["major_depressive_syndrome"] == (None, 0, 9, "undecided", False)


def test_a_prorated_total_on_the_edge_of_a_band_is_rounded_up() -> None:
    """Eight answers that sum to 4: 4 / 8 * 9 is 4.5, as a whole number 5, which is mild."""
    got = score(PHQ, sheet(PHQ, [1, 1, 1, 1, 0, 0, 0, 0, None]), "prorate")

    assert (got["total"].value, got["total"].prorated, got["severity"].value) == (4.5, True, "mild")


def test_phq9_over_all_262144_answer_sheets() -> None:
    every = list(product(range(4), repeat=9))
    got = score_many(PHQ, np.array([[*row, np.nan] for row in every], dtype=float))

    totals, majors, others, severities = [], [], [], []
    for row in every:
        total = sum(row)
        symptoms = sum(answer > 1 for answer in row[:8]) + (row[8] > 0)
        core = row[0] > 1 or row[1] > 1
        totals.append(total)
        majors.append(core and symptoms >= 5)
        others.append(core and symptoms in (2, 3, 4))
        severities.append(
            ("minimal", "mild", "moderate", "moderately severe", "severe", "severe")[total // 5]
        )

    assert got["total"].tolist() == totals
    assert got["major_depressive_syndrome"].tolist() == majors
    assert got["other_depressive_syndrome"].tolist() == others
    assert got["severity"].tolist() == severities


def pcl_by_hand(row: tuple[int, ...]) -> bool:
    """DSM-5 clusters B 1-5, C 6-7, D 8-14, E 15-20 at moderately or more: 1, 1, 2, 2."""
    present = [answer >= 2 for answer in row]
    return any(present[:5]) and any(present[5:7]) and sum(present[7:14]) >= 2 and sum(present[14:]) >= 2


@given(st.tuples(*[st.integers(0, 4)] * 20))
def test_pcl5_provisional_diagnosis(row: tuple[int, ...]) -> None:
    assert score(PCL, sheet(PCL, row))["provisional_dx"].value is pcl_by_hand(row)


@given(st.sampled_from([PHQ, PCL]), st.data())
def test_a_diagnosis_is_open_exactly_while_the_missing_could_change_it(
    instrument: Instrument, data: st.DataObject
) -> None:
    responses = {item: data.draw(any_answer(instrument)) for item in instrument.item_ids}
    gone = data.draw(st.lists(st.sampled_from(instrument.item_ids[:9]), max_size=4, unique=True))
    low, high = instrument.responses.min, instrument.responses.max
    fillings = [
        score(instrument, responses | dict(zip(gone, filling, strict=True)))
        for filling in product((low, high), repeat=len(gone))
    ]

    for declared in instrument.scores:
        if declared.method == "criteria":
            outcomes = {filled[declared.id].value for filled in fillings}
            got = score(instrument, responses | dict.fromkeys(gone, None))[declared.id].value
            assert got is (outcomes.pop() if len(outcomes) == 1 else None)


@given(sheets(), POLICIES)
def test_values_stay_in_their_declared_range(
    drawn: tuple[Instrument, dict[str, float | None]], policy: str
) -> None:
    instrument, responses = drawn
    for score_id, result in score(instrument, responses, policy).items():
        span = instrument.score(score_id).range
        if span and result.value is not None:
            assert isinstance(result.value, int | float)
            assert span[0] - 1e-9 <= result.value <= span[1] + 1e-9


@given(sheets(), POLICIES)
def test_mirrored_answers_mirror_every_number_and_mirroring_twice_changes_nothing(
    drawn: tuple[Instrument, dict[str, float | None]], policy: str
) -> None:
    instrument, responses = drawn
    low, high = instrument.responses.min, instrument.responses.max

    def mirror(sheet: dict[str, float | None]) -> dict[str, float | None]:
        return {item: None if answer is None else low + high - answer for item, answer in sheet.items()}

    once, twice = mirror(responses), mirror(mirror(responses))
    for score_id, result in score(instrument, responses, policy).items():
        span = instrument.score(score_id).range
        if span and isinstance(result.value, int | float):
            assert score(instrument, once, policy)[score_id].value == pytest.approx(sum(span) - result.value)
            assert score(instrument, twice, policy)[score_id].value == pytest.approx(result.value)


@given(sheets(), POLICIES)
def test_a_reversed_score_reversed_again_is_the_score(
    drawn: tuple[Instrument, dict[str, float | None]], policy: str
) -> None:
    instrument, responses = drawn
    got = score(instrument, responses, policy)
    for declared in instrument.scores:
        if declared.method == "reverse" and declared.range:
            value, raw = got[declared.id].value, got[declared.of[0].id].value
            back = sum(declared.range) - value if isinstance(value, int | float) else None
            assert back == pytest.approx(raw)


@given(sheets(), POLICIES, st.randoms())
def test_the_order_of_keys_changes_nothing(
    drawn: tuple[Instrument, dict[str, float | None]], policy: str, chance: Any
) -> None:
    instrument, responses = drawn
    shuffled = list(responses.items())
    chance.shuffle(shuffled)

    assert score(instrument, dict(shuffled), policy) == score(instrument, responses, policy)


DIRECTIONS = {
    name: {
        item: {score_id: Fraction(move) for score_id, move in moves.items() if isinstance(move, str)}
        for item, moves in tomllib.loads((HERE / "cases" / f"{name}.toml").read_text())["raised"][0][
            "moves"
        ].items()
    }
    for name in SHIPPED
}


@given(st.sampled_from(list(SHIPPED)), st.data())
def test_every_item_moves_each_score_only_its_own_way(name: str, data: st.DataObject) -> None:
    instrument = SHIPPED[name]
    before = {item: data.draw(any_answer(instrument)) for item in instrument.item_ids}
    item = data.draw(st.sampled_from(instrument.item_ids))
    higher = max(before[item], data.draw(any_answer(instrument)))
    was, now = score(instrument, before), score(instrument, before | {item: higher})

    for declared in instrument.reported:
        if declared.value_type == "number":
            change = now[declared.id].value - was[declared.id].value  # type: ignore[operator]
            direction = DIRECTIONS[name][item].get(declared.id, Fraction(0))
            assert change >= -1e-9 if direction > 0 else change <= 1e-9
            assert direction != 0 or abs(change) < 1e-9


NEGATIVE = items("scs", [1, 8, 11, 16, 21, 4, 13, 18, 25, 2, 6, 20, 24])
POSITIVE = items("scs", [5, 12, 19, 23, 26, 3, 7, 10, 15, 9, 14, 17, 22])


@given(st.lists(st.integers(1, 5), min_size=26, max_size=26), st.sampled_from(NEGATIVE + POSITIVE))
def test_harsher_scs_answers_never_read_as_gentler(row: list[int], item: str) -> None:
    before = sheet(SCS, row)
    harsher = before | {item: 5 if item in NEGATIVE else 1}
    was, now = score(SCS, before), score(SCS, harsher)

    for declared in SCS.scores:
        change = now[declared.id].value - was[declared.id].value  # type: ignore[operator]
        assert (-change if declared.higher_is == "worse" else change) <= 1e-9, declared.id
