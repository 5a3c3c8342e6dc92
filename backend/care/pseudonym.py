"""A name of two words for somebody who gives none. Pure: the chance is the caller's.

The words are data, in `words/`: things and how they look or go, nothing of a person, a place, a state of
health or mind, a substance or a diagnosis; no word that is also a given name.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

_WORDS = Path(__file__).parent / "words"
ADJECTIVES = tuple((_WORDS / "adjectives.txt").read_text().split())
NOUNS = tuple((_WORDS / "nouns.txt").read_text().split())


def pseudonym(choose: Callable[[Sequence[str]], str], *, adjectives: int = 1) -> str:
    """A noun with so many adjectives before it: "quiet maple". One gives 90,000 names, two 25 million."""
    return " ".join([*(choose(ADJECTIVES) for _ in range(adjectives)), choose(NOUNS)])
