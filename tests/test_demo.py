"""The demo cast, the guard that keeps it at home, and the first administrator of a real clinic."""

import json
import re
import stat
from collections.abc import Callable
from io import StringIO
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.core.management import CommandError, call_command
from django.test import Client
from pytest_django import Settings

from backend.accounts.models import User
from backend.care.models import Clinic, Participant
from backend.care.services import create_clinic
from backend.demo.guard import refuse_demo_off_loopback
from backend.demo.models import Mark
from tests.conftest import Copy

ROLES = {
    "ana": "participant",
    "ben": "participant",
    "thea": "therapist",
    "theo": "therapist",
    "carla": "therapist",
    "rosa": "researcher",
    "adam": "clinic admin",
}
GOOD = "seven herons in the reeds"


@pytest.fixture
def state(database_copy: Copy, tmp_path: Path, settings: Settings) -> Path:
    """An empty STATE, and an empty database."""
    settings.STATE = tmp_path
    return tmp_path


def run(*command: str, **options: Any) -> str:
    out = StringIO()
    call_command(*command, stdout=out, **options)
    return out.getvalue()


def sign_in(email: str, password: str) -> Client:
    """A client with the token that this password gives."""
    body = {"email": email, "password": password}
    answer = Client().post("/_allauth/app/v1/auth/login", body, "application/json")
    assert answer.status_code == 200, answer.content
    return Client(headers={"authorization": f"Bearer {answer.json()['meta']['access_token']}"})


def test_the_cast_moves_into_an_empty_database(state: Path) -> None:
    run("demo")

    file = state / "demo.json"
    told = json.loads(file.read_text())
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [path.name for path in state.iterdir()] == ["demo.json"]
    assert list(told) == ["base_url", "people"]
    assert told["base_url"] == "http://127.0.0.1:8000"
    assert {name: person["role"] for name, person in told["people"].items()} == ROLES
    for name, person in told["people"].items():
        keys = ["role", "email", "password"] + (["participant"] if name in ("ana", "ben") else [])
        assert list(person) == keys
        assert len(person["password"]) >= 15
    assert len({person["password"] for person in told["people"].values()}) == 7


def test_all_seven_can_sign_in_and_are_who_they_are(state: Path) -> None:
    run("demo")
    people = json.loads((state / "demo.json").read_text())["people"]
    clients = {name: sign_in(p["email"], p["password"]) for name, p in people.items()}
    ana = f"/api/v1/participants/{UUID(people['ana']['participant'])}"

    for name, client in clients.items():
        me = client.get("/api/v1/me").json()
        if "participant" in people[name]:
            assert (me["participant"]["id"], me["memberships"]) == (people[name]["participant"], [])
        else:
            assert (me["participant"], [m["role"] for m in me["memberships"]]) == (None, [ROLES[name]])
    assert {name: client.get(ana).status_code for name, client in clients.items()} == {
        "ana": 200,
        "ben": 404,
        "thea": 200,
        "theo": 404,
        "carla": 404,
        "rosa": 404,
        "adam": 404,
    }
    clinics = {
        name: clients[name].get("/api/v1/me").json()["memberships"][0]["clinic"] for name in list(ROLES)[2:]
    }
    assert len(set(clinics.values())) == 2
    assert [name for name in clinics if clinics[name] != clinics["thea"]] == ["carla"]


def test_a_second_run_keeps_everybody_and_their_passwords(state: Path, settings: Settings) -> None:
    run("demo")
    before = json.loads((state / "demo.json").read_text())
    settings.PUBLIC_URL = "http://127.0.0.1:8123"

    run("demo")

    after = json.loads((state / "demo.json").read_text())
    assert after == {"base_url": "http://127.0.0.1:8123", "people": before["people"]}
    assert User.objects.count() == 7


@pytest.mark.parametrize(
    "somebody", [lambda: create_clinic(name="Real"), lambda: User.objects.create_user(email=None)]
)
def test_where_somebody_lives_nobody_moves_in(state: Path, somebody: Callable[[], object]) -> None:
    somebody()

    said = run("demo")

    assert "nothing done" in said
    assert (list(state.iterdir()), Mark.objects.count(), Participant.objects.count()) == ([], 0, 0)


def test_a_lost_file_is_not_made_up(state: Path) -> None:
    run("demo")
    (state / "demo.json").unlink()

    assert "nothing done" in run("demo")
    assert list(state.iterdir()) == []


