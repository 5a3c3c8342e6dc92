"""Consent texts: what a person is asked, in plain words. Pure: text goes in, values come out.

A file holds one stream's text in one version and one language. What the person is shown is made from it
and from the clinic's own rule, and the SHA-256 of exactly that is what they agree to.
"""

import hashlib
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class Stream(StrEnum):
    """What can be agreed to apart from everything else."""

    CARE = "care"
    RESEARCH = "research"
    JOURNAL_THERAPIST = "journal_therapist"
    CONTACT_AFTER = "contact_after"


LONGEST_HOLD = 72  # hours: holding a score back meets rights of access
_HOLD = "{hold_hours}"
_LANGUAGE = re.compile(r"[a-z]{2,3}(-[A-Z]{2})?", re.ASCII)
_WORDS = ("title", "text", "given", "not_given")
_KEYS = {"stream", "version", "language", *_WORDS}
_WORSE_SCORES = {"at_once", "with_therapist"}


class MalformedText(Exception):
    """A file that is no consent text; names the file and the reason."""

    def __init__(self, file: str, reason: str) -> None:
        super().__init__(f"{file}: {reason}")


@dataclass(frozen=True, slots=True)
class Shown:
    """A text as a person is shown it: `whole` is all of it, `hash` its SHA-256 in hexadecimal."""

    whole: str
    rules: Mapping[str, Any]

    @property
    def hash(self) -> str:
        return hashlib.sha256(self.whole.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class ConsentText:
    """One version of one stream's text in one language. `given` and `not_given` are what follows."""

    stream: Stream
    version: int
    language: str
    title: str
    text: str
    given: str
    not_given: str
    worse_scores: Mapping[str, str] | None
    source: str

    def shown(self, hold_hours: int | None) -> Shown:
        """The text for people of a clinic that holds a worse score back so long, or not at all."""
        rules = self._rules(hold_hours)
        told = [self._told(rules)] if rules else []
        return Shown("\n\n".join([self.title, self.text, *told, self.given, self.not_given]), rules)

    def _rules(self, hold_hours: int | None) -> Mapping[str, Any]:
        if self.worse_scores is None:
            return {}
        if hold_hours is None:
            return {"worse_scores": "at_once"}
        return {"worse_scores": "with_therapist", "hold_hours": hold_hours}

    def _told(self, rules: Mapping[str, Any]) -> str:
        words = (self.worse_scores or {})[rules["worse_scores"]]
        return words.replace(_HOLD, str(rules.get("hold_hours")))


def parse(source: str, file: str) -> ConsentText:
    """The consent text in a file. Raises MalformedText, also for a key nobody knows."""
    try:
        found = tomllib.loads(source)
    except tomllib.TOMLDecodeError as error:
        raise MalformedText(file, f"not readable as TOML: {error}") from None
    worse_scores = found.pop("worse_scores", None)
    if set(found) != _KEYS:
        raise MalformedText(file, f"its keys must be {', '.join(sorted(_KEYS))}")
    words = {key: _text(found[key], key, file) for key in ("stream", "language", *_WORDS)}
    if words["stream"] not in list(Stream):
        raise MalformedText(file, f"stream must be one of {', '.join(Stream)}")
    if not _LANGUAGE.fullmatch(words["language"]):
        raise MalformedText(file, "language must be a code like en or pt-BR")
    version = found["version"]
    if not isinstance(version, int) or isinstance(version, bool) or not 1 <= version <= 9999:
        raise MalformedText(file, "version must be a whole number from 1 to 9999")
    return ConsentText(
        stream=Stream(words.pop("stream")),
        version=version,
        worse_scores=_worse_scores(worse_scores, file),
        source=source,
        **words,
    )


def _worse_scores(found: Any, file: str) -> Mapping[str, str] | None:
    if found is None:
        return None
    if not isinstance(found, dict) or set(found) != _WORSE_SCORES:
        raise MalformedText(file, f"worse_scores must say {' and '.join(sorted(_WORSE_SCORES))}")
    told = {key: _text(words, f"worse_scores.{key}", file) for key, words in found.items()}
    if _HOLD not in told["with_therapist"]:
        raise MalformedText(file, f"worse_scores.with_therapist must name {_HOLD}")
    return told


def _text(value: Any, key: str, file: str) -> str:
    if not isinstance(value, str) or not value.strip():
        raise MalformedText(file, f"{key} must be a text that says something")
    return value.strip()
