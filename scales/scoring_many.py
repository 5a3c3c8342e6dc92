"""The same scores as `scoring.score`, for many people at once, by columns. Pure; needs numpy.

Imported by `scoring.score_many` only when it is called: a request that scores one answer sheet has no use
for numpy.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from scales.declared import Instrument, Score
from scales.scoring import decided

Column = NDArray[Any]


def score_columns(instrument: Instrument, answers: Column, prorate: bool) -> dict[str, Column]:
    """One array of n values a score. Numbers and booleans as float (1, 0), nan where there is no score;
    words as objects, None where there is none.
    """
    position = {item: index for index, item in enumerate(instrument.item_ids)}
    values: dict[str, Column] = {}
    for declared in instrument.scores:
        if declared.method in ("mean_of_items", "sum_of_items"):
            values[declared.id] = _of_items(instrument, declared, answers, position, prorate)
        elif declared.method in ("mean_of_subscales", "sum_of_subscales"):
            values[declared.id] = _of_subscales(instrument, declared, values)
        elif declared.method == "criteria":
            values[declared.id] = _of_criteria(declared, answers, position)
        else:
            base = declared.of[0].id
            under = answers[:, position[base]] if base in position else values[base]
            values[declared.id] = _of_one(instrument, declared, under)
    return values


def _of_items(
    instrument: Instrument, declared: Score, answers: Column, position: dict[str, int], prorate: bool
) -> Column:
    count = len(declared.of)
    mean = declared.method == "mean_of_items"
    turn = instrument.responses.min + instrument.responses.max
    sign = np.array([-1.0 if part.reversed else 1.0 for part in declared.of])
    own = answers[:, [position[part.id] for part in declared.of]]
    total = own @ sign + turn * (sign < 0).sum()
    if prorate and declared.needed < count:
        short = np.flatnonzero(np.isnan(total))
        there = ~np.isnan(own[short])
        answered = there.sum(axis=1)
        some = np.where(there, own[short], 0.0) @ sign + turn * (there & (sign < 0)).sum(axis=1)
        enough = answered >= declared.needed
        total[short[enough]] = some[enough] / answered[enough] * count
    value: Column = total / count if mean else total
    return value


def _of_subscales(instrument: Instrument, declared: Score, values: dict[str, Column]) -> Column:
    total: Column = np.zeros(len(values[declared.of[0].id]))
    for part in declared.of:
        low, high = instrument.score(part.id).range or (0.0, 0.0)
        total += low + high - values[part.id] if part.reversed else values[part.id]
    return total / len(declared.of) if declared.method == "mean_of_subscales" else total


def _of_one(instrument: Instrument, declared: Score, under: Column) -> Column:
    if declared.method == "times":
        return under * (declared.factor or 0.0)
    if declared.method == "at_least":
        return np.where(np.isnan(under), np.nan, under >= (declared.threshold or 0.0))
    if declared.method == "reverse":
        low, high = instrument.score(declared.of[0].id).range or (0.0, 0.0)
        return low + high - under
    words = np.array([word for _, _, word in declared.bands] + [None], dtype=object)
    lasts = np.array([last for _, last, _ in declared.bands])
    there = ~np.isnan(under)
    which = np.searchsorted(lasts, np.floor(np.where(there, under, 0.0) + 0.5))
    return words[np.where(there, np.minimum(which, len(lasts) - 1), len(lasts))]


def _of_criteria(declared: Score, answers: Column, position: dict[str, int]) -> Column:
    """Each criterion by the fewest and the most items that may count; that settles all but a few answer
    sheets, where an upper limit and missing answers meet, and these are decided one by one.
    """
    own = answers[:, [position[part.id] for part in declared.of]]
    present = own >= np.array([declared.present_at[part.id] for part in declared.of])
    unknown = np.isnan(own)
    order = {part.id: index for index, part in enumerate(declared.of)}
    criteria = [(criterion, [order[item] for item in criterion.count_of]) for criterion in declared.criteria]
    sure = np.ones(len(own), dtype=bool)
    possible = np.ones(len(own), dtype=bool)
    for criterion, counted in criteria:
        fewest = present[:, counted].sum(axis=1)
        most = fewest + unknown[:, counted].sum(axis=1)
        limit = len(counted) if criterion.at_most is None else criterion.at_most
        sure &= (fewest >= criterion.at_least) & (most <= limit)
        possible &= (most >= criterion.at_least) & (fewest <= limit)
    value = np.where(sure, 1.0, np.where(possible, np.nan, 0.0))
    if any(criterion.at_most is not None for criterion, _ in criteria):
        open_rows = np.flatnonzero(np.isnan(value))
        states = np.where(unknown[open_rows], 2, present[open_rows])
        kinds, kind_of = np.unique(states, axis=0, return_inverse=True)
        words = (False, True, None)
        outcomes = [decided(criteria, [words[state] for state in kind]) for kind in kinds]
        each = np.array([np.nan if outcome is None else float(outcome) for outcome in outcomes])
        value[open_rows] = each[kind_of.ravel()] if len(each) else np.nan
    return value
