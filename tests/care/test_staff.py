"""A clinic's staff, who cares for whom and who covers, as those see it who manage them."""

import re
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from allauth.mfa.models import Authenticator
from allauth.mfa.totp.internal.auth import TOTP, generate_totp_secret
from django.core import mail
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from backend.accounts.addresses import address_of, lookup
from backend.accounts.models import User
from backend.audit.models import Entry
from backend.care import services as care
from backend.care.models import CareRelationship, Clinic, Cover, Membership, Participant
from backend.care.roles import Role
from backend.care.staff import services
from backend.care.staff.queries import clock
from backend.care.staff.schemas import CARE_EXAMPLE, COVER_EXAMPLE, HAND_OVER_EXAMPLE, MEMBER_EXAMPLE
from backend.errors import Problem
from tests.conftest import ENROLLED_AT, enrol, join, statements, user

ClientFor = Callable[[Participant | Membership], Client]
API = "/api/v1"
NOWHERE = "11111111-2222-4333-8444-555555555555"


@pytest.fixture
def astrid(rowan: Clinic) -> Membership:
    """An administrator of another clinic."""
    return join("astrid", rowan, Role.CLINIC_ADMIN)


def post(client: Client, path: str, body: Any = None) -> Any:
    return client.post(f"{API}/{path}", {} if body is None else body, "application/json")


def member(m: Membership, **fields: Any) -> dict[str, Any]:
    m.refresh_from_db()
    return {
        "id": str(m.public_id),
        "clinic": str(m.clinic.public_id),
        "email": address_of(m.user),
        "name": None,
        "role": m.role,
        "started_at": m.started_at.isoformat(),
        "ended_at": m.ended_at and m.ended_at.isoformat(),
        "suspended_at": m.suspended_at and m.suspended_at.isoformat(),
    } | fields


def actions(since: int) -> list[tuple[int | None, str, str]]:
    """Who did what to which subject since that entry."""
    return list(Entry.objects.filter(id__gt=since).order_by("id").values_list("actor", "action", "subject"))


def newest() -> int:
    return Entry.objects.order_by("-id").values_list("id", flat=True)[0]


def pointers(answer: Any) -> list[str]:
    return [fault["pointer"] for fault in answer.json()["errors"]]


def outside(answer: Any) -> tuple[Any, ...]:
    headers = {name: value for name, value in answer.items() if name != "X-Request-Id"}
    return answer.status_code, headers, answer.content


# Who is on the staff


def test_the_staff_of_ones_clinic_and_of_no_other(
    adam: Membership, thea: Membership, theo: Membership, carla: Membership, client_for: ClientFor
) -> None:
    Membership.objects.filter(pk=theo.pk).update(ended_at=ENROLLED_AT + timedelta(days=9))

    listed = client_for(adam).get(f"{API}/staff").json()

    staff = sorted((thea, theo, adam), key=lambda m: m.pk)
    assert listed == {"results": [member(m) for m in staff], "next": None}


def test_the_staff_in_pages(
    adam: Membership, thea: Membership, theo: Membership, client_for: ClientFor
) -> None:
    client, seen, cursor = client_for(adam), [], ""
    while cursor is not None:
        page = client.get(f"{API}/staff?limit=1&cursor={cursor}").json()
        seen += [m["email"] for m in page["results"]]
        cursor = page["next"]

    assert seen == [address_of(m.user) for m in sorted((thea, theo, adam), key=lambda m: m.pk)]


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize(("path", "expected"), [("staff", 4), ("care-relationships", 4), ("covers", 3)])
def test_statements_do_not_grow_with_the_lists(
    linden: Clinic, adam: Membership, client_for: ClientFor, path: str, expected: int, count: int
) -> None:
    now = clock()
    for n in range(count):
        one, other = join(f"one{n}", linden, Role.THERAPIST), join(f"other{n}", linden, Role.THERAPIST)
        care.start_care(participant=enrol(f"p{n}", linden), therapist=one, started_at=now)
        care.arrange_cover(therapist=one, covered_by=other, started_at=now, ended_at=now + timedelta(days=1))
    client = client_for(adam)

    with CaptureQueriesContext(connection) as caught:
        assert len(client.get(f"{API}/{path}").json()["results"]) >= count

    assert len(statements(caught)) == expected


# Adding somebody


