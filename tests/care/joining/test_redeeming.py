"""Somebody shows a code: somebody new joins, or somebody comes back on a new phone."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from allauth.account.models import EmailAddress
from allauth.headless.tokens.strategies.jwt.internal import decode_token, session_key_from_sid
from django.contrib.sessions.backends.db import SessionStore
from django.contrib.sessions.models import Session
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from backend.accounts.addresses import lookup
from backend.accounts.models import User
from backend.care import services as care
from backend.care.codes import read
from backend.care.joining import services
from backend.care.joining.models import CodeGuess, Invitation, RecoveryCode
from backend.care.models import CareRelationship, Clinic, Membership, Participant
from backend.care.pseudonym import ADJECTIVES, NOUNS
from backend.care.roles import Role
from tests.care.joining.door import (
    API,
    PREVIEW,
    REDEEM,
    entries_since,
    invited,
    joined,
    me,
    new_phone_code,
    newest_entry,
    phone,
    post,
    preview,
    redeem,
    seen,
    sent,
    signed_in,
)
from tests.conftest import ENROLLED_AT, as_owner, enrol, sign_in, submission
from tests.scales.phone import pointers

SIGN_IN = "/_allauth/app/v1"
PASSWORD = "five quiet herons wading"


def tables() -> dict[str, int]:
    kinds = (User, Participant, CareRelationship, RecoveryCode, EmailAddress)
    return {kind.__name__: kind.objects.count() for kind in kinds}


def at_once(person: Participant) -> None:
    """Nothing; their care began before the transaction that a test is, whose start is its now()."""
    CareRelationship.objects.filter(participant=person).update(started_at=ENROLLED_AT)


def session_of(token: str) -> str:
    claims = decode_token(token, "access")
    assert claims is not None
    return str(session_key_from_sid(claims["sid"]))


def test_a_preview_says_who_and_what_and_uses_nothing_up(thea: Membership, settings: Any) -> None:
    settings.OPERATOR_NAME, settings.OPERATOR_CONTACT = "Linden e.V.", "+49 30 000"
    code = invited(thea)
    before = tables()

    answer = preview(code)
    shown = answer.json()

    assert answer.status_code == 200
    stored = shown.pop("stored")
    assert shown == {
        "kind": "join",
        "clinic": {"name": "Linden"},
        "operator": {"name": "Linden e.V.", "contact": "+49 30 000"},
        "email_required": False,
        "languages": ["en"],
        "expires_at": Invitation.objects.get().expires_at.isoformat(),
    }
    assert any("e-mail address only if you give one" in words for words in stored)
    assert (tables(), CodeGuess.objects.count()) == (before, 0)
    assert redeem(code).status_code == 201


def test_somebody_joins_without_an_address(thea: Membership) -> None:
    newest, began = newest_entry(), timezone.now()

    answer = redeem(invited(thea))
    shown = answer.json()
    person = joined(answer)

    assert answer.status_code == 201
    adjective, noun = person.pseudonym.split()
    assert (adjective in ADJECTIVES, noun in NOUNS) == (True, True)
    assert {k: v for k, v in shown.items() if not k.endswith("token") and k != "recovery_codes"} == {
        "participant": {
            "id": str(person.public_id),
            "pseudonym": person.pseudonym,
            "timezone": "Europe/Lisbon",
            "enrolled_at": person.enrolled_at.isoformat(),
        },
        "clinic": {"id": str(thea.clinic.public_id), "name": "Linden"},
        "kind": "join",
        "email_to_confirm": False,
    }
    assert person.user is not None
    assert (person.user.email, person.user.has_usable_password()) == (None, False)
    assert began <= person.enrolled_at <= timezone.now()
    care_of = CareRelationship.objects.get(participant=person)
    assert (care_of.therapist_id, care_of.ended_at) == (thea.pk, None)
    assert me(shown["access_token"]).json() == {
        "email": None,
        "name": None,
        "participant": shown["participant"],
        "memberships": [],
    }
    assert entries_since(newest) == [
        ("invitation.created", thea.user_id, None, thea.clinic_id),
        ("participant.enrolled", None, person.pk, thea.clinic_id),
        ("care.started", None, person.pk, thea.clinic_id),
        ("invitation.redeemed", person.user_id, person.pk, thea.clinic_id),
        ("recovery_codes.made", person.user_id, person.pk, thea.clinic_id),
    ]
    assert len(sent()) == 0


def test_the_tokens_are_those_of_any_sign_in(thea: Membership) -> None:
    shown = redeem(invited(thea)).json()
    person = Participant.objects.get(public_id=shown["participant"]["id"])
    headers = {"authorization": f"Bearer {shown['access_token']}"}

    session = Client(headers=headers).get(f"{SIGN_IN}/auth/session").json()
    fresh = post(phone(), f"{SIGN_IN}/tokens/refresh", {"refresh_token": shown["refresh_token"]}).json()[
        "data"
    ]

    assert session["meta"]["is_authenticated"] is True
    assert session["data"]["user"]["id"] == person.user_id
    # The sign-in counts as one just made: what asks for that (a passkey is one such thing) is open.
    (method,) = session["data"]["methods"]
    assert (method["method"], method["reauthenticated"]) == ("code", True)
    assert me(fresh["access_token"]).status_code == 200
    assert Client(headers=headers).delete(f"{SIGN_IN}/auth/session").status_code == 401
    assert me(shown["access_token"]).status_code == 401


def test_whatever_session_the_request_comes_with_is_left_alone(ana: Participant, thea: Membership) -> None:
    assert ana.user is not None
    old = sign_in(ana.user)

    answer = post(phone(), REDEEM, {"code": invited(thea), "timezone": "UTC"}, token=old)

    assert answer.status_code == 201
    assert answer.json()["participant"]["id"] != str(ana.public_id)
    assert me(old).json()["participant"]["id"] == str(ana.public_id)
    with_cookie = phone()
    with_cookie.cookies["sessionid"] = Session.objects.get(pk=session_of(old)).pk
    assert redeem(invited(thea), client=with_cookie).status_code == 201
    assert me(old).json()["participant"]["id"] == str(ana.public_id)
    broken = post(phone(), REDEEM, {"code": invited(thea), "timezone": "UTC"}, token="not.a.token")
    assert broken.status_code == 201


def test_the_therapist_sees_who_joined_and_nobody_else_does(
    thea: Membership, theo: Membership, carla: Membership
) -> None:
    person = joined(redeem(invited(thea)))
    at_once(person)

    cells = [
        signed_in(member).get(f"{API}/participants/{person.public_id}").status_code
        for member in (thea, theo, carla)
    ]

    assert cells == [200, 404, 404]


def test_a_code_works_once(thea: Membership) -> None:
    code = invited(thea)
    redeem(code)
    before = tables()

    again = redeem(code)

    assert (again.status_code, again.json()["code"]) == (422, "code_unusable")
    assert tables() == before


def test_a_lost_reply_is_answered_again_to_the_same_device(thea: Membership) -> None:
    code, device = invited(thea), uuid4()
    first = redeem(code, device=device).json()
    before = tables()

    again = redeem(code, device=device)

    assert again.status_code == 201
    assert again.json()["participant"] == first["participant"]
    assert tables() == before
    assert me(again.json()["access_token"]).json()["participant"] == first["participant"]
    # The codes of the reply that got lost are of no use to whoever found it.
    assert not set(first["recovery_codes"]) & set(again.json()["recovery_codes"])
    assert redeem(code, device=uuid4()).json()["code"] == "code_unusable"
    assert redeem(code).json()["code"] == "code_unusable"
    assert post(phone(), PREVIEW, {"code": code}, device=device).status_code == 200


def test_a_lost_reply_is_answered_for_fifteen_minutes_and_five_times(thea: Membership) -> None:
    code, device = invited(thea), uuid4()
    redeem(code, device=device)

    assert [redeem(code, device=device).status_code for _ in range(6)] == [201] * 5 + [422]
    Invitation.objects.update(repeats=0, redeemed_at=timezone.now() - timedelta(minutes=14))
    assert redeem(code, device=device).status_code == 201
    Invitation.objects.update(redeemed_at=timezone.now() - timedelta(minutes=15))
    assert redeem(code, device=device).status_code == 422


def test_without_a_device_nobody_comes_a_second_time(thea: Membership) -> None:
    """Two without `X-Device` are not the same device."""
    code = invited(thea)
    redeem(code)

    assert redeem(code).status_code == 422


def wrong_codes(thea: Membership, adam: Membership, ana: Participant) -> dict[str, str]:
    """A code of every kind that cannot be used."""
    now = timezone.now()
    found = {name: invited(thea) for name in ("used", "expired", "withdrawn", "therapist gone")}
    redeem(found["used"])

    def change(name: str, **fields: Any) -> None:
        code = read(found[name])
        assert code is not None
        Invitation.objects.filter(digest=services.digest(code)).update(**fields)

    change("expired", created_at=now - timedelta(days=15), expires_at=now)
    change("withdrawn", withdrawn_at=now)
    gone = care.add_member(
        clinic=thea.clinic,
        user=User.objects.create_user(email=None),
        role=Role.THERAPIST,
        started_at=ENROLLED_AT,
    )
    found["therapist gone"] = invited(gone)
    Membership.objects.filter(pk=gone.pk).update(ended_at=now)
    found["new phone, therapist former"] = new_phone_code(thea, ana)
    CareRelationship.objects.filter(participant=ana).update(ended_at=ENROLLED_AT)
    ben = enrol("wrong", thea.clinic)
    found["new phone, suspended"] = new_phone_code(adam, ben)
    User.objects.filter(participant=ben).update(is_active=False)
    found["never"] = "K7QM-2XWP-94HD-RTCW"
    return found


def test_every_wrong_code_is_the_same_answer(thea: Membership, adam: Membership, ana: Participant) -> None:
    found = wrong_codes(thea, adam, ana)
    before = tables()
    for path, more in ((REDEEM, {"timezone": "UTC"}), (PREVIEW, {})):
        answers, statements = {}, {}
        for name, code in found.items():
            client = phone()
            with CaptureQueriesContext(connection) as queries:
                answers[name] = seen(post(client, path, {"code": code, **more}))
            # As many statements, and the same: no reason is quicker than another.
            statements[name] = [q["sql"].split(" ")[0] for q in queries]

        assert answers == dict.fromkeys(found, answers["never"])
        assert answers["never"][0] == 422
        assert statements == dict.fromkeys(found, statements["never"])
    assert tables() == before


def test_a_slip_is_told_from_a_wrong_code_and_does_not_count(thea: Membership) -> None:
    client = phone()
    for code in ("K7QM-2XWP-94HD-RTCX", "K7QM", "", "0" * 16, "x" * 65):
        answer = redeem(code, client=client)
        assert answer.status_code == 422
        assert [place for place, _ in pointers(answer)] == ["/code"]
    assert pointers(redeem("K7QM-2XWP-94HD-RTCX", client=client)) == [("/code", "code_mistyped")]
    assert CodeGuess.objects.count() == 0


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"timezone": "Mars/Olympus"}, ("/timezone", "unknown_timezone")),
        ({"timezone": None}, ("/timezone", "wrong_type")),
        ({"email": "not an address"}, ("/email", "invalid_value")),
        ({"email": 7}, ("/email", "wrong_type")),
        ({"password": PASSWORD}, ("/email", "required")),
        ({"email": "a@b.example", "password": "short"}, ("/password", "password_too_weak")),
        ({"email": "a@b.example", "password": "passwordpassword"[:14]}, ("/password", "password_too_weak")),
        ({"keep_other_devices": "yes"}, ("/keep_other_devices", "wrong_type")),
        ({"clinic": str(uuid4())}, ("/clinic", "unknown_field")),
        ({"pseudonym": "king of all"}, ("/pseudonym", "unknown_field")),
        ({"user": 1}, ("/user", "unknown_field")),
    ],
)
def test_what_does_not_fit_uses_no_code_up(thea: Membership, fields: dict[str, Any], expected: Any) -> None:
    code = invited(thea)
    before = tables()

    assert pointers(redeem(code, **fields)) == [expected]
    assert (tables(), CodeGuess.objects.count()) == (before, 0)
    assert redeem(code).status_code == 201


def confirm(token: str, key: str) -> Any:
    return post(phone(), f"{SIGN_IN}/auth/email/verify", {"key": key}, token=token)


def mailed_code() -> str:
    (message,) = sent()
    return next(line.strip() for line in str(message.body).splitlines() if line.startswith("    "))


def test_an_address_is_theirs_once_confirmed(
    thea: Membership, django_capture_on_commit_callbacks: Any
) -> None:
    with django_capture_on_commit_callbacks(execute=True):
        shown = redeem(invited(thea), email="Mia@Cast.example", password=PASSWORD).json()
    user = Participant.objects.get(public_id=shown["participant"]["id"]).user
    assert user is not None

    assert shown["email_to_confirm"] is True
    assert me(shown["access_token"]).json()["email"] is None
    assert [m.to for m in sent()] == [["mia@cast.example"]]
    assert EmailAddress.objects.filter(email=lookup("mia@cast.example")).count() == 0
    login = {"email": "mia@cast.example", "password": PASSWORD}
    assert post(phone(), f"{SIGN_IN}/auth/login", login).status_code == 400

    assert confirm(shown["access_token"], mailed_code()).status_code == 200

    assert me(shown["access_token"]).json()["email"] == "mia@cast.example"
    kept = EmailAddress.objects.get(user=user)
    assert (kept.email, kept.verified, kept.primary) == (lookup("mia@cast.example"), True, True)
    assert post(phone(), f"{SIGN_IN}/auth/login", login).status_code == 200


def outside(answer: Any) -> Any:
    """What of joining does not differ from one person to the next."""
    status, headers, _ = seen(answer)
    shown = answer.json()
    shapes = {name: type(value).__name__ for name, value in shown.items()}
    return status, headers.keys(), shapes, shown["email_to_confirm"]


def test_whose_address_it_is_does_not_show(
    ana: Participant, thea: Membership, django_capture_on_commit_callbacks: Any
) -> None:
    """Somebody's already, or nobody's: the same answer, the same list of addresses, one message each."""
    found = {}
    for email in ("ana@cast.example", "nobody@cast.example"):
        client, code = phone(), invited(thea)
        with django_capture_on_commit_callbacks(execute=True), CaptureQueriesContext(connection) as queries:
            answer = redeem(code, client=client, email=email, password=PASSWORD)
        token = {"authorization": f"Bearer {answer.json()['access_token']}"}
        found[email] = [
            outside(answer),
            [q["sql"].split(" ")[0] for q in queries],
            Client(headers=token).get(f"{SIGN_IN}/account/email").content.decode().replace(email, ""),
            [confirm(answer.json()["access_token"], "WRONG1").json() for _ in range(3)],
        ]

    taken, free = found.values()
    assert taken == free
    assert [(m.to, m.subject) for m in sent()] == [
        (["ana@cast.example"], "Your address"),
        (["nobody@cast.example"], "Your code to confirm this address"),
    ]
    assert "it is already yours here" in sent()[0].body
    assert EmailAddress.objects.filter(email=lookup("ana@cast.example")).count() == 1
    assert User.objects.get(email=lookup("ana@cast.example")).pk == ana.user_id


def test_nobody_takes_an_address_that_is_somebodys(ana: Participant, thea: Membership) -> None:
    """Not even with the code that nobody was sent."""
    token = redeem(invited(thea), email="ana@cast.example").json()["access_token"]
    session = SessionStore(Session.objects.order_by("-expire_date").values_list("pk", flat=True)[0])

    answer = confirm(token, session["account_email_verification_code"]["code"])

    assert (answer.status_code, answer.json()["errors"][0]["code"]) == (400, "email_taken")
    assert list(EmailAddress.objects.filter(email=lookup("ana@cast.example")).values_list("user")) == [
        (ana.user_id,)
    ]
    assert me(token).json()["email"] is None


def test_a_mail_server_that_fails_undoes_nothing(
    thea: Membership, settings: Any, django_capture_on_commit_callbacks: Any
) -> None:
    settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", 1

    with django_capture_on_commit_callbacks(execute=True):
        answer = redeem(invited(thea), email="mia@cast.example")

    assert answer.status_code == 201
    assert me(answer.json()["access_token"]).status_code == 200


def test_a_name_that_is_taken_is_drawn_again(thea: Membership) -> None:
    """The first names drawn are somebody's; when plain ones keep clashing they get a word more."""

    def redeemed() -> str:
        drawn = iter("aaaaaabb" * 8)

        def choose(words: Sequence[str]) -> str:
            return words[0] if next(drawn) == "a" else words[1]

        code = read(invited(thea))
        assert code is not None
        found = services.redeem(
            code=code, device=None, timezone="UTC", email=None, password=None,
            keep_other_devices=False, now=timezone.now(), choose=choose,
        )  # fmt: skip
        assert found is not None
        return found.participant.pseudonym

    plain, other = f"{ADJECTIVES[0]} {NOUNS[0]}", f"{ADJECTIVES[1]} {NOUNS[1]}"

    assert [redeemed() for _ in range(3)] == [plain, other, f"{ADJECTIVES[0]} {ADJECTIVES[0]} {NOUNS[0]}"]


