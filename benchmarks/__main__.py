"""`make bench`: the product, the bare application and pgbench in turn, on one machine, as one table.

They run interleaved (A B C A B C), because the same run minutes apart can differ by more than they do
from each other. fsync and everything else is as shipped.
"""

import argparse
import datetime
import http.client
import itertools
import json
import os
import platform
import re
import socket
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

from benchmarks import load, servers
from benchmarks.servers import Stack
from tests.hostile import REFUSED, Case

LATEST = Path(__file__).parent / "latest.json"
SCRIPT = Path(__file__).parent / "pgbench_insert.sql"
ADMINISTRATIONS = "/api/v1/administrations"
LAST = "/api/v1/administrations?instrument=scs-26&limit=50"
LAST_OF = "/administrations?instrument=scs-26&limit=50"
TRENDS = "/api/v1/me/trends?instrument=scs-26"
READERS = 8
# The product's statement names its columns, and then a parameter for each in the same order.
COLUMNS = re.compile(r"INSERT INTO scales_administration\s*\(([^)]*)\)")
PARAMETER = re.compile(r"%\((\w+)\)s")

ANSWERS = {f"scs{number:02}": number % 5 + 1 for number in range(1, 27)}

# 24 of the corpus of the tests, over a real connection.
HOSTILE = [
    "257 KB of text", "a million numbers", "2,001 elements", "33 lists", "20,000 lists",
    "content encoding gzip", "content encoding zstd", "plain text", "latin-1", "byte order mark",
    "latin-1 text", "surrogate in UTF-8", "utf-16 with its mark", "NUL in a value", "high surrogate alone",
    "NaN", "1e999", "2^53", "2^63", "5,000 digits", "duplicate key", "Arabic digit", "left open",
    "two values",
]  # fmt: skip


def submissions(tokens: list[str], first: int, most: int | None = None) -> load.Source:
    """A source of fresh administrations, each by the next person, at most so many."""
    numbers = itertools.count()
    turn = itertools.cycle(tokens[first:] + tokens[:first])
    rest = json.dumps(
        {"instrument": "scs-26", "version": 1, "started_at": "2026-04-03T09:00:00+02:00",
         "completed_at": "2026-04-03T09:05:00+02:00", "timezone": "Europe/Berlin", "assessment": None,
         "responses": ANSWERS, "skipped": {}}
    )[1:]  # fmt: skip

    def next_request() -> bytes | None:
        if next(numbers) == most:
            return None
        body = f'{{"id": "{uuid4()}", {rest}'.encode()
        return load.post(ADMINISTRATIONS, next(turn), body)

    return next_request


def reads(tokens: list[str], first: int, path: str) -> load.Source:
    """A source of one kind of GET, each by the next of the readers."""
    turn = itertools.cycle([load.get(path, token) for token in tokens[first:] + tokens[:first]])
    return lambda: next(turn)


