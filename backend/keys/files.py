"""The key store in files: 64 of them, each with a share of the holders. Needs no Django.

A change rewrites one file under its lock: draft, fsync, rename, fsync of the folder. So a file is always
whole, readers need no lock, and what a rename put in its place is seen by every process at its next look.
To turn a master key over is 64 writes, however many people there are.
"""

import base64
import fcntl
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

import orjson

from backend.disk import write_private
from backend.keys.store import Record, RecoveryKey, StoreFailed, Wrapped

PARTS = 64
_RECOVERY = "recovery"
_Stamp = tuple[int, int, int]


class FileStore:
    """Wrapped data keys in one folder, which is nobody's but the service's."""

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder)
        self._read: dict[str, tuple[_Stamp, dict[str, Any]]] = {}
        self._turn = threading.Lock()

    def make(self) -> None:
        """Nothing; the folder is there."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def get(self, holder: UUID) -> Record | None:
        found = self._content(_name(_part(holder))).get(str(holder))
        return None if found is None else _record(found)

    def change(self, holder: UUID, make: Callable[[Record | None], Record]) -> Record:
        name = _name(_part(holder))
        with self._alone(name):
            content = self._content(name)
            before = content.get(str(holder))
            after = _written(make(None if before is None else _record(before)))
            if after != before:
                self._write(name, {**content, str(holder): after})
        return _record(after)

    def parts(self) -> Iterable[int]:
        return range(PARTS)

    def rewrite(self, part: int, make: Callable[[UUID, Record], Record]) -> int:
        name = _name(part)
        with self._alone(name):
            content = self._content(name)
            after = {key: _written(make(UUID(key), _record(record))) for key, record in content.items()}
            changed = sum(1 for key, record in content.items() if after[key] != record)
            if changed:
                self._write(name, after)
        return changed

    def records(self) -> Iterator[tuple[UUID, Record]]:
        for part in self.parts():
            for key, record in self._content(_name(part)).items():
                yield UUID(key), _record(record)

    def recovery_key(self, clinic: int) -> RecoveryKey | None:
        found = self._content(_RECOVERY).get(str(clinic))
        return None if found is None else RecoveryKey(found["id"], base64.b64decode(found["public"]))

    def set_recovery_key(self, clinic: int, key: RecoveryKey) -> None:
        with self._alone(_RECOVERY):
            written = {"id": key.id, "public": _text(key.public)}
            self._write(_RECOVERY, {**self._content(_RECOVERY), str(clinic): written})

    def _content(self, name: str) -> dict[str, Any]:
        """What a file holds; nothing where it is not there yet, in a folder that is."""
        path = self.folder / f"{name}.json"
        try:
            seen = path.stat()
            stamp = (seen.st_ino, seen.st_mtime_ns, seen.st_size)
            known = self._read.get(name)
            if known is not None and known[0] == stamp:
                return known[1]
            with path.open("rb") as file:
                # Of the file that is read, whatever has taken its name meanwhile.
                seen = os.fstat(file.fileno())
                content: dict[str, Any] = orjson.loads(file.read())
        except FileNotFoundError:
            if self.folder.is_dir():
                return {}
            raise StoreFailed(f"there is no key store at {self.folder}") from None
        except (OSError, ValueError) as error:
            raise StoreFailed(
                f"{name}.json of the key store cannot be read: {type(error).__name__}"
            ) from None
        self._read[name] = ((seen.st_ino, seen.st_mtime_ns, seen.st_size), content)
        return content

    def _write(self, name: str, content: dict[str, Any]) -> None:
        path = self.folder / f"{name}.json"
        try:
            # Readers know a file by inode, time and size, and an inode is used again: time must move on.
            before = path.stat().st_mtime_ns if path.exists() else 0
            # Whoever was killed as they wrote left a draft; keys that are destroyed here must not lie there.
            for left in self.folder.glob(f".{name}.json.*"):
                left.unlink()
            write_private(path, orjson.dumps(content), newer_than=before)
        except OSError as error:
            raise StoreFailed(f"the key store cannot be written: {error.strerror}") from None

    @contextmanager
    def _alone(self, name: str) -> Iterator[None]:
        """Nothing; no other thread or process changes that file meanwhile."""
        with self._turn:
            try:
                descriptor = os.open(self.folder / f".{name}.lock", os.O_RDWR | os.O_CREAT, 0o600)
            except OSError as error:
                raise StoreFailed(f"the key store cannot be written: {error.strerror}") from None
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX)
                yield
            finally:
                os.close(descriptor)


def _part(holder: UUID) -> int:
    return holder.int % PARTS


def _name(part: int) -> str:
    return f"{part:02x}"


def _text(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


def _record(found: dict[str, Any]) -> Record:
    keys = {
        int(version): Wrapped(master, base64.b64decode(service), recovery_key, base64.b64decode(recovery))
        for version, (master, service, recovery_key, recovery) in found["keys"].items()
    }
    retired = {int(version): at for version, at in found.get("retired", {}).items()}
    return Record(found["clinic"], found["current"], keys, found.get("destroyed_at"), retired)


def _written(record: Record) -> dict[str, Any]:
    keys = {
        str(version): [wrapped.master, _text(wrapped.service), wrapped.recovery_key, _text(wrapped.recovery)]
        for version, wrapped in record.keys.items()
    }
    written: dict[str, Any] = {"clinic": record.clinic, "current": record.current, "keys": keys}
    if record.retired:
        written["retired"] = {str(version): at for version, at in record.retired.items()}
    return written if record.destroyed_at is None else {**written, "destroyed_at": record.destroyed_at}
