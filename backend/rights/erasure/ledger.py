"""Who was erased, written down outside the database: a copy brought back from before is told by it.

One line of JSON for each erasure, numbers and ids only. Each holds the hash of the line before and our
signature, so that none can be left out, changed or put in unnoticed. Lines are only ever added.
"""

import base64
import fcntl
import hashlib
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import orjson
from django.conf import settings

from backend.keys import signing

NOTHING_BEFORE = "0" * 64


class LedgerBroken(Exception):
    """The ledger is not as it was written: it says which line, and what is wrong with it."""


@dataclass(frozen=True, slots=True)
class Line:
    """One erasure: when it was begun, of which participant and user by number, and whose keys went."""

    erasure: UUID
    at: datetime
    participant: int
    account: int | None
    holders: tuple[UUID, ...]


def read() -> list[Line]:
    """Every line there is, first to last, verified. Raises LedgerBroken."""
    try:
        content = _path().read_bytes()
    except FileNotFoundError:
        return []
    except OSError as error:
        raise LedgerBroken(f"the erasure ledger cannot be read: {error.strerror}") from None
    return list(_verified(_whole_lines(content)))


def note(line: Line) -> Line:
    """The ledger's line of that erasure: this one, or the one that was written before. It is on the disk."""
    with _alone() as descriptor:
        content = _read_all(descriptor)
        lines = _whole_lines(content)
        for written in list(_verified(lines)):
            if written.erasure == line.erasure:
                return written
        # What was being written when the machine stopped was never acted on.
        os.ftruncate(descriptor, sum(len(raw) + 1 for raw in lines))
        _write_all(descriptor, _written(line, _hash(lines[-1]) if lines else NOTHING_BEFORE) + b"\n")
        os.fsync(descriptor)
    return line


def _path() -> Path:
    return Path(settings.ERASURE_LEDGER)


@contextmanager
def _alone() -> Iterator[int]:
    """The open ledger, which no other process writes to meanwhile. It is there from now on."""
    path = _path()
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
        yield descriptor
    finally:
        os.close(descriptor)


def _read_all(descriptor: int) -> bytes:
    return os.pread(descriptor, os.fstat(descriptor).st_size, 0)


def _write_all(descriptor: int, data: bytes) -> None:
    while data:
        data = data[os.write(descriptor, data) :]


def _whole_lines(content: bytes) -> list[bytes]:
    """The lines that were written to their end."""
    return content.split(b"\n")[:-1]


def _hash(raw: bytes) -> str:
    return hashlib.sha256(raw).hexdigest()


def _written(line: Line, previous: str) -> bytes:
    body = {
        "erasure": str(line.erasure),
        "at": line.at.astimezone(UTC).isoformat(),
        "participant": line.participant,
        "account": line.account,
        "holders": [str(holder) for holder in line.holders],
        "previous": previous,
    }
    signature = base64.b64encode(signing.sign(_signed(body))).decode()
    return orjson.dumps({**body, "signature": signature})


def _signed(body: dict[str, Any]) -> bytes:
    return b"selfkind erasure" + orjson.dumps(body, option=orjson.OPT_SORT_KEYS)


def _verified(lines: Iterable[bytes]) -> Iterator[Line]:
    previous, key = NOTHING_BEFORE, b""
    for number, raw in enumerate(lines, 1):
        key = key or signing.public_key()
        try:
            body = orjson.loads(raw)
            signature = base64.b64decode(body.pop("signature"), validate=True)
            line = Line(
                UUID(body["erasure"]),
                datetime.fromisoformat(body["at"]),
                body["participant"],
                body["account"],
                tuple(UUID(holder) for holder in body["holders"]),
            )
        except (ValueError, KeyError, TypeError, AttributeError):
            raise LedgerBroken(f"line {number} of the erasure ledger cannot be read") from None
        if body["previous"] != previous:
            raise LedgerBroken(f"line {number} of the erasure ledger does not follow from the one before")
        if not signing.verifies(_signed(body), signature, key):
            raise LedgerBroken(f"line {number} of the erasure ledger is not signed by this installation")
        yield line
        previous = _hash(raw)
