"""Opening a participant's data in an emergency; what ties somebody to a participant; and keeping history."""

import datetime
import importlib
import uuid

import django.contrib.postgres.constraints
import django.contrib.postgres.fields.ranges
import django.db.models.deletion
from django.db import migrations, models
from django.db.models import F, Func, Q, Value

append_only_but_for_resealing = importlib.import_module(
    "backend.keys.migrations.0001_resealing"
).append_only_but_for_resealing
keeps_history = importlib.import_module("backend.audit.migrations.0007_history").keeps_history
of_one_clinic = importlib.import_module("backend.care.migrations.0002_roles").of_one_clinic
people = importlib.import_module("backend.care.migrations.0005_walls")
walls = importlib.import_module("backend.audit.migrations.0003_walls")


def to(table):
    return models.ForeignKey(
        table, on_delete=django.db.models.deletion.PROTECT, related_name="+", db_index=False
    )


def only(column):
    return Func(column, column, Value("[]"), function="int8range")


_CARE = """FROM care_carerelationship r
        JOIN care_membership t ON t.id = r.therapist_id AND t.role = 'therapist'
        LEFT JOIN care_cover v ON v.therapist_id = t.id AND care_is_now(v.started_at, v.ended_at)
        JOIN care_membership m ON m.id IN (t.id, v.covered_by_id) AND m.role IN ('therapist', 'supervisor')
            AND m.suspended_at IS NULL
        WHERE r.participant_id = participant AND m.user_id = who
            AND t.clinic_id = r.clinic_id AND m.clinic_id = r.clinic_id
            AND care_is_now(r.started_at, r.ended_at)
            AND care_is_now(t.started_at, t.ended_at) AND care_is_now(m.started_at, m.ended_at)"""


def in_care(found):
    return f"""
CREATE OR REPLACE FUNCTION care_is_in_care_of(participant bigint, who bigint) RETURNS boolean
    LANGUAGE sql STABLE PARALLEL SAFE AS $$ SELECT {found} $$;
"""


# What ties a user to a participant: care, cover for whoever cares (the first of the two by their names), or an
# emergency they said there is, which is looked for where there is neither. Nothing ties somebody whose
# membership gives no right.
TIE = f"""
CREATE FUNCTION care_tie(participant bigint, who bigint) RETURNS text
    LANGUAGE sql STABLE PARALLEL SAFE AS
    $$ SELECT coalesce(
        (SELECT min(CASE WHEN m.id = t.id THEN 'care' ELSE 'cover' END) {_CARE}),
        (SELECT 'emergency' FROM care_emergencyaccess e
        JOIN care_membership m ON m.id = e.membership_id AND m.clinic_id = e.clinic_id
            AND m.role IN ('therapist', 'supervisor') AND m.suspended_at IS NULL
        WHERE e.participant_id = participant AND m.user_id = who
            AND care_is_now(e.opened_at, e.until) AND care_is_now(m.started_at, m.ended_at) LIMIT 1)) $$;
{in_care("care_tie(participant, who) IS NOT NULL")}
"""
NO_TIE = f"""
{in_care(f"EXISTS (SELECT {_CARE})")}
DROP FUNCTION care_tie;
"""


def asking(name, found):
    """The functions of 0005 that say what ties somebody to a participant, in a column of that name and type."""
    door = walls.seeing_all(
        f"""{people._SELECT}, p.user_id IS NOT DISTINCT FROM who, care_roles_in(who, p.clinic_id),
            {found}(p.id, who), needs IS NULL OR care_agreed_to(p.id, needs)
        {people._FROM} WHERE p.public_id = wanted"""
    )
    ties = walls.seeing_all(
        f"""SELECT care_roles_in(who, p.clinic_id), {found}(p.id, who)
        FROM care_participant p JOIN accounts_user u ON u.id = who AND u.is_active WHERE p.id = participant"""
    )
    return f"""
DROP FUNCTION care_door; DROP FUNCTION care_ties;
CREATE FUNCTION care_door(who bigint, wanted uuid, needs text)
    RETURNS TABLE ({people.FIELDS}, own boolean, held varchar[], {name}, consented boolean)
    ROWS 1 {door};
CREATE FUNCTION care_ties(who bigint, participant bigint) RETURNS TABLE (held varchar[], {name})
    ROWS 1 {ties};
"""


