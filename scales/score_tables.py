"""Reading the scores of an instrument file, and refusing those that cannot be meant. Pure."""

from collections.abc import Callable
from types import MappingProxyType

from scales.declared import Criterion, Item, Part, PublishedChange, Reliability, Responses, Score
from scales.tables import MalformedInstrument, Table, is_number

KINDS = {"subscales": "subscale", "totals": "total", "derived": "derived"}
ITEM_METHODS = ("mean_of_items", "sum_of_items")
SUBSCALE_METHODS = ("mean_of_subscales", "sum_of_subscales")
METHODS = (*ITEM_METHODS, *SUBSCALE_METHODS, "reverse", "times", "band", "at_least", "criteria")
KIND_METHODS = {
    "subscale": ITEM_METHODS,
    "total": (*ITEM_METHODS, *SUBSCALE_METHODS, "reverse", "times", "at_least", "criteria"),
    "derived": METHODS,
}


class _Reading:
    """The scores read so far: what a later one may be made of."""

    def __init__(self, items: tuple[Item, ...], responses: Responses) -> None:
        self.order = {item.id: position for position, item in enumerate(items)}
        self.scored = {item.id for item in items if item.scored}
        self.responses = responses
        self.scores: dict[str, Score] = {}

    def add(self, table: Table, score_id: str, kind: str) -> None:
        if score_id in self.scores or score_id in self.order:
            raise table.fault("", "that id is already an item's or another score's")
        method = table.one_of("method", METHODS)
        if method not in KIND_METHODS[kind]:
            raise table.fault("method", f"{method} cannot make a {kind}")
        criteria = self._criteria(table) if method == "criteria" else ()
        present_at = self._present_at(table, criteria) if criteria else {}
        of = tuple(Part(item, False) for item in present_at) if criteria else self._parts(table, method)
        min_answered, max_missing = self._allowance(table, method, len(of))
        implied = self._implied_range(table, method, of)
        factor = self._factor(table) if method == "times" else None
        if factor and implied:
            implied = (implied[0] * factor, implied[1] * factor)
        self.scores[score_id] = Score(
            id=score_id,
            name=table.text("name"),
            kind=kind,
            method=method,
            of=of,
            items=self._items_under(of),
            higher_is=table.one_of("higher_is", ("better", "worse")),
            range=self._range(table, implied),
            min_answered=min_answered,
            max_missing=max_missing,
            default=kind == "total" and table.optional_flag("default", False),
            change=table.optional_flag("change", True),
            disputed=table.optional_text("disputed"),
            source=table.optional_text("source"),
            factor=factor,
            threshold=self._threshold(table, of[0].id) if method == "at_least" else None,
            bands=self._bands(table, of[0].id) if method == "band" else (),
            present_at=MappingProxyType(present_at),
            criteria=criteria,
        )
        table.done()

    def _parts(self, table: Table, method: str) -> tuple[Part, ...]:
        parts = []
        for name in table.texts("of"):
            part = Part(name.removeprefix("-"), name.startswith("-"))
            if part.reversed and method not in (*ITEM_METHODS, *SUBSCALE_METHODS):
                raise table.fault("of", f"{method} turns nothing round: {name!r}")
            self._check_part(table, method, part)
            parts.append(part)
        if len({part.id for part in parts}) < len(parts):
            raise table.fault("of", "names something twice")
        if method in ("reverse", "times", "band", "at_least") and len(parts) != 1:
            raise table.fault("of", f"{method} is made of exactly one")
        return tuple(parts)

    def _check_part(self, table: Table, method: str, part: Part) -> None:
        if part.id.startswith("-") or part.id != part.id.strip():
            raise table.fault("of", f"bad reversal {part.id!r}: one '-' directly before the id")
        if method in ITEM_METHODS or (method == "at_least" and part.id in self.order):
            self._check_item(table, "of", part.id)
        elif part.id not in self.scores:
            raise table.fault("of", f"unknown score {part.id!r}, or one that stands further down")
        elif self.scores[part.id].value_type != "number":
            raise table.fault("of", f"{part.id!r} is no number")
        elif method in SUBSCALE_METHODS and self.scores[part.id].kind != "subscale":
            raise table.fault("of", f"{part.id!r} is no subscale")

    def _check_item(self, table: Table, key: str, item_id: str) -> None:
        if item_id not in self.order:
            raise table.fault(key, f"unknown item {item_id!r}")
        if item_id not in self.scored:
            raise table.fault(key, f"item {item_id!r} is declared unscored")

    def _allowance(self, table: Table, method: str, parts: int) -> tuple[float | None, int | None]:
        """How much may be missing when prorating; without either key, nothing."""
        if method not in ITEM_METHODS:
            return None, None
        share = table.optional_number("min_answered")
        if share is not None and not 0 < share <= 1:
            raise table.fault("min_answered", "must be above 0 and at most 1")
        most = table.optional_whole("max_missing", least=1)
        if most is not None and share is not None:
            raise table.fault("max_missing", "stands beside min_answered: one rule only")
        if most is not None and most >= parts:
            raise table.fault("max_missing", "would let every answer be missing")
        return share, most

    def _criteria(self, table: Table) -> tuple[Criterion, ...]:
        found = []
        for row in table.tables("criteria"):
            criterion = Criterion(
                row.texts("count_of"), row.whole("at_least", least=1), row.optional_whole("at_most", least=1)
            )
            for item_id in criterion.count_of:
                self._check_item(row, "count_of", item_id)
            if len(set(criterion.count_of)) < len(criterion.count_of):
                raise row.fault("count_of", "names an item twice")
            most = len(criterion.count_of) if criterion.at_most is None else criterion.at_most
            if not criterion.at_least <= most <= len(criterion.count_of):
                raise row.fault("at_least", "cannot be met by so many items")
            row.done()
            found.append(criterion)
        return tuple(found)

    def _present_at(self, table: Table, criteria: tuple[Criterion, ...]) -> dict[str, float]:
        """From which answer on each item counts as present."""
        usual = self._answer(table, "present_at")
        exceptions = table.optional_table("present_at_for")
        counted = {item_id for criterion in criteria for item_id in criterion.count_of}
        found = {}
        for item_id in sorted(counted, key=self.order.__getitem__):
            found[item_id] = self._answer(exceptions, item_id) if exceptions.has(item_id) else usual
        exceptions.done()
        return found

    def _answer(self, table: Table, key: str) -> float:
        value = table.number(key)
        if not self.responses.min < value <= self.responses.max:
            raise table.fault(key, "every answer, or none, would count")
        return value

    def _implied_range(self, table: Table, method: str, of: tuple[Part, ...]) -> tuple[float, float] | None:
        low, high = self.responses.min, self.responses.max
        if method == "mean_of_items":
            return low, high
        if method == "sum_of_items":
            return low * len(of), high * len(of)
        if method in ("band", "at_least", "criteria"):
            return None
        ranges = [self._range_of(part.id) for part in of]
        if method == "sum_of_subscales":
            return sum(low for low, _ in ranges), sum(high for _, high in ranges)
        if len(set(ranges)) > 1:
            raise table.fault("of", "a mean needs parts with one and the same range")
        return ranges[0]

    def _range_of(self, score_id: str) -> tuple[float, float]:
        span = self.scores[score_id].range
        if span is None:
            raise KeyError(score_id)
        return span

    def _range(self, table: Table, implied: tuple[float, float] | None) -> tuple[float, float] | None:
        """The declared range, which must be the one its method and parts lead to."""
        if implied is None:
            return None
        declared = table.pair("range")
        if declared != implied:
            raise table.fault("range", f"declared {declared}, but method and parts give {implied}")
        return declared

    def _factor(self, table: Table) -> float:
        factor = table.number("factor")
        if factor <= 0:
            raise table.fault("factor", "must be above 0")
        return factor

    def _threshold(self, table: Table, part_id: str) -> float:
        in_range = self.responses.min, self.responses.max
        low, high = in_range if part_id in self.order else self._range_of(part_id)
        threshold = table.number("threshold")
        if not low < threshold <= high:
            raise table.fault("threshold", f"always or never reached between {low} and {high}")
        return threshold

    def _bands(self, table: Table, part_id: str) -> tuple[tuple[int, int, str], ...]:
        """Bands of whole numbers that cover the range from end to end."""
        low, high = self._range_of(part_id)
        rows = table.value("bands")
        bands: list[tuple[int, int, str]] = []
        for row in rows if isinstance(rows, list) else []:
            if not (isinstance(row, list) and list(map(type, row)) == [int, int, str]):
                raise table.fault("bands", "each band is a first and a last whole number and a word")
            first, last, word = row
            if first > last or first != (bands[-1][1] + 1 if bands else low):
                raise table.fault("bands", f"gap or overlap at {first}")
            bands.append((first, last, word))
        if not bands or bands[-1][1] != high:
            raise table.fault("bands", f"must run from {low} to {high}")
        if len({word for _, _, word in bands}) < len(bands):
            raise table.fault("bands", "uses a word twice")
        return tuple(bands)

    def _items_under(self, of: tuple[Part, ...]) -> tuple[str, ...]:
        found: set[str] = set()
        for part in of:
            found.update(self.scores[part.id].items if part.id in self.scores else [part.id])
        return tuple(sorted(found, key=self.order.__getitem__))


