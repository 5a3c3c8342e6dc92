"""What managing a clinic's staff needs: suspension, public ids of care and cover, why care ended."""

import uuid

from django.db import migrations, models
from django.db.migrations.operations.base import Operation
from django.db.models import Q

BECAUSE = ["away", "left", "workload", "asked", "other"]


def public_id(model: str) -> list[Operation]:
    """The steps after which each of the model's rows has a public id of its own."""
    return [
        migrations.AddField(
            model, "public_id", models.UUIDField(default=uuid.uuid4, editable=False, null=True)
        ),
        migrations.RunSQL(f"UPDATE care_{model} SET public_id = gen_random_uuid()", migrations.RunSQL.noop),
        migrations.RunSQL("SET CONSTRAINTS ALL IMMEDIATE; SET CONSTRAINTS ALL DEFERRED", ""),
        migrations.AlterField(
            model, "public_id", models.UUIDField(default=uuid.uuid4, editable=False, unique=True)
        ),
    ]


class Migration(migrations.Migration):
    dependencies = [("care", "0002_roles")]

    operations = [
        migrations.AddField("membership", "suspended_at", models.DateTimeField(null=True, blank=True)),
        *public_id("carerelationship"),
        *public_id("cover"),
        migrations.AddField(
            "carerelationship",
            "ended_because",
            models.CharField(
                max_length=16, null=True, blank=True, choices=[(b, b.capitalize()) for b in BECAUSE]
            ),
        ),
        migrations.AddConstraint(
            "carerelationship",
            models.CheckConstraint(
                condition=Q(ended_because__isnull=True)
                | Q(ended_because__in=BECAUSE, ended_at__isnull=False),
                name="care_ended_because_known",
            ),
        ),
        migrations.AddConstraint(
            "cover",
            models.UniqueConstraint(fields=["therapist", "covered_by", "started_at"], name="cover_once"),
        ),
    ]
