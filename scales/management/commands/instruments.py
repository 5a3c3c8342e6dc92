"""`manage.py instruments`: which there are, whether a file is sound, and loading one's own."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from scales import library, queries, services
from scales.instrument import Instrument, MalformedInstrument


class Command(BaseCommand):
    help = "List the instruments, check an instrument file, load one of your own or a wording."

    def add_arguments(self, parser: CommandParser) -> None:
        actions = parser.add_subparsers(dest="action", required=True)
        actions.add_parser("list", help="every instrument and version, and what it lacks")
        for name, meaning in [
            ("check", "say whether instrument files are sound; changes nothing"),
            ("load", "load instrument files of your own: CODE.vN.toml"),
            ("check-wording", "say whether wording files fit their keys; changes nothing"),
            ("load-wording", "load the words of instruments whose words may not ship"),
        ]:
            actions.add_parser(name, help=meaning).add_argument("files", nargs="+", type=Path, metavar="FILE")

    def handle(self, *args: Any, **options: Any) -> None:
        match options["action"]:
            case "list":
                self._list()
            case "check":
                self._each(options["files"], library.check_instrument, "is sound")
            case "check-wording":
                self._each(options["files"], library.check_wording, "fits")
            case "load":
                self._each(options["files"], library.load_instrument, "is loaded")
                if settled := services.record_waiting():
                    self.stdout.write(f"{settled} administrations that waited for it are settled.")
            case "load-wording":
                self._each(options["files"], library.load_wording, "is loaded")

    def _list(self) -> None:
        for (code, version), instrument in queries.instruments().items():
            lacks = [] if instrument.ready else ["its wording (load-wording)"]
            lacks += [word.replace("_", " ") for word in instrument.requires]
            origin = "ships" if (code, version) in queries.released() else "your own"
            self.stdout.write(
                f"{code:12} v{version}  {origin:8}  {len(instrument.items):2} items  {instrument.name}"
                + (f"; lacks {', '.join(lacks)}" if lacks else "")
            )

    def _each(self, files: list[Path], what: Callable[[str, str], Instrument], done: str) -> None:
        refused = 0
        for file in files:
            try:
                instrument = what(file.read_text(encoding="utf-8"), file.name)
            except MalformedInstrument as malformed:
                refused += 1
                self.stderr.write(str(malformed))
            except (OSError, UnicodeDecodeError) as unreadable:
                refused += 1
                self.stderr.write(f"{file.name}: cannot be read ({type(unreadable).__name__})")
            else:
                self.stdout.write(f"{file.name}: {instrument.code} version {instrument.version} {done}.")
        if refused:
            raise CommandError(f"{refused} refused.")
