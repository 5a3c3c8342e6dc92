"""More roles, cover, second factors, and foreign keys that carry the clinic: care never reaches across two."""

import django.db.models.deletion
import django.utils.timezone
from django.db import migrations, models
from django.db.models import F, Q

FILL = """
UPDATE care_carerelationship r SET clinic_id = p.clinic_id FROM care_participant p WHERE p.id = r.participant_id
"""
ROLES = ["therapist", "supervisor", "coordinator", "clinic admin", "researcher"]


def of_one_clinic(table: str, column: str, target: str) -> migrations.RunSQL:
    """The step after which that column's row is of the clinic the table's row names, or none."""
    name = f"{table}_{column}_of_one_clinic"
    return migrations.RunSQL(
        f"ALTER TABLE {table} ADD CONSTRAINT {name} FOREIGN KEY ({column}, clinic_id)"
        f" REFERENCES {target} (id, clinic_id)",
        f"ALTER TABLE {table} DROP CONSTRAINT {name}",
    )


class Migration(migrations.Migration):
    dependencies = [("care", "0001_initial")]

    operations = [
        migrations.AddField("clinic", "second_factor", models.BooleanField(default=True, db_default=True)),
        migrations.RemoveConstraint("membership", "membership_role_known"),
        migrations.AlterField(
            "membership", "role", models.CharField(max_length=16, choices=[(role, role) for role in ROLES])
        ),
        migrations.AddConstraint(
            "membership",
            models.CheckConstraint(condition=Q(role__in=ROLES), name="membership_role_known"),
        ),
        migrations.AddConstraint(
            "membership", models.UniqueConstraint(fields=["id", "clinic"], name="membership_of_a_clinic")
        ),
        migrations.AddConstraint(
            "participant", models.UniqueConstraint(fields=["id", "clinic"], name="participant_of_a_clinic")
        ),
        migrations.AddField(
            "carerelationship",
            "clinic",
            models.ForeignKey(
                "care.clinic", on_delete=django.db.models.deletion.PROTECT, related_name="+", null=True
            ),
        ),
        migrations.RunSQL(FILL, migrations.RunSQL.noop),
        migrations.RunSQL("SET CONSTRAINTS ALL IMMEDIATE; SET CONSTRAINTS ALL DEFERRED", ""),
        migrations.AlterField(
            "carerelationship",
            "clinic",
            models.ForeignKey("care.clinic", on_delete=django.db.models.deletion.PROTECT, related_name="+"),
        ),
        migrations.CreateModel(
            name="Cover",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("started_at", models.DateTimeField(default=django.utils.timezone.now)),
                ("ended_at", models.DateTimeField()),
                (
                    "clinic",
                    models.ForeignKey(
                        "care.clinic", on_delete=django.db.models.deletion.PROTECT, related_name="+"
                    ),
                ),
                (
                    "therapist",
                    models.ForeignKey(
                        "care.membership", on_delete=django.db.models.deletion.PROTECT, related_name="covers"
                    ),
                ),
                (
                    "covered_by",
                    models.ForeignKey(
                        "care.membership",
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="covering",
                    ),
                ),
            ],
            options={
                "constraints": [
                    models.CheckConstraint(
                        condition=Q(ended_at__gte=F("started_at")), name="cover_ends_after_start"
                    ),
                    models.CheckConstraint(
                        condition=~Q(therapist=F("covered_by")), name="cover_is_by_somebody_else"
                    ),
                ]
            },
        ),
        of_one_clinic("care_carerelationship", "participant_id", "care_participant"),
        of_one_clinic("care_carerelationship", "therapist_id", "care_membership"),
        of_one_clinic("care_cover", "therapist_id", "care_membership"),
        of_one_clinic("care_cover", "covered_by_id", "care_membership"),
    ]
