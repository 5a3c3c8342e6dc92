"""Whether the audit trail is what it was: recomputed from its rows, and compared with the anchors.

Nothing here writes. What is found is a list; it is empty where nobody tampered with anything that was
sealed, and where what was anchored is still there. An entry that was written within the last second, and
what happened to the whole database since the last anchor, nobody can vouch for: so the tail is told.
"""

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from django.db import connection, transaction

from backend import scope
from backend.audit import canonical
from backend.audit.sealing import ENTRY, MICROSECONDS
from backend.keys import signing
from backend.proof import queries
from backend.proof.anchors import BEGINNING, Head, Line, lines

# Longer than any transaction of ours takes to commit what it began.
LATE = timedelta(hours=1) // timedelta(microseconds=1)
# Each must be there and fire always, or (for what feeds the sealer) in every session that is no replica's.
GUARDS = {
    ("audit_entry", "append_only", "A"),
    ("audit_entry", "append_only_whole", "A"),
    ("audit_entry", "awaits_seal", "O"),
    ("audit_pending", "only_shrinks", "A"),
    ("audit_pending", "only_shrinks_by_rows", "A"),
    ("audit_seal", "append_only", "A"),
    ("audit_seal", "append_only_whole", "A"),
}
KINDS = {
    "altered": "a seal does not fit its entries: one was edited, exchanged or re-ordered, or the seal was",
    "entry_missing": "a sealed entry is gone",
    "entry_unsealed": "an entry is neither sealed nor waiting to be: it came in by another door",
    "entry_sealed_twice": "an entry is in more than one seal",
    "pending_missing": "an entry that waits to be sealed is gone",
    "out_of_time": "an entry is dated long before what was sealed earlier",
    "number": "a chain's seals are not numbered 1, 2, 3: one is gone, or doubled",
    "previous": "a seal does not follow the one before it",
    "total": "a seal counts its chain's entries wrongly",
    "unguarded": "what keeps the audit append-only is missing or switched off",
    "anchor_signature": "an anchor is not signed by a key that is trusted here",
    "anchor_order": "an anchor does not follow the one before it: one was edited, taken out or put in",
    "anchor_missing": "the audit tells of an anchor that is not in the file: it was cut short or replaced",
    "anchor_disputed": "two anchors say different things of one seal",
    "anchored_missing": "an anchored seal is gone: the database is older than its anchors",
    "anchored_differs": "an anchored seal is another one now: the chain was made anew",
}


@dataclass(frozen=True, slots=True)
class Finding:
    """One sign of tampering: a kind of KINDS, and the place."""

    kind: str
    place: str


@dataclass(slots=True)
class Chain:
    """What there is of one chain."""

    entries: int = 0
    seals: int = 0
    anchored: int = 0
    unsealed: int = 0
    oldest_unsealed: datetime | None = None
    hash: bytes = canonical.BEGINNING


@dataclass(slots=True)
class Verdict:
    """What was looked at, and what was found. `notices` are for people, and no sign of tampering."""

    chains: dict[int, Chain] = field(default_factory=lambda: defaultdict(Chain))
    anchors: int = 0
    lost: set[int] = field(default_factory=set)
    """Numbers of anchors that were not there any more when a restore went on from a backup."""
    findings: list[Finding] = field(default_factory=list)
    notices: list[str] = field(default_factory=list)

    def found(self, kind: str, place: str) -> None:
        self.findings.append(Finding(kind, place))


def verify(*, trusted: Collection[bytes] = (), seen: Collection[tuple[int, str]] = ()) -> Verdict:
    """The verdict on database and anchors as they are at this moment, while the product runs on.

    `trusted`: the public keys that anchors may be signed with, where that is not the installation's own
    alone. `seen`: anchors (number, hash) that somebody has kept a note of.
    """
    with _at_one_moment() as found:
        return examine(found, trusted=trusted or {signing.public_key()}, seen=seen)


def examine(
    found: Sequence[Line | None], *, trusted: Collection[bytes], seen: Collection[tuple[int, str]] = ()
) -> Verdict:
    """The verdict on these lines of the anchors' file and what this transaction sees of the database."""
    verdict = Verdict()
    anchored = _anchors(found, trusted, verdict)
    known = {line.anchor.number: line.hash for line in found if line is not None}
    for number, noted in seen:
        if known.get(number) != noted:
            verdict.found("anchor_missing", f"anchor {number}, which you noted")
    _chains(anchored, verdict)
    _strays(verdict)
    _told_of(known, verdict)
    _guards(verdict)
    return verdict


