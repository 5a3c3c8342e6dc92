"""A copy of somebody's data as files that open without our software. Pure: tables go in, bytes come out.

Cells of a spreadsheet that begin like a formula are run as one, so a text that does gets an apostrophe
before it. That goes by the column's kind, never by the look of a value: -3 in a column of numbers is -3.
"""

import csv
import hashlib
import io
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

import orjson

FORMAT = 1
# What spreadsheets take for the beginning of a formula, full-width forms included, and the apostrophe that
# marks it, so that taking one away again gives back every text.
FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠", "'")


class Kind(StrEnum):
    """What the values of a column are, and so how a cell is read."""

    TEXT = "text"
    NUMBER = "number"
    TRUTH = "true or false"
    DATE = "date"
    INSTANT = "instant"
    ID = "id"
    JSON = "JSON"


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a table, with what it says in a sentence. `optional`: there need not be a value."""

    name: str
    kind: Kind
    optional: bool
    sentence: str


@dataclass(frozen=True, slots=True)
class Table:
    """The rows of one table, their values as JSON has them; and which columns were left out, and why."""

    name: str
    title: str
    sentence: str
    columns: Sequence[Column]
    left_out: Mapping[str, str]
    rows: Sequence[Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class About:
    """Whose copy it is, from which software, and the time in which it was read."""

    participant: str
    pseudonym: str
    timezone: str
    begun_at: datetime
    made_at: datetime
    software: str
    # Places whose sealed value did not open: table, column.
    unreadable: Sequence[tuple[str, str]] = ()


def files(about: About, tables: Sequence[Table], index: str) -> dict[str, bytes]:
    """Every file of the archive by name, the manifest last."""
    made = {"README.txt": _readme(about).encode(), "index.html": index.encode()}
    made["dictionary.csv"] = _dictionary(tables)
    for table in tables:
        made[f"data/{table.name}.json"] = _json(table.rows)
        made[f"data/{table.name}.csv"] = _csv(table)
    return {**made, "manifest.json": _manifest(about, made)}


def pack(made: Mapping[str, bytes], *, at: datetime) -> bytes:
    """These files as one ZIP archive."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in made.items():
            entry = zipfile.ZipInfo(name, at.timetuple()[:6])
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, content)
    return packed.getvalue()


def cell(value: Any, column: Column) -> str:
    """The value as a cell of that column. An empty cell is no value, or an empty text where there is always
    one; an empty text where there need not be one is a lone apostrophe."""
    if value is None:
        return ""
    if column.kind is Kind.TEXT:
        return _text_cell(str(value), column.optional)
    if column.kind in (Kind.NUMBER, Kind.TRUTH, Kind.JSON):
        return orjson.dumps(value).decode()
    return str(value)


def _text_cell(text: str, optional: bool) -> str:
    if text.startswith(FORMULA) or (optional and not text):
        return f"'{text}"
    return text


def _csv(table: Table) -> bytes:
    names = [column.name for column in table.columns]
    cells = ([cell(row[c.name], c) for c in table.columns] for row in table.rows)
    return _written([names, *cells])


def _dictionary(tables: Iterable[Table]) -> bytes:
    lines = [["table", "column", "kind", "may be empty", "exported", "what it says"]]
    for table in tables:
        lines.append([table.name, "", "", "", "yes", _text_cell(table.sentence, optional=False)])
        for c in table.columns:
            lines.append([table.name, c.name, c.kind, "yes" if c.optional else "no", "yes", c.sentence])
        for name, reason in table.left_out.items():
            lines.append([table.name, name, "", "", "no", reason])
    return _written(lines)


def _written(lines: Iterable[Sequence[str]]) -> bytes:
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\r\n").writerows(lines)
    return text.getvalue().encode()


def _json(data: object) -> bytes:
    return orjson.dumps(data, option=orjson.OPT_INDENT_2)


def _manifest(about: About, made: Mapping[str, bytes]) -> bytes:
    return _json(
        {
            "format": FORMAT,
            "participant": about.participant,
            "begun_at": about.begun_at.isoformat(),
            "made_at": about.made_at.isoformat(),
            "software": about.software,
            "unreadable": [{"table": table, "column": column} for table, column in about.unreadable],
            "files": [
                {"name": name, "size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
                for name, content in made.items()
            ],
        }
    )


def _readme(about: About) -> str:
    missing = (
        "\n\nSomething that is kept here under your own key did not open, and is missing here: see\n"
        '"unreadable" in manifest.json. Please tell the people who run this server; they were told too.'
        if about.unreadable
        else ""
    )
    return f"""\
Your copy of everything
=======================

This is all that is kept here of you, made for you because you asked for it. It is yours: to read, to keep,
to take elsewhere, or to throw away. Nobody else is in it by name; where somebody else did something, it says
what they are, such as "therapist 1".

index.html        Begin here. It opens in any browser, needs no network, and prints.
data/             The same and more, table by table: .json for programs, .csv for spreadsheets.
dictionary.csv    What every table and column says, and which were left out, and why.
manifest.json     When this was made, for whom, and the size and SHA-256 of every file.

About the .csv files: they are UTF-8, with commas, and a first line that names the columns. A text that begins
like a formula has an apostrophe before it, so that no spreadsheet runs it; take the first apostrophe away and
the text is as it was. Dates and times are in UTC there, with their offset. In index.html they are in your
own time zone, {about.timezone}.

Please keep it as you would keep a diary. Whoever has this file can read it.{missing}

For {about.participant}
Made {about.made_at.isoformat()} by {about.software}
"""