def read_scores(top: Table, items: tuple[Item, ...], responses: Responses) -> tuple[Score, ...]:
    """Every declared score: subscales, totals, derived; each made of items or of earlier scores only."""
    reading = _Reading(items, responses)
    for section, kind in KINDS.items():
        tables = top.optional_table(section)
        for score_id in tables.names():
            reading.add(tables.table(score_id), score_id, kind)
    scores = tuple(reading.scores.values())
    used = {item_id for score in scores if score.kind != "derived" for item_id in score.items}
    for item in items:
        if item.scored and item.id not in used:
            raise top.fault(f"items.{item.id}", "is in no subscale or total and not declared unscored")
    if sum(score.default for score in scores) > 1:
        raise top.fault("totals", "more than one is the default")
    return scores


def read_reliability(tables: Table, scores: tuple[Score, ...]) -> MappingProxyType[str, Reliability]:
    """The constants for reliable change, by score."""
    return MappingProxyType(
        {score_id: _one_reliability(tables.table(score_id), score_id, scores) for score_id in tables.names()}
    )


def _one_reliability(table: Table, score_id: str, scores: tuple[Score, ...]) -> Reliability:
    score = _reported_number(scores, score_id, lambda reason: table.fault("", reason))
    if not score.change:
        raise table.fault("", "the score is declared change = false")
    sd, r = table.number("sd"), table.number("r")
    if sd <= 0:
        raise table.fault("sd", "must be above 0")
    if not 0 < r < 1:
        raise table.fault("r", "must lie between 0 and 1")
    mean = table.optional_number("mean")
    if mean is not None and score.range and not score.range[0] <= mean <= score.range[1]:
        raise table.fault("mean", "lies outside the score's range")
    r_kind = table.one_of("r_kind", ("test-retest", "alpha"))
    constants = Reliability(
        score=score_id,
        sd=sd,
        mean=mean,
        n=table.optional_whole("n", least=2),
        r=r,
        r_kind=r_kind,
        r_n=table.optional_whole("r_n", least=2),
        interval=table.text("interval") if r_kind == "test-retest" else None,
        population=table.text("population"),
        source=table.text("source"),
        read_in_source=table.flag("read_in_source"),
        note=table.optional_text("note"),
    )
    table.done()
    return constants


