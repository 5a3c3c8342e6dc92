"""Entries wait until the sealer chains them, and seals can be written and read, and nothing else."""

import importlib

import django.contrib.postgres.fields
from django.db import migrations, models

append_only = importlib.import_module("backend.audit.migrations.0002_append_only").append_only
walls = importlib.import_module("backend.audit.migrations.0003_walls")

# An entry waits by its key, so that one which commits late or out of order is found like any other, and a
# dump holds what a restore needs. One statement of whatever size is one insert here.
WAITING = """
CREATE FUNCTION audit_await_seal() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO audit_pending (entry) SELECT id FROM added;
    RETURN NULL;
END
$$;
INSERT INTO audit_pending (entry) SELECT id FROM audit_entry;
CREATE TRIGGER awaits_seal AFTER INSERT ON audit_entry
    REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION audit_await_seal();
CREATE TRIGGER only_shrinks BEFORE UPDATE ON audit_pending
    FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER only_shrinks_by_rows BEFORE TRUNCATE ON audit_pending
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
ALTER TABLE audit_pending ENABLE ALWAYS TRIGGER only_shrinks;
ALTER TABLE audit_pending ENABLE ALWAYS TRIGGER only_shrinks_by_rows;
"""
NOT_WAITING = """
DROP TRIGGER only_shrinks_by_rows ON audit_pending;
DROP TRIGGER only_shrinks ON audit_pending;
DROP TRIGGER awaits_seal ON audit_entry;
DROP FUNCTION audit_await_seal();
"""

# What a user saw and did in a clinic, newest first: who may ask is decided in `care.access`.
_OF_MEMBER = walls.seeing_all(
    """SELECT e.id, e.at, e.action, e.participant, e.subject, e.request, e.device, e.why FROM audit_entry e
        WHERE e.actor = who AND e.clinic = of_clinic AND e.at >= since AND e.at < until
            AND (e.at, e.id) < (before_at, before_id)
        ORDER BY e.at DESC, e.id DESC LIMIT most"""
)
OF_MEMBER = f"""
CREATE FUNCTION audit_of_member(of_clinic bigint, who bigint, since timestamptz, until timestamptz,
        before_at timestamptz, before_id bigint, most integer)
    RETURNS TABLE (id bigint, at timestamptz, action varchar, participant bigint, subject varchar,
        request uuid, device uuid, why varchar)
    {_OF_MEMBER};
"""


class Migration(migrations.Migration):
    dependencies = [("audit", "0005_device_and_why")]

    operations = [
        migrations.CreateModel(
            name="Pending",
            fields=[("entry", models.BigIntegerField(primary_key=True, serialize=False))],
        ),
        migrations.CreateModel(
            name="Seal",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("chain", models.BigIntegerField()),
                ("number", models.BigIntegerField()),
                ("layout", models.SmallIntegerField()),
                (
                    "entries",
                    django.contrib.postgres.fields.ArrayField(base_field=models.BigIntegerField(), size=None),
                ),
                ("total", models.BigIntegerField()),
                ("sealed_at", models.DateTimeField()),
                ("previous", models.BinaryField()),
                ("hash", models.BinaryField()),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(fields=["chain", "number"], name="audit_seal_never_forks")
                ],
            },
        ),
        migrations.AddIndex("entry", models.Index(fields=["actor", "at"], name="audit_of_an_actor")),
        migrations.RunSQL(OF_MEMBER, "DROP FUNCTION audit_of_member;"),
        migrations.RunSQL(WAITING, NOT_WAITING),
        append_only("audit_seal"),
        walls.walled("audit_seal", "chain = ANY ((SELECT scope_clinics())::bigint[])"),
    ]
