"""What a backup says about itself, written so that one changed byte is noticed. Needs no Django.

A backup is a folder. It is made under another name, written through to the disk, and renamed: what has
its name is whole. Its `manifest.json` names every file in it with size and SHA-256, and carries its own.
"""

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

NAME = "manifest.json"
STAMP = "%Y%m%dT%H%M%S.%fZ"
FORMAT = 1
PATIENCE = 30.0  # seconds for another backup to the same place


class Failed(Exception):
    """A backup was not made, or does not hold what it says; the message is one line for the operator."""

    def __init__(self, code: str, words: str) -> None:
        super().__init__(words)
        self.code = code


def stamp(at: datetime) -> str:
    """The instant, as names of backups end: they sort by time."""
    return at.astimezone(UTC).strftime(STAMP)


def instant(name: str) -> datetime:
    """The instant that a backup's name ends with."""
    return datetime.strptime(name.partition("-")[2], STAMP).replace(tzinfo=UTC)


def digest(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def flush(path: Path) -> None:
    """Nothing; the file or folder is on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def described(folder: Path) -> dict[str, dict[str, Any]]:
    """Size and SHA-256 of each file below the folder."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {
        os.fspath(path.relative_to(folder)): {"bytes": path.stat().st_size, "sha256": digest(path)}
        for path in files
    }


def _encoded(facts: Mapping[str, Any]) -> bytes:
    return json.dumps(facts, indent=1, sort_keys=True).encode() + b"\n"


def write(folder: Path, facts: Mapping[str, Any]) -> None:
    """Nothing; the folder's manifest says this, and all of the folder is on the disk."""
    inner = {**facts, "format": FORMAT}
    whole = {"manifest": inner, "sha256": hashlib.sha256(_encoded(inner)).hexdigest()}
    (folder / NAME).write_bytes(_encoded(whole))
    for path in [*folder.rglob("*"), folder]:
        flush(path)


def read(folder: Path) -> dict[str, Any]:
    """What the manifest says. Raises Failed where a byte of it was changed."""
    path = folder / NAME
    try:
        written = path.read_bytes()
        whole = json.loads(written)
        inner: dict[str, Any] = whole["manifest"]
        sound = _encoded(whole) == written and whole["sha256"] == hashlib.sha256(_encoded(inner)).hexdigest()
    except FileNotFoundError:
        raise Failed("manifest_missing", f"There is no {path}.") from None
    except (OSError, ValueError, KeyError, TypeError):
        sound = False
    if not sound:
        raise Failed("manifest_changed", f"{path} is not what was written.")
    if inner["format"] != FORMAT:
        raise Failed("manifest_unknown", f"{path} is of a later release than this one.")
    return inner


def checked(folder: Path) -> dict[str, Any]:
    """What the manifest says, once every file is what it says. Raises Failed naming the file."""
    facts = read(folder)
    for name, said in facts["files"].items():
        path = folder / name
        if not path.is_file():
            raise Failed("file_missing", f"{path} is missing.")
        if path.stat().st_size != said["bytes"] or digest(path) != said["sha256"]:
            raise Failed("file_changed", f"{path} is not what was written.")
    return facts


def those(folder: Path, *kinds: str) -> list[Path]:
    """The whole backups of these kinds in a folder, the oldest first."""
    found = [path for kind in kinds for path in folder.glob(f"{kind}-*") if (path / NAME).exists()]
    return sorted(found, key=lambda path: path.name.partition("-")[2])


def newest(folder: Path, *kinds: str) -> Path:
    """The folder itself where it is a backup, else the newest in it. Raises Failed where there is none."""
    if (folder / NAME).exists():
        return folder
    found = those(folder, *kinds)
    if not found:
        raise Failed("nothing_there", f"There is no backup in {folder}.")
    return found[-1]


@contextlib.contextmanager
def drafted(place: Path, name: str) -> Iterator[Path]:
    """A folder to fill, which has that name afterwards; nothing is left of one that was not finished."""
    draft = place / f".{name}.draft"
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(mode=0o700)
    try:
        yield draft
        draft.rename(place / name)
        flush(place)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


@contextlib.contextmanager
def alone(place: Path) -> Iterator[None]:
    """Nothing: no other backup is being made there, and what a killed one left behind is gone."""
    place.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(place / ".lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError:
                if time.monotonic() > deadline:
                    raise Failed("busy", f"Another backup is being made in {place}.") from None
                time.sleep(0.1)
        for left in place.glob(".*.draft"):
            shutil.rmtree(left)
        yield
    finally:
        os.close(descriptor)


def apart(database: Path, keys: Path) -> None:
    """Nothing. Raises Failed where the two places are one, or one lies in the other.

    Whoever finds a database and its keys together reads everything, and yesterday's keys bring back what
    was erased since.
    """
    one, other = database.expanduser().resolve(), keys.expanduser().resolve()
    if one == other or one in other.parents or other in one.parents:
        raise Failed("same_place", "Keys go to a place of their own, apart from the database's.")
