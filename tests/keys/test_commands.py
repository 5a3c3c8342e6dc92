"""`manage.py keys`: made, checked, recovered and turned over by whoever is at the machine."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from django.core.management import CommandError, call_command
from django.test import override_settings
from django.utils import timezone

from backend.audit.models import Entry
from backend.care.models import Clinic
from backend.keys import wrapping
from backend.keys.fields import sealed_fields
from backend.keys.ring import _keyring, keyring
from backend.keys.sealing import Holder, Place, seal, unseal


def keys(*arguments: str) -> str:
    """What `manage.py keys` says."""
    said = io.StringIO()
    call_command("keys", *arguments, stdout=said)
    return said.getvalue()


@pytest.fixture
def sealed(own_keys: Path, linden: Clinic) -> Callable[[], list[str]]:
    """What three people of two clinics wrote, each time it is looked at."""
    places = [
        Place("scales_correction", "reason", "1", Holder(uuid4(), clinic))
        for clinic in (linden.pk, linden.pk, 0)
    ]
    texts = [(seal(f"words {number}", place), place) for number, place in enumerate(places)]
    return lambda: [unseal(text, place) for text, place in texts]


WORDS = ["words 0", "words 1", "words 2"]


def test_init_makes_what_is_missing_and_says_where_the_recovery_key_is(tmp_path: Path) -> None:
    store, master, recovery = tmp_path / "keys", tmp_path / "master-key", tmp_path / "recovery-key"
    with override_settings(KEY_STORE=str(store), MASTER_KEY_FILE=str(master)):
        first = keys("init", "--recovery-key-to", str(recovery))
        assert keys("init", "--recovery-key-to", str(tmp_path / "other")) == "Everything is there already.\n"

    assert first == f"A recovery key is in {recovery}: keep it somewhere else, and delete it there.\n"
    assert recovery.stat().st_mode & 0o777 == 0o600
    assert not (tmp_path / "other").exists()
    wrapping.read(recovery.read_text())


def test_check_opens_every_key_also_with_the_recovery_key(
    own_keys: Path, sealed: Callable[[], list[str]]
) -> None:
    keyring().destroy(uuid4(), at=timezone.now())

    assert keys("check") == "5 keys open; 1 were destroyed.\n"
    with_it = keys("check", "--recovery-key", str(own_keys / "recovery-key"))
    assert with_it == "5 keys open, 5 with the recovery key; 1 were destroyed.\n"


def test_check_names_those_that_do_not_open(own_keys: Path, sealed: Callable[[], list[str]]) -> None:
    (own_keys / "master-key").unlink()
    keyring().master.make()
    # The command is another process, which has opened nothing yet.
    _keyring.cache_clear()

    with pytest.raises(CommandError, match=r"^5 keys do not open: .* version 1"):
        keys("check")


def test_a_recovery_key_of_a_clinic_is_told_once_and_noted(
    own_keys: Path, linden: Clinic, sealed: Callable[[], list[str]]
) -> None:
    said = keys("recovery", "--clinic", "Linden")

    told = next(line.strip() for line in said.splitlines() if "SKRK1-" in line)
    assert said.endswith("\n2 keys open with it now.\n")
    assert list(Entry.objects.filter(action="key.recovery_made").values_list("clinic", "subject")) == [
        (linden.pk, "2")
    ]
    paper = own_keys / "paper"
    paper.write_text(told.lower())
    assert keys("check", "--recovery-key", str(paper)).startswith("5 keys open, 2 with the recovery key;")
    with pytest.raises(CommandError, match="There is no such clinic, or more than one of that name"):
        keys("recovery", "--clinic", "Rowan")


def test_recover_opens_everything_after_the_master_key_is_lost(
    own_keys: Path, sealed: Callable[[], list[str]]
) -> None:
    (own_keys / "master-key").unlink()

    said = keys("recover", "--recovery-key", str(own_keys / "recovery-key"))

    assert said == "5 keys were opened; 0 wait for another recovery key.\n"
    assert sealed() == WORDS
    assert Entry.objects.filter(action="key.recovered", subject="5").count() == 1


def test_a_recovery_key_with_a_slip_or_none_at_all_is_refused_in_one_line(own_keys: Path) -> None:
    typed = own_keys / "typed"
    typed.write_text((own_keys / "recovery-key").read_text().replace("-", "--A", 1))

    with pytest.raises(CommandError, match="That is no recovery key: there is a slip in it somewhere"):
        keys("recover", "--recovery-key", str(typed))
    with pytest.raises(CommandError, match="cannot be read: No such file or directory"):
        keys("recover", "--recovery-key", str(own_keys / "nowhere"))


@pytest.mark.parametrize(
    ("options", "master", "people"),
    [((), True, True), (("--master",), True, False), (("--participants",), False, True)],
)
def test_rotate_turns_over_what_it_is_told_to(
    own_keys: Path, sealed: Callable[[], list[str]], options: tuple[str, ...], master: bool, people: bool
) -> None:
    before, id_ = (own_keys / "master-key").read_text(), keyring().master.masters().current

    said = keys("rotate", "--pause", "0", *options)

    assert (id_ not in "".join(f.read_text() for f in (own_keys / "keys").glob("*.json"))) == master
    assert ((own_keys / "master-key").read_text() != before) == master
    assert ("5 keys are under a new master key" in said) == master
    assert (
        "3 people have a next data key." in said and "3 people's older data keys are in use no more." in said
    ) == people
    assert Entry.objects.filter(action="key.master_turned").count() == master
    assert Entry.objects.filter(action="key.rotated").count() == 3 * people
    versions: list[Any] = sorted(record.current for _, record in keyring().store.records())
    assert versions == ([1, 1, 2, 2, 2] if people else [1] * 5)


def test_rotate_looks_at_every_sealed_column_there_is(own_keys: Path, db: None) -> None:
    said = keys("rotate", "--pause", "0")

    for field in sealed_fields():
        assert f"{field.model._meta.db_table}.{field.attname}: 0 values looked at, 0 sealed anew." in said


def test_a_store_that_is_away_is_said_in_one_line(own_keys: Path, db: None) -> None:
    (own_keys / "keys").rename(own_keys / "away")

    for action, said in (
        ("check", "there is no key store at .*/keys"),
        ("rotate", "the key store cannot be written: .*"),
    ):
        with pytest.raises(CommandError, match=rf"^{said}\.$"):
            keys(action)
