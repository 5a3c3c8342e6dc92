"""100 of 1,000 people erased, by processes that are killed at any moment, and looked for everywhere (T21)."""

from pathlib import Path

import pytest

from tests.conftest import Copy
from tests.rights.conftest import ledger_file
from tests.rights.copies import erased_for_good

__all__ = ["ledger_file"]


def test_who_was_erased_is_nowhere_to_be_read(
    database_copy: Copy, ledger_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = erased_for_good(people=1000, erased=100, kills=30, place=tmp_path)

    with capsys.disabled():
        print(f"\n{found}")
    assert found.sealed_of_erased >= 200
    assert (found.opened_of_erased, found.unopened_of_others) == (0, 0)
    assert found.opened_with_stolen_keys == found.sealed_of_erased
    assert (found.erased_in_dump, found.others_in_dump) == (0, 900)
    assert (found.rows_left, found.rows_left_after_replay) == (0, 0)
    assert (found.audit_rows_gone, found.others_rows_changed) == (0, 0)
    assert (found.undone_before_replay, found.replayed, found.ledger_lines, found.done) == (100,) * 4
