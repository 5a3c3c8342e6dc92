"""Data keys, wrapped: under the service's master key, and to a recovery key. Pure.

The service opens the first in daily work. The second is for the day its master key is gone: it is made to a
public key (HPKE, RFC 9180: X25519, HKDF-SHA256, AES-256-GCM), so the server can make it and not open it.
"""

import base64
import hashlib
import os
from uuid import UUID

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from backend.keys.envelope import KEY_BYTES, CannotOpen

_SUITE = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)
_NONCE = 12
_CHECK = 4
_PREFIX = "SKRK1"


def new_key() -> bytes:
    """256 random bits."""
    return os.urandom(KEY_BYTES)


def key_id(material: bytes) -> str:
    """What a key is called where it must not be told: the beginning of a hash of it."""
    return hashlib.sha256(b"selfkind key id" + material).hexdigest()[:16]


def _about(holder: UUID, version: int) -> bytes:
    return b"selfkind data key" + holder.bytes + version.to_bytes(4)


def wrap(data_key: bytes, *, master: bytes, holder: UUID, version: int) -> bytes:
    """The data key under the service's master key."""
    nonce = os.urandom(_NONCE)
    return nonce + AESGCM(master).encrypt(nonce, data_key, _about(holder, version))


def unwrap(wrapped: bytes, *, master: bytes, holder: UUID, version: int) -> bytes:
    """The data key. Raises CannotOpen under another master key, or for another holder or version."""
    try:
        return AESGCM(master).decrypt(wrapped[:_NONCE], wrapped[_NONCE:], _about(holder, version))
    except (InvalidTag, ValueError):
        raise CannotOpen from None


def new_recovery_key() -> X25519PrivateKey:
    """The private half, which the server gives away and does not keep."""
    return X25519PrivateKey.generate()


def public_bytes(key: X25519PrivateKey) -> bytes:
    """The public half, which the server keeps."""
    return key.public_key().public_bytes_raw()


def wrap_for_recovery(data_key: bytes, *, public: bytes, holder: UUID, version: int) -> bytes:
    """The data key, for whoever has the private half."""
    key = X25519PublicKey.from_public_bytes(public)
    return bytes(_SUITE.encrypt(data_key, key, info=_about(holder, version)))


def unwrap_for_recovery(wrapped: bytes, *, private: X25519PrivateKey, holder: UUID, version: int) -> bytes:
    """The data key. Raises CannotOpen with another private half, or for another holder or version."""
    try:
        return bytes(_SUITE.decrypt(wrapped, private, info=_about(holder, version)))
    except (InvalidTag, ValueError):
        raise CannotOpen from None


def written(key: X25519PrivateKey) -> str:
    """A recovery key as it is printed: letters and digits in groups of five, with a check of their own."""
    raw = key.private_bytes(Encoding.Raw, PrivateFormat.Raw, NoEncryption())
    text = base64.b32encode(raw + hashlib.sha256(raw).digest()[:_CHECK]).decode().rstrip("=")
    return "-".join([_PREFIX, *(text[n : n + 5] for n in range(0, len(text), 5))])


def read(text: str) -> X25519PrivateKey:
    """The recovery key somebody typed. Raises CannotOpen for a slip, wherever it is."""
    letters = "".join(text.upper().replace("-", " ").split())
    if not letters.startswith(_PREFIX):
        raise CannotOpen
    letters = letters.removeprefix(_PREFIX)
    try:
        decoded = base64.b32decode(letters + "=" * (-len(letters) % 8))
    except ValueError:
        raise CannotOpen from None
    raw, check = decoded[:KEY_BYTES], decoded[KEY_BYTES:]
    if len(raw) != KEY_BYTES or hashlib.sha256(raw).digest()[:_CHECK] != check:
        raise CannotOpen
    key = X25519PrivateKey.from_private_bytes(raw)
    # The last letter has bits to spare: a slip in those is one too.
    if written(key).replace("-", "") != _PREFIX + letters:
        raise CannotOpen
    return key
