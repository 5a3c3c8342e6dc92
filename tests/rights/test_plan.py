"""Whose every row is."""

from django.core.exceptions import FieldError

from backend.rights.plan import WHOSE, rows, tables


def test_every_table_is_decided_once() -> None:
    assert {model._meta.label for model in tables()} == set(WHOSE)
    for label, one in WHOSE.items():
        assert sum(map(bool, (one.participant, one.user, one.nobodys))) == 1, label
        assert not (one.kept and one.nobodys), label


def test_every_way_leads_from_the_row_to_a_person(db: None) -> None:
    for model in tables():
        try:
            assert list(rows(model, participant=0, user=0)) == []
        except FieldError:
            raise AssertionError(model._meta.label) from None
