"""Codes that a person reads off a screen or a sheet of paper and types into a phone. Pure.

Sixteen characters in four groups, "K7QM-2XWP-94HD-RTCW". The alphabet has no 0, O, 1, I and L, and 31
characters, which is a prime: so the last one, a weighted sum of the others, tells every single slip and
every swap of two from a code that was never given out. The fifteen others hold 74 bits.
"""

import re
from collections.abc import Callable, Sequence

ALPHABET = "23456789ABCDEFGHJKMNPQRSTUVWXYZ"
LENGTH = 16
_GROUP = 4
_VALUES = {character: value for value, character in enumerate(ALPHABET)}
_PROTOCOL = re.compile(r"[a-z0-9]+(?:[._-][a-z0-9]+)*", re.ASCII)
_BETWEEN = re.compile(r"[\s\-\u2010-\u2015\u2212]+")


def new_code(choose: Callable[[Sequence[str]], str]) -> str:
    """A code, as `read` gives it back. `choose` must be unpredictable."""
    free = "".join(choose(ALPHABET) for _ in range(LENGTH - 1))
    return free + next(last for last in ALPHABET if _sum(free + last) == 0)


def grouped(code: str) -> str:
    """The code as people see it."""
    return "-".join(code[at : at + _GROUP] for at in range(0, LENGTH, _GROUP))


def read(text: str) -> str | None:
    """The code somebody typed, whatever its case and however they grouped it; None for a slip."""
    code = _BETWEEN.sub("", text).upper()
    if len(code) != LENGTH or not set(code) <= _VALUES.keys() or _sum(code):
        return None
    return code


def is_protocol(text: str) -> bool:
    """Whether a protocol can be called that: short, lower-case, nothing that needs quoting anywhere."""
    return len(text) <= 64 and _PROTOCOL.fullmatch(text) is not None


def _sum(code: str) -> int:
    return sum(place * _VALUES[character] for place, character in enumerate(code, 1)) % len(ALPHABET)