def test_the_same_name_in_another_clinic_is_no_clash(thea: Membership, carla: Membership) -> None:
    names = set()
    for therapist in (thea, carla):
        code = read(invited(therapist))
        assert code is not None
        found = services.redeem(
            code=code, device=None, timezone="UTC", email=None, password=None,
            keep_other_devices=False, now=timezone.now(), choose=lambda words: words[7],
        )  # fmt: skip
        assert found is not None
        names.add(found.participant.pseudonym)
    assert len(names) == 1


def test_a_new_phone_keeps_history_and_ends_the_old_ones(ana: Participant, thea: Membership) -> None:
    assert ana.user is not None
    old = sign_in(ana.user)
    answered = post(phone(), f"{API}/administrations", submission(), token=old).json()["id"]
    code, newest = new_phone_code(thea, ana), newest_entry()
    staff = sign_in(thea.user)

    answer = redeem(code)
    token = answer.json()["access_token"]

    assert answer.status_code == 201
    assert (answer.json()["kind"], joined(answer)) == ("relink", ana)
    assert ana.timezone == answer.json()["participant"]["timezone"] == "Europe/Berlin"
    headers = {"authorization": f"Bearer {token}"}
    assert Client(headers=headers).get(f"{API}/administrations/{answered}").status_code == 200
    assert (me(old).status_code, me(token).status_code, me(staff).status_code) == (401, 200, 200)
    assert entries_since(newest) == [
        ("invitation.redeemed", ana.user_id, ana.pk, ana.clinic_id),
        ("recovery_codes.made", ana.user_id, ana.pk, ana.clinic_id),
    ]
    assert redeem(code).json()["code"] == "code_unusable"


