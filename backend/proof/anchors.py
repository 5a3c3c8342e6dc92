"""The anchors: a file beside the database that only grows, one signed JSON line for each time.

Whoever can rewrite every row of the database can give it chains that hold together. So where each chain
stood is written down elsewhere, under a key that is not in the database: from there on, the past is fixed.
A line names the heads that moved since the line before, and the line before by its hash; so the newest line
stands for all of them. It is canonical: the same content has one spelling.
"""

import hashlib
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import orjson

from backend.keys import signing

BEGINNING = ""  # what the first line follows
_BLOCK = 65_536


@dataclass(frozen=True, slots=True)
class Head:
    """Where a chain stood: its newest seal, and how many entries it had by then."""

    chain: int
    number: int
    hash: str
    total: int


@dataclass(frozen=True, slots=True)
class Anchor:
    """One line. `seals` is the key of the newest seal when it was made.

    A `restored` line says that the database was restored from a backup, to just these heads: what lines
    before it know beyond them is lost, and no sign of tampering.
    """

    number: int
    at: str
    seals: int
    heads: tuple[Head, ...]
    previous: str
    restored: bool
    key: str

    def content(self) -> bytes:
        """What is signed: the line without its signature."""
        return orjson.dumps(asdict(self), option=orjson.OPT_SORT_KEYS)


@dataclass(frozen=True, slots=True)
class Line:
    """A line of the file as it lies there: what it says, and whether its spelling is the canonical one."""

    anchor: Anchor
    signature: bytes
    hash: str
    """SHA-256 of the line: what the next one follows, and what the audit and the log name it by."""


def signed(anchor: Anchor) -> bytes:
    """The anchor as a line, without its end."""
    return spelled(anchor, signing.sign(anchor.content()))


def hash_of(line: bytes) -> str:
    """What the next line follows."""
    return hashlib.sha256(line).hexdigest()


def append(path: Path, line: bytes) -> None:
    """Nothing; the line is on disk, for good.

    After half a line, which a machine that stopped has left, it begins anew: what is there is never cut.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    new = not path.exists()
    descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "rb+", buffering=0) as file:
        end = file.seek(0, os.SEEK_END)
        torn = end > 0 and os.pread(descriptor, 1, end - 1) != b"\n"
        whole = (b"\n" if torn else b"") + line + b"\n"
        if file.write(whole) != len(whole):
            raise OSError("the disk took half a line")
        os.fsync(descriptor)
    if new:
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def lines(path: Path) -> Iterator[Line | None]:
    """Every line, first to last; None for one that is not an anchor."""
    if path.exists():
        with path.open("rb") as file:
            for text in file:
                yield parsed(text.rstrip(b"\n"))


def last(path: Path) -> Line | None:
    """The newest anchor, found from the end of the file."""
    if not path.exists():
        return None
    with path.open("rb") as file:
        start, tail = file.seek(0, os.SEEK_END), b""
        while start > 0:
            size = min(_BLOCK, start)
            start -= size
            file.seek(start)
            tail = file.read(size) + tail
            # What comes before the first end of line may have begun earlier.
            whole = tail.split(b"\n")[0 if start == 0 else 1 :]
            for text in reversed(whole):
                if (line := parsed(text)) is not None:
                    return line
    return None


def parsed(text: bytes) -> Line | None:
    """What the line says; None for what is not an anchor in its canonical spelling."""
    try:
        fields = orjson.loads(text)
        signature = bytes.fromhex(fields.pop("signature"))
        heads = tuple(Head(**head) for head in fields.pop("heads"))
        anchor = Anchor(**fields, heads=heads)
        known = spelled(anchor, signature) == text
    except (ValueError, TypeError, KeyError, AttributeError):
        return None
    return Line(anchor, signature, hash_of(text)) if known else None


def spelled(anchor: Anchor, signature: bytes) -> bytes:
    """The one spelling of a line."""
    fields = {**asdict(anchor), "signature": signature.hex()}
    return orjson.dumps(fields, option=orjson.OPT_SORT_KEYS)