class Bench:
    """One run of everything: what it found is in `found`."""

    def __init__(self, stack: Stack, bare_port: int, made: dict[str, Any], seconds: float) -> None:
        self.stack, self.bare_port, self.seconds = stack, bare_port, seconds
        self.people = made["people"]
        tokens = [person["token"] for person in self.people]
        # pgbench writes for people of its own, so that it makes nobody's history longer than a life's.
        half = (len(tokens) + READERS) // 2
        self.readers, self.senders = tokens[:READERS], tokens[READERS:half]
        self.others = [person["participant"] for person in self.people[half:]]
        self.record = made["record"]
        self.found: list[dict[str, Any]] = []

    def prepare(self) -> None:
        """Nothing: the readers have 50 administrations each, here and there, and an up-to-date trend."""
        for port in (self.stack.port, self.bare_port):
            sources = [submissions([token], 0, most=50) for token in self.readers]
            tally = load.run(port, sources, 60)
            if tally.statuses != {201: 50 * READERS}:
                raise RuntimeError(f"the readers' 50 were not recorded: {tally.statuses}")
        # The trends of those pgbench writes for never fall behind: the worker would be busy with them
        # for minutes, while something else is measured.
        self.stack.execute(
            "INSERT INTO scales_trend (participant_id, instrument_code, requested, computed)"
            f" SELECT id, 'scs-26', 0, 1000000000000 FROM care_participant WHERE id >= {min(self.others)}"
        )
        self.stack.settle()
        for number, token in enumerate(self.readers):
            trend = fetch(self.stack.port, "GET", TRENDS, token)[1]
            servers.bare_query(
                self.stack,
                "INSERT INTO trend SELECT id, %s FROM person ORDER BY id OFFSET %s LIMIT 1",
                trend,
                number,
            )

    def our_rows(self) -> int:
        return int(self.stack.query("SELECT count(*) FROM scales_administration"))

    def our_traces(self) -> int:
        return int(
            self.stack.query("SELECT count(*) FROM audit_entry WHERE action = 'administration.recorded'")
        )

    def bare_rows(self) -> int:
        return int(servers.bare_query(self.stack, "SELECT count(*) FROM submission"))

    def submit(self, clients: int, repetition: int) -> None:
        """Nothing: product, bare and pgbench were measured once with so many clients."""
        sources = [submissions(self.senders, number * 7 % len(self.senders)) for number in range(clients)]
        audited = self.our_traces()
        entry = self.measure(
            "submit", "selfkind", clients, repetition, self.stack.port, sources, 201, self.our_rows
        )
        entry["audit_rows"] = self.our_traces() - audited
        entry["trends_settled_s"] = round(self.stack.settle(), 2)
        self.measure("submit", "bare", clients, repetition, self.bare_port, sources, 201, self.bare_rows)
        self.pgbench(clients, repetition)

    def read(self, what: str, path: str, bare_path: str, clients: int, repetition: int) -> None:
        """Nothing: product and bare were measured once with so many clients reading this."""
        for system, port, asked in (("selfkind", self.stack.port, path), ("bare", self.bare_port, bare_path)):
            sources = [reads(self.readers, number % READERS, asked) for number in range(clients)]
            self.measure(what, system, clients, repetition, port, sources, 200, None)

    def walls(self, clients: int, repetition: int) -> None:
        """Nothing; what the two walls cost: one's own last 50 with row-level security and without, and the
        same read by a therapist, who comes through the door and leaves an audit row."""
        own = [reads(self.readers, number % READERS, LAST) for number in range(clients)]
        theirs = [
            reads([p["therapist"]], 0, f"/api/v1/participants/{p['public_id']}{LAST_OF}")
            for p in self.people[:clients]
        ]
        for system, sources in (
            ("selfkind", own),
            ("no rls", own),
            ("therapist", theirs),
        ):
            self.stack.wall(stands=system != "no rls")
            self.measure("walls", system, clients, repetition, self.stack.port, sources, 200, None)
        self.stack.wall(stands=True)

    def measure(
        self, what: str, system: str, clients: int, repetition: int, port: int,
        sources: list[load.Source], expected: int, rows: Callable[[], int] | None,
    ) -> dict[str, Any]:  # fmt: skip
        """What one run found, also kept in `found`."""
        rows_before = rows() if rows else 0
        cpu_before = servers.cpu(self.stack)
        tally = load.run(port, sources, self.seconds)
        spent = servers.between(cpu_before, servers.cpu(self.stack))
        added = rows() - rows_before if rows else None
        answered = max(1, tally.answered)
        entry = {
            "what": what, "system": system, "clients": clients, "repetition": repetition,
            "answered": tally.answered, "per_second": tally.answered / tally.seconds,
            **{f"p{p}_ms": tally.percentile(p / 100) for p in (50, 95, 99)},
            "errors": tally.broken + sum(n for status, n in tally.statuses.items() if status != expected),
            "statuses": dict(tally.statuses), "rows_added": added, "bytes": tally.bytes // answered,
            "cpu_ms": {name: round(1000 * cost / answered, 3) for name, cost in spent.items()},
            "generator_cpu_ms": 1000 * tally.own_cpu / answered,
        }  # fmt: skip
        self.found.append(entry)
        say(row(entry))
        return entry

    def pgbench(self, clients: int, repetition: int) -> None:
        """Nothing: the product's own statement was repeated by pgbench, into the same tables."""
        with tempfile.NamedTemporaryFile("w", suffix=".sql") as script:
            script.write(self.script())
            script.flush()
            Path(script.name).chmod(0o644)
            before = self.our_rows()
            done, seconds, latencies, failed = servers.pgbench(
                self.stack, Path(script.name), clients, self.seconds
            )
            added = self.our_rows() - before
        tally = load.Tally(latencies=latencies, seconds=seconds)
        entry = {
            "what": "submit", "system": "pgbench", "clients": clients, "repetition": repetition,
            "answered": done, "per_second": done / seconds if seconds else 0.0,
            **{f"p{p}_ms": tally.percentile(p / 100) for p in (50, 95, 99)},
            "errors": failed, "statuses": {}, "rows_added": added, "bytes": 0, "cpu_ms": {},
        }  # fmt: skip
        self.found.append(entry)
        say(row(entry))

    def script(self) -> str:
        """The pgbench script, with the values of a row the product recorded."""
        insert = COLUMNS.search(self.record)
        if insert is None:
            raise RuntimeError("the product's statement does not insert into scales_administration")
        values = {
            name: literal(
                self.stack.query(f"SELECT {column.strip()}::text FROM scales_administration LIMIT 1")
            )
            for column, name in zip(
                insert[1].split(","), PARAMETER.findall(self.record, insert.end()), strict=False
            )
        }
        ids = self.others
        values |= {
            "id": "('00000000-0000-4000-8000-' || lpad(to_hex(:number::bigint), 12, '0'))::uuid",
            "participant": ":participant::bigint",
            "clinic": str(self.people[0]["clinic"]),
            "user": str(self.people[0]["user"]),
            "request": literal(str(uuid4())),
            "fingerprint": "''",
            "tombstone": "''",
        }
        template = SCRIPT.read_text().replace("{{first}}", str(min(ids))).replace("{{last}}", str(max(ids)))
        return template.replace("{{record}}", self.record % values)


