"""`manage.py operator`: who may see the pages under `/operators/`, and their second factor."""

from io import StringIO
from typing import Any

from allauth.mfa.adapter import get_adapter
from django.core.exceptions import ValidationError
from django.core.management.base import CommandError, CommandParser
from django.core.validators import validate_email
from qrcode.main import QRCode

from backend.accounts import services
from backend.accounts.addresses import normal, user_of
from backend.accounts.models import User
from backend.command import MachineCommand


class Command(MachineCommand):
    help = "Create an operator, give them a second factor (TOTP), or end that somebody is one."

    def add_arguments(self, parser: CommandParser) -> None:
        actions = parser.add_subparsers(dest="action", required=True)
        for name, words in (
            ("create", "a new account, and a one-time link to choose its password"),
            ("totp", "a new second factor in place of the old, and an end to every session"),
            ("end", "no operator any more, from the next request on"),
        ):
            actions.add_parser(name, help=words).add_argument("--email", required=True)

    def act(self, options: dict[str, Any]) -> None:
        email = normal(options["email"])
        if options["action"] == "create":
            self._create(email)
            return
        user = user_of(email)
        if user is None or not user.is_operator:
            raise CommandError(f"{email} is no operator here.")
        if options["action"] == "end":
            services.end_operator(user=user)
            self.stdout.write(f"{email} is no operator any more.")
        else:
            self._enrol(user)

    def _create(self, email: str) -> None:
        try:
            validate_email(email)
        except ValidationError:
            raise CommandError(f"{email} is not an e-mail address.") from None
        if user_of(email) is not None:
            raise CommandError(f"{email} is already somebody's address here; an operator has their own.")
        user = services.create_operator(email=email)
        self.stdout.write(f"{email} is an operator. They choose a password here, once, within 3 days:")
        self.stdout.write(services.welcome_link(user))
        self.stdout.write(f"Then give them a second factor: manage.py operator totp --email {email}")

    def _enrol(self, user: User) -> None:
        secret = services.enrol_totp(user=user)
        address = get_adapter().build_totp_url(user, secret)
        picture = StringIO()
        code = QRCode()
        code.add_data(address)
        code.print_ascii(out=picture, invert=True)
        self.stdout.write("Scan this with an authenticator app, or type the address below into it:")
        self.stdout.write(picture.getvalue())
        self.stdout.write(address)
