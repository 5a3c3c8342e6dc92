"""The README's tour, typed into a shell as it stands there."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from tests.running import ROOT, SERVERS, Stack, eventually, stack

FENCE = re.compile(r"^```sh\n(.*?)^```", re.DOTALL | re.MULTILINE)


def block(beginning: str) -> str:
    """The block of the README that begins so."""
    blocks: list[str] = FENCE.findall((ROOT / "README.md").read_text())
    return next(block for block in blocks if block.startswith(beginning))


def tour() -> str:
    return block("demo()")


def pick() -> str:
    return next(line + "\n" for line in block("uuid()").splitlines() if line.startswith("pick()"))


def typed(running: Stack, script: str) -> str:
    """What a shell says to that script, against that product, in a folder of its own."""
    script = script.replace("127.0.0.1:8000", f"127.0.0.1:{running.port}")
    script = script.replace(".state/demo.json", str(running.state / "demo.json"))
    script = script.replace(".venv/bin/python manage.py", f"{sys.executable} {ROOT / 'manage.py'}")
    own = {name: value for name, value in os.environ.items() if name not in SERVERS}
    walked = subprocess.run(
        ["bash", "-eu", "-c", script],
        cwd=running.place,
        env={**own, "STATE": str(running.state)},
        capture_output=True,
        text=True,
        timeout=180,
    )
    assert walked.returncode == 0, walked.stderr
    return walked.stdout.rstrip()


def test_the_tour_shows_what_the_readme_says(place: Path) -> None:
    assert shutil.which("bash"), "the tour is written for bash"
    assert shutil.which("curl"), "the tour is written for curl"
    assert len(tour().splitlines()) == 10

    with stack(place, DEMO="1") as running:
        assert eventually(running.started, 60), running.lines()
        said = typed(running, tour())
        # The second block goes on in the same terminal: it needs the functions of the first.
        functions = "".join(tour().splitlines(keepends=True)[:3])
        me, before, agreed, after = typed(running, functions + block("uuid()")).splitlines()

        mine = typed(running, f"{functions}ANA=$(token ana)\n{pick()}{block('api $ANA me/access-log')}")
        checked = typed(running, block(".venv/bin/python manage.py keys check"))

    assert '"action": "trends.read"' in mine and '"action": "participant.refused"' in mine
    assert '"status":"ready"' in mine and "index.html" in mine
    assert '"status":"waiting"' in mine and '"status":"cancelled"' in mine
    assert "keys open" in checked and "Restored and checked" in checked
    assert json.loads(me)["email"] is None
    assert " " in json.loads(me)["participant"]["pseudonym"]
    assert (json.loads(before.removesuffix(" 403"))["code"], before[-4:]) == ("no_consent", " 403")
    assert json.loads(agreed)["status"] == "in_force"
    assert after == '{"results":[],"next":null} 200'
    *head, thea, theo, carla = said.splitlines()
    definition, *answers = (json.loads(line) for line in head[:6])
    asked = definition["items"][4]["text"]
    assert asked == "I try to be loving towards myself when I'm feeling emotional pain."
    first = {score["subscale"]: score["value"] for score in answers[0]["scores"]}
    # Kindness 2, everything else 3: (2 + 3 + 3 + 3 + 3 + 3) / 6.
    assert (first["self_kindness"], first["self_judgment"], first["total"]) == (2, 3, 2.8333)
    assert len(answers) == 5
    trend = json.loads("\n".join(head[6:]))
    kindness = next(s for s in trend["subscales"] if s["subscale"] == "self_kindness")
    assert trend["up_to_date"]
    assert [point["value"] for point in kindness["points"]] == [2, 4, 4, 4, 4]
    assert (kindness["change"], kindness["reliable_change"]["status"]) == (2, "improved")
    assert (thea, theo, carla) == ("thea 200", "theo 404", "carla 404")