def test_somebody_new_is_written_a_link_that_works(
    adam: Membership, linden: Clinic, client_for: ClientFor
) -> None:
    since = newest()

    answer = post(client_for(adam), "staff", {"email": "Nina@Cast.Example", "role": "therapist"})

    nina = Membership.objects.get(user__email=lookup("nina@cast.example"))
    assert (answer.status_code, answer.json()) == (201, member(nina, role="therapist"))
    assert actions(since) == [
        (None, "key.made", str(nina.user.key)),
        (adam.user_id, "membership.started", str(nina.pk)),
    ]
    (message,) = mail.outbox
    assert message.to == ["nina@cast.example"]
    link = next(line for line in message.body.splitlines() if line.startswith("http"))
    assert "Choose your password" in Client().get(link.partition("8000")[2], follow=True).content.decode()


def test_whether_an_address_had_an_account_cannot_be_told(
    adam: Membership, carla: Membership, ben: Participant, client_for: ClientFor
) -> None:
    """Somebody new, another clinic's therapist, a participant: the admin is answered the same about each."""
    User.objects.filter(email=lookup("carla@cast.example")).update(last_login=ENROLLED_AT)
    client = client_for(adam)
    shapes, listed = [], []
    for email in ("new@cast.example", "carla@cast.example", "ben@cast.example"):
        answer = post(client, "staff", {"email": email, "role": "researcher"})
        headers = {k: v for k, v in answer.items() if k not in ("X-Request-Id", "Content-Length")}
        fields = answer.json()
        assert fields.pop("email") == email
        assert len(fields.pop("id")) == 36
        assert fields.pop("started_at")
        shapes.append((answer.status_code, headers, fields))
        row = client.get(f"{API}/staff").json()["results"][-1]
        listed.append(row | {"id": 0, "started_at": 0, "email": 0})

    assert shapes == [shapes[0]] * 3
    assert listed == [listed[0]] * 3
    assert [message.to for message in mail.outbox] == [
        ["new@cast.example"],
        ["carla@cast.example"],
        ["ben@cast.example"],
    ]
    assert [message.subject for message in mail.outbox] == [mail.outbox[0].subject] * 3
    assert ["http" in message.body for message in mail.outbox] == [True, False, False]


def test_asking_again_adds_nobody_and_writes_again(adam: Membership, client_for: ClientFor) -> None:
    client, body = client_for(adam), {"email": "nina@cast.example", "role": "therapist"}

    first, again = post(client, "staff", body), post(client, "staff", body)

    assert (first.status_code, again.status_code) == (201, 200)
    assert first.json() == again.json()
    assert Membership.objects.filter(user__email=lookup("nina@cast.example")).count() == 1
    assert ["http" in message.body for message in mail.outbox] == [True, True]


def test_a_second_role_is_another_membership(
    adam: Membership, thea: Membership, client_for: ClientFor
) -> None:
    answer = post(client_for(adam), "staff", {"email": "thea@cast.example", "role": "supervisor"})

    assert answer.status_code == 201
    roles = Membership.objects.filter(user=thea.user).order_by("pk").values_list("role", flat=True)
    assert list(roles) == ["therapist", "supervisor"]


@pytest.mark.parametrize(
    ("body", "where"),
    [
        ({"email": "nobody", "role": "therapist"}, ["/email"]),
        ({"email": "n@cast.example", "role": "operator"}, ["/role"]),
        ({"email": "n@cast.example", "role": "participant"}, ["/role"]),
        ({"email": "n@cast.example"}, ["/role"]),
        ({"email": "n@cast.example", "role": "therapist", "is_operator": True}, ["/is_operator"]),
        (
            {"email": "n@cast.example", "role": "therapist", "user": 1, "started_at": "x"},
            ["/user", "/started_at"],
        ),
        ({"email": "n@cast.example", "role": "therapist", "clinic": "x"}, ["/clinic"]),
    ],
)
def test_a_body_that_does_not_fit_adds_nobody(
    adam: Membership, client_for: ClientFor, body: dict[str, Any], where: list[str]
) -> None:
    answer = post(client_for(adam), "staff", body)

    assert answer.status_code == 422
    assert sorted(pointers(answer)) == sorted(where)
    assert (Membership.objects.count(), len(mail.outbox)) == (1, 0)


def test_mail_that_nobody_takes_undoes_what_was_added(
    adam: Membership, client_for: ClientFor, settings: Any
) -> None:
    settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", 1

    answer = post(client_for(adam), "staff", {"email": "nina@cast.example", "role": "therapist"})

    assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
    assert not User.objects.filter(email=lookup("nina@cast.example")).exists()