def test_a_new_phone_beside_the_old_one_if_they_say_so(ana: Participant, thea: Membership) -> None:
    assert ana.user is not None
    old = sign_in(ana.user)

    token = redeem(new_phone_code(thea, ana), keep_other_devices=True).json()["access_token"]

    assert (me(old).status_code, me(token).status_code) == (200, 200)


def test_an_old_phones_refresh_token_is_over(thea: Membership) -> None:
    first = redeem(invited(thea)).json()
    person = Participant.objects.get(public_id=first["participant"]["id"])
    at_once(person)

    redeem(new_phone_code(thea, person))

    refresh = post(phone(), f"{SIGN_IN}/tokens/refresh", {"refresh_token": first["refresh_token"]})
    assert refresh.status_code == 400


def test_the_owner_is_told_of_a_new_phone(
    ana: Participant, thea: Membership, django_capture_on_commit_callbacks: Any
) -> None:
    with django_capture_on_commit_callbacks(execute=True):
        redeem(new_phone_code(thea, ana))

    (message,) = sent()
    assert message.to == ["ana@cast.example"]
    assert ana.pseudonym not in message.body


def test_a_new_phones_lost_reply_ends_nothing_twice_in_the_mail(
    ana: Participant, thea: Membership, django_capture_on_commit_callbacks: Any
) -> None:
    code, device = new_phone_code(thea, ana), uuid4()
    with django_capture_on_commit_callbacks(execute=True):
        first = redeem(code, device=device).json()
        again = redeem(code, device=device).json()

    assert len(sent()) == 1
    assert (me(first["access_token"]).status_code, me(again["access_token"]).status_code) == (401, 200)


