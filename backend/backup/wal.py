"""Segments of the write-ahead log in an archive: which follow on each other, and whether they are what
was written. Needs no Django."""

import os
import re
from dataclasses import dataclass
from pathlib import Path

from backend.backup import manifest
from backend.backup.manifest import Failed
from backend.disk import write_private

SEGMENT_BYTES = 16 * 1024 * 1024
PAGE_BYTES = 8192
CHUNK = 64 * 1024
LONG_HEADER, SHORT_HEADER = 40, 24  # at the beginning of a segment, and of every other page
ALIGNED = 8
HEAD = 24  # what every record begins with: its length is first
SEGMENT = re.compile(r"[0-9A-F]{24}")
NAME = re.compile(r"([0-9A-F]{24})(\.partial)?|[0-9A-F]{8}\.history")
PER_LOG = 0x1_0000_0000 // SEGMENT_BYTES


def position(lsn: str) -> int:
    """A place in the log, of PostgreSQL's `0/1A2B3C`, in bytes from its beginning."""
    high, low = lsn.split("/")
    return (int(high, 16) << 32) + int(low, 16)


def number(name: str) -> int:
    """Which segment the file of that name is, counted from the beginning of the log."""
    return int(name[8:16], 16) * PER_LOG + int(name[16:24], 16)


@dataclass(frozen=True, slots=True)
class Archive:
    """A folder of segments as pg_receivewal writes them, with a folder of their digests beside it."""

    folder: Path

    @property
    def sums(self) -> Path:
        return self.folder / "sums"

    @property
    def system(self) -> Path:
        """The file that says which cluster this is the log of."""
        return self.folder / "system"

    def segments(self) -> list[Path]:
        """The segments, the last one being written included, in order."""
        found = [path for path in self.folder.glob("*") if (m := NAME.fullmatch(path.name)) and m[1]]
        return sorted(found, key=lambda path: (number(path.name), path.name))

    def finished(self) -> list[Path]:
        return [path for path in self.segments() if SEGMENT.fullmatch(path.name)]

    def seal(self) -> None:
        """Nothing; the digest of every finished segment is written down."""
        self.sums.mkdir(mode=0o700, exist_ok=True)
        for path in self.finished():
            if not (self.sums / path.name).exists():
                write_private(self.sums / path.name, manifest.digest(path) + "\n")

    def from_segment(self, first: int) -> list[Path]:
        """The segments from that one on, each following on the one before. Raises Failed."""
        found = [path for path in self.segments() if number(path.name) >= first]
        have = {number(path.name) for path in found}
        for wanted in range(first, max(have, default=first) + 1):
            if wanted not in have:
                raise Failed("wal_missing", f"Segment {wanted:X} of the log is missing in {self.folder}.")
        for path in found:
            said = self.sums / path.name
            if path.stat().st_size != SEGMENT_BYTES or (
                said.exists() and said.read_text().strip() != manifest.digest(path)
            ):
                raise Failed("file_changed", f"{path} is not what was written.")
        return found

    def prune(self, first: int) -> None:
        """Nothing; finished segments before that one are gone."""
        for path in self.finished():
            if number(path.name) < first:
                path.unlink()
                (self.sums / path.name).unlink(missing_ok=True)


def set_aside(archive: Archive, name: str) -> None:
    """Nothing; the archive goes on in an empty folder, and what it held lies beside it under that name."""
    archive.folder.rename(archive.folder.with_name(name))
    archive.folder.mkdir(mode=0o700)


def archive_of(place: Path, *, first: int, system: str) -> Archive:
    """The archive in that place that goes on from a base which begins with that segment. Raises Failed."""
    for folder in [place / "wal", *sorted(place.glob("wal-*"), reverse=True)]:
        archive = Archive(folder)
        if not archive.system.exists() or archive.system.read_text().strip() != system:
            continue
        if any(number(path.name) == first for path in archive.segments()):
            return archive
    raise Failed("wal_missing", f"The log from segment {first:X} on is not in {place}.")


def refuse_lost_tail(files: list[Path], end: int, archive: Path) -> None:
    """Nothing. Raises Failed where recovery ended at a byte of the log, and what follows it is no torn end.

    PostgreSQL takes a record it cannot read for the end of the log, wherever that is. The last record that
    reached the archive may be cut off; then nothing follows but zeros.
    """
    after = [path for path in files if (number(path.name) + 1) * SEGMENT_BYTES > end]
    if not after:
        return
    start = number(after[0].name) * SEGMENT_BYTES
    # Segments of two timelines may have one number; the later one holds what the earlier one does.
    held = b"".join({number(path.name): path.read_bytes() for path in after}.values())
    rest = held[end - start :]
    nonzero = len(rest.rstrip(b"\0"))
    offset = _header(end)
    length = int.from_bytes(rest[offset : offset + 4], "little")
    allowed = _extent(end, offset, length)
    complete = length > 0 and nonzero + ALIGNED > allowed
    if nonzero > allowed or complete or _followed(rest, end, offset):
        where = archive / after[0].name
        raise Failed("file_changed", f"{where} is not what was written: the log goes on behind a break.")


def _followed(rest: bytes, end: int, offset: int) -> bool:
    """Whether a record names the one at the end as the one before it, in its second 8 bytes."""
    link = (end + offset).to_bytes(8, "little")
    at = rest.find(link, offset + HEAD)
    while at != -1 and (end + at) % ALIGNED:
        at = rest.find(link, at + 1)
    return at != -1


def _header(at: int) -> int:
    """The bytes of a page's header, where one begins at that place."""
    if at % SEGMENT_BYTES == 0:
        return LONG_HEADER
    return SHORT_HEADER if at % PAGE_BYTES == 0 else 0


def _extent(end: int, offset: int, length: int) -> int:
    """How many bytes from there on a record of that length may take, headers of further pages included."""
    taken, left = offset, length
    while left > 0:
        room = PAGE_BYTES - (end + taken) % PAGE_BYTES
        step = min(room, left)
        taken, left = taken + step, left - step
        if left > 0:
            taken += _header(end + taken)
    return taken


def copy_for_recovery(files: list[Path], to: Path) -> list[Path]:
    """The copies: recovery finds each segment under its own name, the unfinished one too.

    The archive may be written to meanwhile, always behind what is there. So it is read from behind: where
    something is seen, all before it was there already.
    """
    to.mkdir(mode=0o700)
    copies = []
    for path in reversed(files):
        target = to / path.name.removesuffix(".partial")
        if not target.exists():
            _copy_from_behind(path, target)
            copies.append(target)
    return copies[::-1]


def _copy_from_behind(path: Path, target: Path) -> None:
    # Finished meanwhile, it has lost the end of its name.
    source = path if path.exists() else path.with_suffix("")
    with source.open("rb") as file, target.open("xb") as copy:
        copy.truncate(SEGMENT_BYTES)
        for at in range(SEGMENT_BYTES - CHUNK, -1, -CHUNK):
            copy.seek(at)
            copy.write(os.pread(file.fileno(), CHUNK, at))