def test_an_admin_of_two_clinics_says_which(
    adam: Membership, rowan: Clinic, linden: Clinic, client_for: ClientFor
) -> None:
    assert adam.user is not None
    care.add_member(clinic=rowan, user=adam.user, role=Role.CLINIC_ADMIN, started_at=ENROLLED_AT)
    client, body = client_for(adam), {"email": "nina@cast.example", "role": "therapist"}

    unsaid = post(client, "staff", body)
    said = post(client, "staff", {**body, "clinic": str(rowan.public_id)})

    assert (unsaid.status_code, pointers(unsaid)) == (422, ["/clinic"])
    assert (said.status_code, said.json()["clinic"]) == (201, str(rowan.public_id))


def test_another_clinic_cannot_be_named(adam: Membership, rowan: Clinic, client_for: ClientFor) -> None:
    body = {"email": "nina@cast.example", "role": "therapist"}
    answers = [
        post(client_for(adam), "staff", {**body, "clinic": c}) for c in (str(rowan.public_id), NOWHERE)
    ]

    assert outside(answers[0]) == outside(answers[1])
    assert answers[0].status_code == 403
    assert not User.objects.filter(email=lookup("nina@cast.example")).exists()


# Ending and suspending


@pytest.mark.parametrize("path", ["end", "suspend"])
def test_it_takes_effect_on_the_next_request(
    ana: Participant, thea: Membership, theo: Membership, adam: Membership, client_for: ClientFor, path: str
) -> None:
    theos, thea_client = client_for(theo), client_for(thea)
    assert thea_client.get(f"{API}/participants/{ana.public_id}").status_code == 200
    if path == "end":
        handed = post(client_for(adam), f"caseloads/{thea.public_id}/hand-over", {"to": str(theo.public_id)})
        assert handed.json() == {"moved": 1}
        assert thea_client.get(f"{API}/participants/{ana.public_id}").status_code == 404
        assert theos.get(f"{API}/participants/{ana.public_id}").status_code == 200

    answer = post(client_for(adam), f"staff/{thea.public_id}/{path}")

    assert (answer.status_code, answer.json()) == (200, member(thea))
    assert thea_client.get(f"{API}/participants/{ana.public_id}").status_code == 404
    assert thea_client.get(f"{API}/participants").status_code == 403
    assert thea_client.get(f"{API}/me").json()["memberships"] == []


def test_an_admin_suspended_manages_nobody(linden: Clinic, adam: Membership, client_for: ClientFor) -> None:
    alma = join("alma", linden, Role.CLINIC_ADMIN)
    client = client_for(alma)
    assert client.get(f"{API}/staff").status_code == 200

    post(client_for(adam), f"staff/{alma.public_id}/suspend")

    assert client.get(f"{API}/staff").status_code == 403
    assert post(client, f"staff/{adam.public_id}/end").status_code == 403


def test_a_supervisor_suspended_oversees_nobody(
    ana: Participant, linden: Clinic, adam: Membership, client_for: ClientFor
) -> None:
    sam = join("sam", linden, Role.SUPERVISOR)
    client = client_for(sam)
    assert client.get(f"{API}/participants/{ana.public_id}").status_code == 200

    post(client_for(adam), f"staff/{sam.public_id}/suspend")

    assert client.get(f"{API}/participants/{ana.public_id}").status_code == 404


def test_suspended_and_restored(
    ana: Participant, thea: Membership, adam: Membership, client_for: ClientFor
) -> None:
    client, since = client_for(adam), newest()

    for path in ("suspend", "suspend", "restore", "restore"):
        assert post(client, f"staff/{thea.public_id}/{path}").status_code == 200

    assert actions(since) == [
        (adam.user_id, "membership.suspended", str(thea.public_id)),
        (adam.user_id, "membership.restored", str(thea.public_id)),
    ]
    assert client_for(thea).get(f"{API}/participants/{ana.public_id}").status_code == 200


def test_whoever_covers_for_somebody_suspended_goes_on_caring(
    ana: Participant, thea: Membership, theo: Membership, adam: Membership, client_for: ClientFor
) -> None:
    now = clock()
    care.arrange_cover(
        therapist=thea, covered_by=theo, started_at=now - timedelta(1), ended_at=now + timedelta(1)
    )
    client = client_for(theo)

    post(client_for(adam), f"staff/{thea.public_id}/suspend")
    assert client.get(f"{API}/participants/{ana.public_id}").status_code == 200
    post(client_for(adam), f"staff/{theo.public_id}/suspend")
    assert client.get(f"{API}/participants/{ana.public_id}").status_code == 404


