"""`manage.py demo`: moves the demo cast into an empty database and writes `STATE/demo.json`."""

import json
import os
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand
from django.utils import timezone

from backend import scope
from backend.demo import cast


class Command(BaseCommand):
    help = "Move the demo cast into an empty database. Who they are stands in STATE/demo.json."

    def handle(self, *args: Any, **options: Any) -> None:
        file = settings.STATE / "demo.json"
        people = _moved_in()
        if people is None and cast.is_demo() and file.exists():
            people = json.loads(file.read_text())["people"]
        if people is None:
            self.stdout.write("The database is in use and its demo cast, if any, unknown: nothing done.")
            return
        _write_private(file, json.dumps({"base_url": settings.PUBLIC_URL, "people": people}, indent=1))
        self.stdout.write(f"The demo cast is in {file}")


def _moved_in() -> dict[str, dict[str, Any]] | None:
    """The cast, where the database was empty until now."""
    with scope.everything():
        return cast.move_in(now=timezone.now()) if cast.may_move_in() else None


def _write_private(file: Path, text: str) -> None:
    """Nothing; the file appears whole, readable by its owner only."""
    draft = file.with_suffix(".draft")
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as out:
        out.write(text)
    draft.replace(file)
