from pathlib import Path

import pytest

from backend.stack.state import CannotStart
from backend.stack.supervisor import Options, longer, options_from, reason


def test_pauses_grow_from_half_a_second_to_thirty_and_start_again_after_a_minute_up() -> None:
    pauses, pause = [], 0.25
    for lived in (0, 0, 0, 0, 0, 0, 0, 0, 59, 61, 0):
        pause = longer(pause, lived)
        pauses.append(pause)

    assert pauses == [0.5, 1, 2, 4, 8, 16, 30, 30, 30, 0.5, 1]


def test_how_a_child_ended_in_words() -> None:
    assert [reason(code) for code in (0, 3, -9, -77)] == [
        "ended with status 0",
        "ended with status 3",
        "was killed by SIGKILL",
        "was killed by signal 77",
    ]


def test_options_and_their_defaults() -> None:
    assert options_from(
        {"PORT": "8001", "STATE": "/srv/kind", "DEMO": "0", "WEB_WORKERS": "3", "WEB_THREADS": ""}
    ) == (Options(8001, Path("/srv/kind"), False, "", "", "", "", "", "", 3, 4))
    defaults = options_from({})
    assert (defaults.port, defaults.demo, defaults.state.name) == (8000, True, ".state")


@pytest.mark.parametrize(
    "wrong", [{"PORT": "http"}, {"PORT": "70000"}, {"DEMO": "yes"}, {"WEB_THREADS": "0"}]
)
def test_an_option_that_cannot_be_read_is_named(wrong: dict[str, str]) -> None:
    name, value = next(iter(wrong.items()))
    with pytest.raises(CannotStart, match=f"{name}={value}"):
        options_from(wrong)
