"""A data key, wrapped: for the service, and for whoever has the recovery key on paper."""

from uuid import UUID

import pytest

from backend.keys import wrapping
from backend.keys.envelope import CannotOpen

KEY, MASTER = bytes(range(32)), bytes(range(32, 64))
HOLDER, OTHER = UUID(int=5), UUID(int=6)
RECOVERY = wrapping.new_recovery_key()


def test_the_service_opens_what_it_wrapped_for_that_holder_and_version_alone() -> None:
    wrapped = wrapping.wrap(KEY, master=MASTER, holder=HOLDER, version=2)

    assert wrapping.unwrap(wrapped, master=MASTER, holder=HOLDER, version=2) == KEY
    assert KEY not in wrapped
    for master, holder, version in ((bytes(32), HOLDER, 2), (MASTER, OTHER, 2), (MASTER, HOLDER, 1)):
        with pytest.raises(CannotOpen):
            wrapping.unwrap(wrapped, master=master, holder=holder, version=version)
    with pytest.raises(CannotOpen):
        wrapping.unwrap(wrapped[:-1], master=MASTER, holder=HOLDER, version=2)
    with pytest.raises(CannotOpen):
        wrapping.unwrap(b"", master=MASTER, holder=HOLDER, version=2)


def test_the_recovery_key_opens_what_was_wrapped_to_its_public_half() -> None:
    public = wrapping.public_bytes(RECOVERY)
    wrapped = wrapping.wrap_for_recovery(KEY, public=public, holder=HOLDER, version=2)

    assert wrapping.unwrap_for_recovery(wrapped, private=RECOVERY, holder=HOLDER, version=2) == KEY
    assert wrapped != wrapping.wrap_for_recovery(KEY, public=public, holder=HOLDER, version=2)
    another = wrapping.new_recovery_key()
    for private, holder, version in ((another, HOLDER, 2), (RECOVERY, OTHER, 2), (RECOVERY, HOLDER, 3)):
        with pytest.raises(CannotOpen):
            wrapping.unwrap_for_recovery(wrapped, private=private, holder=holder, version=version)
    with pytest.raises(CannotOpen):
        wrapping.unwrap_for_recovery(wrapped[1:], private=RECOVERY, holder=HOLDER, version=2)


def test_a_recovery_key_is_read_as_it_was_written_however_it_is_typed() -> None:
    written = wrapping.written(RECOVERY)
    groups = written.split("-")

    assert groups[0] == "SKRK1"
    assert {len(group) for group in groups[:-1]} == {5}
    for typed in (written, written.lower(), written.replace("-", " "), f"\n {written.replace('-', '')} \n"):
        assert wrapping.public_bytes(wrapping.read(typed)) == wrapping.public_bytes(RECOVERY)


def test_one_slip_anywhere_is_noticed() -> None:
    written = wrapping.written(RECOVERY)
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"

    for place, letter in enumerate(written):
        if letter == "-":
            continue
        slip = letters[(letters.find(letter) + 1) % 32]
        with pytest.raises(CannotOpen):
            wrapping.read(written[:place] + slip + written[place + 1 :])


@pytest.mark.parametrize("typed", ["", "SKRK1", "SKRK1-AAAAA", "a recovery key", "SKRK1-ä!§$%"])
def test_what_is_no_recovery_key_is_refused(typed: str) -> None:
    with pytest.raises(CannotOpen):
        wrapping.read(typed)


def test_two_letters_changed_over_and_a_group_left_out_are_noticed() -> None:
    written = wrapping.written(RECOVERY)
    groups = written.split("-")
    for place in range(6, len(written) - 1):
        one, other = written[place], written[place + 1]
        if one != other and "-" not in (one, other):
            with pytest.raises(CannotOpen):
                wrapping.read(written[:place] + other + one + written[place + 2 :])
    for left_out in range(1, len(groups)):
        with pytest.raises(CannotOpen):
            wrapping.read("-".join(groups[:left_out] + groups[left_out + 1 :]))
