"""Instrument files: what is refused, with file, key and reason."""

import hashlib
from pathlib import Path

import pytest

from scales.instrument import MalformedInstrument, load, parse

FILE = "try-3.v2.toml"
GOOD = """
code = "try-3"
version = 2
name = "A Try"
abbreviation = "TRY"
form = "3 items and one unscored"
language = "en"
construct = "trying"
instructions = "Answer."
recall_period = "last week"
minutes = 1
attribution = "Nobody (2001)."
requires = ["safety_rules"]

[source]
citation = "Nobody (2001). Nowhere."

[licence]
statement = "Free."
ship_wording = "yes"
confidence = "high"

[responses]
kind = "likert"
min = 0
max = 4
step = 1
labels = { 0 = "No", 4 = "Yes" }

[missing]
statement = "Strict."

[items]
try01 = "One"
try02 = "Two"
try03 = "Three"
try04 = { text = "How hard?", scored = false, labels = { 0 = "Not" } }

[subscales.first]
name = "First"
method = "sum_of_items"
of = ["try01", "-try02"]
range = [0, 8]
higher_is = "worse"
max_missing = 1

[subscales.second]
name = "Second"
method = "mean_of_items"
of = ["try03"]
range = [0, 4]
higher_is = "better"
min_answered = 1.0

[totals.total]
default = true
name = "Total"
method = "sum_of_subscales"
of = ["-first", "second"]
range = [0, 12]
higher_is = "better"

[totals.doubled]
name = "Doubled"
method = "times"
of = ["first"]
factor = 2
range = [0, 16]
higher_is = "worse"

[totals.syndrome]
name = "Syndrome"
method = "criteria"
higher_is = "worse"
present_at = 2
present_at_for = { try03 = 1 }
criteria = [{ count_of = ["try01", "try02", "try03"], at_least = 1, at_most = 2 }]

[derived.turned]
name = "Turned"
method = "reverse"
of = ["first"]
range = [0, 8]
higher_is = "better"

[derived.severity]
name = "Severity"
method = "band"
of = ["first"]
higher_is = "worse"
bands = [[0, 3, "low"], [4, 8, "high"]]

[derived.flag]
name = "Flag"
method = "at_least"
of = ["try01"]
threshold = 1
higher_is = "worse"

[reliability.first]
sd = 2.0
mean = 3.0
n = 100
r = 0.9
r_kind = "test-retest"
interval = "2 weeks"
population = "students"
source = "Nobody (2001)"
read_in_source = false

[[published_change]]
score = "first"
kind = "reliable change"
threshold = [2, 3]
source = "Nobody (2002)"
read_in_source = true

[[safety]]
item = "try01"
at_least = 1
rule = "Somebody looks."
"""

