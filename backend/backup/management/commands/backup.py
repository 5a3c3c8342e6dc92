import os
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from backend.backup import base, dump, manifest
from backend.backup.manifest import Failed
from backend.backup.services import make_backup, verify_backup

HOW = "say where with --{}, or set {}"


class Command(BaseCommand):
    help = (
        "Copies the database to one place and the keys to another. The master key goes to neither: keep it,"
        " or the recovery key, elsewhere."
    )
    requires_system_checks = ()

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--to", type=Path, help="for the database; else BACKUP_DIR")
        parser.add_argument("--keys-to", type=Path, help="for the keys, apart from it; else BACKUP_KEYS_DIR")
        parser.add_argument("--base", action="store_true", help="all files, for the log to go on from")
        parser.add_argument("--keep", type=int, default=7, help="so many backups of the database stay")
        parser.add_argument("--keep-keys-days", type=int, default=7, help="so many days gone keys stay")
        parser.add_argument(
            "--verify", action="store_true", help="restore it into a scratch folder, and check all there is"
        )
        parser.add_argument("--only-verify", action="store_true", help="the newest there is, and make none")
        parser.add_argument("--scratch", type=Path, default=settings.STATE, help="where to restore to")

    def handle(self, *_: Any, **options: Any) -> None:
        os.umask(0o077)
        to = place(options["to"], "to", "BACKUP_DIR")
        keys_to = place(options["keys_to"], "keys-to", "BACKUP_KEYS_DIR")
        if min(options["keep"], options["keep_keys_days"]) < 1:
            raise CommandError("At least one is kept.")
        try:
            if options["only_verify"]:
                backup = manifest.newest(to, base.KIND, dump.KIND)
            else:
                backup = self.make(to, keys_to, options)
            if options["verify"] or options["only_verify"]:
                report = verify_backup(backup=backup, keys_from=keys_to, scratch=options["scratch"])
                self.stdout.write(f"Restored and checked: {backup.name}, {report['rows']} rows.")
        except Failed as why:
            raise CommandError(f"{why} ({why.code})") from None

    def make(self, to: Path, keys_to: Path, options: dict[str, Any]) -> Path:
        """The folder of the backup that was made."""
        url = os.environ.get("DATABASE_BACKUP_URL")
        if not url:
            raise CommandError("DATABASE_BACKUP_URL is not set: who reads everything, for a copy?")
        run, keys = make_backup(
            kind=base.KIND if options["base"] else dump.KIND,
            url=url,
            to=to,
            keys_to=keys_to,
            keep=options["keep"],
            keep_keys_days=options["keep_keys_days"],
            now=timezone.now(),
        )
        self.stdout.write(f"{to / run.name}: {run.size / 1e6:.1f} MB in {run.seconds:.1f} s.")
        self.stdout.write(f"{keys}: its keys. The master key is in neither: keep it elsewhere.")
        if to.stat().st_dev == keys_to.stat().st_dev:
            self.stdout.write("Both lie on one disk: better two machines than two folders.")
        return to / run.name


def place(given: Path | None, name: str, variable: str) -> Path:
    """The folder that was named, or that the environment names."""
    found = given or Path(os.environ.get(variable, ""))
    if found == Path():
        raise CommandError(f"No place: {HOW.format(name, variable)}.")
    return found.expanduser().absolute()
