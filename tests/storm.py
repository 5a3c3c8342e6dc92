"""The kill storm: submissions go in while everything that serves them is killed, again and again.

The oracle is not the application. Clients write what was acknowledged to a ledger of their own;
afterwards plain SQL compares the ledger with the tables.
"""

import http.client
import json
import random
import threading
import time
import urllib.request
from dataclasses import asdict, dataclass, field
from pathlib import Path
from uuid import UUID, uuid4

import psutil
import psycopg

from tests.running import Stack, eventually, every_row

CLIENTS = 8
VICTIMS = ("web", "web worker", "worker", "postgres", "valkey")
# One answer a client may wait for, and how long it goes on trying to settle one submission.
ANSWER, SETTLE = 10.0, 120.0


@dataclass(slots=True)
class Report:
    """What the storm did, and what plain SQL found afterwards."""

    seed: int
    kills: dict[str, int] = field(default_factory=dict)
    acknowledged: int = 0
    unknown: int = 0
    unsettled: int = 0
    lost: int = 0
    duplicates: int = 0
    half_written: int = 0
    behind: int = 0
    seconds: float = 0.0

    @property
    def clean(self) -> bool:
        return not (self.lost or self.duplicates or self.half_written or self.unsettled or self.behind)

    def __str__(self) -> str:
        return json.dumps(asdict(self) | {"clean": self.clean})


def storm(
    stack: Stack,
    *,
    kills: int,
    submissions: int,
    seed: int,
    ledger: Path,
    victims: tuple[str, ...] = VICTIMS,
    pace: float = 0.2,
) -> Report:
    """The report on so many submissions from 8 clients that retry, under so many kills -9."""
    report, started = Report(seed=seed), time.monotonic()
    rng = random.Random(seed)
    token = sign_in(stack, "ana")
    over = threading.Event()
    # The submissions are spread over the kills, whatever either takes on this machine.
    left = iter(range(submissions))
    lock = threading.Lock()
    clients = [
        threading.Thread(target=send_all, args=(stack, token, left, lock, over, report, ledger, pace))
        for _ in range(CLIENTS)
    ]
    for client in clients:
        client.start()
    for number in range(kills):
        time.sleep(rng.uniform(0.3, 1.2))
        victim = victims[number % len(victims)]
        if eventually(lambda victim=victim: processes(stack, victim), 30):  # type: ignore[misc]
            kill(processes(stack, victim))
            report.kills[victim] = report.kills.get(victim, 0) + 1
    over.set()
    for client in clients:
        client.join()
    assert eventually(stack.answers, 60), stack.lines()
    compare(stack, ledger, report)
    report.seconds = round(time.monotonic() - started, 1)
    return report


def send_all(
    stack: Stack,
    token: str,
    left: "object",
    lock: threading.Lock,
    over: threading.Event,
    report: Report,
    ledger: Path,
    pace: float,
) -> None:
    """Nothing; submissions are sent one by one, slowly while the storm lasts, until none is left."""
    with (ledger.parent / f"{ledger.name}.{threading.get_ident()}").open("a") as own:
        while True:
            with lock:
                if next(left, None) is None:  # type: ignore[call-overload]
                    return
            id_ = str(uuid4())
            settled, tries = settle(stack, token, id_)
            with lock:
                report.unknown += tries > 1
                report.acknowledged += settled
                report.unsettled += not settled
            if settled:
                own.write(f"{id_}\n")
                own.flush()
            over.wait(pace)


def settle(stack: Stack, token: str, id_: str) -> tuple[bool, int]:
    """Whether the submission was acknowledged in the end, and at which try."""
    body = json.dumps(
        {
            "id": id_,
            "instrument": "scs-26",
            "version": 1,
            "completed_at": "2026-01-10T10:00:00+01:00",
            "responses": {f"scs{n:02}": n % 5 + 1 for n in range(1, 27)},
        }
    )
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    deadline, tries = time.monotonic() + SETTLE, 0
    while time.monotonic() < deadline:
        tries += 1
        connection = http.client.HTTPConnection("127.0.0.1", stack.port, timeout=ANSWER)
        try:
            connection.request("POST", "/api/v1/administrations", body, headers)
            answer = connection.getresponse()
            answer.read()
        except (OSError, http.client.HTTPException):
            time.sleep(0.1)
            continue
        finally:
            connection.close()
        if answer.status in (200, 201):
            return True, tries
        assert answer.status == 503, answer.status
        time.sleep(0.1)
    return False, tries


def processes(stack: Stack, victim: str) -> list[psutil.Process]:
    """Whom a kill of that name meets: PostgreSQL with all its children, the web server, or a worker of it."""
    one = stack.child("web" if victim == "web worker" else victim)
    if one is None:
        return []
    try:
        below: list[psutil.Process] = one.children(recursive=True)
    except psutil.NoSuchProcess:
        return []
    if victim == "web worker":
        return below[:1]
    return [one, *below] if victim == "postgres" else [one]


def kill(victims: list[psutil.Process]) -> None:
    for one in victims:
        try:
            one.kill()
        except psutil.NoSuchProcess:
            continue


def compare(stack: Stack, ledger: Path, report: Report) -> None:
    """Nothing; the report says what the tables hold against what was acknowledged."""
    acknowledged = {
        UUID(line) for own in ledger.parent.glob(f"{ledger.name}.*") for line in own.read_text().splitlines()
    }
    assert len(acknowledged) == report.acknowledged
    with psycopg.connect(every_row(stack.state)) as database:
        stored = database.execute(
            "SELECT a.id, a.scores <> '{}'::jsonb,"
            " (SELECT count(*) FROM changes_change c WHERE c.object = a.id),"
            " (SELECT count(*) FROM audit_entry e WHERE e.subject = a.id::text"
            "  AND e.action = 'administration.recorded')"
            " FROM scales_administration a"
        ).fetchall()
        present = [row[0] for row in stored]
        report.lost = len(acknowledged - set(present))
        report.duplicates = len(present) - len(set(present)) + max(0, len(present) - len(acknowledged))
        report.half_written = sum(1 for _, scored, *rows in stored if not scored or rows != [1, 1])

        def behind() -> int:
            row = database.execute("SELECT count(*) FROM scales_trend WHERE requested > computed").fetchone()
            database.rollback()
            return int(row[0]) if row else 0

        eventually(lambda: not behind(), 60)
        report.behind = behind()


def sign_in(stack: Stack, name: str) -> str:
    """An access token of one of the demo cast."""
    person = json.loads((stack.state / "demo.json").read_text())["people"][name]
    request = urllib.request.Request(
        f"http://127.0.0.1:{stack.port}/_allauth/app/v1/auth/login",
        json.dumps({"email": person["email"], "password": person["password"]}).encode(),
        {"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        return str(json.load(answer)["meta"]["access_token"])
