"""Every route, asked by everybody about Ana: what of it the audit says about her.

Written down by hand and compared with the access test's table: a new route fails until it is decided here
what somebody else's use of it leaves about the person whose data it is.
"""

from typing import Any

import pytest

from backend.audit.models import Entry
from tests import test_access
from tests.test_access import EMERGENCY, RELEASE, ROLES, TABLE, World, newest_entry

world = test_access.world

# What one call leaves about Ana where somebody else is let through. The right is the door's row.
LEAVES: dict[str, list[str]] = {
    "GET api/v1/participants": ["caseload.read"],
    "GET api/v1/participants/<str:participant>": ["participant.read"],
    "GET api/v1/participants/<str:participant>/dosing-sessions": ["dosing_sessions.read"],
    "POST api/v1/participants/<str:participant>/dosing-sessions": [
        "dosing_sessions.opened",
        "dosing_session.recorded",
    ],
    "GET api/v1/participants/<str:participant>/administrations": ["administrations.read"],
    "GET api/v1/participants/<str:participant>/trends": ["trends.read"],
    "GET api/v1/administrations/<str:administration>": ["administration.read"],
    "POST api/v1/participants/<str:participant>/relink": ["participant.relinked", "invitation.created"],
    RELEASE: ["release.opened", "administration.released"],
    EMERGENCY: ["emergency.opened", "emergency.started"],
    "GET api/v1/emergency-accesses": ["emergency.read"],
    "GET api/v1/care-relationships": ["care.managed"],
    "POST api/v1/care-relationships/<str:care_relationship>/end": ["care.ended"],
}
# And where somebody did the same to the same before them.
AGAIN: dict[str, list[str]] = {
    RELEASE: ["release.opened"],
    "POST api/v1/participants/<str:participant>/relink": [
        "participant.relinked",
        "invitation.withdrawn",
        "invitation.created",
    ],
    "POST api/v1/care-relationships/<str:care_relationship>/end": [],
}
# Asked about her by name. Correcting is the participant's own: staff are turned away before that.
NAME_HER = [row for row in TABLE if "<str:participant>" in row or "<str:administration>" in row]
HERS = "POST api/v1/recovery"
# Nobody else's data, or nobody's at all, or a clinic's own: each with why it leaves nothing about Ana.
ABOUT_NOBODY_ELSE = {
    **{row: "one's own" for row in TABLE if "api/v1/me" in row or row.endswith("api/v1/administrations")},
    **{row: "a definition" for row in TABLE if "instruments" in row or row == "GET api/v1/consents"},
    **{row: "a clinic's staff" for row in TABLE if "api/v1/staff" in row or "covers" in row},
    **{row: "says nothing of anybody" for row in TABLE if "welcome" in row or "z" in row.split(" ")[1][-1:]},
    "GET metrics": "counts and ages",
    "GET api/v1/schema": "a definition",
    "GET api/v1/audit-entries": "about a member of staff",
    "GET api/v1/erasures/<str:erasure>": "numbers and dates, to whoever has its address",
    "GET api/v1/invitations": "names nobody",
    "POST api/v1/invitations": "for somebody who is nobody here yet",
    "POST api/v1/invitations/preview": "by whoever has the code",
    "POST api/v1/invitations/redeem": "by whoever has the code",
    "DELETE api/v1/invitations/<str:invitation>": "of somebody who is nobody here yet",
    "POST api/v1/administrations/<str:administration>/corrections": "nobody corrects another's",
    "POST api/v1/care-relationships": "about Ben, in this table",
    "POST api/v1/caseloads/<str:membership>/hand-over": "of a caseload without Ana, in this table",
    HERS: "by her own recovery code: whoever shows it is her",
}
# What tells that an answer speaks of Ana.
OTHERS = [role for role in ROLES if role != "ana"]
SPOKEN = ("ana heron", '"substance":"ayahuasca"', '"value":4.2', '"latest":4.2')


def about_ana(world: World, since: int) -> list[str]:
    """What others left about her since."""
    found = Entry.objects.filter(id__gt=since, participant=world.ana.pk).exclude(actor=world.users["ana"])
    return list(found.order_by("id").values_list("action", flat=True))


def test_what_each_route_leaves_is_decided() -> None:
    assert sorted(set(TABLE) - set(LEAVES) - set(ABOUT_NOBODY_ELSE)) == [], "Say what of it is audited."
    assert sorted({*LEAVES, *ABOUT_NOBODY_ELSE} - set(TABLE)) == []
    assert set(LEAVES) & set(ABOUT_NOBODY_ELSE) == set()


@pytest.mark.parametrize("row", dict.fromkeys([*LEAVES, *NAME_HER]))
def test_whoever_else_asks_leaves_what_is_written_here(world: World, row: str) -> None:
    found: dict[str, list[str]] = {}
    expected: dict[str, list[str]] = {}
    done = 0
    for role in OTHERS:
        before = newest_entry()
        answer = world.call(role, row)
        found[role], expected[role] = about_ana(world, before), []
        if answer.status_code == 404:
            expected[role] = ["participant.refused"]
        elif answer.status_code == 409:
            expected[role] = LEAVES[row][:1]  # let in, and told that it is not needed
        elif answer.status_code < 300 and told_of(world, answer, row):
            expected[role] = AGAIN.get(row, LEAVES[row]) if done else LEAVES[row]
            done += 1

    assert found == expected
    assert done > 0 or row not in LEAVES, "nobody was let through"


def test_whatever_else_they_ask_for_says_nothing_of_her(world: World) -> None:
    for row in ABOUT_NOBODY_ELSE:
        for role in OTHERS if row not in NAME_HER and row != HERS else ():
            before = newest_entry()
            answer = world.call(role, row)
            assert not told_of(world, answer), (role, row)
            assert about_ana(world, before) == [], (role, row)


def told_of(world: World, answer: Any, row: str = "") -> bool:
    """Whether an answer holds something of Ana's, or is that of having done something to her data."""
    text = answer.content.decode()
    return (not row.startswith("GET") and row != "") or any(
        word in text for word in (*SPOKEN, str(world.ana.public_id), world.administration)
    )
