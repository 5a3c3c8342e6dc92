from pathlib import Path
from typing import Any

import pytest


@pytest.fixture
def anchors_file(tmp_path: Path, settings: Any) -> Path:
    """Where this test's anchors are: none yet."""
    path = tmp_path / "anchors" / "anchors.jsonl"
    settings.AUDIT_ANCHORS = str(path)
    return path
