"""T20 in short: keys turn over beside requests, by commands of which the first ones are killed."""

import os
import re
import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from django.conf import settings
from django.db import connection
from django.test import Client

from backend.care.services import create_clinic
from backend.keys.ring import keyring
from backend.stack.dsn import AS_APP, with_options
from scales.models import Correction
from tests.conftest import Copy, enrol, sign_in, submission
from tests.keys.crowd import look, move_in
from tests.scales.phone import URL, correct, post
from tests.scales.test_corrections import correction

PEOPLE = 20


@pytest.fixture
def client(database_copy: Copy, own_keys: Path) -> Client:
    """Ana's, in a database where commits stay."""
    ana = enrol("ana", create_clinic(name="Linden"))
    assert ana.user is not None
    return Client(headers={"authorization": f"Bearer {sign_in(ana.user)}"}, raise_request_exception=False)


def rotator(database: str, folder: Path) -> subprocess.Popen[str]:
    """`manage.py keys rotate` as somebody at the machine starts it."""
    url = urlsplit(os.environ["DATABASE_URL"])._replace(path=f"/{database}", query="").geturl()
    keys = {"KEY_STORE": str(folder / "keys"), "MASTER_KEY_FILE": str(folder / "master-key")}
    return subprocess.Popen(
        [sys.executable, "manage.py", "keys", "rotate", "--pause", "0.1"],
        cwd=settings.BASE_DIR, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        env={**os.environ, "DATABASE_URL": with_options(url, AS_APP), **keys},
    )  # fmt: skip


def ask(client: Client, over: threading.Event, statuses: Counter[Any]) -> None:
    """Nothing; what was answered to submissions, corrections and reads until it was over."""
    try:
        while not over.wait(0.02):
            sent = submission()
            statuses["sent", post(client, sent).status_code] += 1
            statuses["corrected", correct(client, sent["id"], correction()).status_code] += 1
            answer = client.get(f"{URL}/{sent['id']}")
            statuses["read", answer.status_code] += 1
            assert answer.json()["revisions"][1]["reason"] == correction()["reason"]
    finally:
        connection.close()


def test_killed_and_started_again_it_turns_everything_over_beside_requests(
    client: Client, own_keys: Path, database_copy: Copy
) -> None:
    move_in(PEOPLE)
    first = submission()
    assert post(client, first).status_code == 201
    assert correct(client, first["id"], correction()).status_code == 201
    before = keyring().master.masters()
    over, statuses = threading.Event(), Counter[Any]()
    asking = threading.Thread(target=ask, args=(client, over, statuses))
    asking.start()

    said: list[str] = []
    for kill_after in ("people have a next data key", "scales_quarantined.faults", ""):
        running = rotator(database_copy.name, own_keys)
        assert running.stdout is not None
        for line in running.stdout:
            said.append(line.strip())
            if kill_after and kill_after in line:
                running.kill()
                break
        assert running.wait() == (-9 if kill_after else 0), said
    over.set()
    asking.join()

    found = look()
    # An address, and a reason of each.
    assert found == {"values": 1 + PEOPLE + 1 + statuses["corrected", 201], **dict.fromkeys(
        ("unreadable", "wrong", "behind", "turning"), 0
    )}  # fmt: skip
    assert {status for _, status in statuses} == {200, 201}
    assert Correction.objects.count() == found["values"] - 1 > PEOPLE + 1
    assert {record.current for holder, record in keyring().store.records() if holder.int > 1} == {2}
    # Killed as soon as it said so, the next one may look again, and finds nobody left.
    made, *again = (int(re.sub(r"\D", "", line)) for line in said if "next data key" in line)
    assert (made, set(again) - {0}) == (PEOPLE + 2, set())
    told = "".join(file.read_text() for file in [own_keys / "master-key", *(own_keys / "keys").iterdir()])
    assert before.current not in told
