"""What an instrument file declares, as frozen values. Pure; read by `scales/instrument.py`."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from math import ceil

SHARE_SLACK = 1e-9  # 0.8 * 12 is 9.600000000000001: a share must not ask for one answer more


@dataclass(frozen=True)
class Source:
    citation: str
    doi: str | None
    note: str | None


@dataclass(frozen=True)
class Licence:
    """The terms of the wording, apart from those of the code. `ship_wording`: yes, no or ask first."""

    statement: str
    ship_wording: str
    terms: str | None
    confidence: str
    evidence: tuple[str, ...]


@dataclass(frozen=True)
class Responses:
    """What can be answered: `likert` only on the grid min, min + step, ..., max; `vas` anything between."""

    kind: str
    min: float
    max: float
    step: float
    labels: Mapping[str, str]

    @cached_property
    def grid(self) -> tuple[float, ...]:
        """Every answer there is on a likert scale; on a vas only the positions its slider proposes."""
        return tuple(self.min + self.step * n for n in range(round((self.max - self.min) / self.step) + 1))


@dataclass(frozen=True)
class Item:
    """One question. `text` is None where the wording may not ship; `labels` only where they are its own."""

    id: str
    text: str | None
    scored: bool
    labels: Mapping[str, str] | None


@dataclass(frozen=True)
class Part:
    """What a score is made of: an item or an earlier score; `reversed` turns it to min + max - x first."""

    id: str
    reversed: bool


@dataclass(frozen=True)
class Criterion:
    """So many of these items must count as present: at least, and where given at most."""

    count_of: tuple[str, ...]
    at_least: int
    at_most: int | None


@dataclass(frozen=True)
class Score:
    """A declared score: `subscale` and `total` are reported, `derived` serves exports and review only.

    `items` are all items underneath, in the instrument's order; `range` is None unless the value is a number.
    """

    id: str
    name: str
    kind: str
    method: str
    of: tuple[Part, ...]
    items: tuple[str, ...]
    higher_is: str
    range: tuple[float, float] | None
    min_answered: float | None
    max_missing: int | None
    default: bool
    change: bool
    disputed: str | None
    source: str | None
    factor: float | None
    threshold: float | None
    bands: tuple[tuple[int, int, str], ...]
    present_at: Mapping[str, float]
    criteria: tuple[Criterion, ...]

    @property
    def value_type(self) -> str:
        """`number`, `boolean` or `word`."""
        return {"band": "word", "at_least": "boolean", "criteria": "boolean"}.get(self.method, "number")

    @property
    def needed(self) -> int:
        """How many of its own items must be answered when prorating: all, unless the file says less."""
        if self.max_missing is not None:
            return len(self.of) - self.max_missing
        if self.min_answered is not None:
            return ceil(self.min_answered * len(self.of) - SHARE_SLACK)
        return len(self.of)


@dataclass(frozen=True)
class Reliability:
    """The constants behind reliable change of one score, with what must be told beside them."""

    score: str
    sd: float
    mean: float | None
    n: int | None
    r: float
    r_kind: str
    r_n: int | None
    interval: str | None
    population: str
    source: str
    read_in_source: bool
    note: str | None


@dataclass(frozen=True)
class PublishedChange:
    """A threshold somebody published; `low` and `high` differ where a span was given."""

    score: str
    kind: str
    low: float
    high: float
    rule: str | None
    source: str
    read_in_source: bool


@dataclass(frozen=True)
class SafetyItem:
    """An answer that needs a human, whatever the score."""

    item: str
    at_least: float
    rule: str


@dataclass(frozen=True)
class MissingRule:
    statement: str
    authors_rule: str | None
    source: str | None
    confidence: str | None


@dataclass(frozen=True, eq=False)
class Instrument:
    """One version of one questionnaire. `sha256` is that of its file's text."""

    code: str
    version: int
    name: str
    abbreviation: str
    form: str
    language: str
    construct: str
    instructions: str
    recall_period: str | None
    minutes: int | None
    attribution: str
    source: Source
    licence: Licence
    responses: Responses
    requires: tuple[str, ...]
    items: tuple[Item, ...]
    scores: tuple[Score, ...]
    missing: MissingRule
    safety: tuple[SafetyItem, ...]
    reliability: Mapping[str, Reliability]
    published_change: tuple[PublishedChange, ...]
    scoring_notes: tuple[str, ...]
    unverified: tuple[str, ...]
    sha256: str
    wording_sha256: str | None = None

    @property
    def ready(self) -> bool:
        """True when every item has its wording."""
        return all(item.text is not None for item in self.items)

    @cached_property
    def item_ids(self) -> tuple[str, ...]:
        return tuple(item.id for item in self.items)

    @cached_property
    def subscales(self) -> tuple[Score, ...]:
        return tuple(score for score in self.scores if score.kind == "subscale")

    @cached_property
    def totals(self) -> tuple[Score, ...]:
        return tuple(score for score in self.scores if score.kind == "total")

    @cached_property
    def reported(self) -> tuple[Score, ...]:
        """The scores that go over the wire: subscales, then totals, in the file's order."""
        return self.subscales + self.totals

    @cached_property
    def _by_id(self) -> dict[str, Score]:
        return {score.id: score for score in self.scores}

    def score(self, score_id: str) -> Score:
        """The declared score of that id; KeyError when there is none."""
        return self._by_id[score_id]
