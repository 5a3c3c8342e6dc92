"""T18: people write words that are found nowhere afterwards, in anything this installation leaves behind.

Every word begins with one text made up for the run, so one search finds them all. They go in wherever words
can go in: where they belong, where they do not, and in requests that are refused.
"""

import contextlib
import http.client
import json
import os
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import psycopg
import redis

from backend.stack.state import running_environment
from tests.hunt import search, size, spellings
from tests.running import ROOT, SERVERS, Stack, eventually
from tests.storm import kill, processes

ANSWER = 30.0


@dataclass(slots=True)
class Hunt:
    """What was written, where it was looked for, and where it was found."""

    people: int
    words: int = 0
    statuses: Counter[str] = field(default_factory=Counter)
    searched: dict[str, int] = field(default_factory=dict)
    found: dict[str, list[str]] = field(default_factory=dict)
    addresses_in_mail: int = 0
    seconds: float = 0.0

    def __str__(self) -> str:
        shown = {name: getattr(self, name) for name in ("people", "words", "addresses_in_mail", "seconds")}
        megabytes = {place: round(count / 2**20, 1) for place, count in self.searched.items()}
        return json.dumps(shown | {"searched_mb": megabytes, "hits": self.found})


class Writer:
    """A person with words, over HTTP."""

    def __init__(self, stack: Stack, hunt: Hunt, prefix: str, token: str = "") -> None:
        self.stack, self.hunt, self.prefix, self.token = stack, hunt, prefix, token

    def word(self, kind: str) -> str:
        """A text nobody wrote before."""
        self.hunt.words += 1
        return f"{self.prefix}{kind}{self.hunt.words:07}"

    def send(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, bytes]:
        """The status and body of the answer; `body` is JSON, or bytes as they are."""
        connection = http.client.HTTPConnection("127.0.0.1", self.stack.port, timeout=ANSWER)
        own = {"Content-Type": "application/json", **headers}
        if self.token:
            own.setdefault("Authorization", f"Bearer {self.token}")
        data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        try:
            connection.request(method, path, data, own)
            answer = connection.getresponse()
            content = answer.read()
        finally:
            connection.close()
        self.hunt.statuses[f"{method} {answer.status}"] += 1
        return answer.status, content

    def expect(self, status: int, method: str, path: str, body: Any = None, **headers: str) -> Any:
        """The answer's JSON, which comes under that status."""
        got, content = self.send(method, f"/api/v1/{path}", body, **headers)
        assert got == status, (method, path.split("/")[0], got, content)
        return json.loads(content) if content else None


def administration(**fields: Any) -> dict[str, Any]:
    return {
        "id": str(uuid4()),
        "instrument": "scs-26",
        "version": 1,
        "completed_at": "2026-01-10T10:00:00+01:00",
        "responses": {f"scs{n:02}": n % 5 + 1 for n in range(1, 27)},
        **fields,
    }


def write_everywhere(person: Writer) -> None:
    """Nothing; the person wrote words wherever a participant can, and some where nobody can."""
    sent = administration()
    person.expect(201, "POST", "administrations", sent)
    person.expect(
        201,
        "POST",
        f"administrations/{sent['id']}/corrections",
        {"id": str(uuid4()), "responses": sent["responses"], "reason": person.word("reason")},
    )
    odd = {**sent["responses"], person.word("item"): 3, "scs01": person.word("answer")}
    person.expect(422, "POST", "administrations", administration(responses=odd))
    person.expect(
        202, "POST", "administrations", administration(version=99, responses={"a1": person.word("later")})
    )
    person.expect(409, "POST", "administrations", {**sent, "completed_at": "2026-01-11T10:00:00+01:00"})
    person.expect(200, "PATCH", "me", {"name": person.word("name")})
    person.expect(400, "POST", "administrations", f'{{"id": "{person.word("broken")}", '.encode())
    person.expect(404, "GET", person.word("path"))
    person.expect(422, "GET", f"me/trends?instrument={person.word('query')}&anchor={person.word('anchor')}")
    person.expect(200, "GET", "me", **{"User-Agent": person.word("agent"), "X-Device": person.word("device")})
    person.expect(202, "POST", "me/export", {})
    person.expect(401, "GET", "me", Authorization=f"Bearer {person.word('token')}")


def sign_in_everywhere(person: Writer, email: str, password: str) -> None:
    """Nothing; the person signed in, named the phone, tried a wrong password and asked for codes."""
    phone = {"X-Device": str(uuid4())}
    login = "/_allauth/app/v1/auth/login"
    wrong = {"email": email, "password": person.word("guess")}
    assert person.send("POST", login, wrong, **phone)[0] == 400
    status, content = person.send("POST", login, {"email": email, "password": password}, **phone)
    assert status == 200, content
    signed_in = Writer(person.stack, person.hunt, person.prefix, json.loads(content)["meta"]["access_token"])
    signed_in.expect(200, "PATCH", f"me/devices/{phone['X-Device']}", {"name": person.word("phone")})
    for asked in ("auth/code/request", "auth/password/request"):
        for address in (email, f"{person.word('nobody')}@nowhere.example"):
            assert person.send("POST", f"/_allauth/app/v1/{asked}", {"email": address})[0] in (401, 429)


