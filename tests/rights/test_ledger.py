"""The ledger outside the database: only added to, and nothing in it can be changed unnoticed."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import pytest
from django.core.exceptions import ImproperlyConfigured

from backend.rights.erasure import ledger
from backend.rights.erasure.guard import refuse_undone
from backend.rights.erasure.ledger import Line

AT = datetime(2026, 5, 1, tzinfo=UTC)
LINES = [Line(UUID(int=n), AT, n, n + 100 if n % 2 else None, (UUID(int=n + 50),)) for n in (1, 2, 3)]


def write(file: Path) -> list[str]:
    for line in LINES:
        assert ledger.note(line) == line
    return file.read_text().splitlines(keepends=True)


def test_what_is_noted_is_read_again(ledger_file: Path) -> None:
    assert ledger.read() == []
    write(ledger_file)

    assert ledger.read() == LINES
    assert [oct(p.stat().st_mode)[-3:] for p in (ledger_file, ledger_file.parent)] == ["600", "700"]


def test_an_erasure_has_one_line_however_often_it_is_noted(ledger_file: Path) -> None:
    write(ledger_file)
    again = Line(LINES[1].erasure, datetime(2027, 1, 1, tzinfo=UTC), 9, 9, ())

    assert ledger.note(again) == LINES[1]
    assert ledger.read() == LINES


def test_a_line_that_a_crash_cut_off_was_never_there(ledger_file: Path) -> None:
    written = write(ledger_file)
    ledger_file.write_text("".join(written[:2]) + written[2][:40])
    assert ledger.read() == LINES[:2]

    assert ledger.note(LINES[2]) == LINES[2]
    assert ledger_file.read_text() == "".join(written)


TAMPERED: dict[str, Callable[[list[str]], list[str]]] = {
    "one is left out": lambda lines: [lines[0], lines[2]],
    "the first is left out": lambda lines: lines[1:],
    "two changed places": lambda lines: [lines[1], lines[0], lines[2]],
    "another participant": lambda lines: [lines[0].replace('"participant":1', '"participant":7'), *lines[1:]],
    "the last is another's": lambda lines: [
        *lines[:2],
        lines[2].replace('"participant":3', '"participant":4'),
    ],
    "no signature": lambda lines: [*lines[:2], lines[2][: lines[2].index(',"signature"')] + "}\n"],
    "no line at all": lambda lines: [*lines, "[]\n"],
}


@pytest.mark.parametrize("how", TAMPERED)
def test_what_was_changed_is_noticed_and_nothing_is_served(ledger_file: Path, how: str) -> None:
    ledger_file.write_text("".join(TAMPERED[how](write(ledger_file))))

    with pytest.raises(ledger.LedgerBroken, match=r"line [1234] of the erasure ledger"):
        ledger.read()
    with pytest.raises(ledger.LedgerBroken):
        ledger.note(LINES[0])
    with pytest.raises(ImproperlyConfigured, match="ERASURE_LEDGER cannot be relied on"):
        refuse_undone()
