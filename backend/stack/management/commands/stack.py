import sys

from django.core.management.base import BaseCommand

from backend.stack.supervisor import main


class Command(BaseCommand):
    help = "Runs everything: PostgreSQL, Valkey, web, worker and beat, until Ctrl-C."
    requires_system_checks = ()

    def handle(self, *_: object, **__: object) -> None:
        """Nothing: ends with the status of the run."""
        sys.exit(main())
