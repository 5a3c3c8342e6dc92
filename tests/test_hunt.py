"""The hunt for words finds them in every spelling it says it does: else finding none would mean nothing."""

import base64
import bz2
import gzip
import io
import json
import lzma
import zipfile
import zlib
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.hunt import search, spellings

WORD = "zqxcanary7f"
NEEDLES = spellings(WORD)
AROUND = f"before {WORD} after"


def zipped(text: str) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.txt", "x" * 100 + text * 3)
    return file.getvalue()


WRITTEN = {
    "raw": AROUND.encode(),
    "upper case": AROUND.upper().encode(),
    "utf-16": AROUND.encode("utf-16"),
    "utf-16-be": AROUND.encode("utf-16-be"),
    "hex": AROUND.encode().hex().encode(),
    "HEX": AROUND.encode().hex().upper().encode(),
    "json": json.dumps(AROUND).encode(),
    "json, all escaped": "".join(f"\\u{ord(c):04x}" for c in AROUND).encode(),
    "url": quote(AROUND).encode(),
    "url, all escaped": "".join(f"%{ord(c):02X}" for c in AROUND).encode(),
    "bytea, escaped": "".join(f"\\{ord(c):03o}" for c in AROUND).encode(),
    "gzip": b"junk" + gzip.compress(AROUND.encode()),
    "gzip cut short": gzip.compress(AROUND.encode() * 50)[:-9],
    "zlib": b"junk" + zlib.compress(AROUND.encode()) + b"junk",
    "bz2": bz2.compress(AROUND.encode()),
    "xz": lzma.compress(AROUND.encode()),
    "zip": zipped(AROUND),
    **{f"base64 at {n}": base64.b64encode(b"x" * n + AROUND.encode()) for n in range(3)},
    **{f"base64url at {n}": base64.urlsafe_b64encode(b"x" * n + AROUND.encode()) for n in range(3)},
}


@pytest.mark.parametrize("how", WRITTEN)
def test_what_is_written_is_found(how: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"\0\1\2" + WRITTEN[how] + b"\3\4")

    assert list(search([tmp_path], NEEDLES)) == [str(tmp_path / "file")]


def test_what_is_not_written_is_not_found(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "file").write_bytes(b"".join(WRITTEN.values()).lower().replace(b"q", b"k"))
    (tmp_path / "empty").touch()
    (tmp_path / "other").write_bytes(bytes(range(256)) * 100)

    assert search([tmp_path / "other", tmp_path / "empty"], NEEDLES) == {}