def test_nobody_leaves_participants_without_a_therapist(
    thea: Membership, adam: Membership, client_for: ClientFor
) -> None:
    answer = post(client_for(adam), f"staff/{thea.public_id}/end")

    assert (answer.status_code, answer.json()["code"]) == (409, "caseload_not_empty")
    assert member(thea)["ended_at"] is None


@pytest.mark.parametrize("path", ["end", "suspend"])
def test_the_last_admin_stays(linden: Clinic, adam: Membership, client_for: ClientFor, path: str) -> None:
    alma = join("alma", linden, Role.CLINIC_ADMIN)
    Membership.objects.filter(pk=alma.pk).update(suspended_at=clock())

    answer = post(client_for(adam), f"staff/{adam.public_id}/{path}")

    assert (answer.status_code, answer.json()["code"]) == (409, "last_admin")
    Membership.objects.filter(pk=alma.pk).update(suspended_at=None)
    assert post(client_for(adam), f"staff/{adam.public_id}/{path}").status_code == 200


def test_what_has_ended_stays_so(theo: Membership, adam: Membership, client_for: ClientFor) -> None:
    client = client_for(adam)
    first = post(client, f"staff/{theo.public_id}/end").json()

    assert post(client, f"staff/{theo.public_id}/end").json() == first
    for path in ("suspend", "restore", "reset-second-factor"):
        answer = post(client, f"staff/{theo.public_id}/{path}")
        assert (answer.status_code, answer.json()["code"]) == (409, "membership_ended")


def test_a_membership_takes_no_field(theo: Membership, adam: Membership, client_for: ClientFor) -> None:
    for path in ("end", "suspend", "restore", "reset-second-factor", "reset-password"):
        answer = post(client_for(adam), f"staff/{theo.public_id}/{path}", {"ended_at": None})
        assert answer.status_code == 422


# A lost second factor


@pytest.fixture
def thea_with_totp(thea: Membership) -> Membership:
    TOTP.activate(thea.user, generate_totp_secret())
    return thea


def reset(client: Client, m: Membership) -> Any:
    return post(client, f"staff/{m.public_id}/reset-second-factor")


def test_a_second_member_resets_a_second_factor(
    thea_with_totp: Membership, ben: Participant, adam: Membership, client_for: ClientFor
) -> None:
    thea, hers, bens, since = thea_with_totp, client_for(thea_with_totp), client_for(ben), newest()
    assert hers.get(f"{API}/me").status_code == 200

    answer = reset(client_for(adam), thea)

    assert (answer.status_code, answer.json()) == (202, {"status": "accepted"})
    assert not Authenticator.objects.filter(user=thea.user).exists()
    assert hers.get(f"{API}/me").status_code == 401
    assert bens.get(f"{API}/me").status_code == 200
    assert actions(since) == [(adam.user_id, "second_factor.reset_by_staff", str(thea.user_id))]


def test_nobody_resets_their_own(adam: Membership, linden: Clinic, client_for: ClientFor) -> None:
    assert adam.user is not None
    TOTP.activate(adam.user, generate_totp_secret())
    other = care.add_member(clinic=linden, user=adam.user, role=Role.THERAPIST, started_at=ENROLLED_AT)

    for own in (adam, other):
        answer = reset(client_for(adam), own)
        assert (answer.status_code, answer.json()["code"]) == (403, "not_allowed")
    assert Authenticator.objects.filter(user=adam.user).count() == 1


def test_a_second_member_resets_a_password(thea: Membership, adam: Membership, client_for: ClientFor) -> None:
    hers, since = client_for(thea), newest()

    answer = post(client_for(adam), f"staff/{thea.public_id}/reset-password")

    assert (answer.status_code, answer.json()) == (202, {"status": "accepted"})
    assert hers.get(f"{API}/me").status_code == 401
    (message,) = mail.outbox
    assert message.to == ["thea@cast.example"]
    assert thea.user.has_usable_password() is False
    link = re.search(r"http://127\.0\.0\.1:\d+(/welcome/\S+)", str(message.body))
    assert link is not None
    assert "choose" in Client().get(link[1]).headers["Location"]
    assert b"welcome" not in answer.content
    assert actions(since) == [(adam.user_id, "password.reset_by_staff", str(thea.user_id))]
    assert post(client_for(adam), f"staff/{adam.public_id}/reset-password").status_code == 403


