"""Scores that a participant sees later, and their release."""

import importlib

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

append_only = importlib.import_module("backend.audit.migrations.0002_append_only").append_only
of_one_clinic = importlib.import_module("backend.care.migrations.0002_roles").of_one_clinic


def to(table):
    return models.ForeignKey(
        table, on_delete=django.db.models.deletion.PROTECT, related_name="+", db_index=False
    )


class Migration(migrations.Migration):
    dependencies = [
        ("scales", "0002_append_only"),
        ("care", "0004_consent"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="Held",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("clinic", to("care.clinic")),
                ("participant", to("care.participant")),
                ("administration", to("scales.administration")),
                ("revision", models.PositiveIntegerField()),
                ("scores", models.JSONField()),
                ("answer", models.TextField()),
                ("release_at", models.DateTimeField()),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(fields=["administration", "revision"], name="held_once")
                ],
                "indexes": [models.Index(fields=["participant", "release_at"], name="held_of_a_participant")],
            },
        ),
        migrations.CreateModel(
            name="Release",
            fields=[
                (
                    "administration",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.PROTECT,
                        primary_key=True,
                        related_name="+",
                        serialize=False,
                        to="scales.administration",
                    ),
                ),
                ("clinic", to("care.clinic")),
                ("participant", to("care.participant")),
                (
                    "released_by",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                ("released_at", models.DateTimeField()),
            ],
        ),
        of_one_clinic("scales_held", "participant_id", "care_participant"),
        of_one_clinic("scales_release", "participant_id", "care_participant"),
        append_only("scales_held"),
        append_only("scales_release"),
    ]
