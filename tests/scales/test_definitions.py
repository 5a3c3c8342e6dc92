"""Instrument definitions: all a phone needs to ask one, under a tag."""

from typing import Any

import pytest

from backend.care.models import Membership, Participant
from scales.models import LoadedFile
from tests.scales.phone import ClientFor
from tests.scales.test_unknown_versions import arrive

URL = "/api/v1/instruments"
KEYS = [
    "code", "version", "name", "abbreviation", "language", "construct", "source", "doi", "licence",
    "attribution", "ready", "requires", "minutes", "instructions", "recall_period", "responses", "items",
    "subscales", "totals",
]  # fmt: skip
# As the authors number them: code, first and last item, how many.
FORMS = {
    "dass-21": ("dass01", "dass21", 21),
    "gad-7": ("gad01", "gad07", 7),
    "pcl-5": ("pcl01", "pcl20", 20),
    "phq-9": ("phq01", "phq10", 10),
    "scs-26": ("scs01", "scs26", 26),
    "scs-sf-12": ("scssf01", "scssf12", 12),
    "wcs-19": ("wcs01", "wcs19", 19),
}


def get(client: Any, path: str = "", **headers: str) -> Any:
    return client.get(URL + path, headers=headers)


def test_the_instruments_that_ship(thea: Membership, client_for: ClientFor) -> None:
    found = get(client_for(thea)).json()

    assert list(found) == ["results", "next"]
    assert found["next"] is None
    assert {
        form["code"]: (form["items"][0]["id"], form["items"][-1]["id"], len(form["items"]))
        for form in found["results"]
    } == FORMS
    assert [list(form) for form in found["results"]] == [KEYS] * len(FORMS)


@pytest.mark.parametrize("code", FORMS)
def test_a_definition_is_the_same_by_each_way(ana: Participant, client_for: ClientFor, code: str) -> None:
    client = client_for(ana)
    listed = {form["code"]: form for form in get(client).json()["results"]}

    assert get(client, f"/{code}").json() == get(client, f"/{code}/versions/1").json() == listed[code]


def test_the_scs_as_a_phone_needs_it(ana: Participant, client_for: ClientFor) -> None:
    form = get(client_for(ana), "/scs-26").json()

    assert (form["version"], form["ready"], form["language"]) == (1, True, "en")
    assert form["requires"] == []
    assert form["responses"]["kind"] == "likert"
    assert [form["responses"][key] for key in ("min", "max", "step")] == [1, 5, 1]
    assert list(form["responses"]) == ["kind", "min", "max", "step", "labels"]
    assert [list(item) for item in form["items"]] == [["id", "text"]] * 26
    assert {s["id"]: (s["items"], s["higher_is"]) for s in form["subscales"]} == {
        "self_kindness": (["scs05", "scs12", "scs19", "scs23", "scs26"], "better"),
        "self_judgment": (["scs01", "scs08", "scs11", "scs16", "scs21"], "worse"),
        "common_humanity": (["scs03", "scs07", "scs10", "scs15"], "better"),
        "isolation": (["scs04", "scs13", "scs18", "scs25"], "worse"),
        "mindfulness": (["scs09", "scs14", "scs17", "scs22"], "better"),
        "over_identification": (["scs02", "scs06", "scs20", "scs24"], "worse"),
    }
    assert form["totals"][0] | {"id": "total", "method": "mean_of_subscales"} == form["totals"][0]


def test_wording_that_may_not_ship_is_missing_and_says_so(ana: Participant, client_for: ClientFor) -> None:
    for form in get(client_for(ana)).json()["results"]:
        assert form["ready"] is all(item["text"] is not None for item in form["items"])


@pytest.mark.parametrize(
    "path",
    [
        "/scs-27",
        "/SCS-26",
        "/scs-26/versions/2",
        "/scs-26/versions/0",
        "/scs-26/versions/-1",
        "/scs-26/versions/one",
        "/scs-26/versions/%D9%A1",
        "/scs-26/versions/" + "9" * 400,
        "/%00",
        "/..",
    ],
)
def test_what_there_is_not(ana: Participant, client_for: ClientFor, path: str) -> None:
    client = client_for(ana)

    answer = get(client, path)

    assert (answer.status_code, answer.content) == (404, get(client, "/nothing").content)


@pytest.mark.parametrize("path", ["", "/scs-26", "/scs-26/versions/1"])
def test_a_phone_that_has_it_is_not_sent_it_again(ana: Participant, client_for: ClientFor, path: str) -> None:
    client = client_for(ana)
    first = get(client, path)
    tag = first["ETag"]

    assert tag.startswith('"')
    for held in (tag, f"W/{tag}", f'"other", {tag}', "*"):
        again = get(client, path, **{"if-none-match": held})
        assert (again.status_code, again.content, again["ETag"]) == (304, b"", tag)
    for other in ('"other"', tag.strip('"'), ""):
        assert get(client, path, **{"if-none-match": other}).content == first.content


def test_a_new_version_is_the_newest_and_the_old_one_stays(ana: Participant, client_for: ClientFor) -> None:
    client = client_for(ana)
    before = {path: get(client, path) for path in ("", "/scs-26", "/scs-26/versions/1")}

    arrive()

    assert get(client, "/scs-26").json()["version"] == 2
    assert get(client, "/scs-26/versions/2").json() == get(client, "/scs-26").json()
    assert get(client, "/scs-26/versions/1").content == before["/scs-26/versions/1"].content
    assert [f["version"] for f in get(client).json()["results"] if f["code"] == "scs-26"] == [2]
    assert {path: get(client, path)["ETag"] == before[path]["ETag"] for path in before} == {
        "": False,
        "/scs-26": False,
        "/scs-26/versions/1": True,
    }
    assert LoadedFile.objects.count() == 1
