"""Instruments: what a wording file may do, what ships, and that released files stay as they are."""

import hashlib
import tomllib
from pathlib import Path

import pytest

from scales.instrument import MalformedInstrument, parse, with_wording
from tests.scales.shipped import FILES, HERE, SHIPPED
from tests.scales.test_malformed import FILE, GOOD

BARE = (
    GOOD.replace('"yes"', '"ask first"')
    .replace('"One"', "{}")
    .replace('"Two"', "{}")
    .replace('"Three"', "{}")
    .replace('text = "How hard?", ', "")
)
WORDING = """
code = "try-3"
version = 2
instructions = "Answer, please."
[items]
try01 = "One"
try02 = "Two"
try03 = "Three"
try04 = "How hard?"
"""


def test_a_wording_file_makes_an_instrument_ready() -> None:
    bare = parse(BARE, FILE)

    ready = with_wording(bare, WORDING, "mine.toml")

    assert (bare.ready, bare.wording_sha256) == (False, None)
    assert (ready.ready, ready.wording_sha256) == (True, hashlib.sha256(WORDING.encode()).hexdigest())
    assert [item.text for item in ready.items] == ["One", "Two", "Three", "How hard?"]
    assert ready.items[3].labels == {"0": "Not"}
    assert ready.instructions == "Answer, please."
    assert (ready.sha256, ready.scores) == (bare.sha256, bare.scores)


@pytest.mark.parametrize(
    ("old", "new", "key", "reason"),
    [
        ('code = "try-3"', 'code = "try-4"', "code", "is not try-3"),
        ("version = 2", "version = 1", "version", "is not 2"),
        ('try02 = "Two"\n', "", "items.try02", "missing"),
        ('try02 = "Two"', 'try02 = ""', "items.try02", "empty"),
        ("try04 =", "try05 =", "items.try04", "missing"),
        ('"How hard?"', '"How hard?"\ntry05 = "x"', "items.try05", "unknown key"),
        ("instructions", "instruction", "instruction", "unknown key"),
    ],
)
def test_a_wording_file_that_does_not_fit_is_refused(old: str, new: str, key: str, reason: str) -> None:
    with pytest.raises(MalformedInstrument) as refused:
        with_wording(parse(BARE, FILE), WORDING.replace(old, new, 1), "mine.toml")

    assert (refused.value.file, refused.value.key) == ("mine.toml", key)
    assert reason in refused.value.reason


def test_released_wording_is_not_replaced() -> None:
    with pytest.raises(MalformedInstrument, match="already has its released wording"):
        with_wording(parse(GOOD, FILE), WORDING, "mine.toml")


PINNED: dict[str, str] = tomllib.loads((HERE / "released.toml").read_text())


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_a_released_file_never_changes(path: Path) -> None:
    digest = hashlib.sha256(path.read_bytes()).hexdigest()

    assert path.name in PINNED, f'{path.name} is new: pin it in tests/scales/released.toml as "{digest}"'
    assert PINNED[path.name] == digest, (
        f"{path.name} is released and was edited: undo that, and make the correction the next version"
    )
    assert SHIPPED[path.name.removesuffix(".toml")].sha256 == digest


def test_no_released_file_goes_away() -> None:
    assert set(PINNED) <= {path.name for path in FILES}


def test_what_ships() -> None:
    assert sorted((i.code, i.version, len(i.items), i.ready) for i in SHIPPED.values()) == [
        ("dass-21", 1, 21, True),
        ("gad-7", 1, 7, True),
        ("pcl-5", 1, 20, True),
        ("phq-9", 1, 10, True),
        ("scs-26", 1, 26, True),
        ("scs-sf-12", 1, 12, True),
        ("wcs-19", 1, 19, True),
    ]
    assert {i.code: i.requires for i in SHIPPED.values() if i.requires} == {"phq-9": ("safety_rules",)}
    assert {i.code: [(s.item, s.at_least) for s in i.safety] for i in SHIPPED.values() if i.safety} == {
        "phq-9": [("phq09", 1)],
        "dass-21": [("dass21", 2)],
    }


def test_nothing_recalled_passes_for_read() -> None:
    """The sources hold no constant for reliable change that was read in its paper."""
    rests_on = {i.code: sorted(i.reliability) for i in SHIPPED.values() if i.reliability}

    assert rests_on == {
        "dass-21": ["anxiety", "depression", "stress"],
        "scs-26": [
            "common_humanity",
            "isolation",
            "mindfulness",
            "over_identification",
            "self_judgment",
            "self_kindness",
            "total",
        ],
        "scs-sf-12": ["total"],
    }
    assert not any(c.read_in_source for i in SHIPPED.values() for c in i.reliability.values())


def test_short_form_facets_never_get_a_reliable_change() -> None:
    facets = SHIPPED["scs-sf-12.v1"].subscales

    assert [(facet.change, len(facet.items)) for facet in facets] == [(False, 2)] * 6
    assert all(facet.disputed and facet.disputed.startswith("Indicative only") for facet in facets)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_the_terms_page_names_each_file_with_its_licence(path: Path) -> None:
    page = (HERE.parent.parent / "docs" / "instruments.md").read_text()
    instrument = SHIPPED[path.name.removesuffix(".toml")]
    section = page.partition(f"## {instrument.name} (`{instrument.code}`)")[2].partition("\n## ")[0]

    assert f"`{path.name}`" in section
    assert instrument.licence.statement in section
    assert instrument.attribution in section
    assert instrument.source.citation in section
    for note in instrument.unverified:
        assert note in section
