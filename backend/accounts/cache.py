"""The cache of the sign-in package, in PostgreSQL: what it remembers decides who gets in."""

from typing import Any

from django.core.cache.backends.db import DatabaseCache

# A code of an authenticator app is good for three steps of 30 seconds, the one before and after included.
A_CODE_LIVES = 120  # seconds


class Kept(DatabaseCache):
    """A cache whose `add` holds for at least as long as a one-time code is good.

    The sign-in package notes a used code for one step only, while it takes codes of three.
    """

    def add(self, key: Any, value: Any, timeout: Any = A_CODE_LIVES, version: int | None = None) -> bool:
        """Whether the key was not there. It is now."""
        kept = max(timeout, A_CODE_LIVES) if isinstance(timeout, int | float) else A_CODE_LIVES
        return bool(super().add(key, value, kept, version))