# what is changed, into what, the key complained about, a word of the reason
SLIPS = {
    "not TOML": ("version = 2", "version = ", "(file)", "not readable as TOML"),
    "a key twice": ('name = "A Try"', 'name = "A Try"\nname = "B"', "(file)", "not readable"),
    "a score twice": ("[subscales.second]", "[subscales.first]", "(file)", "not readable"),
    "unknown key": ('name = "A Try"', 'name = "A Try"\nnmae = "x"', "nmae", "unknown key"),
    "unknown key in a score": ("max_missing = 1", "max_mising = 1", "subscales.first.max_mising", "unknown"),
    "unknown key in responses": ("step = 1", "step = 1\nsteps = 2", "responses.steps", "unknown key"),
    "unknown key in the source": ("Nowhere.", 'Nowhere."\ndoii = "x', "source.doii", "unknown key"),
    "unknown key in the licence": (
        'confidence = "high"',
        'confidence = "high"\nx = 1',
        "licence.x",
        "unknown",
    ),
    "unknown key in missing": ('= "Strict."', '= "Strict."\nrule = "x"', "missing.rule", "unknown key"),
    "unknown key in an item": ("scored = false", "scord = false", "items.try04.scord", "unknown key"),
    "unknown key in reliability": ("sd = 2.0", "sd = 2.0\nsem = 1", "reliability.first.sem", "unknown key"),
    "unknown key in a criterion": ("at_most = 2", "at_mots = 2", "criteria[0].at_mots", "unknown key"),
    "unknown key in safety": ('rule = "Somebody looks."', 'rule = "x"\nx = 1', "safety[0].x", "unknown key"),
    "unknown key in a published change": (
        "threshold = [2, 3]",
        "threshold = 2\nx = 1",
        "[0].x",
        "unknown key",
    ),
    "other code than the file": ('code = "try-3"', 'code = "try-4"', "code", "file name"),
    "other version than the file": ("version = 2", "version = 3", "code", "file name"),
    "odd code": ('code = "try-3"', 'code = "Try 3"', "code", "lower-case"),
    "version zero": ("version = 2", "version = 0", "version", "at least 1"),
    "version no whole number": ("version = 2", "version = true", "version", "whole number"),
    "no name": ('name = "A Try"', "", "name", "missing"),
    "empty name": ('name = "A Try"', 'name = " "', "name", "empty"),
    "name no text": ('name = "A Try"', "name = 3", "name", "text"),
    "odd language": ('language = "en"', 'language = "English"', "language", "language tag"),
    "no source": ('[source]\ncitation = "Nobody (2001). Nowhere."', "", "source", "missing"),
    "empty source": ('citation = "Nobody (2001). Nowhere."', "", "source.citation", "missing"),
    "no licence": (
        '[licence]\nstatement = "Free."\nship_wording = "yes"\nconfidence = "high"\n',
        "",
        "licence",
        "missing",
    ),
    "licence without statement": ('statement = "Free."\n', "", "licence.statement", "missing"),
    "wording that may not ship": ('ship_wording = "yes"', 'ship_wording = "no"', "items", "licence"),
    "unknown shipping": ('ship_wording = "yes"', 'ship_wording = "maybe"', "licence.ship_wording", "unknown"),
    "unknown requirement": ('"safety_rules"', '"safety_rule"', "requires", "unknown requirement"),
    "missing statement": ('statement = "Strict."', "", "missing.statement", "missing"),
    "authors' rule of unknown standing": (
        'statement = "Strict."',
        'statement = "x"\nauthors_rule = "y"',
        "missing.confidence",
        "missing",
    ),
    "minutes no number": ("minutes = 1", 'minutes = "1"', "minutes", "whole number"),
    "unknown kind": ('kind = "likert"', 'kind = "likerd"', "responses.kind", "unknown kind"),
    "empty range": ("max = 4", "max = 0", "responses.max", "empty range"),
    "range no number": ("max = 4", "max = true", "responses.max", "number"),
    "step beside the range": ("step = 1", "step = 3", "responses.step", "lead from min to max"),
    "step zero": ("step = 1", "step = 0", "responses.step", "above 0"),
    "label off the grid": ('4 = "Yes"', '5 = "Yes"', "responses.labels.5", "cannot be answered"),
    "label between steps": ('4 = "Yes"', '"1.5" = "Yes"', "responses.labels.1.5", "cannot be answered"),
    "item label off the grid": ('0 = "Not"', '9 = "Not"', "items.try04.labels.9", "cannot be answered"),
    "item ids out of order": ("try02 = ", "try05 = ", "items.try05", "must be called try02"),
    "foreign item id": ("try01 = ", "dry01 = ", "items.dry01", "must be called try01"),
    "item no text": ('try01 = "One"', "try01 = 1", "items.try01", "table"),
    "empty item": ('try01 = "One"', 'try01 = ""', "items.try01.text", "empty"),
    "unknown item in a score": (
        '"try01", "-try02"',
        '"try01", "-try09"',
        "subscales.first.of",
        "unknown item",
    ),
    "unscored item in a score": ('of = ["try03"]', 'of = ["try04"]', "subscales.second.of", "unscored"),
    "item in no score": (", scored = false", "", "items.try04", "not declared unscored"),
    "item twice in a score": ('"try01", "-try02"', '"try01", "-try01"', "subscales.first.of", "twice"),
    "two minus signs": ('"-try02"', '"--try02"', "subscales.first.of", "bad reversal"),
    "minus and a space": ('"-try02"', '"- try02"', "subscales.first.of", "bad reversal"),
    "reversal of what turns nothing": (
        'of = ["first"]\nfactor',
        'of = ["-first"]\nfactor',
        "of",
        "turns nothing",
    ),
    "empty score": ('of = ["try03"]', "of = []", "subscales.second.of", "not empty"),
    "score of no list": ('of = ["try03"]', 'of = "try03"', "subscales.second.of", "list"),
    "unknown method": ('"mean_of_items"', '"mean_of_item"', "subscales.second.method", "unknown method"),
    "subscale of subscales": (
        '"mean_of_items"',
        '"sum_of_subscales"',
        "second.method",
        "cannot make a subscale",
    ),
    "band as a total": ("[derived.severity]", "[totals.severity]", "severity.method", "cannot make a total"),
    "score with an item's id": ("[derived.turned]", "[derived.try01]", "derived.try01", "already"),
    "id in two sections": ("[derived.turned]", "[derived.total]", "derived.total", "already"),
    "reference to itself": ('of = ["-first", "second"]', 'of = ["total"]', "totals.total.of", "further down"),
    "reference forward": (
        'of = ["first"]\nfactor',
        'of = ["turned"]\nfactor',
        "totals.doubled.of",
        "further down",
    ),
    "unknown score": (
        'of = ["-first", "second"]',
        'of = ["first", "third"]',
        "totals.total.of",
        "unknown score",
    ),
    "sum of a total": ('"times"\nof = ["first"]', '"sum_of_subscales"\nof = ["total"]', "of", "no subscale"),
    "number from a boolean": ('of = ["first"]\nhigher_is', 'of = ["syndrome"]\nhigher_is', "of", "no number"),
    "mean of unlike ranges": ('"sum_of_subscales"', '"mean_of_subscales"', "totals.total.of", "same range"),
    "several for a reversal": (
        'method = "reverse"\nof = ["first"]',
        'method = "reverse"\nof = ["first", "second"]',
        "derived.turned.of",
        "exactly one",
    ),
    "range that the parts do not give": ("range = [0, 12]", "range = [0, 11]", "totals.total.range", "give"),
    "empty score range": ("range = [0, 12]", "range = [12, 12]", "totals.total.range", "empty"),
    "score range missing": ("range = [0, 12]\n", "", "totals.total.range", "missing"),
    "range of a word": (
        "bands = [[0",
        "range = [0, 8]\nbands = [[0",
        "derived.severity.range",
        "unknown key",
    ),
    "direction missing": (
        'higher_is = "better"\nmin_answered',
        "min_answered",
        "second.higher_is",
        "missing",
    ),
    "unknown direction": (
        '"better"\nmin_answered',
        '"up"\nmin_answered',
        "second.higher_is",
        "unknown higher_is",
    ),
    "share of nothing": ("min_answered = 1.0", "min_answered = 0", "second.min_answered", "above 0"),
    "share above all": ("min_answered = 1.0", "min_answered = 1.1", "second.min_answered", "at most 1"),
    "two missing rules": (
        "max_missing = 1",
        "max_missing = 1\nmin_answered = 0.5",
        "max_missing",
        "one rule",
    ),
    "everything missing": ("max_missing = 1", "max_missing = 2", "max_missing", "every answer"),
    "missing rule of a total": (
        "factor = 2",
        "factor = 2\nmax_missing = 1",
        "totals.doubled.max_missing",
        "unknown",
    ),
    "factor zero": ("factor = 2", "factor = 0", "totals.doubled.factor", "above 0"),
    "threshold never reached": ("threshold = 1", "threshold = 5", "derived.flag.threshold", "never"),
    "threshold always reached": ("threshold = 1", "threshold = 0", "derived.flag.threshold", "always"),
    "gap between bands": ('[4, 8, "high"]', '[5, 8, "high"]', "derived.severity.bands", "gap"),
    "bands end early": ('[4, 8, "high"]', '[4, 7, "high"]', "derived.severity.bands", "run from"),
    "bands with one word": ('[4, 8, "high"]', '[4, 8, "low"]', "derived.severity.bands", "twice"),
    "band of two": ('[4, 8, "high"]', '[4, "high"]', "derived.severity.bands", "each band"),
    "criterion of an unknown item": (
        '["try01", "try02", "try03"]',
        '["try01", "x"]',
        "count_of",
        "unknown item",
    ),
    "criterion naming twice": ('["try01", "try02", "try03"]', '["try01", "try01"]', "count_of", "twice"),
    "criterion nobody meets": ("at_least = 1, at_most", "at_least = 3, at_most", "at_least", "cannot be met"),
    "no criterion": ("criteria = [{", "criteria = 3 # [{", "criteria", "list of tables"),
    "presence at any answer": ("present_at = 2", "present_at = 0", "present_at", "would count"),
    "exception for nobody": ("{ try03 = 1 }", "{ try04 = 1 }", "present_at_for.try04", "unknown key"),
    "two defaults": ('name = "Doubled"', 'name = "D"\ndefault = true', "totals", "more than one"),
    "constants of no score": (
        "[reliability.first]",
        "[reliability.third]",
        "reliability.third",
        "no subscale",
    ),
    "constants of a boolean": ("[reliability.first]", "[reliability.syndrome]", "syndrome", "no subscale"),
    "constants where change is barred": ("max_missing = 1", "change = false", "first", "change = false"),
    "reliability of 1": ("r = 0.9", "r = 1.0", "reliability.first.r", "between 0 and 1"),
    "reliability of 0": ("r = 0.9", "r = 0", "reliability.first.r", "between 0 and 1"),
    "no spread": ("sd = 2.0", "sd = 0", "reliability.first.sd", "above 0"),
    "mean off the range": ("mean = 3.0", "mean = 30", "reliability.first.mean", "outside"),
    "unknown kind of reliability": (
        '"test-retest"',
        '"retest"',
        "reliability.first.r_kind",
        "unknown r_kind",
    ),
    "retest without interval": ('interval = "2 weeks"\n', "", "reliability.first.interval", "missing"),
    "constants without source": ('source = "Nobody (2001)"\n', "", "reliability.first.source", "missing"),
    "nobody says who read it": ("read_in_source = false", "", "read_in_source", "missing"),
    "read perhaps": ("read_in_source = false", 'read_in_source = "no"', "read_in_source", "true or false"),
    "published change of no score": (
        'score = "first"',
        'score = "x"',
        "published_change[0].score",
        "no subscale",
    ),
    "published change backwards": ("[2, 3]", "[3, 2]", "published_change[0].threshold", "low and high"),
    "published change of zero": ("[2, 3]", "0", "published_change[0].threshold", "above 0"),
    "safety of no item": ('item = "try01"', 'item = "x"', "safety[0].item", "unknown item"),
    "safety at no answer": ("at_least = 1\nrule", "at_least = 7\nrule", "safety[0].at_least", "answer"),
}


