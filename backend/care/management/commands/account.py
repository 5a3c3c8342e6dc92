"""`manage.py account`: shuts somebody out, or lets them in again, whoever they are here."""

from typing import Any

from django.core.management.base import CommandError, CommandParser

from backend.accounts import services
from backend.accounts.addresses import user_of
from backend.accounts.models import User
from backend.command import MachineCommand
from backend.wire import uuid


class Command(MachineCommand):
    help = "Suspend an account, from its next request on, or restore it. What it holds stays as it is."

    def add_arguments(self, parser: CommandParser) -> None:
        actions = parser.add_subparsers(dest="action", required=True)
        for name, words in (
            ("suspend", "out at the next request, and no way in"),
            ("restore", "may sign in again"),
        ):
            who = actions.add_parser(name, help=words).add_mutually_exclusive_group(required=True)
            who.add_argument("--email", help="of the account")
            who.add_argument("--participant", metavar="ID", help="public id, of somebody without an address")

    def act(self, options: dict[str, Any]) -> None:
        if options["email"]:
            found = user_of(options["email"])
        else:
            id_ = uuid(options["participant"])
            found = User.objects.filter(participant__public_id=id_).first() if id_ else None
        if found is None:
            raise CommandError("There is no such account.")
        if options["action"] == "suspend":
            services.suspend_user(user=found, by=None)
            self.stdout.write("Suspended: out from the next request on.")
        else:
            services.restore_user(user=found, by=None)
            self.stdout.write("Restored: they may sign in again.")
