"""Copies that people asked for, and their sealed pieces."""

import importlib
import uuid

import django.db.models.deletion
from django.db import migrations, models

walls = importlib.import_module("backend.audit.migrations.0003_walls")


class Migration(migrations.Migration):
    initial = True

    dependencies = [
        ("care", "0007_emergency"),
    ]

    operations = [
        migrations.CreateModel(
            name="Export",
            fields=[
                (
                    "id",
                    models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False),
                ),
                (
                    "status",
                    models.CharField(
                        choices=[
                            ("queued", "Queued"),
                            ("running", "Running"),
                            ("ready", "Ready"),
                            ("failed", "Failed"),
                            ("expired", "Expired"),
                        ],
                        default="queued",
                        max_length=8,
                    ),
                ),
                ("progress", models.PositiveSmallIntegerField(default=0)),
                ("attempts", models.PositiveSmallIntegerField(default=0)),
                ("leased_until", models.DateTimeField(null=True)),
                ("requested_at", models.DateTimeField()),
                ("ready_at", models.DateTimeField(null=True)),
                ("expires_at", models.DateTimeField(null=True)),
                ("size", models.PositiveIntegerField(null=True)),
                (
                    "participant",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="+", to="care.participant"
                    ),
                ),
            ],
        ),
        migrations.CreateModel(
            name="ExportPart",
            fields=[
                ("id", models.CharField(max_length=48, primary_key=True, serialize=False)),
                ("number", models.PositiveIntegerField()),
                ("content", models.BinaryField()),
                (
                    "export",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="parts", to="rights.export"
                    ),
                ),
            ],
        ),
        migrations.AddIndex(
            model_name="export",
            index=models.Index(
                condition=models.Q(("status__in", ["queued", "running"])),
                fields=["requested_at"],
                name="exports_waiting",
            ),
        ),
        migrations.AddIndex(
            model_name="export",
            index=models.Index(
                condition=models.Q(("status", "ready")), fields=["expires_at"], name="exports_to_expire"
            ),
        ),
        migrations.AddConstraint(
            model_name="export",
            constraint=models.UniqueConstraint(
                condition=models.Q(("status__in", ("queued", "running"))),
                fields=("participant",),
                name="one_open_export_a_participant",
            ),
        ),
        migrations.AddConstraint(
            model_name="export",
            constraint=models.CheckConstraint(
                condition=models.Q(("status__in", ["queued", "running", "ready", "failed", "expired"])),
                name="export_status_known",
            ),
        ),
        migrations.AddConstraint(
            model_name="export",
            constraint=models.CheckConstraint(
                condition=models.Q(("progress__lte", 100)), name="export_progress_to_100"
            ),
        ),
        migrations.AddConstraint(
            model_name="export",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(
                        ("expires_at__isnull", False),
                        ("ready_at__isnull", False),
                        ("size__isnull", False),
                        ("status__in", ["ready", "expired"]),
                    ),
                    models.Q(("ready_at__isnull", True), ("status__in", ["queued", "running", "failed"])),
                    _connector="OR",
                ),
                name="export_ready_has_its_times",
            ),
        ),
        migrations.AddConstraint(
            model_name="exportpart",
            constraint=models.UniqueConstraint(fields=("export", "number"), name="export_part_once"),
        ),
        walls.walled("rights_export", walls.of_participant()),
        # A piece is seen by whoever sees what it is a piece of.
        walls.walled("rights_exportpart", "EXISTS (SELECT FROM rights_export e WHERE e.id = export_id)"),
    ]
