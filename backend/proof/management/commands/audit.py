"""`manage.py audit`: whether the audit trail is whole, and what somebody saw and did."""

import argparse
import csv
from collections import Counter
from datetime import UTC, date, datetime, time
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from backend import scope
from backend.audit import sealing
from backend.audit import services as audit
from backend.keys import signing
from backend.proof import queries, services
from backend.proof.verify import KINDS, Chain, chain_name, verify
from backend.wire import instant, utc

SHOWN = 20  # places of one kind
COLUMNS = ("at", "action", "clinic", "participant", "pseudonym", "subject", "request", "device", "why")


class Command(BaseCommand):
    help = "Verify the audit trail, seal and anchor it now, or report what somebody saw and did."

    def add_arguments(self, parser: CommandParser) -> None:
        actions = parser.add_subparsers(dest="action", required=True)
        check = actions.add_parser("verify", help="recompute every chain; exit status 1 for any finding")
        check.add_argument(
            "--key",
            type=_key,
            action="append",
            default=[],
            metavar="HEX",
            help="trust this public key, noted earlier, and not what the key store says; repeat for several",
        )
        check.add_argument(
            "--seen",
            type=_noted,
            action="append",
            default=[],
            metavar="NUMBER:HASH",
            help="an anchor noted elsewhere, from the log line `audit_anchored`",
        )
        actions.add_parser("seal", help="seal what waits, and anchor it, without waiting for the worker")
        actions.add_parser("key", help="print the public key that anchors are signed with")
        report = actions.add_parser("report", help="what one user saw and did, as CSV")
        report.add_argument("--actor", required=True, metavar="EMAIL|USER_ID")
        report.add_argument("--since", required=True, type=_instant, help="2026-03-01, or an instant")
        report.add_argument("--until", required=True, type=_instant, help="the same; not included itself")
        report.add_argument("--reads", action="store_true", help="only what they saw of others")

    def handle(self, *args: Any, **options: Any) -> None:
        match options["action"]:
            case "verify":
                self._verify(options["key"], options["seen"])
            case "seal":
                sealed = sealing.seal_all(batches=1_000_000)
                made = services.anchor(now=timezone.now())
                self.stdout.write(f"Sealed: {sealed}. Anchored: {made.number}.")
            case "key":
                self.stdout.write(signing.public_key().hex())
            case "report":
                with scope.everything():
                    self._report(options)

    def _verify(self, trusted: list[bytes], seen: list[tuple[int, str]]) -> None:
        verdict = verify(trusted=trusted, seen=seen)
        now = timezone.now()
        for chain, state in sorted(verdict.chains.items()):
            self.stdout.write(_told(chain, state, now))
        self.stdout.write(f"Anchors: {verdict.anchors}.")
        for notice in verdict.notices:
            self.stdout.write(f"Note: {notice}")
        kinds = Counter(finding.kind for finding in verdict.findings)
        for kind, count in kinds.items():
            self.stdout.write(f"{kind}: {count}. It means that {KINDS[kind]}.")
            places = [finding.place for finding in verdict.findings if finding.kind == kind]
            for place in places[:SHOWN]:
                self.stdout.write(f"  {place}")
            if count > SHOWN:
                self.stdout.write(f"  and {count - SHOWN} more")
        if kinds:
            raise CommandError(f"The audit trail is not what it was: {sum(kinds.values())} findings.")
        self.stdout.write("The audit trail is whole.")

    def _report(self, options: dict[str, Any]) -> None:
        user = queries.user_by(options["actor"])
        if user is None:
            raise CommandError("There is no such user.")
        rows = csv.writer(self.stdout, lineterminator="\n")
        rows.writerow(COLUMNS)
        found = queries.of_actor(
            user.pk, since=options["since"], until=options["until"], reads=options["reads"]
        )
        for at, *rest in found:
            rows.writerow([utc(at), *rest])
        audit.record(actor=None, action="audit.reported", subject=user.pk)


def _told(chain: int, state: Chain, now: datetime) -> str:
    tail = "nothing unsealed"
    if state.oldest_unsealed is not None:
        age = (now - state.oldest_unsealed).total_seconds()
        tail = f"{state.unsealed} unsealed, the oldest for {age:.0f} s"
    return (
        f"{chain_name(chain)}: {state.entries} entries in {state.seals} seals,"
        f" {state.anchored} of them anchored; {tail}."
    )


def _instant(text: str) -> datetime:
    try:
        return instant(text) or datetime.combine(date.fromisoformat(text), time(), UTC)
    except ValueError:
        raise argparse.ArgumentTypeError("a day like 2026-03-01, or an instant with its offset") from None


def _key(text: str) -> bytes:
    try:
        return bytes.fromhex(text)
    except ValueError:
        raise argparse.ArgumentTypeError("a public key is 64 hexadecimal digits") from None


def _noted(text: str) -> tuple[int, str]:
    number, _, noted = text.partition(":")
    if not (number.isascii() and number.isdecimal() and noted):
        raise argparse.ArgumentTypeError("a number, a colon and a hash")
    return int(number), noted