# Public address, trusted proxy, and whether a demo may be served there.
PLACES = {
    ("http://127.0.0.1:8000", ""): True,
    ("http://localhost:8000", ""): True,
    ("http://[::1]:8000", ""): True,
    ("https://selfkind.example", ""): False,
    ("http://192.168.1.5:8000", ""): False,
    ("http://0.0.0.0:8000", ""): False,
    ("http://localhost.example", ""): False,
    ("http://127.0.0.1:8000", "10.0.0.1"): False,
}


def served(settings: Settings, public_url: str, proxy: str) -> bool:
    settings.PUBLIC_URL, settings.TRUSTED_PROXY = public_url, proxy
    try:
        refuse_demo_off_loopback()
    except ImproperlyConfigured as refusal:
        assert "DEMO=1" in str(refusal)
        return False
    return True


def test_a_demo_is_served_on_loopback_only(state: Path, settings: Settings) -> None:
    assert {place: served(settings, *place) for place in PLACES} == dict.fromkeys(PLACES, True)

    run("demo")

    assert {place: served(settings, *place) for place in PLACES} == PLACES


@pytest.fixture
def link(state: Path) -> str:
    """The path of the link that is printed for a clinic's first administrator."""
    said = run("clinic", "create", admin=" Iris@Clinic.example ", name="Alder")
    found = re.search(r"^http://127\.0\.0\.1:8000(/welcome/\S+)$", said, re.MULTILINE)
    assert found
    return found[1]


def choose(browser: Client, page: str, first: str, second: str | None = None) -> Any:
    """The page after that password was typed, twice the same unless said, with the page's own token."""
    shown = browser.get(page).content.decode()
    token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', shown)
    assert token
    return browser.post(
        page,
        {
            "csrfmiddlewaretoken": token[1],
            "new_password1": first,
            "new_password2": first if second is None else second,
        },
    )


def test_the_first_administrator_chooses_a_password_once(link: str) -> None:
    browser = Client(enforce_csrf_checks=True)
    opened = browser.get(link)
    assert opened.status_code == 302
    page = opened["Location"]
    # The token is kept out of the address bar, of the log of a proxy, and of the next page's referrer.
    assert link.rsplit("/", 1)[1] not in page

    for first, second in (("fourteen chars", None), (GOOD, "seven herons in the tree"), ("", None)):
        refused = choose(browser, page, first, second)
        assert refused.status_code == 200
        assert b'role="alert"' in refused.content
    assert browser.post(page, {"new_password1": GOOD, "new_password2": GOOD}).status_code == 403
    kept = choose(browser, page, GOOD)

    assert (kept.status_code, kept["Location"]) == (302, "/welcome")
    assert "Your password stands" in browser.get("/welcome").content.decode()
    me = sign_in("iris@clinic.example", GOOD).get("/api/v1/me").json()
    assert [(m["clinic_name"], m["role"]) for m in me["memberships"]] == [("Alder", "clinic admin")]
    for visitor in (browser, Client()):
        assert "has been used" in visitor.get(link, follow=True).content.decode()
        assert "has been used" in visitor.get(page).content.decode()


def test_its_pages_load_nothing_and_are_framed_by_nobody(link: str) -> None:
    browser = Client()
    page = browser.get(link)["Location"]

    for answer in (browser.get(page), browser.get("/welcome"), Client().get("/welcome/MQ/nothing")):
        policy = dict(part.split(" ", 1) for part in answer["Content-Security-Policy"].split("; "))
        assert policy.pop("style-src").startswith("'sha256-")
        assert policy == {
            "default-src": "'none'",
            "form-action": "'self'",
            "frame-ancestors": "'none'",
            "base-uri": "'none'",
        }
        assert b"<script" not in answer.content
        assert answer["Cache-Control"].find("no-store") >= 0


def test_a_link_of_another_is_no_link(link: str) -> None:
    _, _, person, token = link.split("/")

    for path in (f"/welcome/MQ/{token[:-1]}x", f"/welcome/OTk/{token}", f"/welcome/%FF/{token}"):
        assert "has been used" in Client().get(path, follow=True).content.decode()
    assert Client().get(f"/welcome/{person}/{token}").status_code == 302


@pytest.mark.parametrize("email", ["iris@clinic.example", "IRIS@clinic.example", "iris", ""])
def test_an_address_that_cannot_be_is_refused(link: str, email: str) -> None:
    with pytest.raises(CommandError):
        run("clinic", "create", admin=email)

    assert (Clinic.objects.count(), User.objects.count()) == (1, 1)
