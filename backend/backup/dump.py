"""The simple backup: one consistent dump of the database. Needs no Django."""

import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import psycopg

from backend.backup import manifest
from backend.backup.manifest import Failed
from backend.backup.programs import environment, program, run

KIND = "dump"
FILE = "database.dump"

# Whatever is being written while the copy is made may have begun before it and end after it. What came in
# before this instant is in the copy.
HOLDS_UNTIL = """
SELECT coalesce(min(xact_start), now()) FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'
"""
TABLES = """
SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r' ORDER BY relname
"""


@dataclass(frozen=True, slots=True)
class Taken:
    """A backup that was made."""

    folder: Path
    kind: str
    taken_at: datetime
    holds_until: datetime
    size: int
    seconds: float


def dump(url: str, to: Path, *, keep: int, notes: Mapping[str, Any]) -> Taken:
    """The dump that was made in that folder; of the older ones, the newest so many are kept."""
    began = time.monotonic()
    with manifest.alone(to), connected(url) as connection:
        taken_at, holds_until = instants(connection)
        name = f"{KIND}-{manifest.stamp(taken_at)}"
        with manifest.drafted(to, name) as draft:
            connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            (snapshot,) = connection.execute("SELECT pg_export_snapshot()").fetchone() or ("",)
            run(
                [
                    program("pg_dump"), "--format=custom", "--compress=gzip:1", "--no-password",
                    f"--snapshot={snapshot}", f"--file={draft / FILE}",
                ],
                environment(url),
                code="dump_failed",
            )  # fmt: skip
            facts: dict[str, Any] = {
                "kind": KIND,
                "taken_at": taken_at.isoformat(),
                "holds_until": holds_until.isoformat(),
                "server": connection.info.server_version,
                "rows": rows(connection),
                "migrations": migrations(connection),
                "notes": dict(notes),
                "files": manifest.described(draft),
            }
            connection.execute("ROLLBACK")
            manifest.write(draft, facts)
        for old in manifest.those(to, KIND)[:-keep]:
            shutil.rmtree(old)
    size = sum(file["bytes"] for file in facts["files"].values())
    return Taken(to / name, KIND, taken_at, holds_until, size, time.monotonic() - began)


def connected(url: str) -> "psycopg.Connection[tuple[Any, ...]]":
    """A connection for the copy. Raises Failed where there is none."""
    try:
        return psycopg.connect(url, autocommit=True)
    except psycopg.Error as error:
        raise Failed("database_unreachable", f"The database does not answer: {_first(error)}") from None


def _first(error: psycopg.Error) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def instants(connection: "psycopg.Connection[tuple[Any, ...]]") -> tuple[datetime, datetime]:
    """Now, and the instant up to which a copy begun now holds everything."""
    found = connection.execute(f"SELECT now(), ({HOLDS_UNTIL})").fetchone()
    if found is None:
        raise AssertionError("a SELECT without FROM has one row")
    return found[0], min(found)


def rows(connection: "psycopg.Connection[tuple[Any, ...]]") -> dict[str, int]:
    """How many rows each table holds, as this transaction sees them."""
    tables = [name for (name,) in connection.execute(TABLES).fetchall()]
    counts = {}
    for name in tables:
        counted = psycopg.sql.SQL("SELECT count(*) FROM {}").format(psycopg.sql.Identifier("public", name))
        counts[name] = (connection.execute(counted).fetchone() or (0,))[0]
    return counts


def migrations(connection: "psycopg.Connection[tuple[Any, ...]]") -> list[str]:
    """The migrations the database has been through."""
    if connection.execute("SELECT to_regclass('public.django_migrations')").fetchone() == (None,):
        return []
    found = connection.execute("SELECT app || '.' || name FROM django_migrations ORDER BY 1").fetchall()
    return [name for (name,) in found]
