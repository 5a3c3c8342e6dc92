"""A correction adds a revision with its reason. Every revision stays, and stays readable."""

from typing import Any
from uuid import UUID, uuid4

import pytest

from backend.care.models import Membership, Participant
from scales.models import Correction, Quarantined, Trend
from tests.conftest import responses, submission
from tests.scales.phone import URL, ClientFor, actions, correct, counts, opened, pointers, post, value


def correction(answer: float = 4, **fields: Any) -> dict[str, Any]:
    return {
        "id": str(uuid4()),
        "responses": responses("scs-26", answer),
        "reason": "I read it backwards.",
        **fields,
    }


@pytest.fixture
def sent(ana: Participant, client_for: ClientFor) -> dict[str, Any]:
    body = submission("scs-26", answer=2, skipped={"scs26": "declined"})
    body["responses"]["scs26"] = None
    assert post(client_for(ana), body).status_code == 201
    return body


def test_a_correction_is_a_further_revision_and_all_stay_readable(
    ana: Participant, thea: Membership, client_for: ClientFor, sent: dict[str, Any]
) -> None:
    first, second = correction(4), correction(5, reason="And now the other way.")

    answers = [correct(client_for(ana), sent["id"], body) for body in (first, second)]

    assert [(a.status_code, a.json()["revision"]) for a in answers] == [(201, 2), (201, 3)]
    assert [value(a, "self_kindness") for a in answers] == [4.0, 5.0]
    read = client_for(thea).get(f"{URL}/{sent['id']}").json()
    assert read == client_for(ana).get(f"{URL}/{sent['id']}").json()
    assert (read["revision"], read["responses"]) == (3, second["responses"])
    assert read["skipped"] == {"scs26": "declined"}
    kindness = [
        (
            r["revision"],
            r["reason"],
            r["responses"],
            next(s["value"] for s in r["scores"] if s["subscale"] == "self_kindness"),
        )
        for r in read["revisions"]
    ]
    answered = {item: answer for item, answer in sent["responses"].items() if answer is not None}
    assert kindness == [
        (1, None, answered, None),  # item 26 is one of self-kindness's, and was declined
        (2, "I read it backwards.", first["responses"], 4.0),
        (3, "And now the other way.", second["responses"], 5.0),
    ]
    assert [r["received_at"] for r in read["revisions"]] == sorted(
        r["received_at"] for r in read["revisions"]
    )
    assert actions(ana)[:3] == [
        "administration.recorded",
        "administration.corrected",
        "administration.corrected",
    ]


def test_lists_show_the_newest_revision(
    ana: Participant, thea: Membership, client_for: ClientFor, sent: dict[str, Any]
) -> None:
    correct(client_for(ana), sent["id"], correction(5))

    for client, url in (
        (client_for(ana), URL),
        (client_for(thea), f"/api/v1/participants/{ana.public_id}/administrations"),
    ):
        (shown,) = client.get(url).json()["results"]
        assert (shown["revision"], shown["scores"][0]["value"]) == (2, 5.0)


def test_the_first_submission_sent_again_has_its_first_answer_still(
    ana: Participant, client_for: ClientFor, sent: dict[str, Any]
) -> None:
    before = post(client_for(ana), sent)
    correct(client_for(ana), sent["id"], correction(5))

    again = post(client_for(ana), sent)

    assert (again.status_code, again.content) == (200, before.content)


def test_the_same_correction_again_changes_nothing(
    ana: Participant, client_for: ClientFor, sent: dict[str, Any]
) -> None:
    client, body = client_for(ana), correction(4)
    first = correct(client, sent["id"], body)

    again = correct(client, sent["id"], body | {"responses": responses("scs-26", 4.0)})

    assert (first.status_code, again.status_code) == (201, 200)
    assert first.content == again.content
    assert Correction.objects.count() == 1
    assert actions(ana).count("administration.corrected") == 1


def test_a_correction_asks_for_the_trend_again_and_a_repeated_one_does_not(
    ana: Participant, client_for: ClientFor, sent: dict[str, Any]
) -> None:
    body = correction()

    for expected in (2, 2):
        correct(client_for(ana), sent["id"], body)
        assert Trend.objects.get().requested == expected


def test_a_taken_correction_id_is_a_conflict_and_kept(
    ana: Participant, client_for: ClientFor, sent: dict[str, Any]
) -> None:
    client, body, other = client_for(ana), correction(4), submission()
    post(client, other)
    correct(client, sent["id"], body)

    conflicts = [
        correct(client, sent["id"], body | {"reason": "Another."}),
        correct(client, sent["id"], body | {"responses": responses("scs-26", 1)}),
        correct(client, other["id"], body),
    ]

    assert [(a.status_code, a.json()["code"]) for a in conflicts] == [(409, "conflict")] * 3
    assert Correction.objects.count() == 1
    assert counts()["Quarantined"] == 3
    assert Trend.objects.get().requested == 3


@pytest.mark.parametrize(
    ("wrong", "places"),
    [
        ({"responses": {"scs01": 9}}, [("/responses/scs01", "out_of_range")]),
        ({"responses": {"wcs01": 3}}, [("/responses/wcs01", "unknown_item")]),
        ({"responses": None}, [("/responses", "required")]),
        ({"reason": None}, [("/reason", "required")]),
        ({"reason": "  "}, [("/reason", "invalid_value")]),
        ({"reason": "x" * 501}, [("/reason", "invalid_value")]),
        ({"reason": 3}, [("/reason", "invalid_value")]),
        ({"id": "x"}, [("/id", "invalid_uuid")]),
        ({"completed_at": "2026-01-01T00:00:00Z"}, [("/completed_at", "unknown_field")]),
    ],
)
def test_a_correction_that_does_not_fit_is_kept_and_changes_nothing(
    ana: Participant,
    client_for: ClientFor,
    sent: dict[str, Any],
    wrong: dict[str, Any],
    places: list[tuple[str, str]],
) -> None:
    body = correction() | wrong

    answers = [correct(client_for(ana), sent["id"], body) for _ in range(2)]

    assert [a.status_code for a in answers] == [422, 422]
    assert pointers(answers[0]) == places
    found = Quarantined.objects.get()
    assert (found.kind, opened(found)) == ("rejected", body)
    assert found.administration == UUID(sent["id"])
    assert Correction.objects.count() == 0
    assert Trend.objects.get().requested == 1


def test_nobody_else_corrects(
    ana: Participant, ben: Participant, thea: Membership, client_for: ClientFor, sent: dict[str, Any]
) -> None:
    hidden = correct(client_for(ben), sent["id"], correction())
    nothing = correct(client_for(ben), str(uuid4()), correction())
    by_staff = correct(client_for(thea), sent["id"], correction())

    assert (hidden.status_code, nothing.status_code, by_staff.status_code) == (404, 404, 403)
    assert hidden.content == nothing.content
    assert counts() == {"Administration": 1, "Correction": 0, "Quarantined": 0, "Trend": 1}
