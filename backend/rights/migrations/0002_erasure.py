"""Erasing one person: the rows that say so, the one function that deletes, and the triggers that let it.

Append-only tables stay append-only to everybody. Their triggers let a row go only where it is deleted by the
table's owner, who is nobody the product signs in as, and only while an erasure of that very participant is
being carried out: `rights_erase` is the one place where both hold.
"""

import importlib
import uuid

import django.contrib.postgres.fields
from django.db import migrations, models
from django.db.models import Q

walls = importlib.import_module("backend.audit.migrations.0003_walls")
append_only = importlib.import_module("backend.audit.migrations.0002_append_only")
resealing = importlib.import_module("backend.keys.migrations.0001_resealing")

STATES = ["waiting", "due", "destroying", "done", "cancelled"]
OPEN = ["waiting", "due", "destroying"]

_SIGN_IN = "user_id = the_account"
# Every table with rows of theirs, in the order in which they go; what its rows are called in the receipt; and
# which are theirs. `tests/rights/test_erasing.py` compares it with `backend/rights/plan.py`. A further table is
# one line here, before what its rows refer to.
TABLES = (
    (
        "rights_exportpart",
        "pieces of copies",
        "export_id IN (SELECT x.id FROM rights_export x WHERE x.participant_id = the_person)",
    ),
    ("rights_export", "copies", "participant_id = the_person"),
    ("changes_change", "changes for phones", "participant = the_person"),
    ("scales_trend", "trends", "participant_id = the_person"),
    ("scales_quarantined", "answers kept aside", "participant_id = the_person"),
    ("scales_release", "releases of scores", "participant_id = the_person"),
    ("scales_held", "scores held back", "participant_id = the_person"),
    (
        "scales_correction",
        "corrections",
        "administration_id IN (SELECT a.id FROM scales_administration a WHERE a.participant_id = the_person)",
    ),
    ("scales_administration", "administrations", "participant_id = the_person"),
    ("care_disclosure", "choices of what is shown", "participant_id = the_person"),
    ("care_consent", "consents", "participant_id = the_person"),
    ("care_recoverycode", "recovery codes", "participant_id = the_person"),
    ("care_invitation", "invitations", "participant_id = the_person"),
    ("care_dosingsession", "dosing sessions", "participant_id = the_person"),
    ("care_carerelationship", "care relationships", "participant_id = the_person"),
    ("care_emergencyaccess", "emergencies", "participant_id = the_person"),
    ("care_participant", "participants", "id = the_person"),
    # After what leaves a line here as it goes.
    ("audit_history", "lines of what was before", "participant = the_person"),
    (
        "account_emailconfirmation",
        "confirmations of an address",
        f"email_address_id IN (SELECT e.id FROM account_emailaddress e WHERE e.{_SIGN_IN})",
    ),
    ("account_emailaddress", "addresses to sign in with", _SIGN_IN),
    ("accounts_address", "addresses", _SIGN_IN),
    ("mfa_authenticator", "second factors", _SIGN_IN),
    (
        "django_session",
        "sign-ins",
        f"session_key IN (SELECT f.session_key FROM accounts_tokenfamily f WHERE f.{_SIGN_IN})",
    ),
    ("accounts_tokenfamily", "renewals of sign-ins", _SIGN_IN),
    ("accounts_device", "devices", _SIGN_IN),
    ("accounts_passkeyname", "names of passkeys", _SIGN_IN),
    ("accounts_user", "users", "id = the_account"),
)

MAY = """
-- Whether this row of that table may be deleted just now. What says that somebody looked is nobody's to undo.
CREATE FUNCTION rights_may_erase(held oid, of_row jsonb) RETURNS boolean LANGUAGE sql STABLE AS $$
    SELECT held <> 'audit_entry'::regclass
        AND current_user = (SELECT pg_get_userbyid(c.relowner) FROM pg_class c WHERE c.oid = held)
        AND EXISTS (
            SELECT FROM rights_erasure e
            WHERE e.id = nullif(current_setting('selfkind.erasure', true), '')::uuid
                AND e.state = 'destroying'
                AND e.participant = coalesce(
                    (of_row->>'participant_id')::bigint,
                    (of_row->>'participant')::bigint,
                    (SELECT a.participant_id FROM scales_administration a
                        WHERE a.id = (of_row->>'administration_id')::uuid))) $$;
"""