def test_a_password_that_opens_more_than_this_clinic_is_left(
    thea: Membership, rowan: Clinic, adam: Membership, client_for: ClientFor
) -> None:
    assert thea.user is not None
    as_anothers(thea.user, rowan)
    hers, since = client_for(thea), newest()

    answer = post(client_for(adam), f"staff/{thea.public_id}/reset-password")

    assert (answer.status_code, answer.json()) == (202, {"status": "accepted"})
    assert (hers.get(f"{API}/me").status_code, mail.outbox) == (200, [])
    assert actions(since) == [(adam.user_id, "password.reset_refused", str(thea.public_id))]


def test_a_password_stays_where_the_link_cannot_be_sent(
    thea: Membership, adam: Membership, client_for: ClientFor, settings: Any
) -> None:
    settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    settings.EMAIL_HOST, settings.EMAIL_PORT, settings.EMAIL_USE_TLS = "127.0.0.1", 1, False
    hers = client_for(thea)

    answer = post(client_for(adam), f"staff/{thea.public_id}/reset-password")

    assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
    assert hers.get(f"{API}/me").status_code == 200


def as_anothers(person: User, rowan: Clinic) -> None:
    care.add_member(clinic=rowan, user=person, role=Role.THERAPIST, started_at=ENROLLED_AT)


def as_participant(person: User, rowan: Clinic) -> None:
    care.enrol_participant(
        clinic=rowan, user=person, pseudonym="x y", timezone="UTC", enrolled_at=ENROLLED_AT
    )


def as_operator(person: User, rowan: Clinic) -> None:
    User.objects.filter(pk=person.pk).update(is_operator=True)


@pytest.mark.parametrize("also", [as_anothers, as_participant, as_operator])
def test_a_clinic_has_no_power_over_an_account_that_opens_more(
    thea_with_totp: Membership,
    rowan: Clinic,
    adam: Membership,
    client_for: ClientFor,
    also: Callable[[User, Clinic], None],
) -> None:
    thea, hers = thea_with_totp, client_for(thea_with_totp)
    also(thea.user, rowan)
    since = newest()

    answer = reset(client_for(adam), thea)

    assert (answer.status_code, answer.json()) == (202, {"status": "accepted"})
    assert Authenticator.objects.filter(user=thea.user).count() == 1
    assert hers.get(f"{API}/me").status_code == 200
    assert actions(since) == [(adam.user_id, "second_factor.reset_refused", str(thea.public_id))]


# Who cares for whom


def relationship(c: CareRelationship) -> dict[str, Any]:
    c.refresh_from_db()
    return {
        "id": str(c.public_id),
        "clinic": str(c.clinic.public_id),
        "participant": str(c.participant.public_id),
        "therapist": str(c.therapist.public_id),
        "started_at": c.started_at.isoformat(),
        "ended_at": c.ended_at and c.ended_at.isoformat(),
        "ended_because": c.ended_because,
    }


def test_who_cares_for_whom_is_told_and_recorded(
    ana: Participant, thea: Membership, theo: Membership, cora: Membership, client_for: ClientFor
) -> None:
    since = newest()

    listed = client_for(cora).get(f"{API}/care-relationships").json()

    assert listed == {
        "results": [relationship(c) for c in CareRelationship.objects.order_by("pk")],
        "next": None,
    }
    assert len(listed["results"]) == 2
    seen = Entry.objects.filter(id__gt=since).values_list("actor", "action", "participant", "clinic")
    assert list(seen) == [(cora.user_id, "care.managed", ana.pk, ana.clinic_id)]


def test_care_given_and_taken(
    ana: Participant, ben: Participant, thea: Membership, cora: Membership, client_for: ClientFor
) -> None:
    client, hers = client_for(cora), client_for(thea)
    body = {"participant": str(ben.public_id), "therapist": str(thea.public_id)}
    assert hers.get(f"{API}/participants/{ben.public_id}").status_code == 404

    begun, again = post(client, "care-relationships", body), post(client, "care-relationships", body)

    new = CareRelationship.objects.get(participant=ben)
    assert (begun.status_code, again.status_code) == (201, 200)
    assert begun.json() == again.json() == relationship(new)
    assert hers.get(f"{API}/participants/{ben.public_id}").status_code == 200

    since = newest()
    ended = post(client, f"care-relationships/{new.public_id}/end")
    assert post(client, f"care-relationships/{new.public_id}/end").json() == ended.json()
    assert (ended.status_code, ended.json()) == (200, relationship(new))
    assert ended.json()["ended_at"] is not None
    assert hers.get(f"{API}/participants/{ben.public_id}").status_code == 404
    assert actions(since)[0] == (cora.user_id, "care.ended", str(new.pk))


