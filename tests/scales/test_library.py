"""What an operator loads: instruments of their own, and wordings."""

from io import StringIO
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from backend.audit.models import Entry
from backend.care.models import Participant
from scales import queries
from scales.models import Administration, LoadedFile, Quarantined
from tests.conftest import ClientFor, submission

RELEASED = (queries.RELEASED_FILES / "gad-7.v1.toml").read_text()
SECOND = RELEASED.replace("\nversion = 1\n", "\nversion = 2\n")
WORDLESS = RELEASED.replace('code = "gad-7"', 'code = "own-7"').replace("gad0", "own0")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path


def instruments(*words: str | Path) -> str:
    out = StringIO()
    call_command("instruments", *map(str, words), stdout=out, stderr=out)
    return out.getvalue()


def write(folder: Path, name: str, text: str) -> Path:
    (folder / name).write_text(text)
    return folder / name


def wordless() -> str:
    """GAD-7's key under a code of its own, without the words."""
    lines = []
    for line in WORDLESS.splitlines():
        item = line.split(" = ")[0]
        lines.append(f"{item} = {{}}" if item.startswith("own0") else line)
    return "\n".join(lines).replace('ship_wording = "yes"', 'ship_wording = "no"')


def wording(**items: str) -> str:
    words = {f"own0{n}": f"Words of item {n}" for n in range(1, 8)} | items
    return 'code = "own-7"\nversion = 1\n[items]\n' + "".join(f'{k} = "{v}"\n' for k, v in words.items())


def test_the_list_names_every_released_instrument_and_what_it_lacks(db: None) -> None:
    listed = instruments("list")

    assert [line.split()[0] for line in listed.splitlines()] == [
        "dass-21",
        "gad-7",
        "pcl-5",
        "phq-9",
        "scs-26",
        "scs-sf-12",
        "wcs-19",
    ]
    assert "lacks safety rules" in next(line for line in listed.splitlines() if line.startswith("phq-9"))


def test_a_loaded_version_is_the_newest_and_leaves_the_old_as_it_was(
    file: Path, ana: Participant, client_for: ClientFor
) -> None:
    instruments("load", write(file, "gad-7.v2.toml", SECOND))

    client = client_for(ana)
    assert client.get("/api/v1/instruments/gad-7").json()["version"] == 2
    assert client.get("/api/v1/instruments/gad-7/versions/1").json()["version"] == 1
    assert Entry.objects.filter(action="instrument.loaded", subject="gad-7.v2").count() == 1


def test_loading_again_changes_nothing_and_other_content_is_refused(file: Path, db: None) -> None:
    second = write(file, "gad-7.v2.toml", SECOND)
    instruments("load", second)

    instruments("load", second)
    second.write_text(SECOND.replace("Trouble relaxing", "Trouble resting"))
    with pytest.raises(CommandError, match="1 refused"):
        instruments("load", second)

    assert LoadedFile.objects.count() == 1
    assert LoadedFile.objects.get().text == SECOND


def test_a_released_version_cannot_be_loaded_over(file: Path, db: None) -> None:
    altered = write(file, "gad-7.v1.toml", RELEASED.replace("Trouble relaxing", "Trouble resting"))

    with pytest.raises(CommandError):
        instruments("load", altered)

    assert not LoadedFile.objects.exists()


def test_check_names_file_key_and_reason_and_loads_nothing(file: Path, db: None) -> None:
    broken = write(file, "gad-7.v2.toml", SECOND.replace("min = 0", "min = 9"))
    out = StringIO()

    with pytest.raises(CommandError):
        call_command("instruments", "check", str(broken), stdout=out, stderr=out)

    assert out.getvalue().startswith("gad-7.v2.toml: responses.max: ")
    assert not LoadedFile.objects.exists()


def test_what_waited_for_a_version_is_recorded_when_it_is_loaded(
    file: Path, ana: Participant, client_for: ClientFor
) -> None:
    body = submission("gad-7", answer=2, version=2)
    kept = client_for(ana).post("/api/v1/administrations", body, content_type="application/json")
    assert kept.status_code == 202

    said = instruments("load", write(file, "gad-7.v2.toml", SECOND))

    recorded = Administration.objects.get()
    assert str(recorded.id) == body["id"]
    assert recorded.scores["total"] == [14, 7]
    assert Quarantined.objects.get().resolved_at is not None
    assert "1 administrations that waited" in said


def test_an_instrument_without_words_is_listed_but_not_ready_until_they_are_loaded(
    file: Path, ana: Participant, client_for: ClientFor
) -> None:
    client = client_for(ana)
    instruments("load", write(file, "own-7.v1.toml", wordless()))
    before = client.get("/api/v1/instruments/own-7").json()

    instruments("load-wording", write(file, "own-7.words.toml", wording()))

    after = client.get("/api/v1/instruments/own-7").json()
    assert (before["ready"], {item["text"] for item in before["items"]}) == (False, {None})
    assert after["ready"]
    assert [item["text"] for item in after["items"]] == [f"Words of item {n}" for n in range(1, 8)]


def test_a_wording_that_does_not_fit_the_key_is_refused(file: Path, db: None) -> None:
    instruments("load", write(file, "own-7.v1.toml", wordless()))
    too_many = write(file, "own-7.words.toml", wording(own08="One too many"))

    with pytest.raises(CommandError):
        instruments("load-wording", too_many)

    assert not LoadedFile.objects.filter(kind="wording").exists()


def test_loaded_words_never_change(file: Path, db: None) -> None:
    instruments("load", write(file, "own-7.v1.toml", wordless()))
    words = write(file, "own-7.words.toml", wording())
    instruments("load-wording", words)
    words.write_text(wording(own01="Other words"))

    with pytest.raises(CommandError):
        instruments("load-wording", words)

    assert LoadedFile.objects.get(kind="wording").text == wording()
