"""The page a copy is read on. Pure: tables and questionnaires go in, one page of HTML comes out.

It stands alone: no script, nothing loaded from anywhere, one inline style. Every text goes through `_t`,
which escapes it, since some of it is what somebody typed. It tells and does not judge.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from html import escape
from typing import Any
from zoneinfo import ZoneInfo

from backend.rights.export.archive import About, Column, Kind, Table
from scales.instrument import Instrument

Instruments = Mapping[tuple[str, int], Instrument]
Row = Mapping[str, Any]

# Told in sections of their own, or only as a file.
_ADMINISTRATIONS, _CORRECTIONS, _TRENDS = "scales_administration", "scales_correction", "scales_trend"
_ONLY_A_FILE = ("changes_change", "rights_exportpart")
_MOST_ROWS = 500
_LONGEST = 400
# What is the same in every row, and so said once at the top; and what is of use in a file alone.
_ASIDE = ("participant_id", "participant", "clinic_id", "clinic", "request")

_REASONS = {
    "missing_answers": "not worked out: some answers were left out",
    "too_few_answers": "not worked out: too many answers were left out",
    "undecided": "open: an answer that was left out could change it",
}
_STYLE = """
:root { color-scheme: light dark; --ink: #26302b; --soft: #5b6660; --paper: #fbfaf6; --card: #ffffff;
  --line: #dcdfd6; --leaf: #2f6b57; --mist: #eef2ec; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e9e3; --soft: #a6b0a8; --paper: #171b19;
  --card: #1f2422; --line: #363d39; --leaf: #8fcab2; --mist: #252c29; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink); line-height: 1.55;
  font: 1rem/1.55 ui-sans-serif, system-ui, "Segoe UI", Roboto, "Helvetica Neue", sans-serif; }
main, header, footer { max-width: 52rem; margin: 0 auto; padding: 0 1.25rem; }
header { padding-top: 3rem; padding-bottom: 1rem; }
h1, h2, h3 { font-family: ui-serif, Georgia, "Times New Roman", serif; font-weight: 600; line-height: 1.25; }
h1 { font-size: 2.1rem; margin: 0 0 .5rem; }
h2 { font-size: 1.45rem; margin: 3rem 0 .5rem; padding-top: 1rem; border-top: 1px solid var(--line); }
h3 { font-size: 1.1rem; margin: 0 0 .25rem; }
p { margin: .4rem 0 .8rem; max-width: 42rem; }
a { color: var(--leaf); text-underline-offset: .15em; }
a:focus-visible, [tabindex]:focus-visible { outline: 2px solid var(--leaf); outline-offset: 2px; }
.soft, figcaption, caption { color: var(--soft); font-size: .92rem; }
.skip { position: absolute; left: -100rem; }
.skip:focus { position: static; }
nav, article, .scroll { background: var(--card); border: 1px solid var(--line); border-radius: .6rem; }
nav { padding: 1rem 1.5rem; margin-top: 1.5rem; }
nav h2 { border: 0; margin: 0 0 .25rem; padding: 0; font-size: 1.1rem; }
nav ol { margin: 0; padding-left: 1.25rem; columns: 2; column-gap: 2.5rem; }
nav li { break-inside: avoid; padding: .1rem 0; }
article { padding: 1.1rem 1.25rem; margin: 1rem 0; content-visibility: auto;
  contain-intrinsic-size: auto 60rem; }
table { border-collapse: collapse; width: 100%; font-size: .92rem; }
caption { text-align: left; padding: .6rem 0 .3rem; }
th, td { text-align: left; vertical-align: top; padding: .4rem .6rem; border-top: 1px solid var(--line);
  overflow-wrap: anywhere; }
thead th { border-top: 0; color: var(--soft); font-weight: 600; font-size: .85rem; white-space: nowrap; }
tbody th { font-weight: 500; overflow-wrap: break-word; }
article th:first-child, article td:first-child { padding-left: 0; }
td.number { font-variant-numeric: tabular-nums; white-space: nowrap; }
.scroll { overflow-x: auto; margin: .8rem 0; }
.scroll table { min-width: 30rem; }
.scroll thead { background: var(--mist); }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .15rem 1.25rem; margin: .5rem 0; }
dt { color: var(--soft); }
dd { margin: 0; overflow-wrap: anywhere; }
blockquote { margin: .4rem 0 .8rem; padding: .1rem 0 .1rem 1rem; border-left: 3px solid var(--line); }
footer { padding-top: 2rem; padding-bottom: 4rem; }
@media (max-width: 40rem) { nav ol { columns: 1; } dl { grid-template-columns: 1fr; }
  dd { margin-bottom: .5rem; } }
