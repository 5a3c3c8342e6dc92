import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from backend.stack.state import prepare


@contextlib.contextmanager
def reachable_folder() -> Iterator[Path]:
    """A folder that other accounts can pass through; pytest's own are closed to root's PostgreSQL."""
    folder = Path(tempfile.mkdtemp(prefix="selfkind-stack-"))
    folder.chmod(0o711)
    yield folder
    note = folder / "state" / "database-folder"
    if note.exists():
        shutil.rmtree(note.read_text().strip(), ignore_errors=True)
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def place() -> Iterator[Path]:
    with reachable_folder() as folder:
        yield folder


@pytest.fixture
def state(place: Path) -> Path:
    return prepare(place / "state")


def as_root() -> bool:
    """Whether the paths that only root takes are taken here."""
    return os.geteuid() == 0