def test_the_file_the_slips_start_from_is_sound() -> None:
    instrument = parse(GOOD, FILE)

    assert (instrument.code, instrument.version, instrument.ready) == ("try-3", 2, True)
    assert instrument.item_ids == ("try01", "try02", "try03", "try04")
    assert [score.id for score in instrument.reported] == ["first", "second", "total", "doubled", "syndrome"]
    assert [score.value_type for score in instrument.scores[-4:]] == ["boolean", "number", "word", "boolean"]
    assert instrument.score("total").items == ("try01", "try02", "try03")
    assert instrument.sha256 == hashlib.sha256(GOOD.encode()).hexdigest()


@pytest.mark.parametrize("slip", SLIPS)
def test_a_slip_is_refused_with_file_key_and_reason(slip: str) -> None:
    old, new, key, reason = SLIPS[slip]
    assert old in GOOD

    with pytest.raises(MalformedInstrument) as refused:
        parse(GOOD.replace(old, new, 1), FILE)

    assert refused.value.file == FILE
    assert key in refused.value.key
    assert reason in refused.value.reason
    assert str(refused.value) == f"{FILE}: {refused.value.key}: {refused.value.reason}"


def test_a_file_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    path = tmp_path / FILE
    path.write_bytes(GOOD.replace("One", "Ö").encode("latin-1"))

    with pytest.raises(MalformedInstrument, match="not UTF-8"):
        load(path)
