"""Scores from answers, by the methods an instrument's file names.

Pure. Values are unrounded; `rounded()` is for the wire. Missing answers: `strict` gives a score only when
everything under it is answered, `prorate` also from what the file calls enough. A diagnostic algorithm is
decided as soon as no missing answer could change it, under either policy.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from itertools import product
from math import floor
from operator import itemgetter
from typing import TYPE_CHECKING, Any, NamedTuple

from scales.declared import Criterion, Instrument, Responses, Score
from scales.tables import is_number

if TYPE_CHECKING:
    from numpy.typing import NDArray

POLICIES = ("strict", "prorate")

Answer = float | None
Value = float | bool | str | None


class ResponseFault(NamedTuple):
    """One answer that does not fit: `unknown_item`, `not_a_number`, `out_of_range` or `off_step`."""

    item: str
    code: str
    detail: str


class Result(NamedTuple):
    """One score. `value` is None with a `reason`: missing_answers, too_few_answers or undecided."""

    value: Value
    answered: int
    of: int
    reason: str | None
    prorated: bool


def faults(instrument: Instrument, responses: Mapping[str, object]) -> list[ResponseFault]:
    """Every answer that does not fit the instrument, in the order given; None stands for missing and fits.

    A likert answer is a number on the grid (3.0 is 3, a boolean or a text is nothing); a vas answer is any
    finite number in range. Nothing of the answer itself is repeated.
    """
    plan = _plan(instrument)
    found = []
    for item, answer in responses.items():
        if item not in plan.position:
            found.append(ResponseFault(item, "unknown_item", "This instrument has no such item."))
        elif answer is not None and not (type(answer) is int and answer in plan.grid):
            fault = _answer_fault(instrument.responses, answer)
            if fault:
                found.append(ResponseFault(item, *fault))
    return found


def answers(instrument: Instrument, responses: Mapping[str, float | None]) -> list[Answer]:
    """The answers in the instrument's item order, None where missing; whole numbers as int, -0.0 as 0."""
    return [_plain(responses.get(item)) for item in instrument.item_ids]


def score(
    instrument: Instrument, responses: Mapping[str, float | None], missing: str = "strict"
) -> dict[str, Result]:
    """Every declared score by id, in the file's order. The responses must be without `faults()`."""
    plan = _plan(instrument)
    prorate = _prorate(missing)
    given = [responses.get(item) for item in instrument.item_ids]
    results: dict[str, Result] = {}
    for score_id, rule in plan.rules:
        results[score_id] = rule(given, results, prorate)
    return results


def score_many(
    instrument: Instrument, answers: "NDArray[Any]", missing: str = "strict"
) -> dict[str, "NDArray[Any]"]:
    """Every declared score for many answer sheets: `answers` is (n, items) in item order, nan for missing.

    Numbers and booleans come as float arrays (1 and 0 for true and false), nan where there is no score;
    words as object arrays with None.
    """
    from scales.scoring_many import score_columns  # numpy is loaded only where it is used

    return score_columns(instrument, answers, _prorate(missing))


def rounded(value: Value) -> Value:
    """The value as it goes over the wire: numbers to 4 decimals, half to even, no -0.0; all else as it is."""
    if value is None or isinstance(value, bool | str):
        return value
    return round(float(value), 4) + 0.0


def _plain(answer: float | None) -> Answer:
    if answer is None:
        return None
    return int(answer) if answer == int(answer) else answer


def _answer_fault(responses: Responses, answer: object) -> tuple[str, str] | None:
    if not isinstance(answer, int | float) or not is_number(answer):
        return "not_a_number", "An answer is a number or null."
    if not responses.min <= answer <= responses.max:
        return "out_of_range", f"An answer lies from {responses.min:g} to {responses.max:g}."
    if responses.kind == "likert" and answer not in responses.grid:
        return "off_step", f"Answers go from {responses.min:g} in steps of {responses.step:g}."
    return None


def _prorate(missing: str) -> bool:
    if missing not in POLICIES:
        raise ValueError(f"missing must be one of {', '.join(POLICIES)}")
    return missing == "prorate"


Rule = Callable[[list[Answer], dict[str, Result], bool], Result]


class _Plan(NamedTuple):
    """What is worked out once for an instrument: where each item stands, and one rule a score."""

    position: dict[str, int]
    grid: frozenset[float]
    rules: tuple[tuple[str, Rule], ...]


@lru_cache(maxsize=256)
def _plan(instrument: Instrument) -> _Plan:
    position = {item: index for index, item in enumerate(instrument.item_ids)}
    rules = tuple((declared.id, _rule(instrument, declared, position)) for declared in instrument.scores)
    return _Plan(position, frozenset(instrument.responses.grid), rules)


def _rule(instrument: Instrument, declared: Score, position: dict[str, int]) -> Rule:
    if declared.method in ("mean_of_items", "sum_of_items"):
        return _of_items(instrument.responses, declared, position)
    if declared.method in ("mean_of_subscales", "sum_of_subscales"):
        return _of_subscales(instrument, declared)
    if declared.method == "criteria":
        return _of_criteria(declared, position)
    if declared.of[0].id in position:
        return _at_least_item(declared, position)
    return _of_one_score(instrument, declared)


