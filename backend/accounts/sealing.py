"""Short texts that a copy of the database alone must not tell: seeds of second factors, mail on its way."""

import base64
from functools import lru_cache

from cryptography.fernet import Fernet
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from django.conf import settings


def seal(text: str) -> str:
    """The text, readable only with SECRET_KEY."""
    return _fernet(settings.SECRET_KEY).encrypt(text.encode()).decode()


def unseal(sealed: str) -> str:
    """What was sealed. Raises InvalidToken for anything else, or under another SECRET_KEY."""
    return _fernet(settings.SECRET_KEY).decrypt(sealed.encode()).decode()


@lru_cache(maxsize=4)
def _fernet(secret: str) -> Fernet:
    key = HKDF(algorithm=SHA256(), length=32, salt=None, info=b"selfkind accounts sealing").derive(
        secret.encode()
    )
    return Fernet(base64.urlsafe_b64encode(key))
