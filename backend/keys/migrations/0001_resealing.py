"""A table that never changes, but for values that are sealed anew under a newer key of the same holder."""

from django.db import migrations

# What is sealed begins with its format, 1 byte, and the version of its key, 4 bytes, big end first: bytea is
# compared as that (`backend/keys/envelope.py`). Rows are compared by their bytes (`*=`), as 3.0 equals 3.
FUNCTION = """
CREATE FUNCTION refuse_all_but_resealing() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    name text;
    was bytea;
    becomes bytea;
    resealed integer := 0;
    otherwise record := NEW;
BEGIN
    IF TG_OP = 'UPDATE' THEN
        FOREACH name IN ARRAY TG_ARGV LOOP
            EXECUTE format('SELECT ($1).%1$I, ($2).%1$I', name) INTO was, becomes USING OLD, NEW;
            IF substring(becomes FOR 1) = substring(was FOR 1)
                AND substring(becomes FROM 2 FOR 4) > substring(was FROM 2 FOR 4)
                AND length(becomes) = length(was)
            THEN
                resealed := resealed + 1;
                otherwise := jsonb_populate_record(otherwise, jsonb_build_object(name, was));
            END IF;
        END LOOP;
        IF resealed > 0 AND otherwise *= OLD THEN
            RETURN NEW;
        END IF;
    END IF;
    RAISE EXCEPTION '% is append-only', TG_TABLE_NAME USING ERRCODE = 'restrict_violation';
END
$$;
"""


def append_only_but_for_resealing(table: str, *sealed: str) -> migrations.RunSQL:
    """The step after which the table's rows never change, but for these columns, sealed under a newer key."""
    return migrations.RunSQL(
        f"""
        CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON {table}
            FOR EACH ROW EXECUTE FUNCTION refuse_all_but_resealing({", ".join(f"'{c}'" for c in sealed)});
        CREATE TRIGGER append_only_whole BEFORE TRUNCATE ON {table}
            FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
        ALTER TABLE {table} ENABLE ALWAYS TRIGGER append_only;
        ALTER TABLE {table} ENABLE ALWAYS TRIGGER append_only_whole;
        """,
        f"DROP TRIGGER append_only ON {table}; DROP TRIGGER append_only_whole ON {table};",
    )


class Migration(migrations.Migration):
    dependencies = [("audit", "0002_append_only")]

    operations = [migrations.RunSQL(FUNCTION, "DROP FUNCTION refuse_all_but_resealing();")]
