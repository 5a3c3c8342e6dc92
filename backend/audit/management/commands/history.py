"""`manage.py history`: what a row was before each of its changes, for somebody at the machine."""

from typing import Any

import orjson
from django.core.management.base import CommandParser

from backend.audit import queries, services
from backend.command import MachineCommand


class Command(MachineCommand):
    help = "Show what a row was before each of its changes, first to last, one JSON object a line."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("table", metavar="TABLE", help="care_membership, care_dosingsession, ...")
        parser.add_argument("id", metavar="ID", help="the row's id")

    def act(self, options: dict[str, Any]) -> None:
        found = queries.history(options["table"], options["id"])
        whose = {(h.participant, h.clinic) for h in found} or {(None, None)}
        for participant, clinic in whose:
            services.record(
                actor=None,
                action="history.read",
                participant=participant,
                clinic=clinic,
                subject=f"{options['table']}:{options['id']}"[:64],
            )
        for h in found:
            kept = {name: getattr(h, name) for name in ("at", "actor", "request", "change", "before")}
            self.stdout.write(orjson.dumps(kept).decode())
