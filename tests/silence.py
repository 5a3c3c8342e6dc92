"""A machine with nothing but itself, on which every look-up and every connection is written down.

`python -m tests.silence` runs in namespaces of its own (`unshare --net --mount`). Every address there is a
local one, so that no attempt fails before it is made; a name server answers everything and notes what it was
asked; a raw socket sees every packet. What is being watched is a child like any other.
"""

import json
import os
import re
import select
import shutil
import socket
import struct
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

from backend.stack.state import running_environment
from tests.running import ROOT, Stack, eventually, stack
from tests.storm import kill, processes, sign_in

SINK = "198.51.100.7"
EVERY_FRAME, OUTGOING = 3, 4
TCP, UDP = 6, 17
IPV4, IPV6 = 0x0800, 0x86DD
SYN, ACK = 0x02, 0x10
LINK = re.compile(
    r"""(?:src|href|action|srcset|content)\s*=\s*["']?((?:https?:)?//[^"'\s>]+)|url\(([^)]+)\)"""
)


def may_be_alone() -> str:
    """Why this machine lets us have no namespaces of our own; nothing where it does."""
    tried = subprocess.run([*alone(), "true"], capture_output=True, text=True, check=False)
    return tried.stderr.strip() if tried.returncode else ""


def alone() -> list[str]:
    """What to put before a command that is to run in namespaces of its own."""
    assert shutil.which("unshare"), "util-linux is missing"
    return ["unshare", "--net", "--mount", *(["--map-root-user"] if os.geteuid() != 0 else [])]


def watched(report: Path, command: Sequence[str], **env: str) -> dict[str, Any]:
    """What was seen while that command ran: names asked for, connections begun, and how it ended."""
    done = subprocess.run(
        [*alone(), sys.executable, "-m", "tests.silence", str(os.geteuid()), str(report), *command],
        cwd=ROOT, env={**os.environ, **env}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert report.exists(), done.stderr
    found: dict[str, Any] = json.loads(report.read_text())
    assert found["status"] == 0, done.stderr
    return found


def watch(uid: int, report: Path, command: Sequence[str]) -> None:
    """Nothing; the command was run in here, and the report says what was seen meanwhile."""
    for line in ("link set lo up", "route add local 0.0.0.0/0 dev lo", "-6 route add local ::/0 dev lo"):
        subprocess.run(["ip", *line.split()], check=True)
    settings = report.with_name("resolv.conf")
    settings.write_text("nameserver 127.0.0.1\n")
    subprocess.run(["mount", "--bind", settings, os.path.realpath("/etc/resolv.conf")], check=True)
    queries: list[str] = []
    begun: list[tuple[str, int, str]] = []
    # Who took a connection. In here that can only be what is being watched itself.
    served: set[str] = set()
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind(("127.0.0.1", 53))
    frames = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(EVERY_FRAME))
    frames.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 * 1024 * 1024)
    over = threading.Event()
    watchers = [
        threading.Thread(target=answer_names, args=(server, queries, over)),
        threading.Thread(target=note_packets, args=(frames, begun, served, over)),
    ]
    for one in watchers:
        one.start()
    # Back to whom we are outside: the product behaves otherwise as root.
    again = [] if uid == 0 else ["unshare", "--user", f"--map-user={uid}", f"--map-group={uid}"]
    try:
        status = subprocess.run([*again, *command], cwd=ROOT, check=False).returncode
        time.sleep(0.5)
    finally:
        over.set()
        for one in watchers:
            one.join()
    counted = {f"{kind} {address} {port}": 0 for address, port, kind in begun}
    for address, port, kind in begun:
        counted[f"{kind} {address} {port}"] += 1
    told = {"status": status, "queries": sorted(set(queries)), "begun": counted, "served": sorted(served)}
    report.write_text(json.dumps(told))


def answer_names(server: socket.socket, queries: list[str], over: threading.Event) -> None:
    """Nothing; every name asked for is noted and has the sink's address."""
    while not over.is_set():
        if not select.select([server], [], [], 0.1)[0]:
            continue
        asked, who = server.recvfrom(4096)
        name, at = [], 12
        while asked[at]:
            name.append(asked[at + 1 : at + 1 + asked[at]].decode("ascii", "replace"))
            at += 1 + asked[at]
        question = asked[12 : at + 5]
        queries.append(".".join(name))
        address = b""
        if question[-4:-2] == b"\0\1":
            address = b"\xc0\x0c\0\1\0\1\0\0\0\1\0\4" + socket.inet_aton(SINK)
        head = asked[:2] + b"\x81\x80\0\1" + struct.pack("!H", bool(address)) + b"\0\0\0\0"
        server.sendto(head + question + address, who)


def note_packets(
    frames: socket.socket, begun: list[tuple[str, int, str]], served: set[str], over: threading.Event
) -> None:
    """Nothing; the first packet of every connection, and every datagram, is noted with where it goes.

    Connections that were taken are noted by who took them.
    """
    while not over.is_set():
        if not select.select([frames], [], [], 0.1)[0]:
            continue
        packet, (_, protocol, direction, *_) = frames.recvfrom(65535)
        if direction != OUTGOING:
            continue
        if seen := going_to(packet, protocol):
            begun.append(seen)
        elif protocol == IPV4 and packet[9] == TCP and packet[33] & (SYN | ACK) == SYN | ACK:
            served.add(
                f"tcp {socket.inet_ntop(socket.AF_INET, packet[12:16])} {packet[20] << 8 | packet[21]}"
            )


