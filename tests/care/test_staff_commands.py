"""The same at the machine, for whoever runs it."""

from io import StringIO

import pytest
from allauth.mfa.models import Authenticator
from allauth.mfa.totp.internal.auth import TOTP, generate_totp_secret
from django.core.management import CommandError, call_command

from backend.accounts.addresses import lookup
from backend.accounts.models import User
from backend.accounts.sealing import unseal
from backend.audit.models import Entry
from backend.care import services as care
from backend.care.models import Clinic, Membership, Participant
from backend.care.roles import Role
from backend.errors import CODES
from tests.conftest import ENROLLED_AT, join


def manage(*words: str) -> list[str]:
    """The lines a command prints."""
    out = StringIO()
    call_command(*words, stdout=out)
    return out.getvalue().splitlines()


def newest_action() -> tuple[int | None, str]:
    return Entry.objects.order_by("-id").values_list("actor", "action")[0]


def test_list(linden: Clinic, thea: Membership, carla: Membership) -> None:
    care_clinic = f"{linden.public_id}\tLinden\tthea@cast.example\ttherapist\tactive\t2024-01-01"
    other = f"{carla.clinic.public_id}\tRowan\tcarla@cast.example\ttherapist\tactive\t2024-01-01"

    assert manage("staff", "list") == [care_clinic, other]
    assert manage("staff", "list", "--clinic", str(linden.public_id)) == [care_clinic]


def test_add_prints_a_link_for_somebody_new_only(adam: Membership, ana: Participant) -> None:
    new = manage("staff", "add", "--email", "Nina@cast.example", "--role", "therapist")
    again = manage("staff", "add", "--email", "nina@cast.example", "--role", "therapist")
    known = manage("staff", "add", "--email", "ana@cast.example", "--role", "researcher")

    assert new[0] == "nina@cast.example is now therapist at Linden."
    assert "/welcome/" in new[2]
    assert again[0] == "nina@cast.example is already therapist at Linden."
    assert known == ["ana@cast.example is now researcher at Linden."]
    assert Membership.objects.get(user__email=lookup("nina@cast.example")).role == "therapist"
    assert newest_action() == (None, "membership.started")


def test_end_suspend_and_restore(theo: Membership) -> None:
    for word, state, action in (
        ("suspend", "is suspended", "membership.suspended"),
        ("restore", "has their rights again", "membership.restored"),
        ("end", "has left", "membership.ended"),
    ):
        assert manage("staff", word, "--email", "theo@cast.example") == [
            f"theo@cast.example, therapist, {state}."
        ]
        assert newest_action() == (None, action)
    with pytest.raises(CommandError, match="no such member"):
        manage("staff", "end", "--email", "theo@cast.example")


def test_what_the_service_refuses_is_said_in_its_words(thea: Membership, adam: Membership) -> None:
    for email, code in (("thea@cast.example", "caseload_not_empty"), ("adam@cast.example", "last_admin")):
        with pytest.raises(CommandError) as refused:
            manage("staff", "end", "--email", email)
        assert str(refused.value) == CODES[code]


def test_several_memberships_are_told_apart(theo: Membership, rowan: Clinic) -> None:
    assert theo.user is not None
    care.add_member(clinic=rowan, user=theo.user, role=Role.THERAPIST, started_at=ENROLLED_AT)

    with pytest.raises(CommandError, match="several"):
        manage("staff", "suspend", "--email", "theo@cast.example")
    manage("staff", "suspend", "--email", "theo@cast.example", "--clinic", str(rowan.public_id))
    suspended = Membership.objects.filter(suspended_at__isnull=False)
    assert list(suspended.values_list("clinic", flat=True)) == [rowan.pk]
    with pytest.raises(CommandError, match="which clinic"):
        manage("staff", "add", "--email", "n@cast.example", "--role", "therapist")
    for nowhere in ("x", "11111111-2222-4333-8444-555555555555"):
        with pytest.raises(CommandError, match="which clinic"):
            manage("staff", "list", "--clinic", nowhere)


def test_reset_second_factor(thea: Membership) -> None:
    TOTP.activate(thea.user, generate_totp_secret())

    assert manage("staff", "reset-second-factor", "--email", "thea@cast.example") == [
        "thea@cast.example has no second factor now, and is signed out."
    ]
    assert not Authenticator.objects.exists()
    assert newest_action() == (None, "second_factor.reset_by_staff")


def test_hand_over(ana: Participant, thea: Membership, theo: Membership, carla: Membership) -> None:
    words = ("caseload", "hand-over", "--from", "thea@cast.example", "--to")

    with pytest.raises(CommandError, match="does not fit"):
        manage(*words, "carla@cast.example")
    assert manage(*words, "theo@cast.example", "--reason", "left") == ["Handed over: 1."]
    ended = thea.care_relationships.get()
    assert (ended.ended_because, ended.ended_at is None) == ("left", False)
    assert theo.care_relationships.filter(ended_at__isnull=True).get().participant_id == ana.pk


def test_operator_create_totp_and_end(db: None, linden: Clinic) -> None:
    join("sam", linden, Role.SUPERVISOR)
    created = manage("operator", "create", "--email", "Olga@cast.example")
    olga = User.objects.get(email=lookup("olga@cast.example"))
    assert (olga.is_operator, olga.has_usable_password(), "/welcome/" in created[1]) == (True, False, True)

    enrolled = manage("operator", "totp", "--email", "olga@cast.example")
    secret = unseal(Authenticator.objects.get(user=olga).data["secret"])
    address = f"otpauth://totp/olga%40cast.example?secret={secret}&issuer=Selfkind"
    assert enrolled[-1] == address
    assert len([line for line in enrolled if "█" in line]) > 15
    manage("operator", "totp", "--email", "olga@cast.example")
    assert unseal(Authenticator.objects.get(user=olga).data["secret"]) != secret

    assert manage("operator", "end", "--email", "olga@cast.example") == [
        "olga@cast.example is no operator any more."
    ]
    assert User.objects.filter(is_operator=True).count() == 0
    for words in (
        ("create", "--email", "sam@cast.example"),
        ("create", "--email", "nobody"),
        ("totp", "--email", "sam@cast.example"),
        ("end", "--email", "nobody@cast.example"),
    ):
        with pytest.raises(CommandError):
            manage("operator", *words)
