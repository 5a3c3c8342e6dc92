"""The keyring of this process, as the settings have it."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache

import structlog
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.utils.module_loading import import_string

from backend.errors import Problem
from backend.keys.keyring import Keyring
from backend.keys.master import MasterFile
from backend.keys.store import StoreFailed

log = structlog.get_logger()


def keyring() -> Keyring:
    """The keyring that the settings name."""
    return _keyring(settings.KEY_STORE_CLASS, settings.KEY_STORE, settings.MASTER_KEY_FILE)


def refuse_without_keys() -> None:
    """Nothing. Raises ImproperlyConfigured where this process could seal and open nothing."""
    try:
        keyring().prepare()
    except StoreFailed as why:
        raise ImproperlyConfigured(
            f"KEY_STORE and MASTER_KEY_FILE must be there, as `manage.py keys init` makes them: {why}."
        ) from None


@contextmanager
def available() -> Iterator[None]:
    """Nothing. Problem 503 where the key store fails within: nothing was stored, and it may come back."""
    try:
        yield
    except StoreFailed:
        log.warning("key_store_failed", exc_info=True)
        raise Problem(503, "unavailable") from None


@lru_cache(maxsize=1)
def _keyring(store_class: str, store: str, master: str) -> Keyring:
    return Keyring(import_string(store_class)(store), MasterFile(master))
