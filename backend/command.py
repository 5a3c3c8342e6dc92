"""What every command that changes people shares: the one way in for somebody who is at the machine."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import transaction

from backend.errors import CODES, Problem


class MachineCommand(BaseCommand):
    """A command in one transaction. Whoever can run it has the database too: nobody asks who they are."""

    def act(self, options: dict[str, Any]) -> None:
        """Nothing; the command did what it is for."""
        raise NotImplementedError

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            with transaction.atomic():
                self.act(options)
        except Problem as problem:
            raise CommandError(problem.detail or CODES[problem.code]) from None
