"""Keyed hashes: to find and compare by what may not be stored. Without the key nobody can try values out."""

import hashlib
import hmac

from backend.keys.keyring import BLIND
from backend.keys.ring import available, keyring


def fingerprint(purpose: str, value: bytes) -> bytes:
    """32 bytes that are the same for the same value and purpose, for ever, and tell nothing of it."""
    name = purpose.encode()
    with available():
        key = keyring().key(BLIND, 1)
    return hmac.new(key, len(name).to_bytes(4) + name + value, hashlib.sha256).digest()
