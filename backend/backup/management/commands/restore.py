import sys
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand

from backend.backup.restoring import main


class Command(BaseCommand):
    help = "Restores a backup into an empty STATE, checks it, and only then lets it be opened."
    requires_system_checks = ()

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("arguments", nargs="*", help="see `manage.py restore --help`")

    def handle(self, *_: Any, **options: Any) -> None:
        """Nothing: ends with the status of the restore."""
        sys.exit(main(options["arguments"]))
