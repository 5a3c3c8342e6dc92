"""Shutting an account, at the machine."""

import pytest
from django.core.management import CommandError, call_command

from backend.audit.models import Entry
from backend.care.models import Membership, Participant
from tests.conftest import ClientFor


def test_an_account_is_shut_and_opened_again(
    ana: Participant, thea: Membership, client_for: ClientFor
) -> None:
    for name, person, option in (
        ("ana", ana, f"--participant={ana.public_id}"),
        ("thea", thea, "--email=THEA@cast.example"),
    ):
        client = client_for(person)
        assert client.get("/api/v1/me").status_code == 200, name

        call_command("account", "suspend", option)

        assert client.get("/api/v1/me").status_code == 401, name
        call_command("account", "restore", option)
        assert person.user is not None
        person.user.refresh_from_db()
        assert client_for(person).get("/api/v1/me").status_code == 200, name
        kept = Entry.objects.filter(subject=str(person.user_id), action__startswith="user.").order_by("id")
        assert list(kept.values_list("action", flat=True)) == ["user.suspended", "user.restored"]


@pytest.mark.parametrize("option", ["--email=nobody@cast.example", "--participant=x"])
def test_nobody_is_no_account(db: None, option: str) -> None:
    with pytest.raises(CommandError, match="no such account"):
        call_command("account", "suspend", option)
