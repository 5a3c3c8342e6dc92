"""Scoring by columns is scoring one by one, and fast."""

import time
from typing import Any

import numpy as np
import pytest

from scales.scoring import Value, score, score_many
from tests.scales.shipped import SHIPPED


def random_sheets(name: str, n: int, missing: float) -> Any:
    """n random answer sheets, nan where an answer is missing; a vas gets decimals."""
    instrument = SHIPPED[name]
    rng = np.random.default_rng(26)
    responses = instrument.responses
    shape = n, len(instrument.items)
    if responses.kind == "vas":
        sheets = rng.uniform(responses.min, responses.max, shape).round(2)
    else:
        sheets = rng.choice(responses.grid, shape).astype(float)
    sheets[rng.random(shape) < missing] = np.nan
    return sheets


def agree(column: Any, values: list[Value]) -> bool:
    if column.dtype == object:
        return bool(column.tolist() == values)
    expected = np.array([np.nan if value is None else float(value) for value in values])
    return bool(np.allclose(column, expected, rtol=0, atol=1e-9, equal_nan=True))


def check(name: str, n: int, policy: str) -> None:
    instrument = SHIPPED[name]
    sheets = random_sheets(name, n, missing=0.04)
    columns = score_many(instrument, sheets, policy)
    given = sheets.astype(object)
    given[np.isnan(sheets)] = None
    one_by_one = [
        score(instrument, dict(zip(instrument.item_ids, row, strict=True)), policy) for row in given.tolist()
    ]

    assert list(columns) == [declared.id for declared in instrument.scores]
    for score_id, column in columns.items():
        assert agree(column, [results[score_id].value for results in one_by_one]), score_id


@pytest.mark.parametrize("policy", ["strict", "prorate"])
@pytest.mark.parametrize("name", SHIPPED)
def test_by_columns_equals_one_by_one(name: str, policy: str) -> None:
    check(name, 2_000, policy)


def test_by_columns_equals_one_by_one_for_100000_scs() -> None:
    check("scs-26.v1", 100_000, "prorate")


def test_100000_scs_take_less_than_a_second_of_one_core() -> None:
    sheets = random_sheets("scs-26.v1", 100_000, missing=0.04)
    score_many(SHIPPED["scs-26.v1"], sheets[:10])

    began = time.process_time()
    score_many(SHIPPED["scs-26.v1"], sheets, "prorate")

    assert time.process_time() - began < 1.0


def test_no_sheets_give_empty_columns() -> None:
    for name, instrument in SHIPPED.items():
        columns = score_many(instrument, random_sheets(name, 0, missing=0), "prorate")
        assert {len(column) for column in columns.values()} == {0}, name