def not_working(linden: Clinic) -> list[Membership]:
    """Those who cannot be given a participant: another role, suspended, gone, not there yet."""
    now = clock()
    suspended, gone, soon = (join(n, linden, Role.THERAPIST) for n in ("susi", "gus", "sonja"))
    Membership.objects.filter(pk=suspended.pk).update(suspended_at=now)
    Membership.objects.filter(pk=gone.pk).update(ended_at=now)
    Membership.objects.filter(pk=soon.pk).update(started_at=now + timedelta(days=1))
    return [join("rolf", linden, Role.RESEARCHER), suspended, gone, soon]


def test_only_who_works_as_a_therapist_is_given_a_participant(
    ben: Participant,
    thea: Membership,
    theo: Membership,
    linden: Clinic,
    cora: Membership,
    client_for: ClientFor,
) -> None:
    client = client_for(cora)
    for person in not_working(linden):
        body = {"participant": str(ben.public_id), "therapist": str(person.public_id)}
        answer = post(client, "care-relationships", body)
        assert (answer.status_code, pointers(answer)) == (422, ["/therapist"])
        answer = post(client, f"caseloads/{thea.public_id}/hand-over", {"to": str(person.public_id)})
        assert (answer.status_code, pointers(answer)) == (422, ["/to"])
    assert not CareRelationship.objects.filter(participant=ben).exists()
    assert thea.care_relationships.filter(ended_at__isnull=True).count() == 1


def test_a_caseload_goes_on_in_one_piece(
    ana: Participant,
    ben: Participant,
    thea: Membership,
    theo: Membership,
    adam: Membership,
    client_for: ClientFor,
) -> None:
    """Ana, who is Theo's already; Ben, whose care has a planned end; Dora, whose care is yet to begin."""
    now = clock()
    dora, later, much_later = enrol("dora", ana.clinic), now + timedelta(days=3), now + timedelta(days=9)
    care.start_care(participant=ana, therapist=theo, started_at=now)
    care.start_care(participant=ben, therapist=thea, started_at=ENROLLED_AT, ended_at=much_later)
    care.start_care(participant=dora, therapist=thea, started_at=later)
    since = newest()

    answer = post(
        client_for(adam),
        f"caseloads/{thea.public_id}/hand-over",
        {"to": str(theo.public_id), "reason": "left"},
    )

    assert (answer.status_code, answer.json()) == (200, {"moved": 3})
    left = thea.care_relationships.order_by("pk").values_list("participant", "ended_because")
    assert list(left) == [(p.pk, "left") for p in (ana, ben, dora)]
    assert not thea.care_relationships.filter(ended_at__gt=later).exists()
    went: list[tuple[int, datetime | None]] = list(
        theo.care_relationships.exclude(ended_at__lte=clock())
        .order_by("pk")
        .values_list("participant", "ended_at")
    )
    assert went == [(ana.pk, None), (ben.pk, much_later), (dora.pk, None)]
    assert theo.care_relationships.get(participant=dora).started_at == later
    assert [(actor, action) for actor, action, _ in actions(since)] == [
        (adam.user_id, "care.ended"),
        (adam.user_id, "care.ended"),
        (adam.user_id, "care.started"),
        (adam.user_id, "care.ended"),
        (adam.user_id, "care.started"),
        (adam.user_id, "caseload.handed_over"),
    ]
    listed = client_for(theo).get(f"{API}/participants").json()["results"]
    assert {p["id"] for p in listed} == {str(ana.public_id), str(ben.public_id)}
    assert client_for(thea).get(f"{API}/participants").json()["results"] == []


def test_a_caseload_of_somebody_suspended_or_gone_can_be_handed_over(
    thea: Membership, theo: Membership, adam: Membership, client_for: ClientFor
) -> None:
    Membership.objects.filter(pk=thea.pk).update(suspended_at=clock(), ended_at=clock())

    answer = post(client_for(adam), f"caseloads/{thea.public_id}/hand-over", {"to": str(theo.public_id)})

    assert answer.json() == {"moved": 1}


def test_nobody_hands_over_to_themselves(thea: Membership, adam: Membership, client_for: ClientFor) -> None:
    answer = post(client_for(adam), f"caseloads/{thea.public_id}/hand-over", {"to": str(thea.public_id)})

    assert (answer.status_code, pointers(answer)) == (422, ["/to"])


