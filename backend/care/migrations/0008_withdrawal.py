"""Since when somebody takes no part; and whether, in the one statement that says who they are."""

import importlib

from django.db import migrations, models

people = importlib.import_module("backend.care.migrations.0005_walls")
walls = importlib.import_module("backend.audit.migrations.0003_walls")

_PERSON = walls.seeing_all(
    f"""SELECT work.clinics > 0, work.strict > 0, own.*
        FROM (SELECT count(*) AS clinics, count(*) FILTER (WHERE c.second_factor) AS strict
            FROM care_membership m JOIN care_clinic c ON c.id = m.clinic_id
            WHERE m.user_id = who AND m.suspended_at IS NULL
                AND care_is_now(m.started_at, m.ended_at)) work
        LEFT JOIN ({people._SELECT}, p.withdrawn_at IS NOT NULL {people._FROM} WHERE p.user_id = who) own
        ON true"""
)
PERSON = f"""
DROP FUNCTION care_person;
CREATE FUNCTION care_person(who bigint)
    RETURNS TABLE (staff boolean, second_factor boolean, {people.FIELDS}, withdrawn boolean)
    ROWS 1 {_PERSON};
"""
AS_BEFORE = f"""
DROP FUNCTION care_person;
CREATE FUNCTION care_person(who bigint) RETURNS TABLE (staff boolean, second_factor boolean, {people.FIELDS})
    ROWS 1 {people._PERSON};
"""


class Migration(migrations.Migration):
    dependencies = [("care", "0007_emergency")]

    operations = [
        migrations.AddField("participant", "withdrawn_at", models.DateTimeField(null=True, blank=True)),
        migrations.RunSQL(PERSON, AS_BEFORE),
    ]