def run(stack: Stack, *arguments: str) -> str:
    """What that Python program prints, run beside the stack."""
    own = {name: value for name, value in os.environ.items() if name not in SERVERS}
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env={**own, **running_environment(stack.state), "STATE": str(stack.state)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return done.stdout


@contextlib.contextmanager
def overheard(stack: Stack, file: Path) -> Iterator[None]:
    """Nothing; whatever goes through Valkey meanwhile is written to that file."""
    over = threading.Event()
    url = running_environment(stack.state)["REDIS_URL"]

    def listen() -> None:
        with redis.Redis.from_url(url) as broker, broker.monitor() as monitor, file.open("wb") as trace:
            while not over.is_set():
                trace.write(str(monitor.next_command()).encode() + b"\n")

    listener = threading.Thread(target=listen, daemon=True)
    listener.start()
    try:
        yield
    finally:
        over.set()


def hunt(stack: Stack, place: Path, *, people: int, signing_in: int, prefix: str) -> Hunt:
    """What so many people's words left behind, while everything that goes wrong went wrong."""
    report, began = Hunt(people), time.monotonic()
    collected = place / "collected"
    collected.mkdir()
    with as_superuser(stack) as database:
        # Whoever looks for slow statements has every one of them in the log.
        database.execute("ALTER ROLE selfkind_app SET log_min_duration_statement = 0")
    made = json.loads(run(stack, "-m", "tests.moving_in", str(people), str(signing_in), prefix))
    report.words += people
    with overheard(stack, collected / "valkey-trace"):
        for person in made["people"]:
            write_everywhere(Writer(stack, report, prefix, person["token"]))
        for person in made["signing_in"]:
            sign_in_everywhere(Writer(stack, report, prefix), person["email"], person["password"])
        kill(processes(stack, "web worker"))
        kill(processes(stack, "postgres"))
        assert eventually(stack.answers, 60), stack.lines()
        write_everywhere(Writer(stack, report, prefix, made["people"][0]["token"]))
        time.sleep(6)  # beat rings for waiting mail every five seconds
    collect(stack, collected)
    look(stack, collected, report, prefix)
    report.seconds = round(time.monotonic() - began, 1)
    return report


def as_superuser(stack: Stack) -> psycopg.Connection:
    """A connection that may do anything to the stack's database."""
    url = urlsplit(running_environment(stack.state)["DATABASE_OWNER_URL"])
    password = (stack.state / "postgres-superuser-password").read_text().strip()
    return psycopg.connect(
        host=url.hostname, port=url.port, user="postgres", password=password, dbname="selfkind",
        autocommit=True,
    )  # fmt: skip


def collect(stack: Stack, collected: Path) -> None:
    """Nothing; base backup and dump are there as an operator takes them, and all of STATE as it lies."""
    (collected / "backups").mkdir()
    (collected / "backup-keys").mkdir()
    places = ("--to", str(collected / "backups"), "--keys-to", str(collected / "backup-keys"))
    for kind in ((), ("--base",)):
        run(stack, "manage.py", "backup", *kind, *places)
    with as_superuser(stack) as database:
        database.execute("CHECKPOINT")


def look(stack: Stack, collected: Path, report: Hunt, prefix: str) -> None:
    """Nothing; the report says where the words were found, and in how much they were looked for."""
    note = stack.state / "database-folder"
    state = [path for path in stack.state.iterdir() if path.name not in ("mail", "environment")]
    places = {
        "state": state + ([Path(note.read_text().strip())] if note.exists() else []),
        "backups": [collected / "backups", collected / "backup-keys"],
        "valkey trace": [collected / "valkey-trace"],
        "mail": [without_recipients(stack.state / "mail", collected / "mail", report, prefix)],
        "output": [stack.output],
    }
    needles = spellings(prefix)
    for name, paths in places.items():
        report.searched[name] = size(paths)
        report.found.update(search(paths, needles))


def without_recipients(mail: Path, copy: Path, report: Hunt, prefix: str) -> Path:
    """A copy of the mail that was sent, without whom each message goes to: that has to stand on it."""
    copy.mkdir()
    for path in mail.iterdir():
        lines = path.read_text().splitlines()
        kept = [line for line in lines if not line.startswith("To: ")]
        report.addresses_in_mail += sum(prefix in line for line in lines) - sum(
            prefix in line for line in kept
        )
        (copy / path.name).write_text("\n".join(kept))
    return copy
