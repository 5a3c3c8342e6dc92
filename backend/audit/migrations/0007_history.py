"""What rows that staff can change were before: kept by a trigger that no statement passes by."""

import importlib

from django.db import migrations, models

append_only = importlib.import_module("backend.audit.migrations.0002_append_only").append_only
walls = importlib.import_module("backend.audit.migrations.0003_walls")

# Works as the owner, since the product's role may not write history. What it is given: the names of the
# columns that say whose the row is ('' for none), then those that are kept out.
FUNCTION = """
CREATE FUNCTION keep_history() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    before jsonb := to_jsonb(OLD);
BEGIN
    IF TG_OP = 'UPDATE' AND OLD IS NOT DISTINCT FROM NEW THEN
        RETURN NULL;
    END IF;
    INSERT INTO audit_history (at, actor, request, change, "table", "row", participant, clinic, before)
    VALUES (
        now(), scope_user(), nullif(current_setting('selfkind.request', true), '')::uuid, lower(TG_OP),
        TG_TABLE_NAME, before->>'id', (before->>TG_ARGV[0])::bigint, (before->>TG_ARGV[1])::bigint,
        before - TG_ARGV[2:]
    );
    RETURN NULL;
END
$$;
"""


def keeps_history(
    table: str, *, participant: str = "", clinic: str = "", leaving_out: tuple[str, ...] = ()
) -> migrations.RunSQL:
    """The step after which each change and deletion of the table's rows leaves what the row was before.

    `participant` and `clinic` are the columns that say whose a row is. Secrets are left out, hashed or not.
    """
    given = ", ".join(f"'{column}'" for column in (participant, clinic, *leaving_out))
    return migrations.RunSQL(
        f"""
        CREATE TRIGGER keep_history AFTER UPDATE OR DELETE ON {table}
            FOR EACH ROW EXECUTE FUNCTION keep_history({given});
        ALTER TABLE {table} ENABLE ALWAYS TRIGGER keep_history;
        """,
        f"DROP TRIGGER keep_history ON {table};",
    )


class Migration(migrations.Migration):
    dependencies = [("audit", "0006_seals")]

    operations = [
        migrations.CreateModel(
            name="History",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("at", models.DateTimeField()),
                ("actor", models.BigIntegerField(null=True)),
                ("request", models.UUIDField(null=True)),
                (
                    "change",
                    models.CharField(choices=[("update", "Update"), ("delete", "Delete")], max_length=6),
                ),
                ("table", models.CharField(max_length=63)),
                ("row", models.CharField(max_length=36)),
                ("participant", models.BigIntegerField(null=True)),
                ("clinic", models.BigIntegerField(null=True)),
                ("before", models.JSONField()),
            ],
            options={
                "indexes": [
                    models.Index(fields=["table", "row", "id"], name="history_of_a_row"),
                    models.Index(fields=["participant", "id"], name="history_of_a_participant"),
                ],
            },
        ),
        append_only("audit_history"),
        walls.walled("audit_history", walls.of_participant("participant")),
        # The trigger writes as the owner, about rows it may be shown nothing of; nobody else writes at all.
        migrations.RunSQL(
            "CREATE POLICY trigger_writes ON audit_history FOR INSERT WITH CHECK (true);"
            "REVOKE INSERT, UPDATE, DELETE, TRUNCATE ON audit_history FROM selfkind_app",
            "DROP POLICY trigger_writes ON audit_history",
        ),
        migrations.RunSQL(FUNCTION, "DROP FUNCTION keep_history();"),
    ]
