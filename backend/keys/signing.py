"""What this installation vouches for: Ed25519, under a key that is not in the database."""

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from backend.keys.keyring import SIGNING
from backend.keys.ring import available, keyring


def sign(data: bytes) -> bytes:
    """The signature, 64 bytes."""
    return _private().sign(data)


def public_key() -> bytes:
    """The public key, 32 bytes: give it to whoever is to check signatures later."""
    return _private().public_key().public_bytes_raw()


def verifies(data: bytes, signature: bytes, public_key: bytes) -> bool:
    """Whether the signature is that key's over this data."""
    try:
        Ed25519PublicKey.from_public_bytes(public_key).verify(signature, data)
    except (InvalidSignature, ValueError):
        return False
    return True


def _private() -> Ed25519PrivateKey:
    with available():
        return Ed25519PrivateKey.from_private_bytes(keyring().key(SIGNING, 1))