@contextmanager
def _at_one_moment() -> Iterator[list[Line | None]]:
    """The anchors, and a transaction that sees the database as it was when they were read."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_lock_shared(%s)", [queries.LOCK])
    locked = True
    try:
        with transaction.atomic():
            with connection.cursor() as cursor:
                cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            with scope.everything():
                found = list(lines(queries.anchors_file()))
                with connection.cursor() as cursor:
                    cursor.execute("SELECT pg_advisory_unlock_shared(%s)", [queries.LOCK])
                locked = False
                yield found
    finally:
        if locked:
            with connection.cursor() as cursor:
                cursor.execute("SELECT pg_advisory_unlock_shared(%s)", [queries.LOCK])


def _anchors(
    found: Sequence[Line | None], trusted: Collection[bytes], verdict: Verdict
) -> dict[tuple[int, int], tuple[Head, int]]:
    """The heads that the database must have, by chain and number, each with the number of its anchor."""
    heads: dict[tuple[int, int], tuple[Head, int]] = {}
    number, previous = 0, BEGINNING
    for place, line in enumerate(found, 1):
        if line is None:
            verdict.notices.append(f"Line {place} of the anchors' file is none: a machine stopped there.")
            continue
        anchor = line.anchor
        name = f"anchor {anchor.number} (line {place})"
        key = bytes.fromhex(anchor.key)
        if key not in trusted or not signing.verifies(anchor.content(), line.signature, key):
            verdict.found("anchor_signature", name)
            continue
        begins_anew = anchor.restored and anchor.number > number
        if anchor.previous != previous or not (anchor.number == number + 1 or begins_anew):
            verdict.found("anchor_order", name)
        if anchor.restored:
            heads = _as_restored(heads, anchor.heads)
            verdict.lost.update(range(number + 1, anchor.number))
            verdict.notices.append(
                f"Restored from a backup at {anchor.at} (anchor {anchor.number}):"
                " what was anchored before and is not in the backup is lost."
            )
        for head in anchor.heads:
            kept, by = heads.setdefault((head.chain, head.number), (head, anchor.number))
            if kept != head:
                verdict.found("anchor_disputed", f"{name} and anchor {by}, {_seal(head.chain, head.number)}")
        number, previous = anchor.number, line.hash
        verdict.anchors += 1
    return heads


def _as_restored(
    heads: dict[tuple[int, int], tuple[Head, int]], restored: Sequence[Head]
) -> dict[tuple[int, int], tuple[Head, int]]:
    """The heads that a backup of these heads must still have."""
    reach = {head.chain: head.number for head in restored}
    return {place: held for place, held in heads.items() if place[1] <= reach.get(place[0], 0)}


def _chains(anchored: dict[tuple[int, int], tuple[Head, int]], verdict: Verdict) -> None:
    """Nothing; every seal was recomputed from its entries, in the order of sealing."""
    entries = _entries()
    batch, before, newest = 0, 0, 0
    for row, chain, number, layout, ids, total, sealed_at, previous, link in _seals():
        state, name = verdict.chains[chain], _seal(chain, number)
        held = [next(entries, _GONE) for _ in ids]
        if number != state.seals + 1:
            verdict.found("number", name)
        if previous != state.hash:
            verdict.found("previous", name)
        if total != state.entries + len(ids):
            verdict.found("total", name)
        missing = [key for key, entry in zip(ids, held, strict=True) if entry[0] is None]
        verdict.findings += [Finding("entry_missing", f"entry {key}, {name}") for key in missing]
        recomputed = canonical.seal_hash(
            layout=layout,
            chain=chain,
            number=number,
            total=total,
            sealed_at=sealed_at or 0,
            previous=previous,
            entries=held,
        )
        if layout != canonical.LAYOUT or recomputed != link:
            verdict.found("altered", f"{name} (row {row}), entries {_range(ids)}")
        # A backlog is sealed in the order of its writing. So what comes long before the newest of an earlier
        # batch was not there then, whatever it says of itself. Within a batch chains take turns.
        if sealed_at != batch:
            batch, before = sealed_at, newest
        for key, at, *_ in held:
            if at is not None:
                newest = max(newest, at)
                if at < before - LATE:
                    verdict.found("out_of_time", f"entry {key}, {name}")
        head, by = anchored.pop((chain, number), (None, 0))
        if head is not None:
            state.anchored += 1
            if (head.hash, head.total) != (link.hex(), total):
                verdict.found("anchored_differs", f"{name}, by anchor {by}")
        state.seals, state.entries, state.hash = number, total, link
    for (chain, number), (_, by) in anchored.items():
        verdict.found("anchored_missing", f"{_seal(chain, number)}, by anchor {by}")


_SEALS = f"""
SELECT s.id, s.chain, s.number, s.layout, s.entries, s.total,
    CASE WHEN isfinite(s.sealed_at) THEN {MICROSECONDS.format("s.sealed_at")} END, s.previous, s.hash
