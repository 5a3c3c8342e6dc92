"""Keys turned over beside a service under load, by a rotator that is killed again and again (T20)."""

import http.client
import json
import os
import random
import re
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

from backend.stack.state import running_environment
from tests.running import ROOT, SERVERS, Stack

API = "/api/v1/administrations"
ANSWERS = {f"scs{number:02}": number % 5 + 1 for number in range(1, 27)}
SENDERS = 8
# That a rotator says, more or less.
LINES = 9


@dataclass
class Report:
    """What happened, and what a process of its own found afterwards."""

    people: int
    requests: Counter[str] = field(default_factory=Counter)
    failed: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0
    kills: int = 0
    killed_after: Counter[str] = field(default_factory=Counter)
    whole: int = 0
    found: dict[str, int] = field(default_factory=dict)
    master_seconds_per_10_000: float = 0.0
    people_seconds_per_10_000: float = 0.0

    def __str__(self) -> str:
        return json.dumps(vars(self))


class Load:
    """Requests at a steady pace: submissions, corrections with reasons, and reads of those."""

    def __init__(self, stack: Stack, tokens: list[str], report: Report, rng: random.Random) -> None:
        self.stack, self.tokens, self.report, self.rng = stack, tokens, report, rng
        self.sent: list[tuple[str, str]] = []
        self.lock, self.over = threading.Lock(), threading.Event()
        self.turn = iter(range(10**9))
        self.began = time.monotonic()

    def run(self, per_second: float) -> list[threading.Thread]:
        """Those who send, at work until `over` is set."""
        senders = [threading.Thread(target=self.send, args=(per_second,)) for _ in range(SENDERS)]
        for sender in senders:
            sender.start()
        return senders

    def send(self, per_second: float) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self.stack.port, timeout=20)
        while not self.over.is_set():
            with self.lock:
                number = next(self.turn)
            self.over.wait(max(0.0, self.began + number / per_second - time.monotonic()))
            kind = ("submission", "correction", "read")[number % 3]
            try:
                failed = getattr(self, kind)(connection, number)
            except (OSError, http.client.HTTPException) as error:
                connection.close()
                failed = type(error).__name__
            with self.lock:
                self.report.requests[kind] += 1
                if failed:
                    self.report.failed[f"{kind} {failed}"] += 1
        connection.close()

    def submission(self, connection: http.client.HTTPConnection, number: int) -> str:
        token, id_ = self.tokens[number % len(self.tokens)], str(uuid4())
        body = {
            "id": id_, "instrument": "scs-26", "version": 1, "completed_at": "2026-01-10T10:00:00+01:00",
            "responses": ANSWERS,
        }  # fmt: skip
        status, answer = ask(connection, "POST", API, token, body)
        with self.lock:
            self.sent.append((token, id_))
        return "" if status == 201 else f"{status} {answer[:200]!r}"

    def correction(self, connection: http.client.HTTPConnection, number: int) -> str:
        token, id_ = self.one()
        body = {"id": str(uuid4()), "responses": ANSWERS, "reason": said(id_)}
        status, answer = ask(connection, "POST", f"{API}/{id_}/corrections", token, body)
        return "" if status == 201 else f"{status} {answer[:200]!r}"

    def read(self, connection: http.client.HTTPConnection, number: int) -> str:
        token, id_ = self.one()
        status, answer = ask(connection, "GET", f"{API}/{id_}", token)
        if status != 200:
            return f"{status} {answer[:200]!r}"
        reasons = [r["reason"] for r in json.loads(answer)["revisions"][1:]]
        return "" if reasons == [said(id_)] * len(reasons) else "wrong words"

    def one(self) -> tuple[str, str]:
        while True:
            with self.lock:
                if self.sent:
                    return self.rng.choice(self.sent)
            time.sleep(0.01)


def said(id: str) -> str:
    """The reason that is given for a correction of that administration."""
    return f"I had read {id} backwards."


def ask(
    connection: http.client.HTTPConnection, method: str, path: str, token: str, body: object = None
) -> tuple[int, bytes]:
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    connection.request(method, path, json.dumps(body) if body else None, headers)
    answer = connection.getresponse()
    return answer.status, answer.read()


def environment(stack: Stack) -> dict[str, str]:
    """As somebody at the machine beside the running stack has it."""
    own = {name: value for name, value in os.environ.items() if name not in SERVERS}
    return own | {"STATE": str(stack.state), "DJANGO_SETTINGS_MODULE": "backend.settings"}