def test_a_reason_is_one_of_ours(
    thea: Membership, theo: Membership, adam: Membership, client_for: ClientFor
) -> None:
    body = {"to": str(theo.public_id), "reason": "She told me that Ana"}
    answer = post(client_for(adam), f"caseloads/{thea.public_id}/hand-over", body)

    assert (answer.status_code, pointers(answer)) == (422, ["/reason"])


# Cover


def cover_body(thea: Membership, theo: Membership, **fields: Any) -> dict[str, Any]:
    now = clock()
    return {
        "therapist": str(thea.public_id),
        "covered_by": str(theo.public_id),
        "started_at": (now - timedelta(hours=1)).isoformat(),
        "ended_at": (now + timedelta(days=14)).isoformat(),
    } | fields


def test_cover_arranged_and_ended(
    ana: Participant, thea: Membership, theo: Membership, cora: Membership, client_for: ClientFor
) -> None:
    client, his, body = client_for(cora), client_for(theo), cover_body(thea, theo)
    assert his.get(f"{API}/participants/{ana.public_id}").status_code == 404

    arranged, again = post(client, "covers", body), post(client, "covers", body)

    new = Cover.objects.get()
    expected = {"id": str(new.public_id), "clinic": str(new.clinic.public_id), **body}
    assert (arranged.status_code, again.status_code) == (201, 200)
    assert arranged.json() == again.json() == expected
    assert client.get(f"{API}/covers").json() == {"results": [expected], "next": None}
    assert his.get(f"{API}/participants/{ana.public_id}").status_code == 200

    ended = post(client, f"covers/{new.public_id}/end")
    assert ended.status_code == 200
    assert his.get(f"{API}/participants/{ana.public_id}").status_code == 404
    assert post(client, f"covers/{new.public_id}/end").json() == ended.json()
    other_end = {**body, "ended_at": "2099-01-01T00:00:00Z"}
    assert post(client, "covers", other_end).json()["code"] == "conflict"


def test_a_cover_that_cannot_be(
    thea: Membership,
    theo: Membership,
    linden: Clinic,
    rosa: Membership,
    cora: Membership,
    client_for: ClientFor,
) -> None:
    client, now = client_for(cora), clock()
    past = (now - timedelta(minutes=1)).isoformat()
    wrong = [
        (cover_body(thea, thea), "/covered_by"),
        (cover_body(rosa, theo), "/therapist"),
        (cover_body(thea, theo, ended_at=past), "/ended_at"),
        (cover_body(thea, theo, started_at="2099-01-01T00:00:00Z"), "/ended_at"),
        *((cover_body(thea, person), "/covered_by") for person in not_working(linden)),
    ]
    for body, place in wrong:
        answer = post(client, "covers", body)
        assert (answer.status_code, pointers(answer)) == (422, [place])
    assert not Cover.objects.exists()


# Two walls


def test_what_another_clinic_has_is_what_never_was(
    ana: Participant,
    thea: Membership,
    theo: Membership,
    carla: Membership,
    astrid: Membership,
    client_for: ClientFor,
) -> None:
    now = clock()
    cover = care.arrange_cover(
        therapist=thea, covered_by=theo, started_at=now, ended_at=now + timedelta(days=1)
    )
    client, hers = client_for(astrid), str(carla.public_id)
    until = {"started_at": "2098-01-01T00:00:00Z", "ended_at": "2099-01-01T00:00:00Z"}

    def asked(m: str, p: str, c: str, v: str) -> list[Any]:
        return [
            *(
                post(client, f"staff/{m}/{w}")
                for w in ("end", "suspend", "restore", "reset-second-factor", "reset-password")
            ),
            post(client, f"caseloads/{m}/hand-over", {"to": hers}),
            post(client, f"caseloads/{hers}/hand-over", {"to": m}),
            post(client, "care-relationships", {"participant": p, "therapist": hers}),
            post(client, "care-relationships", {"participant": p, "therapist": m}),
            post(client, f"care-relationships/{c}/end"),
            post(client, "covers", {"therapist": m, "covered_by": hers, **until}),
            post(client, "covers", {"therapist": hers, "covered_by": m, **until}),
            post(client, f"covers/{v}/end"),
        ]

    def rows() -> list[Any]:
        return [list(kind.objects.order_by("pk").values()) for kind in (Membership, CareRelationship, Cover)]

    before, since = rows(), newest()
    theirs = asked(
        str(thea.public_id),
        str(ana.public_id),
        str(thea.care_relationships.get().public_id),
        str(cover.public_id),
    )
    assert rows() == before
    assert {(actor, action) for actor, action, _ in actions(since)} == {
        (astrid.user_id, "participant.refused")
    }
    since = newest()
    nobodys = asked(*(str(uuid4()) for _ in range(4)))

    assert [outside(a) for a in theirs] == [outside(a) for a in nobodys]
    assert {(a.status_code, a.content) for a in theirs} == {(404, nobodys[0].content)}
    assert actions(since) == []


