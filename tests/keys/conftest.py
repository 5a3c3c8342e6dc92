"""An installation's keys, of one test's own."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from django.conf import settings
from django.test import override_settings

from backend.keys.setup import set_up


@pytest.fixture
def own_keys(tmp_path: Path) -> Iterator[Path]:
    """A folder with a key store, a master key and a recovery key, which the settings name."""
    store, master = tmp_path / "keys", tmp_path / "master-key"
    set_up(store=store, master=master, recovery=tmp_path / "recovery-key")
    with override_settings(KEY_STORE=str(store), MASTER_KEY_FILE=str(master)):
        assert str(store) == settings.KEY_STORE
        yield tmp_path
