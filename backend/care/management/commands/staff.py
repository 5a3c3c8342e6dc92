"""`manage.py staff`: who is on a clinic's staff, for somebody at the machine."""

from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import CommandError, CommandParser
from django.core.validators import validate_email

from backend.accounts import queries as users
from backend.accounts import services as accounts
from backend.accounts.addresses import address_of, lookup, normal
from backend.care import roles
from backend.care.models import Clinic, Membership
from backend.care.roles import Role
from backend.care.staff import queries, services
from backend.command import MachineCommand

CHANGES = {
    "end": (services.end_membership, "has left"),
    "suspend": (services.suspend_membership, "is suspended"),
    "restore": (services.restore_membership, "has their rights again"),
}


class Command(MachineCommand):
    help = "List, add, end, suspend and restore members of a clinic's staff; reset what they lost."

    def add_arguments(self, parser: CommandParser) -> None:
        actions = parser.add_subparsers(dest="action", required=True)
        for name, words in (
            ("list", "everybody on the staff, and since when"),
            ("add", "somebody, with a one-time link where they are new here"),
            ("end", "a membership; a caseload is handed over first"),
            ("suspend", "a membership, until it is restored"),
            ("restore", "a suspended membership"),
            ("reset-second-factor", "take off a lost second factor, and end every session"),
            ("reset-password", "end a password and every session, and print a link to choose another"),
        ):
            action = actions.add_parser(name, help=words)
            action.add_argument("--clinic", help="public id; needed where there are several")
            if name != "list":
                action.add_argument("--email", required=True)
                action.add_argument("--role", choices=[role.value for role in roles.STAFF])

    def act(self, options: dict[str, Any]) -> None:
        action = options["action"]
        if action == "list":
            self._list(options["clinic"])
        elif action == "add":
            self._add(options)
        elif action == "reset-second-factor":
            membership = the_membership(options)
            accounts.reset_second_factor(user=membership.user, by=None)
            self.stdout.write(f"{address_of(membership.user)} has no second factor now, and is signed out.")
        elif action == "reset-password":
            membership = the_membership(options)
            self.stdout.write(f"{address_of(membership.user)} chooses a password here, once, within 3 days:")
            self.stdout.write(accounts.reset_password_link(user=membership.user, by=None))
        else:
            service, words = CHANGES[action]
            changed = service(membership=the_membership(options), now=queries.clock(), actor=None)
            self.stdout.write(f"{address_of(changed.user)}, {changed.role}, {words}.")

    def _list(self, clinic: str | None) -> None:
        members = Membership.objects.select_related("user", "clinic").order_by("clinic_id", "pk")
        listed = list(members if clinic is None else members.filter(clinic=the_clinic(clinic)))
        known = users.known_as({m.user_id for m in listed})
        for m in listed:
            state = "ended" if m.ended_at else "suspended" if m.suspended_at else "active"
            self.stdout.write(
                "\t".join(
                    [str(m.clinic.public_id), m.clinic.name, str(known[m.user_id].email), m.role, state]
                    + [f"{at:%Y-%m-%d}" for at in (m.started_at, m.ended_at) if at]
                )
            )

    def _add(self, options: dict[str, Any]) -> None:
        email = normal(options["email"])
        try:
            validate_email(email)
        except ValidationError:
            raise CommandError(f"{email} is not an e-mail address.") from None
        if options["role"] is None:
            raise CommandError("Say which role with --role.")
        added, new = services.add_staff(
            clinic_id=the_clinic(options["clinic"]).pk,
            email=email,
            role=Role(options["role"]),
            now=queries.clock(),
            actor=None,
        )
        self.stdout.write(f"{email} is {'now' if new else 'already'} {added.role} at {added.clinic.name}.")
        if queries.awaits_welcome(added.user):
            self.stdout.write("They choose a password here, once, within 3 days:")
            self.stdout.write(accounts.welcome_link(added.user))


def the_clinic(public_id: str | None) -> Clinic:
    """The clinic of that public id, or the only one."""
    found = [c for c in Clinic.objects.all() if public_id in (None, str(c.public_id))]
    if len(found) != 1:
        raise CommandError("Say which clinic with --clinic; manage.py staff list shows their ids.")
    return found[0]


def the_membership(options: dict[str, Any], *, email: str = "", role: str | None = None) -> Membership:
    """The one membership that has not ended, of that address, role and clinic as far as they are named."""
    wanted: dict[str, Any] = {
        "user__email": lookup(email or options["email"]),
        "ended_at__isnull": True,
    }
    if named := role or options.get("role"):
        wanted["role"] = named
    if options["clinic"]:
        wanted["clinic"] = the_clinic(options["clinic"])
    found = list(Membership.objects.select_related("user", "clinic").filter(**wanted))
    if not found:
        raise CommandError("There is no such member of staff.")
    if len(found) > 1:
        raise CommandError("There are several such memberships: name one with --role and --clinic.")
    return found[0]
