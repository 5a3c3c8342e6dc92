"""One value, sealed under one data key for one place in the database. Pure.

AES-256-GCM. A sealed value is

    version of the format, 1 byte | version of the data key, 4 bytes | nonce, 12 bytes | ciphertext | tag, 16

and its associated data are that header without the nonce, and where it belongs: table, column, row, holder.
Put anywhere else, or back where a newer one stood under another key, it does not open. What is sealed is
padded, so that its length tells little of how much somebody wrote. Nonces are random: 96 bits are safe for
2^32 values of one key, and a key is one person's.
"""

import os
import struct
from dataclasses import dataclass
from uuid import UUID

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

FORMAT = 1
KEY_BYTES = 32
_HEADER = struct.Struct(">BI")
_LENGTH = struct.Struct(">I")
HEADER_BYTES = _HEADER.size
_NONCE = 12
_TAG = 16
LEAST = 64
_DOUBLING_UP_TO = 64 * 1024


class CannotOpen(ValueError):
    """Not sealed under this key, not for this place, or not sealed at all. Says nothing of the content."""


@dataclass(frozen=True, slots=True)
class Holder:
    """Whose data key it is: a participant by public id, with their clinic's number; or a user by `key`."""

    id: UUID
    clinic: int = 0


@dataclass(frozen=True, slots=True)
class Place:
    """Where a sealed value belongs, and nowhere else."""

    table: str
    column: str
    row: str
    holder: Holder

    def bytes(self) -> bytes:
        """All of it, each part with its length, so that no two places have the same bytes."""
        parts = [self.table.encode(), self.column.encode(), self.row.encode(), self.holder.id.bytes]
        return b"".join(_LENGTH.pack(len(part)) + part for part in parts)


def padded_length(length: int) -> int:
    """The bytes that so many take once they are padded: a power of two from 64, or a multiple of 64 KiB."""
    needed = length + _LENGTH.size
    if needed > _DOUBLING_UP_TO:
        return -(-needed // _DOUBLING_UP_TO) * _DOUBLING_UP_TO
    return max(LEAST, 1 << (needed - 1).bit_length())


def seal(content: bytes, *, key: bytes, version: int, place: Place) -> bytes:
    """The content, sealed under that version of the holder's data key."""
    head, nonce = header(version), os.urandom(_NONCE)
    padded = (_LENGTH.pack(len(content)) + content).ljust(padded_length(len(content)), b"\0")
    return head + nonce + AESGCM(key).encrypt(nonce, padded, head + place.bytes())


def header(version: int) -> bytes:
    """What everything begins with that is sealed under that version of a data key."""
    return _HEADER.pack(FORMAT, version)


def version_in(header: bytes) -> int | None:
    """The version of a data key that such a beginning names; None where nothing sealed begins so."""
    if len(header) < HEADER_BYTES:
        return None
    format_, version = _HEADER.unpack_from(header)
    return int(version) if format_ == FORMAT else None


def version_of(sealed: bytes) -> int:
    """Which version of the holder's data key opens it. Raises CannotOpen for what was never sealed."""
    version = version_in(sealed)
    if version is None or len(sealed) < _HEADER.size + _NONCE + LEAST + _TAG:
        raise CannotOpen
    return version


def unseal(sealed: bytes, *, key: bytes, place: Place) -> bytes:
    """What was sealed. Raises CannotOpen for anything else than what stands in its own place, unchanged."""
    version_of(sealed)
    head, nonce = sealed[: _HEADER.size], sealed[_HEADER.size : _HEADER.size + _NONCE]
    try:
        padded = AESGCM(key).decrypt(nonce, sealed[_HEADER.size + _NONCE :], head + place.bytes())
    except InvalidTag:
        raise CannotOpen from None
    (length,) = _LENGTH.unpack_from(padded)
    return padded[_LENGTH.size : _LENGTH.size + length]
