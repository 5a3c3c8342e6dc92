"""`manage.py consents`: an operator's own texts, and the clinic's rule."""

from io import StringIO
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from backend.audit.models import Entry
from backend.care.models import Clinic, ConsentText, Participant
from tests.care.consent.phone import ClientFor, current, post, yes
from tests.care.consent.test_text import OWN


def run(*command: str) -> str:
    out = StringIO()
    call_command("consents", *command, stdout=out, stderr=out)
    return out.getvalue()


@pytest.fixture
def own(tmp_path: Path) -> Path:
    file = tmp_path / "research.v2.en.toml"
    file.write_text(OWN)
    return file


def test_an_own_text_is_what_people_are_asked_with(
    db: None, own: Path, ana: Participant, client_for: ClientFor
) -> None:
    client = client_for(ana)
    before = yes(client, "research")

    assert run("load", str(own)) == "research.v2.en.toml: research version 2 is loaded.\n"

    assert (current(client, "research")["version"], current(client, "research", "de")["version"]) == (2, 1)
    assert current(client, "research")["title"] == "Research"
    # Words of before are known still.
    assert [post(client, yes(client, "research")).status_code, post(client, before).status_code] == [201, 201]
    assert Entry.objects.get(action="consent_text.loaded").subject == "research v2 en"
    listed = [
        line.split() for line in run("list").splitlines() if line.startswith("research") and " en " in line
    ]
    assert [line[:8] for line in listed] == [
        ["research", "v1", "en", "ships", "earlier:", "Lending", "your", "answers"],
        ["research", "v2", "en", "your", "own", "asked", "with", "today:"],
    ]


def test_a_loaded_version_never_changes(db: None, own: Path) -> None:
    run("load", str(own))
    assert run("load", str(own)).endswith("is loaded.\n")
    own.write_text(OWN.replace("They do not.", "They do, all the same."))

    with pytest.raises(CommandError, match="1 refused"):
        run("load", str(own))

    assert ConsentText.objects.get().source == OWN


def test_a_version_that_ships_is_taken(db: None, own: Path) -> None:
    own.write_text(OWN.replace("version = 2", "version = 1"))

    with pytest.raises(CommandError, match="1 refused"):
        run("load", str(own))

    assert ConsentText.objects.count() == 0


def test_one_bad_file_keeps_no_other_out(db: None, own: Path, tmp_path: Path) -> None:
    bad = tmp_path / "bad.toml"
    bad.write_bytes(b"\xff")

    with pytest.raises(CommandError, match="2 refused"):
        run("load", str(bad), str(tmp_path / "nowhere.toml"), str(own))

    assert ConsentText.objects.count() == 1


def test_a_clinic_says_how_long_a_worse_score_waits(linden: Clinic, rowan: Clinic) -> None:
    run("hold", str(linden.public_id), "48")
    assert list(Clinic.objects.order_by("id").values_list("hold_hours", flat=True)) == [48, None]

    run("hold", str(linden.public_id), "none")
    assert list(Clinic.objects.order_by("id").values_list("hold_hours", flat=True)) == [None, None]
    assert [e.subject for e in Entry.objects.filter(action="clinic.hold_changed")] == ["48", "none"]


@pytest.mark.parametrize("hours", ["0", "73", "-1", "x", "1.5", ""])
def test_nobody_waits_longer_than_72_hours(linden: Clinic, hours: str) -> None:
    with pytest.raises(CommandError, match="1 to 72, or none"):
        run("hold", str(linden.public_id), hours)
    for nobody in ("x", "11111111-2222-4333-8444-555555555555"):
        with pytest.raises(CommandError, match="no clinic of that id"):
            run("hold", nobody, "48")
    linden.refresh_from_db()
    assert linden.hold_hours is None
