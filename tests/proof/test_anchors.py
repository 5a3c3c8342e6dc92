"""The anchors' file: it only grows, and every line stands for all before it."""

import random
from datetime import timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest
from django.db import transaction
from structlog.testing import capture_logs

from backend.audit.models import Entry
from backend.audit.sealing import seal_all
from backend.keys import signing
from backend.proof import anchors, queries, services
from backend.proof.tasks import seal_and_anchor
from tests.proof.tampering import run
from tests.proof.trail import BEGAN, file_lines, fill, write


def test_an_anchor_names_every_head_that_moved(db: None, anchors_file: Path) -> None:
    run("DELETE FROM audit_pending")
    for clinic in (1, 1, 2):
        run("INSERT INTO audit_entry (action, subject, clinic) VALUES ('x.read', '', %s)", [clinic])
    seal_all()
    with capture_logs() as logged:
        services.anchor(now=BEGAN)
    hashes = dict(run("SELECT chain, encode(hash, 'hex') FROM audit_seal"))
    (line,) = file_lines(anchors_file)
    fields = orjson.loads(line)
    signature = bytes.fromhex(fields.pop("signature"))
    content = orjson.dumps(fields, option=orjson.OPT_SORT_KEYS)

    assert fields == {
        "number": 1,
        "at": "2026-03-01T08:00:00+00:00",
        "seals": run("SELECT max(id) FROM audit_seal")[0][0],
        "heads": [
            {"chain": 1, "number": 1, "hash": hashes[1], "total": 2},
            {"chain": 2, "number": 1, "hash": hashes[2], "total": 1},
        ],
        "previous": "",
        "restored": False,
        "key": signing.public_key().hex(),
    }
    assert signing.verifies(content, signature, signing.public_key())
    entry = Entry.objects.get(action="audit.anchored")
    assert (entry.actor, entry.clinic, entry.subject) == (None, None, f"1:{anchors.hash_of(line)[:32]}")
    assert logged == [
        {"event": "audit_anchored", "log_level": "info", "number": 1, "restored": False,
         "hash": anchors.hash_of(line)}
    ]  # fmt: skip

    seal_all()
    services.anchor(now=BEGAN)
    second = orjson.loads(file_lines(anchors_file)[1])
    assert (second["number"], second["previous"]) == (2, anchors.hash_of(line))
    assert [head["chain"] for head in second["heads"]] == [0]
    assert anchors_file.stat().st_mode & 0o777 == 0o600


def test_an_anchor_is_due_after_five_minutes_or_a_thousand_entries(db: None, anchors_file: Path) -> None:
    assert services.anchor_if_due(now=BEGAN) is not None
    seal_all()
    assert services.anchor_if_due(now=BEGAN + timedelta(minutes=4, seconds=59)) is None
    assert services.anchor_if_due(now=BEGAN + timedelta(minutes=5)) is not None
    many = "INSERT INTO audit_entry (action, subject) SELECT 'x.read', '' FROM generate_series(1, %s)"
    run(many, [998])
    seal_all()  # and that of the anchor itself
    assert services.anchor_if_due(now=BEGAN + timedelta(minutes=6)) is None
    run(many, [1])
    seal_all()
    assert services.anchor_if_due(now=BEGAN + timedelta(minutes=6)) is not None


def test_the_task_seals_and_anchors(db: None, anchors_file: Path) -> None:
    write(random.Random(1), 3)
    assert queries.unsealed() == run("SELECT count(*), min(at) FROM audit_entry")[0]
    assert queries.last_anchor_at() is None
    seal_and_anchor()
    count, oldest = queries.unsealed()
    assert (count, oldest is not None) == (1, True)  # that of the anchor, for the next second
    at = queries.last_anchor_at()
    assert at is not None
    assert at.utcoffset() == timedelta(0)


def test_after_half_a_line_the_next_begins_anew(db: None, anchors_file: Path) -> None:
    fill(random.Random(1), rounds=2)
    whole = file_lines(anchors_file)
    with anchors_file.open("ab") as file:
        file.write(whole[1][:50])
    line = anchors.last(anchors_file)
    assert line is not None
    assert line.anchor.number == 2
    services.anchor(now=BEGAN)

    kept = file_lines(anchors_file)
    assert kept[:3] == [*whole, whole[1][:50]]
    found = list(anchors.lines(anchors_file))
    assert [line.anchor.number if line else None for line in found] == [1, 2, None, 3]


def test_the_last_line_is_found_however_long_lines_are(tmp_path: Path) -> None:
    path = tmp_path / "anchors.jsonl"
    assert anchors.last(path) is None
    path.touch()
    assert anchors.last(path) is None
    previous = anchors.BEGINNING
    for number, heads in ((1, 5), (2, 3_000), (3, 0)):
        made = anchors.Anchor(
            number=number,
            at="2026-03-01T08:00:00+00:00",
            seals=0,
            heads=tuple(anchors.Head(chain, 1, "ab" * 32, 1) for chain in range(heads)),
            previous=previous,
            restored=False,
            key=signing.public_key().hex(),
        )
        line = anchors.signed(made)
        anchors.append(path, line)
        previous = anchors.hash_of(line)
        found = anchors.last(path)
        assert found is not None
        assert (found.anchor, found.hash) == (made, previous)
    assert [line and line.anchor.number for line in anchors.lines(path)] == [1, 2, 3]


def test_another_spelling_of_a_line_is_no_anchor(db: None, anchors_file: Path) -> None:
    fill(random.Random(1), rounds=1)
    (line,) = file_lines(anchors_file)
    fields: dict[str, Any] = orjson.loads(line)
    odd = [
        b"",
        b"{}",
        b"[]",
        b"null",
        b"\xff",
        line[:-1],
        line + b" ",
        line.replace(b",", b", ", 1),
        orjson.dumps({**fields, "more": 1}, option=orjson.OPT_SORT_KEYS),
        orjson.dumps({**fields, "heads": 1}, option=orjson.OPT_SORT_KEYS),
        orjson.dumps({**fields, "signature": 1}, option=orjson.OPT_SORT_KEYS),
    ]
    assert [anchors.parsed(text) for text in odd] == [None] * len(odd)
    assert anchors.parsed(line) is not None


def test_an_anchor_whose_row_is_lost_is_only_one_more(db: None, anchors_file: Path) -> None:
    """A process that dies between file and commit: the file is ahead, never behind."""
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        services.anchor(now=BEGAN)
        raise ZeroDivisionError
    assert len(file_lines(anchors_file)) == 1
    assert queries.newest_anchored() == 0
    assert services.anchor(now=BEGAN).number == 2
