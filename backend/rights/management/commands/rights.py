from argparse import ArgumentParser
from typing import Any

import orjson
from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from backend import scope
from backend.errors import CODES, Problem
from backend.rights.erasure import ledger, queries, services
from backend.rights.erasure.models import Erasure
from backend.wire import uuid


class Command(BaseCommand):
    help = "Erasures: which there are, a receipt, and doing again what an older copy of the database has not."
    requires_system_checks = ()

    def add_arguments(self, parser: ArgumentParser) -> None:
        actions = parser.add_subparsers(dest="action", required=True)
        actions.add_parser("list", help="every erasure and its state")
        actions.add_parser("replay", help="erase again whomever the ledger names and this database has")
        receipt = actions.add_parser("receipt", help="what was destroyed and kept, as it was signed")
        receipt.add_argument("erasure", metavar="ID")

    def handle(self, *_: object, **options: Any) -> None:
        try:
            getattr(self, f"do_{options['action']}")(options)
        except ledger.LedgerBroken as why:
            raise CommandError(f"{why}.") from None
        except Problem as problem:
            raise CommandError(problem.detail or CODES[problem.code]) from None

    def do_list(self, options: dict[str, Any]) -> None:
        """Nothing; every erasure was told, by numbers."""
        with scope.everything():
            for erasure in Erasure.objects.order_by("requested_at"):
                self.stdout.write(
                    f"{erasure.pk} participant {erasure.participant} {erasure.state},"
                    f" asked for {erasure.requested_at:%Y-%m-%d}, not before {erasure.erases_at:%Y-%m-%d}"
                )

    def do_replay(self, options: dict[str, Any]) -> None:
        """Nothing; nobody is here whom the ledger names, nor a key of theirs."""
        done = services.replay(now=timezone.now())
        self.stdout.write(f"{done} erasures were done again." if done else "Nobody was to be erased again.")

    def do_receipt(self, options: dict[str, Any]) -> None:
        """Nothing; the receipt was told."""
        id_ = uuid(options["erasure"])
        told = queries.told(id_) if id_ else None
        if told is None or told.receipt is None:
            raise CommandError("There is no receipt of that id.")
        self.stdout.write(orjson.dumps(told.receipt, option=orjson.OPT_INDENT_2).decode())