@media print {
  :root { --ink: #000; --soft: #444; --paper: #fff; --card: #fff; --line: #bbb; --leaf: #000; --mist: #fff; }
  body { font-size: 10pt; }
  main, header, footer { max-width: none; padding-left: 0; padding-right: 0; }
  nav, article, .scroll { border-radius: 0; border-left: 0; border-right: 0;
    padding-left: 0; padding-right: 0; }
  article { content-visibility: visible; }
  .scroll { overflow: visible; }
  .scroll table { min-width: 0; font-size: 8pt; }
  h2, h3 { break-after: avoid; }
  tr { break-inside: avoid; }
  thead { display: table-header-group; }
  .skip { display: none; }
  @page { margin: 18mm 16mm; }
}
"""


def index(about: About, tables: Sequence[Table], instruments: Instruments) -> str:
    """The page: who it is about, what they answered, everything else, and what it all means."""
    return "".join(_Page(about, tables, instruments).parts())


def _t(value: object) -> str:
    """The value as text of the page."""
    return escape(str(value), quote=True)


class _Page:
    def __init__(self, about: About, tables: Sequence[Table], instruments: Instruments) -> None:
        self.about, self.tables, self.instruments = about, tables, instruments
        self.by_name = {table.name: table for table in tables}
        self.zone = ZoneInfo(about.timezone)
        self.administrations = sorted(
            self.rows(_ADMINISTRATIONS), key=lambda row: (row["completed_at"], row["id"]), reverse=True
        )
        self.corrections: dict[str, list[Row]] = {}
        for row in sorted(self.rows(_CORRECTIONS), key=lambda row: row["revision"]):
            self.corrections.setdefault(row["administration_id"], []).append(row)

    def rows(self, name: str) -> Sequence[Row]:
        table = self.by_name.get(name)
        return table.rows if table else ()

    def parts(self) -> Iterator[str]:
        yield (
            '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
            '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
            '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; style-src'
            " 'unsafe-inline'\">\n"
            '<meta name="robots" content="noindex">\n<meta name="referrer" content="no-referrer">\n'
            f"<title>Your copy of everything</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n"
            '<a class="skip" href="#contents">Go to the contents</a>\n'
        )
        yield from self.head()
        yield "<main>\n"
        yield from self.contents()
        yield from self.answered()
        yield from self.over_time()
        yield from self.questionnaires()
        for table in self.listed():
            yield from self.listing(table)
        yield from self.rest()
        yield from self.dictionary()
        yield "</main>\n"
        yield (
            f'<footer><p class="soft">Made {self.instant(self.about.made_at.isoformat())} by'
            f" {_t(self.about.software)}. manifest.json has the SHA-256 of every file.</p></footer>\n"
            "</body>\n</html>\n"
        )

    def head(self) -> Iterator[str]:
        yield (
            "<header>\n<h1>Your copy of everything</h1>\n"
            f"<p>Hello, {_t(self.about.pseudonym)}. This is all that is kept here of you, because you asked"
            " for it. Take your time with it; there is nothing you need to do. It is yours to read, to keep,"
            " to take elsewhere or to throw away.</p>\n"
            '<p class="soft">Nobody else is in it by name: where somebody else did something, it says what'
            " they are, such as “therapist 1”. The numbers are of this copy alone. Times are in your time"
            f" zone, {_t(self.about.timezone)}. Please keep this as you would keep a diary: whoever has"
            " it can read it.</p>\n"
        )
        if self.about.unreadable:
            yield (
                "<p>Something that is kept here under your own key did not open, and is missing from this"
                " copy. The people who run this server were told; manifest.json says what it was.</p>\n"
            )
        yield (
            f"<dl><dt>Your id</dt><dd>{_t(self.about.participant)}</dd>"
            f"<dt>Made</dt><dd>{self.instant(self.about.made_at.isoformat())}</dd></dl>\n</header>\n"
        )

    def contents(self) -> Iterator[str]:
        yield '<nav id="contents" aria-labelledby="contents-title" tabindex="-1">'
        yield '<h2 id="contents-title">Contents</h2><ol>\n'
        sections = [
            ("answered", "What you answered", len(self.administrations)),
            ("over-time", "How your scores went over time", len(self.rows(_TRENDS))),
            ("questionnaires", "About the questionnaires", len(self.used())),
            *((table.name, table.title, len(table.rows)) for table in self.listed()),
            ("rest", "In files alone, and where there is nothing", None),
            ("dictionary", "What every column says", None),
        ]
        for id_, title, count in sections:
            many = "" if count is None else f' <span class="soft">({count})</span>'
            yield f'<li><a href="#{_t(id_)}">{_t(title)}</a>{many}</li>\n'
        yield "</ol></nav>\n"

    def answered(self) -> Iterator[str]:
        yield _heading("answered", "What you answered")
        if not self.administrations:
            yield "<p>There is nothing here yet.</p>\n"
            return
        years: dict[str, str] = {}
        for row in self.administrations:
            years.setdefault(self.local(row["completed_at"]).strftime("%Y"), row["id"])
        links = ", ".join(f'<a href="#a-{_t(id_)}">{_t(year)}</a>' for year, id_ in years.items())
        yield (
            "<p>The newest first. Where a questionnaire's wording may be shown here, it is. Scores tell of"
            f" a moment, not about a person.</p>\n<p>From {links}.</p>\n"
        )
        for row in self.administrations:
            yield from self.administration(row)

    def administration(self, row: Row) -> Iterator[str]:
        instrument = self.instruments.get((row["instrument_code"], row["instrument_version"]))
        name = instrument.name if instrument else row["instrument_code"]
        versions: list[Row] = [row, *self.corrections.get(row["id"], [])]
        yield f'<article id="a-{_t(row["id"])}"><h3>{_t(name)}</h3>\n<p class="soft">'
        yield f"{self.instant(row['completed_at'])}, version {_t(row['instrument_version'])}</p>\n"
        for number, version in enumerate(versions[1:], 2):
            yield (
                f'<p class="soft">You corrected this {self.instant(version["received_at"])}'
                f" (version {number} of your answers):</p>"
                f'<blockquote dir="auto">{_t(version["reason"] or "")}</blockquote>\n'
            )
        yield from self.scores(versions[-1], instrument)
        yield from self.answers(versions, instrument)
        yield "</article>\n"

    def scores(self, version: Row, instrument: Instrument | None) -> Iterator[str]:
        known = {score.id: score for score in instrument.reported} if instrument else {}
        yield '<table><caption>Scores</caption><thead><tr><th scope="col">Score</th>'
        yield '<th scope="col">Value</th><th scope="col">Of the range</th>'
        yield '<th scope="col">Higher means</th></tr></thead><tbody>\n'
        for told in version["answer"]["scores"]:
            score = known.get(told["subscale"])
            span = f"{score.range[0]:g} to {score.range[1]:g}" if score and score.range else ""
            value = told["value"]
            shown = _value(value) if value is not None else _REASONS.get(told.get("reason", ""), "none")
            more = " (from the answers that are there)" if told.get("prorated") else ""
            yield (
                f'<tr><th scope="row">{_t(score.name if score else told["subscale"])}</th>'
                f'<td class="number">{_t(shown)}{more}</td><td class="number">{_t(span)}</td>'
                f"<td>{_t(told['higher_is'])}</td></tr>\n"
            )
        yield "</tbody></table>\n"

    def answers(self, versions: Sequence[Row], instrument: Instrument | None) -> Iterator[str]:
        first = versions[0]
        labels = dict(instrument.responses.labels) if instrument else {}
        heads = ["Your answer"] if len(versions) == 1 else ["Your answer now", *_before(len(versions))]
        yield '<table><caption>Your answers</caption><thead><tr><th scope="col">Item</th>'
        yield "".join(f'<th scope="col">{_t(head)}</th>' for head in heads) + "</tr></thead><tbody>\n"
        newest_first = versions[::-1]
        for id_, text in _items(versions, instrument):
            cells = []
            for version in newest_first:
                answer = version["responses"].get(id_)
                if answer is None:
                    cells.append(
                        _t(f"left out ({first['skipped'][id_]})" if id_ in first["skipped"] else "left out")
                    )
                else:
                    label = labels.get(f"{answer:g}")
                    cells.append(_t(f"{_value(answer)}, {label}" if label else _value(answer)))
            wording = _t(text) if text else f'{_t(id_)} <span class="soft">(wording not shown here)</span>'
            yield f'<tr><th scope="row">{wording}</th>'
            yield "".join(f"<td>{shown}</td>" for shown in cells) + "</tr>\n"
        yield "</tbody></table>\n"

    def over_time(self) -> Iterator[str]:
        yield _heading("over-time", "How your scores went over time")
        if not self.rows(_TRENDS):
            yield "<p>There is nothing here yet.</p>\n"
            return
        yield (
            "<p>What was last worked out from your scores: where each began, where it is, and the difference."
            f" All of it, point by point, is in data/{_TRENDS}.json.</p>\n"
        )
        for row in self.rows(_TRENDS):
            newest = self.newest(row["instrument_code"])
            names = {score.id: score.name for score in newest.reported} if newest else {}
            yield f"<article><h3>{_t(newest.name if newest else row['instrument_code'])}</h3>\n"
            if row["result"] is None:
                yield "<p>Not worked out yet.</p></article>\n"
                continue
            yield '<table><thead><tr><th scope="col">Score</th><th scope="col">Times</th>'
            yield '<th scope="col">Began at</th><th scope="col">Latest</th><th scope="col">Difference</th>'
            yield '<th scope="col">Higher means</th></tr></thead><tbody>\n'
            for told in row["result"]:
                numbers = (len(told["points"]), told["baseline"]["value"], told["latest"], told["change"])
                cells = "".join(f'<td class="number">{_t(_value(number))}</td>' for number in numbers)
                yield f'<tr><th scope="row">{_t(names.get(told["subscale"], told["subscale"]))}</th>{cells}'
                yield f"<td>{_t(told['higher_is'])}</td></tr>\n"
            yield "</tbody></table></article>\n"

    def used(self) -> list[Instrument]:
        keys = {(row["instrument_code"], row["instrument_version"]) for row in self.administrations}
        return [self.instruments[key] for key in sorted(keys) if key in self.instruments]

    def newest(self, code: str) -> Instrument | None:
        versions = [version for known, version in self.instruments if known == code]
        return self.instruments[code, max(versions)] if versions else None

    def questionnaires(self) -> Iterator[str]:
        yield _heading("questionnaires", "About the questionnaires")
        if not self.used():
            yield "<p>There is nothing here yet.</p>\n"
        for instrument in self.used():
            told = {
                "What it is about": instrument.construct,
                "How it was put": instrument.instructions,
                "By": instrument.attribution,
                "From": instrument.source.citation,
                "Its wording": instrument.licence.statement,
                "Left-out answers": instrument.missing.statement,
            }
            yield f"<article><h3>{_t(instrument.name)}, version {instrument.version}</h3>\n<dl>"
            yield "".join(f"<dt>{_t(name)}</dt><dd>{_t(text)}</dd>" for name, text in told.items())
            yield "</dl>\n"
            disputed: dict[str, list[str]] = {}
            for score in instrument.reported:
                if score.disputed:
                    disputed.setdefault(score.disputed, []).append(score.name)
            for why, names in disputed.items():
                yield (
                    f"<p><strong>Among researchers it is open how to read {_t('; '.join(names))}.</strong>"
                    f" {_t(why)}</p>\n"
                )
            yield "</article>\n"

    def listed(self) -> list[Table]:
        """The tables shown as they are: those with rows that have no section of their own."""
        aside = (_ADMINISTRATIONS, _CORRECTIONS, _TRENDS, *_ONLY_A_FILE)
        return [table for table in self.tables if table.rows and table.name not in aside]

    def listing(self, table: Table) -> Iterator[str]:
        yield _heading(table.name, table.title)
        yield f"<p>{_t(table.sentence)}</p>\n"
        shown = list(reversed(table.rows))[:_MOST_ROWS]
        if len(shown) < len(table.rows):
            all_ = f"all {len(table.rows)} are in data/{_t(table.name)}.json"
            yield f"<p>The newest {len(shown)}; {all_}.</p>\n"
        columns = [
            c
            for c in table.columns
            if c.name not in _ASIDE and any(row[c.name] not in (None, "", {}, []) for row in shown)
        ]
        if len(shown) == 1:
            yield "<dl>"
            for column in columns:
                value = self.shown(shown[0][column.name], column)
                yield f"<dt>{_t(_words(column.name))}</dt><dd>{value}</dd>"
            yield "</dl>\n"
            return
        yield f'<div class="scroll" tabindex="0" role="region" aria-label="{_t(table.title)}">'
        yield "<table><thead><tr>"
        yield (
            "".join(f'<th scope="col">{_t(_words(c.name))}</th>' for c in columns) + "</tr></thead><tbody>\n"
        )
        for row in shown:
            yield "<tr>" + "".join(f"<td>{self.shown(row[c.name], c)}</td>" for c in columns) + "</tr>\n"
        yield "</tbody></table></div>\n"

    def rest(self) -> Iterator[str]:
        yield _heading("rest", "In files alone, and where there is nothing")
        yield "<ul>\n"
        for table in self.tables:
            if table.rows and table.name in _ONLY_A_FILE:
                yield (
                    f"<li>{_t(table.title)}: {len(table.rows)} in data/{_t(table.name)}.json."
                    f" {_t(table.sentence)}</li>\n"
                )
        yield "</ul>\n"
        empty = [table.title for table in self.tables if not table.rows]
        if empty:
            yield f"<p>Nothing of yours is kept under: {_t('; '.join(empty))}.</p>\n"

    def dictionary(self) -> Iterator[str]:
        yield _heading("dictionary", "What every column says")
        yield (
            "<p>The same as dictionary.csv. A few columns are in no copy; each says why. They are what would"
            " let somebody in, and numbers that only the database itself has a use for.</p>\n"
        )
        for table in self.tables:
            yield f"<article><h3>{_t(table.title)}</h3>\n"
            yield f'<p>{_t(table.sentence)} <span class="soft">data/{_t(table.name)}</span></p>\n<dl>'
            for column in table.columns:
                yield f"<dt>{_t(column.name)}</dt><dd>{_t(column.sentence)}</dd>"
            for name, reason in table.left_out.items():
                yield f'<dt>{_t(name)}</dt><dd><span class="soft">Not in the copy.</span> {_t(reason)}</dd>'
            yield "</dl></article>\n"

    def shown(self, value: Any, column: Column) -> str:
        """The value as a reader wants it."""
        if column.name == "actor":
            return _t(value or "the service itself")
        if value is None or value == "":
            return ""
        if column.name == "action":
            return _t(_words(value))
        if column.kind is Kind.INSTANT:
            return self.instant(value)
        if column.kind is Kind.TRUTH:
            return "yes" if value else "no"
        text = _inside(value) if column.kind is Kind.JSON else _value(value)
        if len(text) > _LONGEST and column.kind is Kind.JSON:
            return '<span class="soft">long: in the data file</span>'
        return f'<span dir="auto">{_t(text)}</span>' if column.kind is Kind.TEXT else _t(text)

    def local(self, at: str) -> datetime:
        return datetime.fromisoformat(at).astimezone(self.zone)

    def instant(self, at: str) -> str:
        local = self.local(at)
        return f'<time datetime="{_t(local.isoformat())}">{local.day} {local:%B %Y, %H:%M}</time>'


def _heading(id_: str, title: str) -> str:
    return f'<h2 id="{_t(id_)}">{_t(title)}</h2>\n'


def _items(versions: Iterable[Row], instrument: Instrument | None) -> list[tuple[str, str | None]]:
    """Each item, with its wording where it is shown here, in the questionnaire's order."""
    if instrument:
        return [(item.id, item.text) for item in instrument.items]
    return [(id_, None) for id_ in sorted({id_ for version in versions for id_ in version["responses"]})]


def _before(versions: int) -> list[str]:
    """What the earlier versions' columns are called, the newest of them first."""
    return [f"Version {number}" if number > 1 else "First sent" for number in range(versions - 1, 0, -1)]


def _value(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.4f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)


def _inside(value: Any) -> str:
    """What is in a JSON value, in a line."""
    if isinstance(value, dict):
        return "; ".join(f"{_words(str(key))}: {_inside(inner)}" for key, inner in value.items())
    if isinstance(value, list):
        return ", ".join(_inside(inner) for inner in value)
    return _value(value)


def _words(name: str) -> str:
    return name.removesuffix("_id").replace("_", " ").replace(".", " ")
