"""`manage.py clinic create --admin EMAIL`: the first clinic, and a link for its first administrator."""

from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.core.validators import validate_email
from django.utils import timezone

from backend import scope
from backend.accounts.addresses import normal, user_of
from backend.accounts.services import create_user, welcome_link
from backend.audit import services as audit
from backend.care import services
from backend.care.roles import Role
from backend.keys import wrapping
from backend.keys.ring import keyring


class Command(BaseCommand):
    help = "Create a clinic, and print a one-time link with which its first administrator chooses a password."

    def add_arguments(self, parser: CommandParser) -> None:
        create = parser.add_subparsers(dest="action", required=True).add_parser("create", help="a new clinic")
        create.add_argument("--admin", required=True, metavar="EMAIL", help="the administrator's address")
        create.add_argument("--name", default="Clinic", help="the clinic's name, as its people see it")

    def handle(self, *args: Any, **options: Any) -> None:
        email = normal(options["admin"])
        try:
            validate_email(email)
        except ValidationError:
            raise CommandError(f"{email} is not an e-mail address.") from None
        if user_of(email) is not None:
            raise CommandError(f"{email} is already somebody's address here.")
        with scope.everything():
            user = create_user(email=email, password=None)
            clinic = services.create_clinic(name=options["name"])
            services.add_member(clinic=clinic, user=user, role=Role.CLINIC_ADMIN, started_at=timezone.now())
        self.stdout.write(
            f"{options['name']} is ready. {email} chooses a password here, once, within 3 days:"
        )
        self.stdout.write(welcome_link(user))
        self.stdout.write(
            "The clinic's recovery key is shown once. Keep it on paper, away from this machine:"
        )
        keyring().new_recovery_key(
            clinic.pk, keep=lambda private: self.stdout.write(f"    {wrapping.written(private)}")
        )
        with scope.everything():
            audit.record(actor=None, action="key.recovery_made", clinic=clinic.pk)
