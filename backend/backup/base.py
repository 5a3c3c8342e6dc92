"""The backup for a server of one's own: the cluster's files, beside a log that never ends.

Needs no Django.
"""

import json
import shutil
import time
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from backend.backup import manifest, wal
from backend.backup.dump import Taken, connected, instants, migrations
from backend.backup.programs import environment, program, run

KIND = "base"
FILES = "data"
LIST = f"{FILES}/backup_manifest"


def base(url: str, to: Path, *, keep: int, notes: Mapping[str, Any]) -> Taken:
    """The base backup that was made in that folder.

    The newest so many are kept, and of the log what any of them goes on with.
    """
    began = time.monotonic()
    with manifest.alone(to), connected(url) as connection:
        taken_at, holds_until = instants(connection)
        name = f"{KIND}-{manifest.stamp(taken_at)}"
        with manifest.drafted(to, name) as draft:
            run(
                [
                    program("pg_basebackup"), f"--pgdata={draft / FILES}", "--format=plain",
                    "--wal-method=stream", "--checkpoint=fast", "--manifest-checksums=SHA256",
                    "--no-password",
                ],
                environment(url),
                code="base_failed",
            )  # fmt: skip
            verify(draft)
            files = {LIST: {"bytes": (draft / LIST).stat().st_size, "sha256": manifest.digest(draft / LIST)}}
            facts = {
                "kind": KIND,
                "taken_at": taken_at.isoformat(),
                "holds_until": holds_until.isoformat(),
                "server": connection.info.server_version,
                "migrations": migrations(connection),
                "notes": dict(notes),
                "first_segment": first_segment(draft),
                "system": system(connection),
                "files": files,
            }
            size = sum(path.stat().st_size for path in draft.rglob("*") if path.is_file())
            manifest.write(draft, facts)
        prune(to, keep)
    return Taken(to / name, KIND, taken_at, holds_until, size, time.monotonic() - began)


def verify(folder: Path) -> None:
    """Nothing. Raises Failed naming a file that is not what PostgreSQL wrote, or a log that does not read."""
    run([program("pg_verifybackup"), "--quiet", folder / FILES], {"LC_ALL": "C.UTF-8"}, code="file_changed")


def first_segment(folder: Path) -> int:
    """The segment of the log that recovery from this base begins with."""
    ranges = json.loads((folder / LIST).read_text())["WAL-Ranges"]
    return min(wal.position(each["Start-LSN"]) for each in ranges) // wal.SEGMENT_BYTES


def system(connection: Any) -> str:
    """What tells this cluster from any other."""
    (identifier,) = connection.execute("SELECT system_identifier FROM pg_control_system()").fetchone()
    return str(identifier)


def prune(to: Path, keep: int) -> None:
    """Nothing; older bases than the newest so many are gone, and the log that only they went on with."""
    found = manifest.those(to, KIND)
    for old in found[:-keep]:
        shutil.rmtree(old)
    oldest = found[-keep:][0]
    for aside in to.glob("wal-*"):
        if manifest.instant(aside.name) < manifest.instant(oldest.name):
            shutil.rmtree(aside)
    facts, archive = manifest.read(oldest), wal.Archive(to / "wal")
    if archive.system.exists() and archive.system.read_text().strip() == facts["system"]:
        archive.prune(facts["first_segment"])


def due(to: Path, now: datetime, every: float) -> bool:
    """Whether there is no base that the archived log goes on from, or the newest is so many seconds old."""
    found = manifest.those(to, KIND)
    if not found or (now - manifest.instant(found[-1].name)).total_seconds() > every:
        return True
    facts, archive = manifest.read(found[-1]), wal.Archive(to / "wal")
    held = {wal.number(path.name) for path in archive.segments()}
    return bool(held) and min(held) > facts["first_segment"]