def test_a_new_phone_changes_neither_address_nor_password(ana: Participant, thea: Membership) -> None:
    code = new_phone_code(thea, ana)

    answer = redeem(code, email="thief@cast.example", password=PASSWORD)

    assert pointers(answer) == [("/email", "only_when_joining"), ("/password", "only_when_joining")]
    assert CodeGuess.objects.count() == 0
    assert redeem(code).status_code == 201


def test_a_new_phone_for_somebody_enrolled_without_a_user(linden: Clinic, adam: Membership) -> None:
    person = care.enrol_participant(
        clinic=linden, user=None, pseudonym="quiet kettle", timezone="UTC", enrolled_at=ENROLLED_AT
    )

    answer = redeem(new_phone_code(adam, person))

    assert me(answer.json()["access_token"]).json()["participant"]["pseudonym"] == "quiet kettle"


def test_no_new_phone_opens_a_member_of_staffs_account(
    ana: Participant, thea: Membership, rowan: Clinic
) -> None:
    """Their therapist would come in past the second factor. And is not told that they are staff."""
    code = new_phone_code(thea, ana)
    assert ana.user is not None
    care.add_member(clinic=rowan, user=ana.user, role=Role.CLINIC_ADMIN, started_at=ENROLLED_AT)

    assert redeem(code).json()["code"] == "code_unusable"
    assert preview(new_phone_code(thea, ana)).json()["code"] == "code_unusable"


