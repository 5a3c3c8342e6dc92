"""Twelve ways to tamper with the audit (T24), each by somebody who owns the database, in SQL.

Whoever owns it can switch every trigger off, delete, edit and recompute: so each of these does what it does
with nothing in its way, and leaves the guards as they were.
"""

import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import orjson
from django.db import connection

from backend.audit import canonical
from backend.audit.sealing import ENTRY, MICROSECONDS, seal_all
from backend.proof.anchors import Line, parsed
from tests.conftest import as_owner

TABLES = ("audit_entry", "audit_pending", "audit_seal")
Tampering = Callable[[random.Random], None]


def run(statement: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(statement, list(values) or None)
        return list(cursor.fetchall()) if cursor.description else []


@contextmanager
def unguarded() -> Iterator[None]:
    """As the owner, without triggers; they are on again afterwards, as they were."""
    with as_owner():
        run("SET CONSTRAINTS ALL IMMEDIATE")
        modes = run(
            "SELECT tgrelid::regclass::text, tgname, tgenabled::text FROM pg_trigger WHERE NOT tgisinternal"
            " AND tgrelid IN ('audit_entry'::regclass, 'audit_pending'::regclass, 'audit_seal'::regclass)"
        )
        for table in TABLES:
            run(f"ALTER TABLE {table} DISABLE TRIGGER USER")
        yield
        for table, trigger, mode in modes:
            run(f"ALTER TABLE {table} ENABLE {'ALWAYS' if mode == 'A' else ''} TRIGGER {trigger}")


def some_sealed(chance: random.Random, count: int) -> list[int]:
    """So many entries of one chain, in the order of sealing."""
    (rows,) = chance.sample(
        run(
            "SELECT array_agg(entry ORDER BY s.number, place) FROM audit_seal s,"
            " unnest(s.entries) WITH ORDINALITY u (entry, place) GROUP BY chain HAVING count(*) > 3"
            " ORDER BY chain"
        ),
        1,
    )
    return sorted(chance.sample(rows[0], count))


def edit(chance: random.Random) -> None:
    column, value = chance.choice(
        [
            ("actor", "coalesce(actor, 0) + 1"),
            ("participant", "CASE WHEN participant IS NULL THEN 1 END"),
            ("participant", "coalesce(participant, 0) + 1"),
            ("action", "action || ' '"),
            ("subject", "subject || 'x'"),
            ("why", "'emergency'"),
            ("device", "gen_random_uuid()"),
            ("request", "gen_random_uuid()"),
            ("at", "at + interval '1 microsecond'"),
        ]
    )
    one = some_sealed(chance, 1)
    with unguarded():
        run(f"UPDATE audit_entry SET {column} = {value} WHERE id = ANY(%s)", [one])


def delete(chance: random.Random) -> None:
    with unguarded():
        run("DELETE FROM audit_entry WHERE id = ANY(%s)", [some_sealed(chance, chance.randint(1, 3))])


def insert(chance: random.Random) -> None:
    """Past the sealer, or through its own door under an old date."""
    copied = (
        "INSERT INTO audit_entry (at, actor, action, subject, participant, clinic)"
        " SELECT at - interval '2 hours', actor, 'consents.read', '', participant, clinic FROM audit_entry"
        " WHERE id = ANY(%s)"
    )
    one = some_sealed(chance, 1)
    if chance.random() < 0.5:
        with unguarded():
            run(copied, [one])
    else:
        run(copied, [one])
        seal_all()


def reorder(chance: random.Random) -> None:
    """Two entries change places: in the table, or in their seal."""
    first, second = some_sealed(chance, 2)
    with unguarded():
        if chance.random() < 0.5:
            run("UPDATE audit_entry SET id = -1 WHERE id = %s", [first])
            run("UPDATE audit_entry SET id = %s WHERE id = %s", [first, second])
            run("UPDATE audit_entry SET id = %s WHERE id = -1", [second])
        else:
            run(
                "UPDATE audit_seal SET entries = array_replace(array_replace(array_replace("
                "entries, %s, -1), %s, %s), -1, %s) WHERE entries && ARRAY[%s, %s]::bigint[]",
                [first, second, first, second, first, second],
            )


def truncate_tail(chance: random.Random) -> None:
    """The newest seals of one chain are gone, and all they held."""
    chain, newest = chance.choice(run("SELECT chain, max(number) FROM audit_seal GROUP BY chain ORDER BY 1"))
    forget(f"chain = {chain} AND number > {newest - chance.randint(1, min(newest, 3))}")


def truncate_head(chance: random.Random) -> None:
    """The oldest seals of one chain are gone, and the rest of it begins anew at 1."""
    chain, newest = chance.choice(
        run("SELECT chain, max(number) FROM audit_seal GROUP BY chain HAVING max(number) > 1 ORDER BY 1")
    )
    forget(f"chain = {chain} AND number <= {chance.randint(1, newest - 1)}")
    if chance.random() < 0.5:
        recompute(chain)


def swap_time(chance: random.Random) -> None:
    first, second = some_sealed(chance, 2)
    with unguarded():
        run(
            "UPDATE audit_entry e SET at = o.at FROM audit_entry o"
            " WHERE (e.id, o.id) IN ((%s, %s), (%s, %s))",
            [first, second, second, first],
        )


def rewrite_all(chance: random.Random) -> None:
    """An entry is edited, and every link after it computed as the sealer would have."""
    edit(chance)
    for (chain,) in run("SELECT DISTINCT chain FROM audit_seal ORDER BY chain"):
        recompute(chain)


def replace_table(chance: random.Random) -> None:
    """Another table takes the place of the entries', with an edit in it; half the time without guards."""
    one = some_sealed(chance, 1)
    guarded = chance.random() < 0.5
    with as_owner():
        run("SET CONSTRAINTS ALL IMMEDIATE")
        run("CREATE TABLE audit_other (LIKE audit_entry INCLUDING ALL)")
        run("INSERT INTO audit_other SELECT * FROM audit_entry")
        if guarded:
            run("UPDATE audit_other SET actor = coalesce(actor, 0) + 1 WHERE id = ANY(%s)", [one])
        run("ALTER TABLE audit_entry RENAME TO audit_kept")
        run("ALTER TABLE audit_other RENAME TO audit_entry")
        run("GRANT SELECT, INSERT ON audit_entry TO selfkind_app")
        if guarded:
            for name, when in (("", "UPDATE OR DELETE"), ("_whole", "TRUNCATE")):
                level = "STATEMENT" if name else "ROW"
                run(
                    f"CREATE TRIGGER append_only{name} BEFORE {when} ON audit_entry"
                    f" FOR EACH {level} EXECUTE FUNCTION refuse_change()"
                )
                run(f"ALTER TABLE audit_entry ENABLE ALWAYS TRIGGER append_only{name}")
            run(
                "CREATE TRIGGER awaits_seal AFTER INSERT ON audit_entry REFERENCING NEW TABLE AS added"
                " FOR EACH STATEMENT EXECUTE FUNCTION audit_await_seal()"
            )


def roll_back(chance: random.Random) -> None:
    """Everything is as it was when some seal had just been written."""
    *earlier, _ = run("SELECT DISTINCT sealed_at FROM audit_seal ORDER BY 1")
    (at,) = chance.choice(earlier)
    with unguarded():
        gone = run("SELECT unnest(entries) FROM audit_seal WHERE sealed_at > %s", [at])
        run("DELETE FROM audit_seal WHERE sealed_at > %s", [at])
        gone += run("DELETE FROM audit_pending RETURNING entry")
        run("DELETE FROM audit_entry WHERE id = ANY(%s)", [[key for (key,) in gone]])


def disable_trigger(chance: random.Random) -> None:
    """A trigger is off, an entry is edited; half the time it stays off, and the edit is of nothing."""
    one = some_sealed(chance, 1)
    if chance.random() < 0.5:
        with unguarded():
            run("UPDATE audit_entry SET why = 'covering' WHERE id = ANY(%s)", [one])
        return
    table, trigger = chance.choice(
        [
            ("audit_entry", "append_only"),
            ("audit_entry", "append_only_whole"),
            ("audit_entry", "awaits_seal"),
            ("audit_seal", "append_only"),
            ("audit_pending", "only_shrinks"),
        ]
    )
    with as_owner():
        run("SET CONSTRAINTS ALL IMMEDIATE")
        run(f"ALTER TABLE {table} DISABLE TRIGGER {trigger}")


DATABASE: dict[str, Tampering] = {
    "edit": edit,
    "delete": delete,
    "insert": insert,
    "reorder": reorder,
    "truncate tail": truncate_tail,
    "truncate head": truncate_head,
    "swap time": swap_time,
    "rewrite all and recompute": rewrite_all,
    "replace table": replace_table,
    "roll back to a backup": roll_back,
    "disable trigger then edit": disable_trigger,
}


def edit_anchor(chance: random.Random, found: list[bytes]) -> list[bytes]:
    """The lines of the anchors' file with a head changed, a line taken out, or the end cut off."""
    place = chance.randrange(len(found))
    match chance.choice(["head", "time", "signature", "gone", "cut", "all gone", "garbage"]):
        case "gone":
            return found[:place] + found[place + 1 :]
        case "cut":
            return found[:place]
        case "all gone":
            return []
        case "garbage":
            return [*found[:place], found[place][:-9], *found[place + 1 :]]
        case what:
            fields = orjson.loads(found[place])
            if what == "head" and fields["heads"]:
                fields["heads"][0]["total"] += 1
            elif what == "signature":
                fields["signature"] = ("0" if fields["signature"][0] != "0" else "1") + fields["signature"][
                    1:
                ]
            else:
                fields["at"] = fields["at"].replace("T", "U")
            return [*found[:place], orjson.dumps(fields, option=orjson.OPT_SORT_KEYS), *found[place + 1 :]]


def as_lines(found: Sequence[bytes]) -> list[Line | None]:
    return [parsed(text) for text in found]


def forget(which: str) -> None:
    """Seals, with every entry in them."""
    with unguarded():
        run(f"DELETE FROM audit_entry WHERE id IN (SELECT unnest(entries) FROM audit_seal WHERE {which})")
        run(f"DELETE FROM audit_seal WHERE {which}")


def recompute(chain: int) -> None:
    """The chain holds together again, whatever was done to it."""
    with unguarded():
        total, previous = 0, canonical.BEGINNING
        seals = run(
            f"SELECT id, entries, {MICROSECONDS.format('sealed_at')} FROM audit_seal WHERE chain = %s"
            " ORDER BY number",
            [chain],
        )
        for number, (key, ids, sealed_at) in enumerate(seals, 1):
            rows = {
                row[0]: row for row in run(f"SELECT {ENTRY} FROM audit_entry e WHERE id = ANY(%s)", [ids])
            }
            held = [rows[id_] for id_ in ids]
            total += len(held)
            link = canonical.seal_hash(
                layout=canonical.LAYOUT,
                chain=chain,
                number=number,
                total=total,
                sealed_at=sealed_at,
                previous=previous,
                entries=held,
            )
            run(
                "UPDATE audit_seal SET number = %s, total = %s, previous = %s, hash = %s WHERE id = %s",
                [number, total, previous, link, key],
            )
            previous = link
