"""The service's master keys: one file, apart from the key store. Needs no Django.

One of them is current and wraps; while they are turned over, the one before still opens.
"""

import base64
import os
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import orjson

from backend.disk import write_private
from backend.keys.store import StoreFailed
from backend.keys.wrapping import key_id, new_key


@dataclass(frozen=True, slots=True)
class Masters:
    """Master keys by id, and which of them wraps."""

    current: str
    keys: Mapping[str, bytes]


class MasterFile:
    """The file that holds them. What another process wrote is seen at the next look."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self._read: tuple[tuple[int, int, int], Masters] | None = None
        self._turn = threading.Lock()

    def masters(self) -> Masters:
        """The master keys. Raises StoreFailed where there are none."""
        try:
            seen = self.path.stat()
            stamp = (seen.st_ino, seen.st_mtime_ns, seen.st_size)
            known = self._read
            if known is not None and known[0] == stamp:
                return known[1]
            with self.path.open("rb") as file:
                seen = os.fstat(file.fileno())
                found = orjson.loads(file.read())
            keys = {id_: base64.b64decode(key) for id_, key in found["keys"].items()}
            masters = Masters(found["current"], keys)
        except (OSError, ValueError, KeyError) as error:
            raise StoreFailed(f"the master key cannot be read: {type(error).__name__}") from None
        self._read = ((seen.st_ino, seen.st_mtime_ns, seen.st_size), masters)
        return masters

    def write(self, masters: Masters) -> None:
        """Nothing; these are the master keys now."""
        keys = {id_: base64.b64encode(key).decode() for id_, key in masters.keys.items()}
        try:
            # As in the store: whoever knows the file by inode, time and size must see that it is another.
            before = self.path.stat().st_mtime_ns if self.path.exists() else 0
            content = orjson.dumps({"current": masters.current, "keys": keys})
            write_private(self.path, content, newer_than=before)
        except OSError as error:
            raise StoreFailed(f"the master key cannot be written: {error.strerror}") from None

    def make(self) -> bool:
        """Whether a first master key was made just now."""
        if self.path.exists():
            return False
        key = new_key()
        self.write(Masters(key_id(key), {key_id(key): key}))
        return True