def test_a_new_phones_code_is_worth_what_its_maker_may(ana: Participant, thea: Membership) -> None:
    code = new_phone_code(thea, ana)
    User.objects.filter(pk=thea.user_id).update(is_active=False)
    assert redeem(code).status_code == 422
    User.objects.filter(pk=thea.user_id).update(is_active=True)
    Membership.objects.filter(pk=thea.pk).update(ended_at=ENROLLED_AT)
    assert redeem(code).status_code == 422
    Membership.objects.filter(pk=thea.pk).update(ended_at=None)
    assert redeem(code).status_code == 201


def test_where_one_part_fails_nothing_is_written(thea: Membership) -> None:
    code = invited(thea)
    before = tables()
    with as_owner(), connection.cursor() as cursor:
        cursor.execute(
            "CREATE FUNCTION refuse_for_a_test() RETURNS trigger LANGUAGE plpgsql AS"
            " $$ BEGIN RAISE EXCEPTION 'not today' USING ERRCODE = '53100'; END $$;"
            "CREATE TRIGGER refuse_for_a_test BEFORE INSERT ON django_session"
            " FOR EACH ROW EXECUTE FUNCTION refuse_for_a_test();"
        )

    answer = redeem(code)

    assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
    with as_owner(), connection.cursor() as cursor:
        cursor.execute("DROP TRIGGER refuse_for_a_test ON django_session")
    assert (tables(), CodeGuess.objects.count()) == (before, 0)
    assert redeem(code).status_code == 201
