"""Every shipped instrument against its case file and the reference vectors."""

import json
import tomllib
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import pytest

from scales.scoring import Value, faults, score
from tests.scales.shipped import HERE, SHIPPED, sheet

VECTORS = json.loads((HERE / "scoring_vectors.json").read_text())["instruments"]


def case(name: str) -> dict[str, Any]:
    return tomllib.loads((HERE / "cases" / f"{name}.toml").read_text())


def same(value: Value, expected: Value) -> bool:
    """Equal, numbers within float noise; a boolean equals only a boolean."""
    if isinstance(expected, bool | str) or expected is None or isinstance(value, bool | str) or value is None:
        return value is expected or (isinstance(expected, str) and value == expected)
    return abs(value - expected) < 1e-9


def differences(got: dict[str, Any], expected: dict[str, Value]) -> dict[str, tuple[Value, Value]]:
    """Score by score what differs; a score that is not named is expected to be null."""
    return {
        score_id: (result.value, expected.get(score_id))
        for score_id, result in got.items()
        if not same(result.value, expected.get(score_id))
    }


def raised_alone() -> Iterator[Any]:
    for name in SHIPPED:
        for number, group in enumerate(case(name)["raised"]):
            for item, moves in group["moves"].items():
                yield pytest.param(name, group, item, moves, id=f"{name}-{number}-{item}")


def test_every_shipped_instrument_raises_each_of_its_items_alone() -> None:
    for name, instrument in SHIPPED.items():
        assert list(case(name)["raised"][0]["moves"]) == list(instrument.item_ids), name


@pytest.mark.parametrize(("name", "group", "item", "moves"), list(raised_alone()))
def test_item_raised_alone_moves_what_the_key_says(
    name: str, group: dict[str, Any], item: str, moves: dict[str, str | bool]
) -> None:
    instrument = SHIPPED[name]
    base = {i: group["base"].get(i, group["base"]["all"]) for i in instrument.item_ids}
    before = score(instrument, base)
    after = score(instrument, base | {item: base[item] + group["by"]})

    for declared in instrument.reported:
        was, now = before[declared.id].value, after[declared.id].value
        move = moves.get(declared.id)
        if declared.value_type == "boolean":
            assert now is (was if move is None else move), declared.id
            assert move is None or was is not move, f"{declared.id} did not move"
        else:
            moved = Fraction(move) if isinstance(move, str) else Fraction(0)
            assert same(now, was + float(moved)), declared.id  # type: ignore[operator]


@pytest.mark.parametrize("name", SHIPPED)
def test_worked_example(name: str) -> None:
    instrument, worked = SHIPPED[name], case(name)["worked"]

    got = score(instrument, sheet(instrument, worked["answers"]))

    assert set(worked["scores"]) == set(got)
    assert differences(got, worked["scores"]) == {}
    assert all(result.reason is None and not result.prorated for result in got.values())


@pytest.mark.parametrize("policy", ["strict", "prorate"])
@pytest.mark.parametrize("name", SHIPPED)
def test_one_missing(name: str, policy: str) -> None:
    instrument, worked, missing = SHIPPED[name], case(name)["worked"], case(name)["missing"]
    responses = sheet(instrument, worked["answers"]) | {missing["item"]: None}

    got = score(instrument, responses, policy)

    assert differences(got, missing[policy]) == {}
    for declared in instrument.scores:
        result = got[declared.id]
        lacking = sum(responses[item] is None for item in declared.items)
        assert (result.answered, result.of) == (len(declared.items) - lacking, len(declared.items))
        assert (result.value is None) == (result.reason is not None)
        assert result.prorated == (declared.method != "criteria" and result.value is not None and lacking > 0)


def vectors() -> Iterator[Any]:
    for name, instrument in SHIPPED.items():
        for vector in VECTORS[instrument.code]:
            for policy, expected in vector["expected"].items():
                yield pytest.param(
                    name, vector["answers"], policy, expected, id=f"{name}-{vector['name']}-{policy}"
                )


@pytest.mark.parametrize(("name", "answers", "policy", "expected"), list(vectors()))
def test_reference_vectors(
    name: str, answers: list[float | None], policy: str, expected: dict[str, Value]
) -> None:
    instrument = SHIPPED[name]
    responses = sheet(instrument, answers)
    assert faults(instrument, responses) == []

    got = score(instrument, responses, policy)

    assert set(expected) <= set(got)
    assert differences({score_id: got[score_id] for score_id in expected}, expected) == {}


def test_there_are_141_vectors_for_what_ships() -> None:
    """A vector that got lost would be a promise that got lost."""
    assert sum(len(VECTORS[instrument.code]) for instrument in SHIPPED.values()) == 141