def letting_go(function: str) -> str:
    """A trigger function that refuses deletes, so changed that it lets an erasure's own pass."""
    lets = """BEGIN
    IF TG_OP = 'DELETE' AND TG_LEVEL = 'ROW' THEN
        IF rights_may_erase(TG_RELID, to_jsonb(OLD)) THEN
            RETURN OLD;
        END IF;
    END IF;
"""
    return function.replace("CREATE FUNCTION", "CREATE OR REPLACE FUNCTION").replace("BEGIN\n", lets, 1)


def as_before(function: str) -> str:
    """The trigger function as its own migration makes it."""
    return function.replace("CREATE FUNCTION", "CREATE OR REPLACE FUNCTION")


# Whatever refuses deletes from tables of participants.
GUARDS = (append_only.FUNCTION, resealing.FUNCTION)


def erase(tables: tuple[tuple[str, str, str], ...]) -> str:
    """The function that erases from these tables."""
    deletes = "".join(
        f"""
    DELETE FROM {table} WHERE {theirs};
    GET DIAGNOSTICS found = ROW_COUNT;
    counts := counts || jsonb_build_object('{kind}', found);"""
        for table, kind, theirs in tables
    )
    return f"""
-- Deletes all there is of the participant and the user that the erasure names by number, where they are still
-- the holders of the keys that were destroyed for it: in a database brought back from a copy, a number may be
-- somebody else's. Returns how many rows of each kind it found.
CREATE OR REPLACE FUNCTION rights_erase(erasure uuid) RETURNS jsonb
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    before text := coalesce(current_setting('selfkind.everything', true), '');
    wanted rights_erasure%ROWTYPE;
    the_person bigint;
    the_account bigint;
    found bigint;
    counts jsonb := '{{}}';
BEGIN
    PERFORM set_config('selfkind.everything', 'on', true);
    SELECT * INTO wanted FROM rights_erasure e WHERE e.id = erasure AND e.state = 'destroying' FOR UPDATE;
    IF wanted.id IS NULL THEN
        RAISE EXCEPTION 'no erasure under way has this id' USING ERRCODE = 'restrict_violation';
    END IF;
    -- Waits for whoever is writing for them, and lets nobody begin.
    SELECT p.id INTO the_person FROM care_participant p
        WHERE p.id = wanted.participant AND p.public_id = ANY (wanted.holders) FOR UPDATE;
    SELECT u.id INTO the_account FROM accounts_user u
        WHERE u.id = wanted.account AND u.key = ANY (wanted.holders) FOR UPDATE;
    PERFORM set_config('selfkind.erasure', erasure::text, true);
    -- What they or others made under ids of their own leaves a hash of each, and is not taken in again.
    INSERT INTO changes_tombstone (object)
    SELECT DISTINCT sha256(uuid_send(made.id)) FROM (
        SELECT a.id FROM scales_administration a WHERE a.participant_id = the_person
        UNION ALL
        SELECT c.id FROM scales_correction c JOIN scales_administration a ON a.id = c.administration_id
            WHERE a.participant_id = the_person
        UNION ALL
        SELECT q.administration FROM scales_quarantined q
            WHERE q.participant_id = the_person AND q.administration IS NOT NULL AND NOT EXISTS (
                SELECT FROM scales_administration a
                WHERE a.id = q.administration AND a.participant_id <> the_person)
        UNION ALL
        SELECT d.id FROM care_dosingsession d WHERE d.participant_id = the_person
        UNION ALL
        SELECT n.id FROM care_consent n WHERE n.participant_id = the_person) made (id)
    ON CONFLICT DO NOTHING;
{deletes}
    -- What still refers to any of it is found here, and nothing is deleted.
    SET CONSTRAINTS ALL IMMEDIATE;
    SET CONSTRAINTS ALL DEFERRED;
    -- In a database from before they came, nobody else is given their numbers.
    IF wanted.participant > (SELECT last_value FROM care_participant_id_seq) THEN
        PERFORM setval('care_participant_id_seq', wanted.participant);
    END IF;
    IF wanted.account > (SELECT last_value FROM accounts_user_id_seq) THEN
        PERFORM setval('accounts_user_id_seq', wanted.account);
    END IF;
    PERFORM set_config('selfkind.erasure', '', true);
    PERFORM set_config('selfkind.everything', before, true);
    RETURN counts;
END
$$;
REVOKE EXECUTE ON FUNCTION rights_erase(uuid) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION rights_erase(uuid) TO selfkind_app;
"""


