"""A copy's files: what a spreadsheet runs, what a browser runs, and what every column says."""

import csv
import io
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from html.parser import HTMLParser
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.rights import plan
from backend.rights.export.archive import About, Column, Kind, Table, cell, files
from backend.rights.export.dictionary import TABLES, LeftOut, Told, described
from backend.rights.export.page import index
from backend.rights.export.people import People
from backend.rights.export.queries import somebodys
from scales.queries import released

AT = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
TEXT = Column("text", Kind.TEXT, True, "Words.")
HOSTILE = "\"><script>alert('=1')</script><img src=http://evil.example onerror=alert(1)>"


def about(**fields: Any) -> About:
    given: dict[str, Any] = {
        "participant": "11111111-2222-4333-8444-555555555555",
        "pseudonym": "ana heron",
        "timezone": "Europe/Berlin",
        "begun_at": AT,
        "made_at": AT,
        "software": "Selfkind",
    }
    return About(**(given | fields))


def table(*rows: Mapping[str, Any], columns: list[Column], name: str = "words") -> Table:
    return Table(name, "Words", "What was said.", columns, {"password": "Secret."}, rows)


@pytest.mark.parametrize("begins", ["=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠", "'"])
def test_a_text_that_begins_like_a_formula_gets_an_apostrophe(begins: str) -> None:
    assert cell(f"{begins}1+1", TEXT) == f"'{begins}1+1"
    assert cell(f"1{begins}1", TEXT) == f"1{begins}1"


def test_it_is_the_kind_of_a_column_that_says_and_not_the_look_of_a_value() -> None:
    number, truth = Column("n", Kind.NUMBER, True, ""), Column("t", Kind.TRUTH, True, "")
    json_, always = Column("j", Kind.JSON, True, ""), Column("t", Kind.TEXT, False, "")

    assert [cell(v, number) for v in (-3, -3.25, 0, None)] == ["-3", "-3.25", "0", ""]
    assert [cell("-3", TEXT), cell(True, truth), cell(False, truth)] == ["'-3", "true", "false"]
    assert [cell({"=a": -1}, json_), cell(-1, json_), cell("=1", json_)] == ['{"=a":-1}', "-1", '"=1"']
    # Nothing, and an empty text, are told apart wherever there can be both.
    assert [cell(None, TEXT), cell("", TEXT), cell("", always)] == ["", "'", ""]


@given(st.lists(st.one_of(st.none(), st.text(st.characters(exclude_categories=["Cs"]), max_size=20))))
def test_every_text_comes_back_out_of_a_spreadsheet_as_it_was(texts: list[str | None]) -> None:
    kept = table(*({"text": text} for text in texts), columns=[TEXT])

    made = files(about(), [kept], "")["data/words.csv"].decode()
    head, *cells = list(csv.reader(io.StringIO(made, newline="")))

    # A line of one empty cell is an empty line to the reader.
    found = [(line or [""])[0] for line in cells]
    assert head == ["text"]
    assert [None if not c else c.removeprefix("'") for c in found] == texts


class Seen(HTMLParser):
    """Every element with its attributes, and all text."""

    def __init__(self) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def seen(page: str) -> Seen:
    parser = Seen()
    parser.feed(page)
    parser.close()
    return parser


