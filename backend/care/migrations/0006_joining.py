"""Invitations, recovery codes, and guesses at them."""

import datetime
import importlib

import django.db.models.deletion
import django.db.models.expressions
from django.conf import settings
from django.db import migrations, models

roles = importlib.import_module("backend.care.migrations.0002_roles")
walls = importlib.import_module("backend.audit.migrations.0003_walls")
OF_CLINIC = importlib.import_module("backend.care.migrations.0005_walls").OF_CLINIC


class Migration(migrations.Migration):
    dependencies = [
        ("care", "0005_walls"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="CodeGuess",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("client", models.CharField(max_length=64)),
                ("at", models.DateTimeField()),
            ],
            options={
                "indexes": [
                    models.Index(fields=["client", "at"], name="code_guess_by_client"),
                    models.Index(fields=["at"], name="code_guess_by_age"),
                ],
            },
        ),
        migrations.CreateModel(
            name="Invitation",
            fields=[
                ("id", models.UUIDField(primary_key=True, serialize=False)),
                ("kind", models.CharField(choices=[("join", "Join"), ("relink", "Relink")], max_length=8)),
                ("digest", models.CharField(max_length=64, unique=True)),
                ("protocol", models.CharField(max_length=64, null=True)),
                ("created_at", models.DateTimeField()),
                ("expires_at", models.DateTimeField()),
                ("withdrawn_at", models.DateTimeField(null=True)),
                ("redeemed_at", models.DateTimeField(null=True)),
                ("redeemed_by_device", models.UUIDField(null=True)),
                ("repeats", models.PositiveSmallIntegerField(db_default=0, default=0)),
                (
                    "clinic",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="+", to="care.clinic"
                    ),
                ),
                (
                    "created_by",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "participant",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="care.participant",
                    ),
                ),
                (
                    "therapist",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="care.membership",
                    ),
                ),
            ],
            options={
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("kind", "join"), ("therapist__isnull", False)),
                            models.Q(
                                ("kind", "relink"),
                                ("participant__isnull", False),
                                ("protocol__isnull", True),
                                ("therapist__isnull", True),
                            ),
                            _connector="OR",
                        ),
                        name="invitation_kind_has_its_people",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            ("expires_at__gt", models.F("created_at")),
                            (
                                "expires_at__lte",
                                django.db.models.expressions.CombinedExpression(
                                    models.F("created_at"), "+", models.Value(datetime.timedelta(days=90))
                                ),
                            ),
                        ),
                        name="invitation_expires",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            ("withdrawn_at__isnull", True), ("redeemed_at__isnull", True), _connector="OR"
                        ),
                        name="invitation_withdrawn_or_redeemed",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("redeemed_at__isnull", True), ("redeemed_by_device__isnull", True)),
                            models.Q(("participant__isnull", False), ("redeemed_at__isnull", False)),
                            _connector="OR",
                        ),
                        name="invitation_redeemed_by_somebody",
                    ),
                    models.UniqueConstraint(
                        condition=models.Q(("kind", "join")),
                        fields=("participant",),
                        name="participant_joins_once",
                    ),
                    models.UniqueConstraint(
                        condition=models.Q(
                            ("kind", "relink"), ("redeemed_at__isnull", True), ("withdrawn_at__isnull", True)
                        ),
                        fields=("participant",),
                        name="one_open_relink_a_participant",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="RecoveryCode",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("digest", models.CharField(max_length=64, unique=True)),
                ("made_at", models.DateTimeField()),
                ("used_at", models.DateTimeField(null=True)),
                ("used_by_device", models.UUIDField(null=True)),
                ("repeats", models.PositiveSmallIntegerField(db_default=0, default=0)),
                (
                    "clinic",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="+", to="care.clinic"
                    ),
                ),
                (
                    "participant",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="+", to="care.participant"
                    ),
                ),
            ],
            options={
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(
                            ("used_at__isnull", False), ("used_by_device__isnull", True), _connector="OR"
                        ),
                        name="recovery_code_used_by_a_device",
                    )
                ],
            },
        ),
        roles.of_one_clinic("care_invitation", "therapist_id", "care_membership"),
        roles.of_one_clinic("care_invitation", "participant_id", "care_participant"),
        roles.of_one_clinic("care_recoverycode", "participant_id", "care_participant"),
        walls.walled("care_invitation", f"{walls.of_participant()} OR {OF_CLINIC}"),
        walls.walled("care_recoverycode", walls.of_participant()),
    ]