def test_a_therapist_of_one_and_a_participant_of_another_never_meet(
    adam: Membership,
    rowan: Clinic,
    carla: Membership,
    thea: Membership,
    ben: Participant,
    client_for: ClientFor,
) -> None:
    """Even for somebody who manages both clinics."""
    assert adam.user is not None
    care.add_member(clinic=rowan, user=adam.user, role=Role.CLINIC_ADMIN, started_at=ENROLLED_AT)
    client, hers = client_for(adam), str(carla.public_id)

    body = {"participant": str(ben.public_id), "therapist": hers}
    assert post(client, "care-relationships", body).status_code == 404
    answer = post(client, f"caseloads/{thea.public_id}/hand-over", {"to": hers})
    assert (answer.status_code, pointers(answer)) == (422, ["/to"])
    answer = post(client, "covers", cover_body(thea, carla))
    assert (answer.status_code, pointers(answer)) == (422, ["/covered_by"])


def test_who_may_comes_before_what_is_sent(
    thea: Membership, rosa: Membership, cora: Membership, client_for: ClientFor
) -> None:
    posts = [
        "staff", f"staff/{NOWHERE}/end", f"staff/{NOWHERE}/suspend", f"staff/{NOWHERE}/restore",
        f"staff/{NOWHERE}/reset-second-factor", "care-relationships", f"care-relationships/{NOWHERE}/end",
        "covers", f"covers/{NOWHERE}/end", f"caseloads/{NOWHERE}/hand-over",
    ]  # fmt: skip
    for person in (thea, rosa):
        client = client_for(person)
        for path in posts:
            answer = client.generic("POST", f"{API}/{path}", b'{"broken', "text/plain")
            assert (answer.status_code, answer.json()["code"]) == (403, "not_allowed"), path
        for path in ("staff", "care-relationships", "covers"):
            assert client.get(f"{API}/{path}?limit=no&cursor=x").status_code == 403
    coordinator = client_for(cora)
    for path in posts[:5]:
        assert post(coordinator, path).status_code == 403
    for path in posts[5:]:
        assert post(coordinator, path).status_code in (404, 422)
    assert coordinator.get(f"{API}/staff").status_code == 403


def test_examples_are_taken(
    adam: Membership, ben: Participant, thea: Membership, theo: Membership, client_for: ClientFor
) -> None:
    client = client_for(adam)
    ids = {"participant": str(ben.public_id), "therapist": str(thea.public_id)}

    taken = [
        post(client, "staff", {**MEMBER_EXAMPLE.value, "email": "thea@clinic.example"}),
        post(client, "care-relationships", {**CARE_EXAMPLE.value, **ids}),
        post(
            client,
            "covers",
            {**COVER_EXAMPLE.value, "therapist": ids["therapist"], "covered_by": str(theo.public_id)},
        ),
        post(
            client,
            f"caseloads/{thea.public_id}/hand-over",
            {**HAND_OVER_EXAMPLE.value, "to": str(theo.public_id)},
        ),
    ]

    assert [answer.status_code for answer in taken] == [201, 201, 201, 200]


def test_two_admins_cannot_end_each_other(linden: Clinic, adam: Membership) -> None:
    """One after the other, as the lock makes it: the second finds that they are the last."""
    alma, now = join("alma", linden, Role.CLINIC_ADMIN), clock()

    services.end_membership(membership=alma, now=now, actor=adam.user_id)
    with pytest.raises(Problem, match="last_admin"):
        services.end_membership(membership=adam, now=now, actor=alma.user_id)


def test_whoever_is_both_is_one_person(linden: Clinic, adam: Membership) -> None:
    """A second membership as an administrator does not make a second administrator."""
    other = care.add_member(clinic=linden, user=user("alma"), role=Role.THERAPIST, started_at=ENROLLED_AT)

    with pytest.raises(Problem, match="last_admin"):
        services.suspend_membership(membership=adam, now=clock(), actor=other.user_id)
