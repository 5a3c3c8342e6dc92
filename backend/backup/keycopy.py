"""Copies of the key store and of what must be kept with it, each whole by itself. Needs no Django.

The master key and the recovery key are not among them: with either, a copy could be opened.
"""

import contextlib
import hashlib
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from backend.backup import manifest
from backend.backup.manifest import Failed

KIND = "keys"
SECRET = "secret-key"  # noqa: S105 - the name of a file
ANCHORS = "anchors.jsonl"
LEDGER = "erasures.jsonl"
# What only grows: a copy of it is never put over what is there already.
GROWING = (ANCHORS, LEDGER)
NEVER = ("master-key", "recovery-key")


@dataclass(frozen=True, slots=True)
class Kept:
    """Where a service keeps what goes with its keys."""

    store: Path
    anchors: Path
    ledger: Path
    secret: Path

    @classmethod
    def by(cls, environ: Mapping[str, str], state: Path) -> "Kept":
        """What the environment says, or its place in STATE."""
        return cls(
            store=Path(environ.get("KEY_STORE") or state / "keys"),
            anchors=Path(environ.get("AUDIT_ANCHORS") or state / "audit-anchors" / ANCHORS),
            ledger=Path(environ.get("ERASURE_LEDGER") or state / "erasures" / "ledger.jsonl"),
            secret=state / SECRET,
        )

    def files(self) -> dict[str, Path]:
        """Every file, by its name in a copy."""
        found = {
            f"keys/{path.relative_to(self.store)}": path
            for path in sorted(self.store.rglob("*"))
            if path.is_file() and not path.name.startswith((".", *NEVER))
        }
        return found | {name: path for name, path in self._beside().items() if path.exists()}

    def place(self, name: str) -> Path:
        """Where the file of that name in a copy belongs."""
        if name.startswith("keys/"):
            return self.store / name.removeprefix("keys/")
        return self._beside()[name]

    def _beside(self) -> dict[str, Path]:
        return {ANCHORS: self.anchors, LEDGER: self.ledger, SECRET: self.secret}


Seen = dict[str, tuple[int, int, int]]


def seen(kept: Kept) -> Seen:
    """How the files look from outside: whatever replaces one makes this another."""
    found: Seen = {}
    for name, path in kept.files().items():
        with contextlib.suppress(FileNotFoundError):
            stat = path.stat()
            found[name] = (stat.st_ino, stat.st_mtime_ns, stat.st_size)
    return found


def copy(kept: Kept, to: Path, *, now: datetime, days: int) -> Path:
    """The newest copy: one made now, or the last one where nothing changed since. Older ones are pruned.

    What did not change is linked, not copied. Keys are replaced whole, so what is read of them is whole.
    """
    with manifest.alone(to):
        before = manifest.those(to, KIND)
        known: dict[str, Any] = {}
        with contextlib.suppress(Failed):
            known = manifest.checked(before[-1])["files"] if before else {}
        files = kept.files()
        digests = {file: hashlib.sha256(_whole(file, path)).hexdigest() for file, path in files.items()}
        newest = before[-1] if before else to
        if not before or digests != {file: said["sha256"] for file, said in known.items()}:
            newest = to / f"{KIND}-{manifest.stamp(now)}"
            with manifest.drafted(to, newest.name) as draft:
                for file, path in files.items():
                    target = draft / file
                    target.parent.mkdir(mode=0o700, exist_ok=True)
                    if digests[file] != known.get(file, {}).get("sha256") or not _linked(
                        before[-1] / file, target
                    ):
                        target.write_bytes(_whole(file, path))
                        target.chmod(0o600)
                facts = {"kind": KIND, "taken_at": now.isoformat(), "files": manifest.described(draft)}
                manifest.write(draft, facts)
        prune(to, now=now, days=days)
    return newest


def _whole(file: str, path: Path) -> bytes:
    """What is in the file; of what only grows, up to the end of the last whole line."""
    content = path.read_bytes()
    return content[: content.rfind(b"\n") + 1] if file in GROWING else content


def _linked(old: Path, target: Path) -> bool:
    """Whether the file shares its place on the disk with the old one: not every file system can do that."""
    try:
        os.link(old, target)
    except OSError:
        return False
    return True


def prune(to: Path, *, now: datetime, days: int) -> None:
    """Nothing; what stays is the newest copy, and the last one of each day within so many days.

    Short on purpose: what was erased is gone once no copy holds its key any more.
    """
    found = manifest.those(to, KIND)
    last_of_a_day = {manifest.instant(path.name).date(): path for path in found}
    kept = {path for path in last_of_a_day.values() if now - manifest.instant(path.name) < timedelta(days)}
    for path in found[:-1]:
        if path not in kept:
            shutil.rmtree(path)
