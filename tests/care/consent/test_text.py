"""Consent texts: which ship, that a released one never changes, and what a person is shown of one."""

import hashlib
import tomllib
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from backend.care.consent.queries import RELEASED_FILES, released
from backend.care.consent.text import MalformedText, Stream, parse

PINNED: dict[str, str] = tomllib.loads((Path(__file__).parent / "released.toml").read_text())
FILES = sorted(RELEASED_FILES.glob("*.toml"))
OWN = """
stream = "research"
version = 2
language = "en"
title = "Research"
text = '''
We would like to learn.
'''
given = "Your answers go along."
not_given = "They do not."
"""
TELLING = (
    OWN
    + """
[worse_scores]
at_once = "You see all at once."
with_therapist = "You wait {hold_hours} hours at most."
"""
)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_a_released_text_never_changes(path: Path) -> None:
    digest = hashlib.sha256(path.read_bytes()).hexdigest()

    assert path.name in PINNED, f'{path.name} is new: pin it in released.toml beside here as "{digest}"'
    assert PINNED[path.name] == digest, "Other words are the next version."


def test_every_pinned_text_ships_under_its_name() -> None:
    assert [path.name for path in FILES] == sorted(PINNED)
    assert {f"{s}.v{n}.{language}.toml" for s, n, language in released()} == set(PINNED)


def test_each_stream_has_words_in_both_languages() -> None:
    assert set(released()) == {(s, 1, language) for s, language in product(Stream, ["en", "de"])}
    assert [s.value for s in Stream] == ["care", "research", "journal_therapist", "contact_after"]


def test_only_care_tells_of_worse_scores() -> None:
    assert {t.stream for t in released().values() if t.worse_scores} == {Stream.CARE}


def test_what_is_shown_is_all_of_it_and_the_hash_is_of_that() -> None:
    shown = parse(OWN, "own").shown(72)

    whole = "Research\n\nWe would like to learn.\n\nYour answers go along.\n\nThey do not."
    assert (shown.whole, shown.rules) == (whole, {})
    assert shown.hash == hashlib.sha256(whole.encode()).hexdigest()


def test_the_clinics_rule_is_told_and_hashed_with_the_rest() -> None:
    text = parse(TELLING, "own")

    at_once, held = text.shown(None), text.shown(48)

    assert "\n\nYou see all at once.\n\n" in at_once.whole
    assert "\n\nYou wait 48 hours at most.\n\n" in held.whole
    assert (at_once.rules, held.rules) == (
        {"worse_scores": "at_once"},
        {"worse_scores": "with_therapist", "hold_hours": 48},
    )
    assert len({text.shown(hours).hash for hours in (None, 1, 48, 72)}) == 4


# Tone: no push, no blame, nobody's cure promised; and no text longer than a page.
@pytest.mark.parametrize("text", released().values(), ids=lambda t: f"{t.stream}-{t.language}")
def test_the_words_are_plain_and_kind(text: Any) -> None:
    words = text.shown(72).whole.lower()

    assert "!" not in words
    for never in (" must ", " should ", "healing", "journey", "medicine", "patient", "muss", "sollte"):
        assert never not in words
    assert len(words.split()) < 250


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ("stream = ", "not readable as TOML"),
        (OWN.replace('"research"', '"sales"'), "stream must be one of care, research"),
        (OWN.replace("version = 2", "version = 0"), "version must be a whole number"),
        (OWN.replace("version = 2", "version = true"), "version must be a whole number"),
        (OWN.replace("version = 2", 'version = "2"'), "version must be a whole number"),
        (OWN.replace('"en"', '"English"'), "language must be a code"),
        (OWN.replace('"They do not."', '" "'), "not_given must be a text that says something"),
        (OWN.replace("given = ", "give = ", 1), "its keys must be"),
        (OWN + 'more = "x"', "its keys must be"),
        (OWN + "[worse_scores]\nat_once = 'x'", "worse_scores must say at_once and with_therapist"),
        (TELLING.replace("{hold_hours}", "some"), "must name {hold_hours}"),
    ],
)
def test_a_file_that_is_none_is_refused_with_its_reason(wrong: str, reason: str) -> None:
    with pytest.raises(MalformedText, match=r"own\.toml: ") as refused:
        parse(wrong, "own.toml")

    assert reason in str(refused.value)
