import os
from pathlib import Path

import pytest

from backend.stack.state import prepare


@pytest.fixture
def state(place: Path) -> Path:
    return prepare(place / "state")


def as_root() -> bool:
    """Whether the paths that only root takes are taken here."""
    return os.geteuid() == 0
