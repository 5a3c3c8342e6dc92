"""`manage.py invite`"""

import re
from io import StringIO

import pytest
from django.conf import settings
from django.core.management import CommandError, call_command

from backend.audit.models import Entry
from backend.care import services as care
from backend.care.joining.models import Invitation
from backend.care.models import Clinic, Membership
from tests.care.joining.door import joined, redeem


def run(**options: object) -> str:
    out = StringIO()
    call_command("invite", stdout=out, **options)
    return out.getvalue()


def test_it_prints_a_code_that_works_its_link_and_its_picture(thea: Membership) -> None:
    told = run(clinic="Linden", therapist="THEA@cast.example", protocol="integration-12w", days=7)

    until, code, url, *picture = told.splitlines()
    assert until.startswith("For one person, once, until 20")
    assert url == f"{settings.PUBLIC_URL}/join#{code}"
    drawn = [line for line in picture if re.search("[█▀▄]", line)]
    assert len(drawn) >= 15
    made = Invitation.objects.get()
    assert (made.therapist, made.protocol, made.created_by) == (thea, "integration-12w", None)
    assert Entry.objects.filter(action="invitation.created", actor=None, clinic=thea.clinic_id).count() == 1
    assert joined(redeem(code)).clinic == thea.clinic


def test_a_clinic_is_named_by_its_id_too(thea: Membership) -> None:
    care.create_clinic(name="Linden")

    run(clinic=str(thea.clinic.public_id), therapist="thea@cast.example")

    assert Invitation.objects.get().clinic == thea.clinic
    with pytest.raises(CommandError, match="Several clinics"):
        run(clinic="Linden", therapist="thea@cast.example")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"clinic": "Elm"}, "no such clinic"),
        ({"clinic": "Rowan"}, "no therapist"),
        ({"therapist": "adam@cast.example"}, "no therapist"),
        ({"therapist": "nobody@cast.example"}, "no therapist"),
        ({"days": 91}, "1 to 90 days"),
        ({"days": 0}, "1 to 90 days"),
        ({"protocol": "Not A Code"}, "protocol's code"),
    ],
)
def test_what_cannot_be_is_refused(
    thea: Membership, adam: Membership, rowan: Clinic, options: dict[str, object], said: str
) -> None:
    with pytest.raises(CommandError, match=said):
        run(**{"clinic": "Linden", "therapist": "thea@cast.example", **options})
    assert Invitation.objects.count() == 0
