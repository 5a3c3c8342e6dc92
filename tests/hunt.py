"""Looking for words that were written down anywhere: as they are, and in the spellings machines give them."""

import base64
import bz2
import lzma
import mmap
import struct
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

# What compressed streams begin with, and who reads them.
_READERS: dict[bytes, Callable[[], Any]] = {
    b"\x1f\x8b\x08": lambda: zlib.decompressobj(31),
    b"\x78\x01": lambda: zlib.decompressobj(15),
    b"\x78\x5e": lambda: zlib.decompressobj(15),
    b"\x78\x9c": lambda: zlib.decompressobj(15),
    b"\x78\xda": lambda: zlib.decompressobj(15),
    b"BZh": bz2.BZ2Decompressor,
    b"\xfd7zXZ\x00": lzma.LZMADecompressor,
}
_ZIP = b"PK\x03\x04"
_ZIP_HEADER = struct.Struct("<26xHH")
_CHUNK = 64 * 1024
_LARGEST = 256 * 1024 * 1024


def spellings(text: str) -> dict[str, bytes]:
    """The text as bytes in every spelling it is looked for in; base64 at three alignments, less its edges."""
    raw = text.encode()
    escaped = "".join(f"\\u{ord(c):04x}" for c in text)
    found = {
        "raw": raw,
        "upper case": text.upper().encode(),
        "utf-16-le": text.encode("utf-16-le"),
        "utf-16-be": text.encode("utf-16-be"),
        "hex": raw.hex().encode(),
        "hex, upper case": raw.hex().upper().encode(),
        "url-escaped": "".join(f"%{byte:02X}" for byte in raw).encode(),
        "url-escaped, lower case": "".join(f"%{byte:02x}" for byte in raw).encode(),
        "quoted": quote(text).encode(),
        "json-escaped": escaped.encode(),
        "octal-escaped": "".join(f"\\{byte:03o}" for byte in raw).encode(),
    }
    for alignment in range(3):
        encoded = base64.b64encode(b"\0" * alignment + raw)
        # What stands beside the text changes the letters at its edges: three bytes are four letters.
        first = -(-alignment * 4 // 3)
        whole = (alignment + len(raw)) // 3 * 4
        found[f"base64 at {alignment}"] = encoded[first:whole]
        found[f"base64url at {alignment}"] = found[f"base64 at {alignment}"].translate(
            bytes.maketrans(b"+/", b"-_")
        )
    return found


def hits(content: bytes | mmap.mmap, needles: Mapping[str, bytes]) -> list[str]:
    """The spellings that the content holds."""
    return [name for name, needle in needles.items() if content.find(needle) >= 0]


def unpacked(content: bytes) -> Iterator[bytes]:
    """What the compressed streams in the content hold, wherever in it they begin; as far as they go."""
    whole = memoryview(content)
    for magic, reader in _READERS.items():
        for start in _occurrences(content, magic):
            if opened := _read(whole[start:], reader()):
                yield opened
    for start in _occurrences(content, _ZIP):
        if len(content) >= start + _ZIP_HEADER.size:
            name, extra = _ZIP_HEADER.unpack_from(content, start)
            if opened := _read(whole[start + _ZIP_HEADER.size + name + extra :], zlib.decompressobj(-15)):
                yield opened


def search(folders: Iterable[Path], needles: Mapping[str, bytes]) -> dict[str, list[str]]:
    """The files under these folders that hold the text, and in which spellings; streams are unpacked."""
    found: dict[str, list[str]] = {}
    for path in _files(folders):
        with path.open("rb") as file:
            if path.stat().st_size == 0:
                continue
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
                seen = hits(content, needles)
                if path.stat().st_size <= _LARGEST:
                    for part in unpacked(content[:]):
                        seen += [f"{name}, compressed" for name in hits(part, needles)]
        if seen:
            found[str(path)] = sorted(set(seen))
    return found


def size(folders: Iterable[Path]) -> int:
    """The bytes that `search` looks through there."""
    return sum(path.stat().st_size for path in _files(folders))


def _files(folders: Iterable[Path]) -> Iterator[Path]:
    for folder in folders:
        for path in sorted(folder.rglob("*")) if folder.is_dir() else [folder]:
            if path.is_file() and not path.is_symlink():
                yield path


def _occurrences(content: bytes, magic: bytes) -> Iterator[int]:
    start = content.find(magic)
    while start >= 0:
        yield start
        start = content.find(magic, start + 1)


def _read(stream: memoryview, reader: Any) -> bytes:
    """What the stream holds, as far as it is one. Whatever follows it is left."""
    opened = b""
    try:
        for start in range(0, len(stream), _CHUNK):
            opened += reader.decompress(stream[start : start + _CHUNK])
            if reader.eof or len(opened) > _LARGEST:
                break
    except (OSError, EOFError, ValueError, zlib.error, lzma.LZMAError):
        pass
    return opened
