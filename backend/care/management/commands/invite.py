"""`manage.py invite --clinic CLINIC --therapist EMAIL`: a one-time code to hand to somebody new."""

from typing import Any
from uuid import uuid4

from django.core.management.base import CommandError, CommandParser
from django.db.models import Q
from django.utils import timezone

from backend.accounts.addresses import user_of
from backend.care.codes import grouped, is_protocol
from backend.care.joining import queries, services, sheet
from backend.care.joining.models import DEFAULT_DAYS, LONGEST
from backend.care.models import Clinic
from backend.command import MachineCommand
from backend.wire import uuid


class Command(MachineCommand):
    help = "Print a one-time code, its link and its QR code, for somebody new in a therapist's care."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--clinic", required=True, help="the clinic's id, or its name")
        parser.add_argument("--therapist", required=True, metavar="EMAIL", help="who will care for them")
        parser.add_argument("--protocol", metavar="CODE", help="what is asked, and when")
        parser.add_argument("--days", type=int, default=DEFAULT_DAYS, help="how long it can be redeemed")

    def act(self, options: dict[str, Any]) -> None:
        now = timezone.now()
        if not 1 <= options["days"] <= LONGEST.days:
            raise CommandError(f"An invitation lasts 1 to {LONGEST.days} days.")
        if options["protocol"] is not None and not is_protocol(options["protocol"]):
            raise CommandError("A protocol's code has lower-case letters, digits, and . _ - between them.")
        clinic = _clinic(options["clinic"])
        user = user_of(options["therapist"])
        therapist = queries.therapist(clinic=clinic.pk, now=now, user=user.pk) if user else None
        if therapist is None:
            raise CommandError("That is no therapist of this clinic's today.")
        made, code = services.invite(
            id=uuid4(),
            therapist=therapist,
            protocol=options["protocol"],
            days=options["days"],
            actor=None,
            now=now,
        )
        if code is None:
            raise CommandError("The same id was drawn twice. Please try again.")
        url = sheet.link(code)
        self.stdout.write(f"For one person, once, until {made.expires_at:%Y-%m-%d %H:%M} UTC:")
        self.stdout.write(f"{grouped(code)}\n{url}\n")
        self.stdout.write(sheet.printed(url))


def _clinic(text: str) -> Clinic:
    """The clinic of that id or name. CommandError where that is none, or several."""
    id_ = uuid(text)
    found = list(Clinic.objects.filter(Q(public_id=id_) if id_ else Q(name=text))[:2])
    if not found:
        raise CommandError("There is no such clinic.")
    if len(found) > 1:
        raise CommandError("Several clinics have that name: give the id.")
    return found[0]
