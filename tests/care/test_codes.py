"""Codes people type, and names made of words: the pure part of joining."""

import secrets
from itertools import combinations
from math import log2

import pytest

from backend.care.codes import ALPHABET, LENGTH, grouped, is_protocol, new_code, read
from backend.care.pseudonym import ADJECTIVES, NOUNS, pseudonym

SOME = [new_code(secrets.choice) for _ in range(20)]


def test_a_code_is_hard_to_guess_and_easy_to_read() -> None:
    assert len(set(ALPHABET)) == len(ALPHABET) == 31
    assert not set(ALPHABET) & set("0O1IL")
    assert (LENGTH - 1) * log2(len(ALPHABET)) > 60
    assert len(set(SOME)) == len(SOME)
    assert [len(code) for code in SOME] == [16] * len(SOME)


def test_every_character_can_be_anywhere() -> None:
    many = [new_code(secrets.choice) for _ in range(2000)]

    assert [len({code[place] for code in many}) for place in range(LENGTH)] == [31] * LENGTH


@pytest.mark.parametrize(
    "typed",
    [
        "K7QM-2XWP-94HD-RTCW",
        "k7qm-2xwp-94hd-rtcw",
        "K7QM2XWP94HDRTCW",
        " K7QM 2XWP 94HD RTCW\n",
        "K7QM–2XWP—94HD−RTCW",
        "K7-QM2XWP94-HDRTCW",
    ],
)
def test_a_code_is_read_in_any_case_and_grouping(typed: str) -> None:
    assert read(typed) == "K7QM2XWP94HDRTCW"
    assert grouped("K7QM2XWP94HDRTCW") == "K7QM-2XWP-94HD-RTCW"


def test_every_single_slip_and_every_swap_is_told() -> None:
    for code in SOME:
        slips = [
            code[:place] + other + code[place + 1 :]
            for place in range(LENGTH)
            for other in ALPHABET
            if other != code[place]
        ]
        swaps = []
        for first, second in combinations(range(LENGTH), 2):
            if code[first] != code[second]:
                swapped = list(code)
                swapped[first], swapped[second] = code[second], code[first]
                swaps.append("".join(swapped))

        assert len(slips) == 16 * 30
        assert {read(typed) for typed in slips + swaps} == {None}
        assert read(code) == code


@pytest.mark.parametrize(
    "typed",
    ["", "-", "K7QM-2XWP-94HD-RTC", "K7QM-2XWP-94HD-RTCWW", "K7QM-2XWP-94HD-RT0W", "ß" * 8, "\x00" * 16],
)
def test_what_is_no_code_is_told(typed: str) -> None:
    assert read(typed) is None


def test_what_a_protocol_can_be_called() -> None:
    assert [is_protocol(t) for t in ("integration-12w", "a", "mdma.v2", "p_1")] == [True] * 4
    assert [is_protocol(t) for t in ("", "-a", "a-", "A", "a b", "a--b", "é", "a\n", "a" * 65)] == [False] * 9


def test_there_are_names_for_a_large_clinic() -> None:
    assert len(ADJECTIVES) * len(NOUNS) >= 256 * 256
    for words in (ADJECTIVES, NOUNS):
        assert len(words) >= 256
        assert list(words) == sorted(set(words))
        assert all(word.isascii() and word.isalpha() and word.islower() for word in words)
    assert not set(ADJECTIVES) & set(NOUNS)
    longest = max(map(len, ADJECTIVES)) * 2 + max(map(len, NOUNS)) + 2
    assert longest <= 64


# Substances and their nicknames; states of mind and health; of a person; given names; places; insults.
NOT_WORDS = set(
    """
acid ayahuasca bud cannabis cocaine coke crystal dmt dose dust ecstasy grass hash hemp high iboga ice joint
ketamine khat lotus lsd mescaline mushroom nutmeg opium peyote pill poppy powder psilocybin reefer sage
salvia snow spice spliff toad tobacco trip vine weed wine
anxious blue broken calm crazy cuckoo dead depressed fragile healthy ill insane lonely lost mad manic mental
nervous numb panic patient sad sane sick sober stable stoned suicidal thrush traumatic unwell well wild
black blind boy brown bald curly deaf fat girl heavy he lady lame little man old queen king prince short slim
tall thin ugly white woman young
amber april aspen basil dawn daisy fern hazel heather holly iris ivy jade jasmine jay june lily may olive
opal pearl raven robin rose rowan ruby sandy scarlet summer violet willow wren
african alpine arctic asian berlin city coastal delta eastern northern paris rural southern urban western
ass chicken cow dog donkey hen louse monkey pig rat snake swine turkey weasel whale worm
""".split()  # noqa: SIM905
)


def test_no_word_says_anything_of_a_person() -> None:
    assert sorted({*ADJECTIVES, *NOUNS} & NOT_WORDS) == []


def test_a_name_is_made_of_the_words_chosen() -> None:
    assert pseudonym(lambda words: words[0]) == f"{ADJECTIVES[0]} {NOUNS[0]}"
    assert pseudonym(lambda words: words[-1], adjectives=2) == (
        f"{ADJECTIVES[-1]} {ADJECTIVES[-1]} {NOUNS[-1]}"
    )
