"""Putting the heads of the chains where the database cannot reach them."""

from datetime import UTC, datetime, timedelta

import structlog
from django.db import connection

from backend import scope
from backend.audit import services as audit
from backend.keys import signing
from backend.proof import anchors, queries
from backend.proof.anchors import Anchor, Line

log = structlog.get_logger()

# An anchor is due after so long, or so many entries sealed, whichever comes first: what was written since
# the last one is all that somebody with the whole database could still rewrite unseen.
EVERY = timedelta(minutes=5)
ENTRIES = 1_000


def anchor_if_due(*, now: datetime) -> Anchor | None:
    """The anchor that was due; None where none was."""
    with scope.everything():
        last = anchors.last(queries.anchors_file())
        if last is not None and not _due(last.anchor, now):
            return None
    return anchor(now=now)


def anchor(*, now: datetime) -> Anchor:
    """The new anchor: the heads that moved since the last, on disk, with an audit row and a line in the log.

    The file comes first: a process that ends in between leaves an anchor that the audit does not tell of,
    which is harmless. The other way round it would look like a file that was cut short.
    """
    return _write(now=now, restored=False)


def record_restore(*, now: datetime) -> Anchor:
    """The anchor after which the audit goes on from what a backup held, with all heads as they are there.

    For whoever restores, once the database is as the backup was and before anything else is written. The
    anchors of before stay in their file: they hold as far as the backup reached. Where that file is lost too,
    a new one begins at a number beyond all that the audit tells of.
    """
    return _write(now=now, restored=True)


def _due(last: Anchor, now: datetime) -> bool:
    if now - datetime.fromisoformat(last.at) >= EVERY:
        return True
    return queries.sealed_after(last.seals) >= ENTRIES


def _write(*, now: datetime, restored: bool) -> Anchor:
    path = queries.anchors_file()
    with scope.everything():
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", [queries.LOCK])
        last = anchors.last(path)
        made = _next(last, now=now, restored=restored)
        line = anchors.signed(made)
        name = anchors.hash_of(line)
        anchors.append(path, line)
        audit.record(actor=None, action=queries.ANCHORED, subject=f"{made.number}:{name[:32]}")
    log.info("audit_anchored", number=made.number, hash=name, restored=restored)
    return made


def _next(last: Line | None, *, now: datetime, restored: bool) -> Anchor:
    seen = 0 if last is None or restored else last.anchor.seals
    number = last.anchor.number if last else 0
    if restored:
        number = max(number, queries.newest_anchored())
    return Anchor(
        number=number + 1,
        at=now.astimezone(UTC).isoformat(),
        seals=queries.newest_seal(),
        heads=queries.heads_after(seen),
        previous=last.hash if last else anchors.BEGINNING,
        restored=restored,
        key=signing.public_key().hex(),
    )
