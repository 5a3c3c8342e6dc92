"""What a person wrote is sealed under their own key; hashes of it tell nothing without a key either.

What was there in clear is sealed here. It cannot be undone where there is anything: what is sealed is not
laid open again, and from a fingerprint there is no way back.
"""

import hashlib
import hmac
import importlib

import orjson
from django.db import migrations, models

keys = importlib.import_module("backend.keys.migrations.0001_resealing")
before = importlib.import_module("scales.migrations.0002_append_only")

# What is sealed belongs to its row by number, so that is kept as well.
KEPT = before.KEPT.replace("UPDATE OF participant_id", "UPDATE OF id, participant_id").replace(
    "FOR EACH ROW EXECUTE FUNCTION refuse_change()",
    "FOR EACH ROW EXECUTE FUNCTION refuse_all_but_resealing('body', 'faults')",
)
# Each with where its rows lead to, and which of its columns are sealed.
TABLES = (
    (
        "scales_correction",
        "JOIN scales_administration a ON a.id = t.administration_id"
        " JOIN care_participant p ON p.id = a.participant_id",
        ("reason",),
    ),
    ("scales_quarantined", "JOIN care_participant p ON p.id = t.participant_id", ("body", "faults")),
)
BATCH = 500


def seal_what_is_there(apps, schema_editor):
    """Nothing; every text is sealed, and every hash a fingerprint."""
    for table, joins, columns in TABLES:
        with schema_editor.connection.cursor() as cursor:
            cursor.execute(f"SELECT id FROM {table} ORDER BY id")
            ids = [row[0] for row in cursor.fetchall()]
            for first in range(0, len(ids), BATCH):
                _seal(cursor, table, joins, columns, ids[first : first + BATCH])


def _seal(cursor, table, joins, columns, ids):
    # The plain parts of it, as services may ask more of the database by and by than is there yet.
    from backend.keys import envelope, keyring, ring

    def made(holder):
        cursor.execute(
            "INSERT INTO audit_entry (action, clinic, subject) VALUES ('key.made', %s, %s)",
            [holder.clinic, str(holder.id)],
        )

    def seal(text, column, row, holder):
        place = envelope.Place(table, column, str(row), holder)
        version, key = ring.keyring().current(holder, made=lambda: made(holder))
        sealed = envelope.seal(text.encode(), key=key, version=version, place=place)
        if envelope.unseal(sealed, key=key, place=place) != text.encode():
            raise AssertionError("what was sealed does not open to what it was")
        return sealed

    ring.refuse_without_keys()
    blind = ring.keyring().key(keyring.BLIND, 1)
    clear = ", ".join(f"t.{column}_clear::text" for column in columns)
    cursor.execute(
        f"SELECT t.id, p.public_id, p.clinic_id, t.content_hash, {clear} FROM {table} t {joins}"
        " WHERE t.id = ANY(%s)",
        [ids],
    )
    for row, public_id, clinic, content_hash, *texts in cursor.fetchall():
        holder = envelope.Holder(public_id, clinic)
        cursor.execute(
            f"UPDATE {table} SET content_hash = %s, {', '.join(f'{c} = %s' for c in columns)} WHERE id = %s",
            [
                _fingerprint(blind, bytes(content_hash)),
                *(seal(_written(table, t), c, row, holder) for c, t in zip(columns, texts, strict=True)),
                row,
            ],
        )


def _written(table, text):
    """A reason as it was; JSON without the blanks that PostgreSQL writes into it."""
    return text if table == "scales_correction" else orjson.dumps(orjson.loads(text)).decode()


def _fingerprint(key, content_hash):
    """As `backend.keys.blind` makes it."""
    purpose = b"content"
    return hmac.new(key, len(purpose).to_bytes(4) + purpose + content_hash, hashlib.sha256).digest()


def refuse_to_lay_open(apps, schema_editor):
    """Nothing, where there is nothing."""
    with schema_editor.connection.cursor() as cursor:
        cursor.execute(
            "SELECT EXISTS (SELECT FROM scales_correction) OR EXISTS (SELECT FROM scales_quarantined)"
        )
        if cursor.fetchone()[0]:
            raise RuntimeError("what is sealed is not laid open again")


def aside(model, column):
    """The steps that leave what is in clear aside, and an empty column in its place."""
    return [
        migrations.RenameField(model, column, f"{column}_clear"),
        migrations.AddField(model, column, models.BinaryField(null=True)),
    ]


def sealed(model, column):
    """The steps after which only what is sealed is left."""
    return [
        migrations.AlterField(model, column, models.BinaryField()),
        migrations.RemoveField(model, f"{column}_clear"),
    ]


def without(step):
    """The step that undoes this one, and is undone by it."""
    return migrations.RunSQL(step.reverse_sql, step.sql)


class Migration(migrations.Migration):
    dependencies = [
        ("scales", "0004_walls"),
        ("keys", "0001_resealing"),
        ("audit", "0005_device_and_why"),
    ]

    # In one transaction: nobody ever meets the tables without their triggers.
    operations = [
        without(before.append_only("scales_correction")),
        migrations.RunSQL(before.NOT_KEPT, before.KEPT),
        *aside("correction", "reason"),
        *aside("quarantined", "body"),
        *aside("quarantined", "faults"),
        migrations.RunPython(seal_what_is_there, refuse_to_lay_open),
        *sealed("correction", "reason"),
        *sealed("quarantined", "body"),
        *sealed("quarantined", "faults"),
        keys.append_only_but_for_resealing("scales_correction", "reason"),
        migrations.RunSQL(KEPT, before.NOT_KEPT),
    ]
