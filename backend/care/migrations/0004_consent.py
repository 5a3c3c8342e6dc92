"""What was agreed to, stream by stream; what others are shown of a session; and whether one was supervised."""

import importlib

import django.db.models.deletion
import django.db.models.functions.datetime
from django.db import migrations, models
from django.db.models import F, Q

append_only = importlib.import_module("backend.audit.migrations.0002_append_only").append_only
of_one_clinic = importlib.import_module("backend.care.migrations.0002_roles").of_one_clinic

STREAMS = ["care", "research", "journal_therapist", "contact_after"]


def key():
    return models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")


def stream():
    return models.CharField(max_length=20, choices=[(name, name) for name in STREAMS])


def to(table, related_name="+"):
    return models.ForeignKey(
        table, on_delete=django.db.models.deletion.PROTECT, related_name=related_name, db_index=False
    )


class Migration(migrations.Migration):
    dependencies = [("care", "0003_staff"), ("audit", "0002_append_only")]

    operations = [
        migrations.AddField("dosingsession", "supervised", models.BooleanField(null=True)),
        migrations.AddField("clinic", "hold_hours", models.PositiveSmallIntegerField(null=True, blank=True)),
        migrations.AddConstraint(
            "clinic",
            models.CheckConstraint(
                condition=Q(hold_hours__isnull=True) | Q(hold_hours__range=(1, 72)),
                name="clinic_holds_72_hours_at_most",
            ),
        ),
        migrations.CreateModel(
            name="ConsentText",
            fields=[
                ("id", key()),
                ("stream", stream()),
                ("version", models.PositiveIntegerField()),
                ("language", models.CharField(max_length=8)),
                ("source", models.TextField()),
                ("loaded_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(
                        fields=["stream", "version", "language"], name="consent_text_loaded_once"
                    )
                ]
            },
        ),
        migrations.CreateModel(
            name="Consent",
            fields=[
                ("id", models.UUIDField(primary_key=True, serialize=False)),
                ("clinic", to("care.clinic")),
                ("participant", to("care.participant", "consents")),
                ("stream", stream()),
                (
                    "decision",
                    models.CharField(max_length=9, choices=[("given", "Given"), ("withdrawn", "Withdrawn")]),
                ),
                ("version", models.PositiveIntegerField(null=True)),
                ("language", models.CharField(max_length=8, null=True)),
                ("text_hash", models.CharField(max_length=64, null=True)),
                ("rules", models.JSONField(default=dict)),
                ("decided_at", models.DateTimeField()),
                ("timezone", models.CharField(max_length=64, null=True)),
                ("received_at", models.DateTimeField()),
                ("device", models.UUIDField(null=True)),
                ("ask_again_at", models.DateTimeField(null=True)),
            ],
            options={
                "constraints": [
                    models.CheckConstraint(condition=Q(stream__in=STREAMS), name="consent_stream_known"),
                    models.CheckConstraint(
                        condition=Q(decision="given", version__isnull=False, language__isnull=False)
                        & Q(text_hash__isnull=False)
                        | Q(decision="withdrawn"),
                        name="consent_is_to_a_text",
                    ),
                    models.CheckConstraint(
                        condition=Q(decision="given") | Q(ask_again_at__isnull=True),
                        name="consent_withdrawn_at_once",
                    ),
                ],
                "indexes": [
                    models.Index(
                        fields=["participant", "stream", "-received_at", "-decision"],
                        condition=Q(ask_again_at__isnull=True),
                        name="consent_in_force",
                    ),
                    models.Index(fields=["participant", "-received_at", "-id"], name="consents_newest"),
                ],
            },
        ),
        migrations.CreateModel(
            name="Disclosure",
            fields=[
                ("id", key()),
                ("clinic", to("care.clinic")),
                ("participant", to("care.participant")),
                ("wanted", models.JSONField()),
                ("in_force", models.JSONField()),
                ("received_at", models.DateTimeField()),
                ("device", models.UUIDField(null=True)),
                ("ask_again_at", models.DateTimeField(null=True)),
            ],
            options={
                "constraints": [
                    models.CheckConstraint(
                        condition=Q(ask_again_at__isnull=True, wanted=F("in_force"))
                        | (Q(ask_again_at__isnull=False) & ~Q(wanted=F("in_force"))),
                        name="disclosure_waits_or_holds",
                    )
                ],
                "indexes": [models.Index(fields=["participant", "-id"], name="disclosure_newest")],
            },
        ),
        of_one_clinic("care_consent", "participant_id", "care_participant"),
        of_one_clinic("care_disclosure", "participant_id", "care_participant"),
        append_only("care_consenttext"),
        append_only("care_consent"),
        append_only("care_disclosure"),
    ]