_TOLD = walls.seeing_all(
    "SELECT e.id, e.state, e.erases_at, e.receipt, e.signature FROM rights_erasure e WHERE e.id = erasure"
)
_UNDONE = walls.seeing_all(
    "SELECT asked.id FROM unnest(erasures) asked (id) WHERE NOT EXISTS (SELECT FROM rights_erasure e"
    " WHERE e.id = asked.id AND e.state IN ('due', 'destroying', 'done'))"
)
LOOKS = f"""
-- An erasure as its receipt's address tells of it, to whoever was given that address.
CREATE FUNCTION rights_told(erasure uuid)
    RETURNS TABLE (id uuid, state varchar, erases_at timestamptz, receipt text, signature bytea)
    ROWS 1 {_TOLD};
-- Which of these erasures are neither done here nor being done.
CREATE FUNCTION rights_undone(erasures uuid[]) RETURNS SETOF uuid {_UNDONE};
"""


class Migration(migrations.Migration):
    dependencies = [
        ("rights", "0001_export"),
        ("audit", "0007_history"),
        ("keys", "0001_resealing"),
        ("changes", "0003_tombstones"),
        ("accounts", "0005_passkey_names"),
        ("care", "0008_withdrawal"),
        ("scales", "0007_withdrawn"),
        ("mfa", "0003_authenticator_type_uniq"),
    ]

    operations = [
        migrations.CreateModel(
            name="Erasure",
            fields=[
                (
                    "id",
                    models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False),
                ),
                ("participant", models.BigIntegerField()),
                ("account", models.BigIntegerField(null=True)),
                ("clinic", models.BigIntegerField(null=True)),
                (
                    "holders",
                    django.contrib.postgres.fields.ArrayField(models.UUIDField(), default=list, size=None),
                ),
                (
                    "state",
                    models.CharField(
                        choices=[(state, state.title()) for state in STATES], default="waiting", max_length=10
                    ),
                ),
                ("requested_at", models.DateTimeField()),
                ("erases_at", models.DateTimeField()),
                ("leased_until", models.DateTimeField(null=True)),
                ("cancelled_at", models.DateTimeField(null=True)),
                ("done_at", models.DateTimeField(null=True)),
                ("receipt", models.TextField(null=True)),
                ("signature", models.BinaryField(null=True)),
            ],
            options={
                "constraints": [
                    models.CheckConstraint(condition=Q(state__in=STATES), name="erasure_state_known"),
                    models.CheckConstraint(
                        condition=Q(
                            state="done",
                            done_at__isnull=False,
                            receipt__isnull=False,
                            signature__isnull=False,
                        )
                        | (~Q(state="done") & Q(done_at__isnull=True, receipt__isnull=True)),
                        name="erasure_done_has_a_receipt",
                    ),
                    models.CheckConstraint(
                        condition=Q(state="cancelled", cancelled_at__isnull=False)
                        | (~Q(state="cancelled") & Q(cancelled_at__isnull=True)),
                        name="erasure_cancelled_once",
                    ),
                    models.UniqueConstraint(
                        condition=Q(state__in=["waiting", "due"]),
                        fields=("participant",),
                        name="one_erasure_at_a_time",
                    ),
                ],
                "indexes": [
                    models.Index(condition=Q(state__in=OPEN), fields=["erases_at"], name="erasures_to_come")
                ],
            },
        ),
        walls.walled("rights_erasure", walls.of_participant("participant")),
        migrations.RunSQL(MAY, "DROP FUNCTION rights_may_erase"),
        *(migrations.RunSQL(letting_go(guard), as_before(guard)) for guard in GUARDS),
        migrations.RunSQL(erase(TABLES), "DROP FUNCTION rights_erase"),
        migrations.RunSQL(LOOKS, "DROP FUNCTION rights_undone; DROP FUNCTION rights_told"),
    ]
