"""Instruments as data: what is asked, and by which named methods answers become scores.

Pure: a file's text goes in, frozen values come out; a malformed file is refused with file, key and reason.
The format is described in `scales/instruments/README.md`.
"""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

from scales.declared import (
    SHARE_SLACK,
    Criterion,
    Instrument,
    Item,
    Licence,
    MissingRule,
    Part,
    PublishedChange,
    Reliability,
    Responses,
    SafetyItem,
    Score,
    Source,
)
from scales.score_tables import read_published_change, read_reliability, read_scores
from scales.tables import MalformedInstrument, Table

__all__ = [
    "Criterion",
    "Instrument",
    "Item",
    "Licence",
    "MalformedInstrument",
    "MissingRule",
    "Part",
    "PublishedChange",
    "Reliability",
    "Responses",
    "SafetyItem",
    "Score",
    "Source",
    "load",
    "parse",
    "with_wording",
]

REQUIREMENTS = ("safety_rules",)


def load(path: Path) -> Instrument:
    """The instrument in a file named `<code>.v<version>.toml`. Errors: MalformedInstrument, OSError."""
    try:
        text = path.read_bytes().decode("utf-8")
    except UnicodeDecodeError:
        raise MalformedInstrument(path.name, "(file)", "not UTF-8") from None
    return parse(text, path.name)


def parse(text: str, file: str) -> Instrument:
    """The instrument a file's text declares; `file` is its name. Errors: MalformedInstrument."""
    top = Table.of_text(text, file)
    code, version = _code_and_version(top, file)
    responses = _responses(top.table("responses"))
    items = _items(top.table("items"), code, responses)
    scores = read_scores(top, items, responses)
    instrument = Instrument(
        code=code,
        version=version,
        name=top.text("name"),
        abbreviation=top.text("abbreviation"),
        form=top.text("form"),
        language=_language(top),
        construct=top.text("construct"),
        instructions=top.text("instructions"),
        recall_period=top.optional_text("recall_period"),
        minutes=top.optional_whole("minutes", least=1),
        attribution=top.text("attribution"),
        source=_source(top.table("source")),
        licence=_licence(top.table("licence")),
        responses=responses,
        requires=_requires(top),
        items=items,
        scores=scores,
        missing=_missing(top.table("missing")),
        safety=_safety(top, items, responses),
        reliability=read_reliability(top.optional_table("reliability"), scores),
        published_change=read_published_change(top, scores),
        scoring_notes=top.optional_texts("scoring_notes"),
        unverified=top.optional_texts("unverified"),
        sha256=hashlib.sha256(text.encode()).hexdigest(),
    )
    top.done()
    if instrument.licence.ship_wording != "yes" and any(item.text for item in items):
        raise MalformedInstrument(file, "items", "carries wording that the licence does not let ship")
    return instrument


def with_wording(instrument: Instrument, wording: str, file: str) -> Instrument:
    """The instrument with the texts of an operator's own wording file. Errors: MalformedInstrument.

    The file names code and version and gives exactly the items that have no text yet: a wording that
    shipped is part of a released version and is not replaced.
    """
    top = Table.of_text(wording, file)
    if top.text("code") != instrument.code:
        raise top.fault("code", f"is not {instrument.code}")
    if top.whole("version", least=1) != instrument.version:
        raise top.fault("version", f"is not {instrument.version}")
    given = top.table("items")
    items = []
    for item in instrument.items:
        if item.text is None:
            items.append(replace(item, text=given.text(item.id)))
        elif given.has(item.id):
            raise given.fault(item.id, "already has its released wording")
        else:
            items.append(item)
    given.done()
    instructions = top.optional_text("instructions") or instrument.instructions
    top.done()
    digest = hashlib.sha256(wording.encode()).hexdigest()
    return replace(instrument, items=tuple(items), instructions=instructions, wording_sha256=digest)