def read_published_change(top: Table, scores: tuple[Score, ...]) -> tuple[PublishedChange, ...]:
    """Thresholds of change that others published."""
    if not top.has("published_change"):
        return ()
    return tuple(_one_published(table, scores) for table in top.tables("published_change"))


def _one_published(table: Table, scores: tuple[Score, ...]) -> PublishedChange:
    score_id = table.text("score")
    _reported_number(scores, score_id, lambda reason: table.fault("score", reason))
    threshold = table.value("threshold")
    span = threshold if isinstance(threshold, list) else [threshold, threshold]
    if len(span) != 2 or not all(map(is_number, span)) or not 0 < span[0] <= span[1]:
        raise table.fault("threshold", "must be a number above 0, or two, low and high")
    published = PublishedChange(
        score=score_id,
        kind=table.text("kind"),
        low=span[0],
        high=span[1],
        rule=table.optional_text("rule"),
        source=table.text("source"),
        read_in_source=table.flag("read_in_source"),
    )
    table.done()
    return published


def _reported_number(
    scores: tuple[Score, ...], score_id: str, fault: Callable[[str], MalformedInstrument]
) -> Score:
    for score in scores:
        if score.id == score_id and score.kind != "derived" and score.value_type == "number":
            return score
    raise fault(f"no subscale or total {score_id!r} with a number")