def literal(text: str | None) -> str:
    """The text as SQL, of unknown type as a parameter would be. Colons go in disguise: to pgbench `:null`
    is a variable, quotes or not."""
    if text is None:
        return "NULL"
    return "E'" + text.replace("\\", "\\\\").replace("'", "''").replace(":", "\\x3a") + "'"


def fetch(
    port: int,
    method: str,
    path: str,
    token: str,
    body: bytes | None = None,
    headers: dict[str, str] | None = None,
) -> tuple[int, bytes]:
    """Status and body of one request on a connection of its own."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request(method, path, body, {"Authorization": f"Bearer {token}", **(headers or {})})
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def hostile(port: int, token: str) -> Iterator[dict[str, Any]]:
    """What each of the 24 bodies was answered, and what it should be."""
    cases: dict[str, Case] = {case.name: case for case in REFUSED}
    for name in HOSTILE:
        case = cases[name]
        status, answer = fetch(
            port,
            "POST",
            ADMINISTRATIONS,
            token,
            case.body,
            {"Content-Type": case.content_type, **case.headers},
        )
        code = json.loads(answer)["code"]
        yield {
            "name": name, "status": status, "code": code,
            "right": (status, code) == (case.status, case.code),
        }  # fmt: skip


def cut_off(stack: Stack, token: str) -> dict[str, Any]:
    """What 32 connections cut in the middle of a POST leave in PostgreSQL, and whether the next works."""
    request = submissions([token], 0)() or b""
    for _ in range(32):
        with socket.create_connection(("127.0.0.1", stack.port)) as connection:
            connection.sendall(request[:-100])
    tally = load.run(stack.port, [submissions([token], 0)], 0.2)
    idle = stack.query("SELECT count(*) FROM pg_stat_activity WHERE state LIKE 'idle in transaction%'")
    return {"idle_in_transaction": idle, "then": dict(tally.statuses)}


def row(entry: dict[str, Any]) -> str:
    """One line of the table."""
    cost = " ".join(f"{name} {ms:.2f}" for name, ms in sorted(entry["cpu_ms"].items()) if ms >= 0.005)
    return (
        f"{entry['what']:<8}{entry['system']:<10}{entry['clients']:>4}{entry['per_second']:>9.0f}/s"
        f"{entry['p50_ms']:>8.2f}{entry['p95_ms']:>8.2f}{entry['p99_ms']:>8.2f} ms"
        f"{entry['errors']:>5} errors{entry['bytes']:>7} B  {cost}"
    )


def summary(found: list[dict[str, Any]]) -> Iterator[str]:
    """Per job and number of clients: the product's best repetition against the limits' best."""
    best: dict[tuple[str, int], dict[str, dict[str, Any]]] = {}
    for entry in found:
        systems = best.setdefault((entry["what"], entry["clients"]), {})
        if entry["per_second"] >= systems.get(entry["system"], entry)["per_second"]:
            systems[entry["system"]] = entry
    for (what, clients), systems in best.items():
        ours = systems["selfkind"]
        ratios = ", ".join(
            f"{ours['per_second'] / limit['per_second']:.2f} of {name} ({limit['per_second']:.0f}/s)"
            for name, limit in systems.items()
            if name != "selfkind" and limit["per_second"]
        )
        speed = f"{ours['per_second']:.0f}/s, p99 {ours['p99_ms']:.1f} ms"
        yield f"{what:<8}{clients:>4} clients: {speed} = {ratios}"


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def main() -> int:
    """The exit status: 0 where nothing failed, every row is there and hostile bodies were refused."""
    parser = argparse.ArgumentParser(prog="benchmarks", description=__doc__)
    parser.add_argument("--short", action="store_true", help="under 20 s: shows that it works, not how fast")
    parser.add_argument("--seconds", type=float, help="of each run (4, or 0.4 when short)")
    parser.add_argument("--out", type=Path, default=LATEST)
    options = parser.parse_args()
    seconds = options.seconds or (0.4 if options.short else 4.0)
    with servers.product() as stack:
        made = stack.people(40 if options.short else 520)
        with servers.limit(stack, made["people"]) as bare_port:
            bench = Bench(stack, bare_port, made, seconds)
            bench.prepare()
            say("job     system    clients  answers       p50     p95     p99              body  CPU ms each")
            for repetition in range(1 if options.short else 2):
                for clients in (8,) if options.short else (1, 8, 32):
                    bench.submit(clients, repetition)
                bench.walls(1, repetition)
                for clients in (8,) if options.short else (1, 8):
                    bench.read("last 50", LAST, "/last", clients, repetition)
                    bench.read("trend", TRENDS, "/trend", clients, repetition)
            bodies = list(hostile(stack.port, bench.senders[0]))
            cut = cut_off(stack, bench.senders[0])
            used = servers.memory(stack)
            sealing = stack.sealing(200 if options.short else 5000)
    say("")
    for line in summary(bench.found):
        say(line)
    say("")
    for body in bodies:
        say(f"{body['status']}  {body['code']:<24}{body['name']}{'' if body['right'] else '   WRONG'}")
    say("")
    say(f"32 connections cut while sending: {cut}")
    for name, entry in used.items():
        resident = f"{entry['rss']:>8.0f} MiB resident, {entry['pss']:.0f} with shared pages divided"
        say(f"{name:<12}{entry['processes']:>3.0f} processes{resident}")
    say("")
    say(
        f"an entry of 500 characters is {sealing['bytes']} bytes: {sealing['seal_us']} us of CPU to seal and"
        f" try out, {sealing['unseal_us']} us to open, {sealing['fingerprint_us']} us to fingerprint"
    )
    well = {
        "no errors": not any(entry["errors"] for entry in bench.found),
        "rows added equal answers given": all(
            entry["rows_added"] in (None, entry["answered"])
            and entry.get("audit_rows", entry["answered"]) == entry["answered"]
            for entry in bench.found
        ),
        "hostile bodies refused as written": all(body["right"] for body in bodies),
        "nothing left idle in transaction": cut["idle_in_transaction"] == 0 and set(cut["then"]) == {201},
    }
    say("")
    for name, true in well.items():
        say(f"{'yes' if true else 'NO '}  {name}")
    options.out.write_text(
        json.dumps(
            {
                "at": datetime.datetime.now(datetime.UTC).isoformat(),
                "cpus": os.cpu_count(), "python": platform.python_version(), "system": platform.platform(),
                "seconds": seconds, "short": options.short, "runs": bench.found, "hostile": bodies,
                "cut_off": cut, "memory_mib": used, "sealing": sealing, "well": well,
            },
            indent=1,
        )
    )  # fmt: skip
    return 0 if all(well.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