_CASELOAD = walls.seeing_all(
    f"""{people._SELECT}, tied.tie {people._FROM}
        CROSS JOIN LATERAL (SELECT care_tie(p.id, who) AS tie OFFSET 0) tied
        WHERE p.id > after
            AND p.clinic_id IN (SELECT m.clinic_id FROM care_membership m WHERE m.user_id = who)
            AND (tied.tie IS NOT NULL OR care_roles_in(who, p.clinic_id) && oversee)
        ORDER BY p.id LIMIT most"""
)
CASELOAD = f"""
DROP FUNCTION care_caseload;
CREATE FUNCTION care_caseload(who bigint, oversee varchar[], after bigint, most integer)
    RETURNS TABLE ({people.FIELDS}, tie text)
    {_CASELOAD};
"""
NO_CASELOAD = f"""
DROP FUNCTION care_caseload;
CREATE FUNCTION care_caseload(who bigint, oversee varchar[], after bigint, most integer)
    RETURNS TABLE ({people.FIELDS})
    {people._CASELOAD};
"""

_WORKED_AS = walls.seeing_all(
    """SELECT asked.n, m.id, m.public_id, m.role
        FROM unnest(whos, clinics, ats) WITH ORDINALITY AS asked (who, clinic, at, n)
        JOIN care_membership m ON m.user_id = asked.who AND m.clinic_id = asked.clinic
            AND m.started_at <= asked.at AND (m.ended_at IS NULL OR m.ended_at > asked.at)
        ORDER BY asked.n, m.id"""
)
WORKED_AS = f"""
-- As what each of these users worked, each in that clinic at that instant.
CREATE FUNCTION care_worked_as(whos bigint[], clinics bigint[], ats timestamptz[])
    RETURNS TABLE (n bigint, id bigint, public_id uuid, role varchar)
    {_WORKED_AS};
"""


class Migration(migrations.Migration):
    dependencies = [("care", "0006_joining"), ("audit", "0007_history"), ("keys", "0001_resealing")]

    operations = [
        migrations.CreateModel(
            name="EmergencyAccess",
            fields=[
                (
                    "id",
                    models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False),
                ),
                ("clinic", to("care.clinic")),
                ("participant", to("care.participant")),
                ("membership", to("care.membership")),
                ("opened_at", models.DateTimeField()),
                ("until", models.DateTimeField()),
                ("reason", models.BinaryField()),
            ],
            options={
                "constraints": [
                    models.CheckConstraint(
                        condition=Q(until=F("opened_at") + Value(datetime.timedelta(hours=4))),
                        name="emergency_lasts_four_hours",
                    ),
                    django.contrib.postgres.constraints.ExclusionConstraint(
                        name="one_emergency_at_a_time",
                        expressions=[
                            (only("participant_id"), "&&"),
                            (only("membership_id"), "&&"),
                            (Func("opened_at", "until", function="tstzrange"), "&&"),
                        ],
                    ),
                ],
                "indexes": [
                    models.Index(fields=["participant", "-until"], name="emergencies_of_a_participant"),
                    models.Index(fields=["clinic", "-opened_at", "-id"], name="emergencies_newest"),
                ],
            },
        ),
        of_one_clinic("care_emergencyaccess", "participant_id", "care_participant"),
        of_one_clinic("care_emergencyaccess", "membership_id", "care_membership"),
        append_only_but_for_resealing("care_emergencyaccess", "reason"),
        walls.walled("care_emergencyaccess", f"{walls.of_participant()} OR {people.OF_CLINIC}"),
        migrations.RunSQL(TIE, NO_TIE),
        migrations.RunSQL(asking("tie text", "care_tie"), asking("in_care boolean", "care_is_in_care_of")),
        migrations.RunSQL(CASELOAD, NO_CASELOAD),
        migrations.RunSQL(WORKED_AS, "DROP FUNCTION care_worked_as"),
        keeps_history("care_clinic", clinic="id"),
        keeps_history("care_membership", clinic="clinic_id"),
        keeps_history("care_participant", participant="id", clinic="clinic_id"),
        keeps_history("care_carerelationship", participant="participant_id", clinic="clinic_id"),
        keeps_history("care_cover", clinic="clinic_id"),
        keeps_history(
            "care_invitation", participant="participant_id", clinic="clinic_id", leaving_out=("digest",)
        ),
        keeps_history("care_dosingsession", participant="participant_id"),
    ]
