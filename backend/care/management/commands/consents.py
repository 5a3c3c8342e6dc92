"""`manage.py consents`: which texts there are, loading one's own, and when a clinic shows a worse score."""

from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from backend import scope
from backend.care.consent import queries, services
from backend.care.consent.text import LONGEST_HOLD, MalformedText
from backend.care.models import Clinic
from backend.wire import uuid


class Command(BaseCommand):
    help = "List the consent texts, load your own, or set when a clinic's people see a worse score."

    def add_arguments(self, parser: CommandParser) -> None:
        actions = parser.add_subparsers(dest="action", required=True)
        actions.add_parser("list", help="every text, and whether people are asked with it today")
        load = actions.add_parser("load", help="load text files of your own; a loaded version never changes")
        load.add_argument("files", nargs="+", type=Path, metavar="FILE")
        hold = actions.add_parser("hold", help="how long a worse score waits for the therapist")
        hold.add_argument("clinic", metavar="CLINIC", help="the clinic's id")
        hold.add_argument("hours", metavar="HOURS", help=f"1 to {LONGEST_HOLD}, or `none`: shown at once")

    def handle(self, *args: Any, **options: Any) -> None:
        match options["action"]:
            case "list":
                self._list()
            case "load":
                self._load(options["files"])
            case "hold":
                with scope.everything():
                    self._hold(options["clinic"], options["hours"])

    def _list(self) -> None:
        current = queries.current()
        for key, text in sorted(queries.texts().items()):
            origin = "ships" if queries.released().get(key) == text else "your own"
            today = "asked with today" if text in current else "earlier"
            self.stdout.write(
                f"{text.stream:17} v{text.version}  {text.language:5}  {origin:8}  {today}: {text.title}"
            )

    def _load(self, files: list[Path]) -> None:
        refused = 0
        for file in files:
            try:
                text = services.load_text(file.read_text(encoding="utf-8"), file.name)
            except MalformedText as malformed:
                refused += 1
                self.stderr.write(str(malformed))
            except (OSError, UnicodeDecodeError) as unreadable:
                refused += 1
                self.stderr.write(f"{file.name}: cannot be read ({type(unreadable).__name__})")
            else:
                self.stdout.write(f"{file.name}: {text.stream} version {text.version} is loaded.")
        if refused:
            raise CommandError(f"{refused} refused.")

    def _hold(self, name: str, hours: str) -> None:
        id_ = uuid(name)
        clinic = Clinic.objects.filter(public_id=id_).first() if id_ else None
        if clinic is None:
            raise CommandError("There is no clinic of that id.")
        if hours != "none" and hours not in map(str, range(1, LONGEST_HOLD + 1)):
            raise CommandError(f"Hours are 1 to {LONGEST_HOLD}, or none.")
        services.set_hold(clinic=clinic, hold_hours=None if hours == "none" else int(hours))
        self.stdout.write(
            "Set. It holds for people who are told of it when they agree: those who agreed before are"
            " shown every score at once."
        )