def _of_items(responses: Responses, declared: Score, position: dict[str, int]) -> Rule:
    """Mean or sum of items. A reversed item counts as min + max - answer: a constant, minus the answer."""
    count, needed = len(declared.of), declared.needed
    mean = declared.method == "mean_of_items"
    turn = responses.min + responses.max
    kept = _picker([position[part.id] for part in declared.of if not part.reversed])
    turned = _picker([position[part.id] for part in declared.of if part.reversed])

    def rule(given: list[Answer], _: dict[str, Result], prorate: bool) -> Result:
        plus, minus = kept(given), turned(given)
        answered = count - plus.count(None) - minus.count(None)
        if answered < count:
            if not prorate or needed == count:
                return Result(None, answered, count, "missing_answers", False)
            if answered < needed:
                return Result(None, answered, count, "too_few_answers", False)
            plus = [answer for answer in plus if answer is not None]
            minus = [answer for answer in minus if answer is not None]
        total = sum(plus) + turn * len(minus) - sum(minus)  # type: ignore[arg-type]
        if mean:
            return Result(total / answered, answered, count, None, answered < count)
        return Result(
            total if answered == count else total / answered * count, answered, count, None, answered < count
        )

    return rule


def _picker(positions: list[int]) -> Callable[[list[Answer]], Sequence[Answer]]:
    """A function from all answers to those at the positions."""
    if len(positions) > 1:
        return itemgetter(*positions)
    return lambda given: [given[position] for position in positions]


def _of_subscales(instrument: Instrument, declared: Score) -> Rule:
    parts = []
    for part in declared.of:
        low, high = instrument.score(part.id).range or (0.0, 0.0)
        parts.append((part.id, low + high if part.reversed else 0.0, -1 if part.reversed else 1))
    divisor = len(parts) if declared.method == "mean_of_subscales" else 1
    count = len(declared.items)

    def rule(_: list[Answer], results: dict[str, Result], __: bool) -> Result:
        total = 0.0
        answered = 0
        reason = None
        prorated = False
        for part_id, turn, sign in parts:
            value, part_answered, _of, part_reason, part_prorated = results[part_id]
            answered += part_answered
            prorated = prorated or part_prorated
            if value is None:
                reason = reason or part_reason
            else:
                total += turn + sign * value  # type: ignore[operator]
        if reason:
            return Result(None, answered, count, reason, False)
        return Result(total / divisor, answered, count, None, prorated)

    return rule


def _of_one_score(instrument: Instrument, declared: Score) -> Rule:
    base = declared.of[0].id
    turn_value = _turn_value(instrument, declared)

    def rule(_: list[Answer], results: dict[str, Result], __: bool) -> Result:
        under = results[base]
        if under.value is None:
            return under
        return Result(turn_value(under.value), under.answered, under.of, None, under.prorated)  # type: ignore[arg-type]

    return rule


def _turn_value(instrument: Instrument, declared: Score) -> Callable[[float], Value]:
    low, high = instrument.score(declared.of[0].id).range or (0.0, 0.0)
    factor, threshold = declared.factor or 0.0, declared.threshold or 0.0
    if declared.method == "reverse":
        return lambda value: low + high - value
    if declared.method == "times":
        return lambda value: factor * value
    if declared.method == "at_least":
        return lambda value: value >= threshold
    return lambda value: _band(declared.bands, value)


def _band(bands: tuple[tuple[int, int, str], ...], value: float) -> str:
    """The word of the band the value falls in, rounded half up to a whole number as bands are."""
    whole = floor(value + 0.5)
    return next((word for _, last, word in bands if whole <= last), bands[-1][2])


def _at_least_item(declared: Score, position: dict[str, int]) -> Rule:
    at, threshold = position[declared.of[0].id], declared.threshold or 0.0

    def rule(given: list[Answer], _: dict[str, Result], __: bool) -> Result:
        answer = given[at]
        if answer is None:
            return Result(None, 0, 1, "missing_answers", False)
        return Result(answer >= threshold, 1, 1, None, False)

    return rule


def _of_criteria(declared: Score, position: dict[str, int]) -> Rule:
    watched = [(position[part.id], declared.present_at[part.id]) for part in declared.of]
    order = {part.id: index for index, part in enumerate(declared.of)}
    criteria = [(criterion, [order[item] for item in criterion.count_of]) for criterion in declared.criteria]
    count = len(watched)

    def rule(given: list[Answer], _: dict[str, Result], __: bool) -> Result:
        present = [
            None if (answer := given[at]) is None else answer >= threshold for at, threshold in watched
        ]
        value = decided(criteria, present)
        reason = "undecided" if value is None else None
        return Result(value, count - present.count(None), count, reason, False)

    return rule


def decided(criteria: list[tuple[Criterion, list[int]]], present: list[bool | None]) -> bool | None:
    """True or False when every way of filling in the missing leads there; None when they differ.

    Missing items that count in the same criteria are alike: only how many of them are present matters.
    """
    if None not in present:
        return _met(criteria, [sum(present[i] is True for i in counted) for _, counted in criteria])
    alike: dict[tuple[bool, ...], int] = {}
    for index, state in enumerate(present):
        if state is None:
            group = tuple(index in counted for _, counted in criteria)
            alike[group] = alike.get(group, 0) + 1
    sure = [sum(present[i] is True for i in counted) for _, counted in criteria]
    outcomes = set()
    for filled in product(*(range(most + 1) for most in alike.values())):
        more = [
            sum(n for n, group in zip(filled, alike, strict=True) if group[which])
            for which in range(len(sure))
        ]
        outcomes.add(_met(criteria, [a + b for a, b in zip(sure, more, strict=True)]))
        if len(outcomes) == 2:
            return None
    return outcomes.pop()


def _met(criteria: list[tuple[Criterion, list[int]]], counts: list[int]) -> bool:
    return all(
        criterion.at_least <= count and (criterion.at_most is None or count <= criterion.at_most)
        for (criterion, _), count in zip(criteria, counts, strict=True)
    )