def _code_and_version(top: Table, file: str) -> tuple[str, int]:
    code = top.text("code")
    if not re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", code):
        raise top.fault("code", "must be lower-case words and digits joined by hyphens")
    version = top.whole("version", least=1)
    if file != f"{code}.v{version}.toml":
        raise top.fault("code", f"code and version call for the file name {code}.v{version}.toml")
    return code, version


def _language(top: Table) -> str:
    language = top.text("language")
    if not re.fullmatch(r"[a-z]{2,3}(-[A-Za-z0-9]{2,8})*", language):
        raise top.fault("language", "must be a language tag such as en or pt-BR")
    return language


def _source(table: Table) -> Source:
    source = Source(table.text("citation"), table.optional_text("doi"), table.optional_text("note"))
    table.done()
    return source


def _licence(table: Table) -> Licence:
    licence = Licence(
        statement=table.text("statement"),
        ship_wording=table.one_of("ship_wording", ("yes", "no", "ask first")),
        terms=table.optional_text("terms"),
        confidence=table.text("confidence"),
        evidence=table.optional_texts("evidence"),
    )
    table.done()
    return licence


def _requires(top: Table) -> tuple[str, ...]:
    requires = top.optional_texts("requires")
    for word in requires:
        if word not in REQUIREMENTS:
            raise top.fault("requires", f"unknown requirement {word!r}; known: {', '.join(REQUIREMENTS)}")
    return requires


def _missing(table: Table) -> MissingRule:
    rule = MissingRule(
        statement=table.text("statement"),
        authors_rule=table.optional_text("authors_rule"),
        source=table.optional_text("source"),
        confidence=table.optional_text("confidence"),
    )
    if rule.authors_rule and not rule.confidence:
        raise table.fault("confidence", "missing: say how well the authors' rule is known")
    table.done()
    return rule


def _responses(table: Table) -> Responses:
    kind = table.one_of("kind", ("likert", "vas"))
    low, high, step = table.number("min"), table.number("max"), table.number("step")
    if low >= high:
        raise table.fault("max", f"empty range: {low} to {high}")
    if step <= 0 or abs((high - low) / step - round((high - low) / step)) > SHARE_SLACK:
        raise table.fault("step", "must be above 0 and lead from min to max")
    bare = Responses(kind, low, high, step, MappingProxyType({}))
    responses = replace(bare, labels=_labels(table, bare) or MappingProxyType({}))
    table.done()
    return responses


def _labels(table: Table, responses: Responses) -> Mapping[str, str] | None:
    if not table.has("labels"):
        return None
    labels = table.table("labels")
    positions = {f"{position:g}" for position in responses.grid}
    found = {}
    for position in labels.names():
        if position not in positions:
            raise labels.fault(position, "labels a position that cannot be answered")
        found[position] = labels.text(position)
    return MappingProxyType(found)


def _items(table: Table, code: str, responses: Responses) -> tuple[Item, ...]:
    prefix = re.sub(r"[^a-z]", "", code)
    items = []
    for position, item_id in enumerate(table.names(), 1):
        if item_id != f"{prefix}{position:02}":
            raise table.fault(item_id, f"item {position} must be called {prefix}{position:02}")
        items.append(_item(table, item_id, responses))
    if not items:
        raise table.fault("(items)", "none")
    return tuple(items)


def _item(table: Table, item_id: str, responses: Responses) -> Item:
    more = table.text_or_table(item_id)
    item = Item(
        id=item_id,
        text=more.optional_text("text"),
        scored=more.optional_flag("scored", True),
        labels=_labels(more, responses),
    )
    more.done()
    return item


def _safety(top: Table, items: tuple[Item, ...], responses: Responses) -> tuple[SafetyItem, ...]:
    if not top.has("safety"):
        return ()
    found = []
    for table in top.tables("safety"):
        watch = SafetyItem(table.text("item"), table.number("at_least"), table.text("rule"))
        if watch.item not in {item.id for item in items}:
            raise table.fault("item", f"unknown item {watch.item!r}")
        if watch.at_least not in responses.grid:
            raise table.fault("at_least", "is not an answer that can be given")
        table.done()
        found.append(watch)
    return tuple(found)
