"""Whoever was erased is not in copies from before to be read, nor in one that is brought back (T21)."""

from pathlib import Path

from tests.conftest import Copy
from tests.rights.copies import erased_for_good


def test_who_was_erased_is_nowhere_to_be_read(database_copy: Copy, ledger_file: Path, tmp_path: Path) -> None:
    """The short form of `make battery`'s thousand people."""
    found = erased_for_good(people=12, erased=2, kills=0, place=tmp_path)

    assert found.sealed_of_erased >= 4
    assert (found.opened_of_erased, found.unopened_of_others) == (0, 0)
    assert found.opened_with_stolen_keys == found.sealed_of_erased, "what this cannot protect from"
    assert (found.erased_in_dump, found.others_in_dump) == (0, 10)
    assert (found.rows_left, found.rows_left_after_replay) == (0, 0)
    assert (found.audit_rows_gone, found.others_rows_changed) == (0, 0)
    assert (found.undone_before_replay, found.replayed, found.ledger_lines, found.done) == (2, 2, 2, 2)