def look_at(stack: Stack, *arguments: str) -> Any:
    """What `python -m` those arguments says."""
    done = subprocess.run(
        [sys.executable, "-m", *arguments], cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True,
        env=environment(stack) | running_environment(stack.state),
    )  # fmt: skip
    return json.loads(done.stdout)


def rotator(stack: Stack, *options: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "manage.py", "keys", "rotate", *options], cwd=ROOT, env=environment(stack),
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
    )  # fmt: skip


def kill_again_and_again(
    stack: Stack, kills: int, report: Report, rng: random.Random, enough: int = 8
) -> None:
    """Nothing; the rotator was killed so often, at moments of its own, and then came to its end."""
    while report.kills < kills:
        running = rotator(stack, "--pause", "0.5")
        lines: list[str] = []
        reader = threading.Thread(target=_read, args=(running, lines))
        reader.start()
        # After each of its lines in turn, or a moment later: it says a line for each thing it has done.
        while len(lines) <= report.kills % LINES and running.poll() is None:
            time.sleep(0.005)
        time.sleep(rng.uniform(0, (0.02, 1.0)[report.kills % 2]))
        if running.poll() is None:
            os.kill(running.pid, signal.SIGKILL)
            report.kills += 1
            report.killed_after[_stage(lines)] += 1
        else:
            assert running.returncode == 0, lines
            report.whole += 1
        running.wait()
        reader.join()
    finish(stack)
    report.whole += 1


def _read(running: subprocess.Popen[str], lines: list[str]) -> None:
    assert running.stdout is not None
    lines.extend(iter(running.stdout.readline, ""))


def _stage(lines: list[str]) -> str:
    """How far it had come, by how many lines it said, and the last of them without its numbers."""
    return f"{len(lines)}: " + re.sub(r"\d[\d.]*", "n", lines[-1].strip()) if lines else "nothing"


def finish(stack: Stack, *options: str) -> tuple[list[str], float]:
    """What a rotator says that is left alone, and how long it took after its start."""
    running = rotator(stack, "--pause", "0.5", *options)
    assert running.stdout is not None
    began, lines = 0.0, []
    for line in running.stdout:
        began = began or time.monotonic()
        lines.append(line.strip())
    took = time.monotonic() - began
    assert running.wait() == 0, lines
    return lines, took


def turn_under_load(
    stack: Stack,
    *,
    people: int,
    senders: int,
    kills: int,
    per_second: float,
    seconds: float,
    seed: int,
    say: Callable[[str], None],
) -> Report:
    """The report on keys turned over under so many requests a second, and under so many kills -9."""
    rng, report = random.Random(seed), Report(people)
    look_at(stack, "tests.keys.crowd", str(people))
    tokens = [person["token"] for person in look_at(stack, "benchmarks.people", str(senders))["people"]]
    master = json.loads((stack.state / "master-key").read_text())
    say(f"{people} people are in")

    load = Load(stack, tokens, report, rng)
    at_work = load.run(per_second)
    began = time.monotonic()
    kill_again_and_again(stack, kills, report, rng)
    say(f"killed after: {dict(report.killed_after)}")
    load.over.wait(max(0.0, seconds - (time.monotonic() - began)))
    load.over.set()
    for sender in at_work:
        sender.join()
    report.seconds = round(time.monotonic() - began, 1)

    report.found = look_at(stack, "tests.keys.crowd", "look")
    kept = [stack.state / "master-key", *(file for file in (stack.state / "keys").iterdir())]
    told = "".join(file.read_text() for file in kept)
    report.found["old_master"] = told.count(master["current"]) + told.count(master["keys"][master["current"]])
    measure(stack, report)
    return report


def measure(stack: Stack, report: Report) -> None:
    """Nothing; the report says how long turning over takes when nobody asks for anything else."""
    (line,), _ = finish(stack, "--master")
    found = re.fullmatch(r"(\d+) keys are under a new master key \(([\d.]+) s\)\.", line)
    assert found, line
    report.master_seconds_per_10_000 = round(float(found[2]) * 10_000 / int(found[1]), 2)
    lines, took = finish(stack, "--participants")
    turned = int(lines[0].split()[0])
    # Two pauses are no work.
    report.people_seconds_per_10_000 = round((took - 1.0) * 10_000 / turned, 1)
