"""`manage.py caseload hand-over`: one therapist's participants go on to another."""

from typing import Any

from django.core.management.base import CommandParser

from backend.care.management.commands.staff import the_membership
from backend.care.models import CareRelationship
from backend.care.roles import Role
from backend.care.staff import queries, services
from backend.command import MachineCommand


class Command(MachineCommand):
    help = "Hand a therapist's whole caseload on to another therapist of the clinic."

    def add_arguments(self, parser: CommandParser) -> None:
        action = parser.add_subparsers(dest="action", required=True).add_parser(
            "hand-over", help="all of it, or nothing"
        )
        action.add_argument("--from", required=True, dest="giver", metavar="EMAIL")
        action.add_argument("--to", required=True, dest="taker", metavar="EMAIL")
        action.add_argument("--clinic", help="public id; needed by those who work in several")
        action.add_argument("--reason", choices=[b.value for b in CareRelationship.Because])

    def act(self, options: dict[str, Any]) -> None:
        moved = services.hand_over(
            giver=the_membership(options, email=options["giver"], role=Role.THERAPIST),
            taker=the_membership(options, email=options["taker"], role=Role.THERAPIST),
            because=options["reason"],
            now=queries.clock(),
            actor=None,
        )
        self.stdout.write(f"Handed over: {moved}.")