FROM audit_seal s ORDER BY s.id
"""
_ENTRIES = f"""
SELECT entry.* FROM audit_seal s CROSS JOIN LATERAL unnest(s.entries) WITH ORDINALITY held (entry, place)
LEFT JOIN LATERAL (SELECT {ENTRY} FROM audit_entry e WHERE e.id = held.entry OFFSET 0) entry ON true
ORDER BY s.id, held.place
"""

_GONE = (None,) * len(canonical.COLUMNS)


def _seals() -> Iterator[tuple[Any, ...]]:
    return _streamed("audit_seals", _SEALS)


def _entries() -> Iterator[tuple[Any, ...]]:
    """The sealed entries in the order of their seals; a row of nothing for one that is gone."""
    return _streamed("audit_entries", _ENTRIES)


def _streamed(name: str, statement: str) -> Iterator[tuple[Any, ...]]:
    # Over the driver's own cursor: values come as bytes, whatever the session's zone and date style.
    with connection.connection.cursor(name=name, binary=True) as cursor:
        cursor.itersize = 5_000
        cursor.execute(statement)
        yield from cursor


def _strays(verdict: Verdict) -> None:
    """Nothing; every entry is in one seal or waits for it, and what waits is there."""
    sealed = "(SELECT unnest(entries) AS entry FROM audit_seal)"
    for kind, statement in (
        (
            "entry_unsealed",
            f"SELECT e.id FROM audit_entry e LEFT JOIN {sealed} s ON s.entry = e.id"
            " LEFT JOIN audit_pending p ON p.entry = e.id WHERE s.entry IS NULL AND p.entry IS NULL",
        ),
        (
            "entry_sealed_twice",
            f"SELECT entry FROM {sealed} s GROUP BY entry HAVING count(*) > 1"
            f" UNION SELECT p.entry FROM audit_pending p JOIN {sealed} s ON s.entry = p.entry",
        ),
        (
            "pending_missing",
            "SELECT p.entry FROM audit_pending p LEFT JOIN audit_entry e ON e.id = p.entry"
            " WHERE e.id IS NULL",
        ),
    ):
        with connection.cursor() as cursor:
            cursor.execute(f"{statement} ORDER BY 1")
            verdict.findings += [Finding(kind, f"entry {key}") for (key,) in cursor.fetchall()]
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT coalesce(e.clinic, 0), count(*), min({MICROSECONDS.format('e.at')})"
            " FROM audit_pending p JOIN audit_entry e ON e.id = p.entry"
            " WHERE isfinite(e.at) GROUP BY 1 ORDER BY 1"
        )
        for chain, count, oldest in cursor.fetchall():
            state = verdict.chains[chain]
            state.unsealed, state.oldest_unsealed = count, canonical.instant(oldest)


def _told_of(known: Mapping[int, str], verdict: Verdict) -> None:
    """Nothing; every anchor that the audit tells of is in the file, as the audit tells it."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT id, subject FROM audit_entry WHERE action = %s ORDER BY id", [queries.ANCHORED]
        )
        for key, subject in cursor.fetchall():
            number, _, told = subject.partition(":")
            if not number.isdecimal():
                verdict.found("anchor_missing", f"entry {key}")
            elif int(number) not in verdict.lost and known.get(int(number), "")[:32] != told:
                verdict.found("anchor_missing", f"anchor {number}, by entry {key}")


def _guards(verdict: Verdict) -> None:
    """Nothing; the triggers are there, and on."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT c.relname, t.tgname, t.tgenabled::text FROM pg_trigger t"
            " JOIN pg_class c ON c.oid = t.tgrelid"
            " WHERE c.relnamespace = 'public'::regnamespace AND NOT t.tgisinternal"
        )
        there = set(cursor.fetchall())
    for table, trigger, mode in sorted(GUARDS - there):
        verdict.found("unguarded", f"trigger {trigger} of {table} (should be {mode})")


def _seal(chain: int, number: int) -> str:
    return f"seal {number} of {chain_name(chain)}"


def chain_name(chain: int) -> str:
    """A chain, for people."""
    return f"clinic {chain}" if chain else "no clinic"


def _range(ids: Sequence[int]) -> str:
    return f"{min(ids)} to {max(ids)}" if ids else "none"