def going_to(packet: bytes, protocol: int) -> tuple[str, int, str] | None:
    """Address, port and kind of a packet that begins something; None for any other."""
    if protocol == IPV4:
        kind, address = packet[9], socket.inet_ntop(socket.AF_INET, packet[16:20])
        rest = packet[(packet[0] & 15) * 4 :]
    elif protocol == IPV6:
        kind, address = packet[6], socket.inet_ntop(socket.AF_INET6, packet[24:40])
        rest = packet[40:]
    else:
        return None
    if kind == TCP and rest[13] & (SYN | ACK) == SYN:
        return address, int.from_bytes(rest[2:4], "big"), "tcp"
    if kind == UDP and (source := int.from_bytes(rest[:2], "big")) != 53:
        assert source
        return address, int.from_bytes(rest[2:4], "big"), "udp"
    return None


def walk(place: Path, said: Path, **env: str) -> None:
    """Nothing; the whole product was used, in front and behind, and what it was asked and answered is noted.

    Signing in, submissions, trends, mail, pages, refusals of every kind, parts that are killed, a backup
    that is tried out.
    """
    copies = {"BACKUP_DIR": str(place / "copies"), "BACKUP_KEYS_DIR": str(place / "keys")}
    with stack(place, DEMO="1", **copies, **env) as running:
        assert eventually(running.started, 120), running.lines()
        servers = running_environment(running.state)
        ports = [running.port, *(urlsplit(servers[name]).port for name in ("DATABASE_URL", "REDIS_URL"))]
        answers: dict[str, int] = {}
        foreign: list[str] = []
        use(running, answers, foreign)
        log = running.state / "logs" / "archive.log"
        assert eventually(lambda: "Restored and checked" in log.read_text(), 240), log.read_text()
        for victim in ("web worker", "worker", "valkey", "postgres"):
            kill(processes(running, victim))
            ask(running, "/readyz", answers, foreign)
        assert eventually(running.answers, 90), running.lines()
        ask(running, "/readyz", answers, foreign)
        if not env:
            assert eventually(lambda: list((running.state / "mail").iterdir()), 60)
        else:
            time.sleep(15)
        said.write_text(json.dumps({"ports": ports, "answers": answers, "foreign": foreign}))


def use(running: Stack, answers: dict[str, int], foreign: list[str]) -> None:
    """Nothing; people came, did what they do, and made mistakes."""
    people = json.loads((running.state / "demo.json").read_text())["people"]
    token = {"Authorization": f"Bearer {sign_in(running, 'ana')}"}
    form: dict[str, Any] = {
        "id": str(uuid4()),
        "instrument": "scs-26",
        "version": 1,
        "completed_at": "2026-01-10T10:00:00+01:00",
        "responses": {f"scs{number:02}": 3 for number in range(1, 27)},
    }
    bodies: list[object] = [
        form,
        form,
        {**form, "responses": {}},
        {**form, "id": "x"},
        {**form, "version": 9},
        [],
    ]
    for body in bodies:
        ask(running, "/api/v1/administrations", answers, foreign, body=body, headers=token)
    for page in (
        "/healthz", "/readyz", "/metrics", "/operators/sign-in", "/operators/", "/welcome", "/welcome/x/y",
        "/static/admin/css/base.css", "/api/v1/schema", "/api/v1/me", "/nowhere", "/%00",
    ):  # fmt: skip
        ask(running, page, answers, foreign)
    for read in ("me", "administrations", "me/trends?instrument=scs-26", "instruments", "consents"):
        ask(running, f"/api/v1/{read}", answers, foreign, headers=token)
    address = {"email": people["ana"]["email"]}
    for door in ("auth/code/request", "auth/password/request", "auth/login"):
        ask(running, f"/_allauth/app/v1/{door}", answers, foreign, body=address)


def ask(
    running: Stack,
    path: str,
    answers: dict[str, int],
    foreign: list[str],
    *,
    body: object = None,
    headers: dict[str, str] | None = None,
) -> None:
    """Nothing; the status is noted, and what the page would make a browser fetch from somebody else."""
    request = urllib.request.Request(
        f"http://127.0.0.1:{running.port}{path}",
        None if body is None else json.dumps(body).encode(),
        {"Content-Type": "application/json", **(headers or {})},
    )
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            status, text, kind = answer.status, answer.read().decode(), answer.headers["Content-Type"]
    except urllib.error.HTTPError as error:
        status, text, kind = error.code, error.read().decode(), error.headers["Content-Type"]
    except OSError:
        status, text, kind = 0, "", ""
    answers[str(status)] = answers.get(str(status), 0) + 1
    if kind and kind.startswith(("text/html", "text/css")):
        foreign += elsewhere(text, running.port)


def elsewhere(page: str, port: int) -> list[str]:
    """The addresses at other people's that a page names for a browser to fetch."""
    found = [first or second.strip("\"'") for first, second in LINK.findall(page)]
    return [
        address
        for address in found
        if "//" in address and urlsplit(address).netloc not in (f"127.0.0.1:{port}", f"localhost:{port}")
    ]


if __name__ == "__main__":
    if sys.argv[1] == "walk":
        walk(Path(sys.argv[2]), Path(sys.argv[3]), **dict(part.split("=", 1) for part in sys.argv[4:]))
    else:
        watch(int(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:])
