"""The role the product works as, what a transaction may see, and the policy that holds it to that."""

from django.db import migrations

ROLE = """
DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'selfkind_app') THEN
        CREATE ROLE selfkind_app NOLOGIN NOSUPERUSER NOBYPASSRLS NOCREATEDB NOCREATEROLE;
    END IF;
    IF NOT pg_has_role(current_user, 'selfkind_app', 'SET') THEN
        EXECUTE format('GRANT selfkind_app TO %I WITH INHERIT FALSE, SET TRUE', current_user);
    END IF;
EXCEPTION WHEN insufficient_privilege OR duplicate_object OR unique_violation THEN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'selfkind_app') THEN
        RAISE EXCEPTION 'the role selfkind_app is missing and may not be made: CREATE ROLE selfkind_app';
    END IF;
END
$$;
GRANT USAGE ON SCHEMA public TO selfkind_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO selfkind_app;
GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO selfkind_app;
ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO selfkind_app;
ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT USAGE ON SEQUENCES TO selfkind_app;
"""
NO_ROLE = """
ALTER DEFAULT PRIVILEGES IN SCHEMA public REVOKE ALL ON SEQUENCES FROM selfkind_app;
ALTER DEFAULT PRIVILEGES IN SCHEMA public REVOKE ALL ON TABLES FROM selfkind_app;
"""

# What backend/scope.py set for this transaction. Unset or empty is nothing.
SCOPE = """
CREATE FUNCTION scope_user() RETURNS bigint LANGUAGE sql STABLE PARALLEL SAFE AS
    $$ SELECT nullif(current_setting('selfkind.user', true), '')::bigint $$;
CREATE FUNCTION scope_participants() RETURNS bigint[] LANGUAGE sql STABLE PARALLEL SAFE AS
    $$ SELECT coalesce(nullif(current_setting('selfkind.participants', true), ''), '{}')::bigint[] $$;
CREATE FUNCTION scope_clinics() RETURNS bigint[] LANGUAGE sql STABLE PARALLEL SAFE AS
    $$ SELECT coalesce(nullif(current_setting('selfkind.clinics', true), ''), '{}')::bigint[] $$;
CREATE FUNCTION scope_everything() RETURNS boolean LANGUAGE sql STABLE PARALLEL SAFE AS
    $$ SELECT coalesce(current_setting('selfkind.everything', true), '') = 'on' $$;
"""
NO_SCOPE = """
DROP FUNCTION scope_user(); DROP FUNCTION scope_participants();
DROP FUNCTION scope_clinics(); DROP FUNCTION scope_everything();
"""


def walled(table: str, seen: str) -> migrations.RunSQL:
    """The step after which the table shows and takes only rows for which `seen` holds, its owner included."""
    return migrations.RunSQL(
        f"""
        ALTER TABLE {table} ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
        CREATE POLICY everything ON {table} USING ((SELECT scope_everything()));
        CREATE POLICY scope ON {table} TO selfkind_app USING ({seen});
        """,
        f"""
        DROP POLICY scope ON {table};
        DROP POLICY everything ON {table};
        ALTER TABLE {table} NO FORCE ROW LEVEL SECURITY, DISABLE ROW LEVEL SECURITY;
        """,
    )


def seeing_all(query: str) -> str:
    """What makes a function return what this query finds among all rows there are.

    It works as the owner, to whom the policies of the product's role do not apply: so its plans hold none of
    them, which halves what it costs. Names are looked up in this order so that nobody slips it a table.
    """
    return f"""
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
    #variable_conflict use_column
    DECLARE
        before text := coalesce(current_setting('selfkind.everything', true), '');
    BEGIN
        PERFORM set_config('selfkind.everything', 'on', true);
        RETURN QUERY {query};
        PERFORM set_config('selfkind.everything', before, true);
    END
    $$"""


def of_participant(column: str = "participant_id") -> str:
    """The condition that a row is of a participant in scope. The sub-select is asked once a statement."""
    return f"{column} = ANY ((SELECT scope_participants())::bigint[])"


class Migration(migrations.Migration):
    dependencies = [("audit", "0002_append_only")]

    operations = [
        migrations.RunSQL(ROLE, NO_ROLE),
        migrations.RunSQL(SCOPE, NO_SCOPE),
        walled("audit_entry", of_participant("participant")),
        # Whoever is refused leaves a row about somebody out of their sight.
        migrations.RunSQL(
            "CREATE POLICY anybody_writes ON audit_entry FOR INSERT WITH CHECK (true)",
            "DROP POLICY anybody_writes ON audit_entry",
        ),
    ]