def test_what_somebody_typed_is_text_on_the_page_and_never_markup() -> None:
    scores = [{"subscale": HOSTILE, "value": None, "higher_is": HOSTILE, "reason": "undecided"}]
    answered = {
        "id": HOSTILE, "instrument_code": HOSTILE, "instrument_version": 1, "skipped": {HOSTILE: HOSTILE},
        "completed_at": "2026-01-01T00:00:00+00:00", "responses": {HOSTILE: 1}, "answer": {"scores": scores},
    }  # fmt: skip
    corrected = {
        "administration_id": HOSTILE, "revision": 2, "reason": HOSTILE, "responses": {HOSTILE: 2},
        "received_at": "2026-01-01T00:00:00+00:00", "answer": {"scores": scores},
    }  # fmt: skip
    result = [{
        "subscale": HOSTILE, "points": [], "baseline": {"value": None}, "latest": 1, "change": None,
        "higher_is": HOSTILE,
    }]  # fmt: skip
    every = [Column(HOSTILE, Kind.TEXT, True, HOSTILE)]
    words = [*every, Column("body", Kind.JSON, True, HOSTILE)]
    body = {HOSTILE: HOSTILE, "body": {HOSTILE: [HOSTILE]}}
    tables = [
        table(answered, columns=every, name="scales_administration"),
        table(corrected, columns=every, name="scales_correction"),
        table({"instrument_code": HOSTILE, "result": result}, columns=every, name="scales_trend"),
        table(body, columns=words, name="one"),
        table(body, body, columns=words, name="several"),
        Table(HOSTILE, HOSTILE, HOSTILE, every, {HOSTILE: HOSTILE}, [body, body]),
    ]

    page = index(about(pseudonym=HOSTILE, participant=HOSTILE, software=HOSTILE), tables, {})
    harmless = index(about(), [], {})

    found = seen(page)
    assert {tag for tag, _ in found.elements} & {"script", "img", "link", "iframe", "object"} == set()
    names = {name for _, attributes in found.elements for name in attributes}
    assert not [name for name in names if name.startswith("on") or name in ("src", "srcset", "style")]
    assert "".join(found.text).count(HOSTILE) > 20
    heads = [[e for e in page.elements if e[0] == "meta"] for page in (found, seen(harmless))]
    assert heads[0] == heads[1]


def test_the_page_loads_nothing_and_can_be_heard() -> None:
    instruments = dict(released())
    page = index(about(), [], instruments)

    found = seen(page)
    links = [a["href"] for _, a in found.elements if "href" in a]
    ids = [a["id"] for _, a in found.elements if "id" in a]
    assert ("html", {"lang": "en"}) in found.elements
    assert [link for link in links if not (link or "").startswith("#")] == []
    assert {(link or "")[1:] for link in links} <= set(ids)
    assert len(ids) == len(set(ids))
    assert "url(" not in page
    assert "@import" not in page
    assert [tag for tag, _ in found.elements if tag in ("h1", "main", "header", "footer", "nav")] == [
        "header", "h1", "main", "nav", "footer",
    ]  # fmt: skip


def test_every_column_of_every_table_that_is_somebodys_is_decided() -> None:
    models = {model._meta.label: model for model in somebodys()}

    assert list(TABLES) == list(models)
    assert set(TABLES) == set(models) == {label for label, one in plan.WHOSE.items() if not one.nobodys}
    for label, model in models.items():
        assert list(TABLES[label].columns) == [f.attname for f in model._meta.concrete_fields], label
        for said in (TABLES[label].sentence, *map(sentence, described(label).values())):
            assert said[0].isupper(), said
            assert said.endswith("."), said


def sentence(decided: Told | LeftOut) -> str:
    return decided.sentence if isinstance(decided, Told) else decided.reason


def test_secrets_are_in_no_copy() -> None:
    secrets = {
        "accounts.User": {"password", "session_salt"},
        "account.EmailConfirmation": {"key"},
        "mfa.Authenticator": {"data"},
        "accounts.TokenFamily": {"id", "session_key", "jti", "previous_jti"},
        "care.Invitation": {"digest"},
        "care.RecoveryCode": {"digest"},
    }

    found: dict[str, set[str]] = {}
    for label in TABLES:
        for name, decided in described(label).items():
            if isinstance(decided, LeftOut) and decided.reason.startswith("Secret"):
                found.setdefault(label, set()).add(name)
    assert found == secrets


def test_others_are_called_by_what_they_are() -> None:
    people = People(own=7, roles={8: "therapist", 9: "therapist", 5: "coordinator"}, members={80: 8, 90: 9})

    assert [people.user(n) for n in (9, 7, 8, 9, 5, 1, 2, None)] == [
        "therapist 1", "you", "therapist 2", "therapist 1", "coordinator 1", "somebody else 1",
        "somebody else 2", None,
    ]  # fmt: skip
    assert [people.member(n) for n in (90, 80, 70, None)] == [
        "therapist 1", "therapist 2", "somebody else 3", None,
    ]  # fmt: skip


def test_a_value_that_did_not_open_is_named() -> None:
    made = files(about(unreadable=[("scales_correction", "reason")]), [], "")

    assert json.loads(made["manifest.json"])["unreadable"] == [
        {"table": "scales_correction", "column": "reason"}
    ]
    assert "did not open" in made["README.txt"].decode()
    assert "did not open" in index(about(unreadable=[("a", "b")]), [], {})
    assert "did not open" not in files(about(), [], "")["README.txt"].decode()
