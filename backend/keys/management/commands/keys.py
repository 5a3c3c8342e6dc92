import getpass
import sys
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.db import connection
from django.utils import timezone

from backend import scope
from backend.audit import services as audit
from backend.errors import CODES, Problem
from backend.keys import rotation, wrapping
from backend.keys.envelope import CannotOpen
from backend.keys.keyring import INSTALLATION
from backend.keys.ring import keyring
from backend.keys.setup import set_up
from backend.keys.store import StoreFailed


class Command(BaseCommand):
    help = "The keys that names, addresses and words are sealed under."
    requires_system_checks = ()

    def add_arguments(self, parser: ArgumentParser) -> None:
        actions = parser.add_subparsers(dest="action", required=True)
        init = actions.add_parser("init", help="make store, master key and recovery key where there are none")
        init.add_argument("--recovery-key-to", type=Path, default=settings.STATE / "recovery-key")
        recovery = actions.add_parser("recovery", help="a new recovery key, told once")
        recovery.add_argument("--clinic", metavar="NAME", help="for one clinic's people; else for everybody")
        rotate = actions.add_parser("rotate", help="turn keys over beside the service; both kinds by default")
        rotate.add_argument("--master", action="store_true", help="the master key alone")
        rotate.add_argument("--participants", action="store_true", help="people's data keys alone")
        rotate.add_argument(
            "--pause", type=float, default=rotation.PAUSE, metavar="SECONDS", help="before older keys go"
        )
        for name, what in (
            ("check", "does every key open?"),
            ("recover", "open every key with a recovery key, under a master key that is here"),
        ):
            one = actions.add_parser(name, help=what)
            one.add_argument(
                "--recovery-key",
                metavar="FILE",
                help="a file with it; - asks for it",
                required=name == "recover",
            )

    def handle(self, *_: object, **options: Any) -> None:
        try:
            getattr(self, f"do_{options['action']}")(options)
        except StoreFailed as why:
            raise CommandError(f"{why}.") from None
        except Problem as problem:
            raise CommandError(problem.detail or CODES[problem.code]) from None

    def do_init(self, options: dict[str, Any]) -> None:
        """Nothing; what was missing is there."""
        file = options["recovery_key_to"]
        made = set_up(store=Path(settings.KEY_STORE), master=Path(settings.MASTER_KEY_FILE), recovery=file)
        if made:
            self.stdout.write(f"A recovery key is in {file}: keep it somewhere else, and delete it there.")
        else:
            self.stdout.write("Everything is there already.")

    def do_recovery(self, options: dict[str, Any]) -> None:
        """Nothing; there is a new recovery key, and the one before opens nothing from now on."""
        with scope.everything():
            clinic = _clinic(options["clinic"]) if options["clinic"] else INSTALLATION
            changed = keyring().new_recovery_key(clinic, keep=self._tell)
            audit.record(actor=None, action="key.recovery_made", clinic=clinic or None, subject=changed)
        self.stdout.write(f"{changed} keys open with it now.")

    def do_check(self, options: dict[str, Any]) -> None:
        """Nothing; every key was opened, also with the recovery key where one was given."""
        private = _recovery_key(options["recovery_key"]) if options["recovery_key"] else None
        public = wrapping.key_id(wrapping.public_bytes(private)) if private else None
        opened = destroyed = recoverable = 0
        failed: list[str] = []
        for holder, record in keyring().store.records():
            if record.destroyed_at is not None:
                destroyed += 1
                continue
            for version, wrapped in record.keys.items():
                try:
                    key = keyring().open(holder, version, record)
                    opened += 1
                    if private and wrapped.recovery_key == public:
                        again = wrapping.unwrap_for_recovery(
                            wrapped.recovery, private=private, holder=holder, version=version
                        )
                        if again != key:
                            raise CannotOpen
                        recoverable += 1
                except CannotOpen:
                    failed.append(f"{holder} version {version}")
        told = f", {recoverable} with the recovery key" if private else ""
        self.stdout.write(f"{opened} keys open{told}; {destroyed} were destroyed.")
        if private and not recoverable:
            raise CommandError("That recovery key opens nothing here.")
        if failed:
            raise CommandError(f"{len(failed)} keys do not open: {', '.join(failed[:20])}")

    def do_recover(self, options: dict[str, Any]) -> None:
        """Nothing; what that recovery key opens is under a master key that is here."""
        private = _recovery_key(options["recovery_key"])
        keyring().master.make()
        opened, left = keyring().recover(private)
        with scope.everything():
            audit.record(actor=None, action="key.recovered", subject=opened)
        self.stdout.write(f"{opened} keys were opened; {left} wait for another recovery key.")

    def do_rotate(self, options: dict[str, Any]) -> None:
        """Nothing; keys were turned over. Broken off at any moment, the next call goes on."""
        both, unreadable = options["master"] == options["participants"], 0
        try:
            with rotation.alone():
                if both or options["master"]:
                    rotation.rotate_master(say=self._say)
                if both or options["participants"]:
                    unreadable = rotation.rotate_data_keys(
                        say=self._say, now=timezone.now(), pause=options["pause"]
                    )
        except rotation.AlreadyRunning:
            raise CommandError("Keys are being turned over already.") from None
        if unreadable:
            raise CommandError(
                f"{unreadable} values do not open. They stay as they are, and their people keep older keys"
                " too; the audit says which they are (sealed.unreadable)."
            )

    def _say(self, line: str) -> None:
        self.stdout.write(line)
        self.stdout.flush()

    def _tell(self, private: X25519PrivateKey) -> None:
        self.stdout.write("This recovery key is shown once. Keep it on paper, away from this machine:\n")
        self.stdout.write(f"    {wrapping.written(private)}\n")


def _recovery_key(file: str) -> X25519PrivateKey:
    """The recovery key in that file, or asked for."""
    try:
        if file != "-":
            text = Path(file).read_text()
        else:
            text = getpass.getpass("Recovery key: ") if sys.stdin.isatty() else sys.stdin.read()
        return wrapping.read(text)
    except OSError as error:
        raise CommandError(f"{file} cannot be read: {error.strerror}") from None
    except CannotOpen:
        raise CommandError("That is no recovery key: there is a slip in it somewhere.") from None


def _clinic(name: str) -> int:
    """The number of the clinic of that name: the floor above knows more of clinics than that."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT id FROM care_clinic WHERE name = %s", [name])
        found = cursor.fetchall()
    if len(found) != 1:
        raise CommandError("There is no such clinic, or more than one of that name.")
    return int(found[0][0])
