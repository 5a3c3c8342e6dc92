"""What every command that changes people shares: the one way in for somebody who is at the machine."""

from abc import ABC, abstractmethod
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from backend import scope
from backend.errors import CODES, Problem


class MachineCommand(BaseCommand, ABC):
    """A command in one transaction that sees everything: whoever can run it has the database too."""

    @abstractmethod
    def act(self, options: dict[str, Any]) -> None:
        """Nothing; the command did what it is for."""

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            with scope.everything():
                self.act(options)
        except Problem as problem:
            raise CommandError(problem.detail or CODES[problem.code]) from None
