"""What was agreed to and taken back, the operator's own texts, and what of a session others are shown.

Every row here is append-only, by trigger; the newest says how it stands.
"""

from typing import ClassVar

from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now

from backend.care.consent.text import Stream


class ConsentText(models.Model):
    """An operator's own consent text: the file as it was loaded."""

    stream = models.CharField(max_length=20, choices=[(s.value, s.value) for s in Stream])
    version = models.PositiveIntegerField()
    language = models.CharField(max_length=8)
    source = models.TextField()
    loaded_at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["stream", "version", "language"], name="consent_text_loaded_once")
        ]

    def __str__(self) -> str:
        return f"{self.stream} v{self.version} {self.language}"


class Consent(models.Model):
    """One decision on one stream: given, or withdrawn.

    The primary key is the id the phone gave it. `ask_again_at` is set where a decision that widens what
    others see fell into suggestible days: it has no effect, and the person is asked again from then on.
    A withdrawal need not name a text. That the clinic is the participant's is a foreign key, in the
    migration.
    """

    class Decision(models.TextChoices):
        GIVEN = "given"
        WITHDRAWN = "withdrawn"

    id = models.UUIDField(primary_key=True)
    clinic = models.ForeignKey("care.Clinic", models.PROTECT, related_name="+", db_index=False)
    participant = models.ForeignKey(
        "care.Participant", models.PROTECT, related_name="consents", db_index=False
    )
    stream = models.CharField(max_length=20, choices=[(s.value, s.value) for s in Stream])
    decision = models.CharField(max_length=9, choices=Decision)
    version = models.PositiveIntegerField(null=True)
    language = models.CharField(max_length=8, null=True)
    text_hash = models.CharField(max_length=64, null=True)
    rules = models.JSONField(default=dict)
    decided_at = models.DateTimeField()
    timezone = models.CharField(max_length=64, null=True)
    received_at = models.DateTimeField()
    device = models.UUIDField(null=True)
    ask_again_at = models.DateTimeField(null=True)

    class Meta:
        constraints: ClassVar = [
            models.CheckConstraint(
                condition=Q(stream__in=[s.value for s in Stream]), name="consent_stream_known"
            ),
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
        ]
        indexes: ClassVar = [
            # How a stream stands is one look at its end. Of two decisions at one instant, a withdrawal wins.
            models.Index(
                fields=["participant", "stream", "-received_at", "-decision"],
                condition=Q(ask_again_at__isnull=True),
                name="consent_in_force",
            ),
            models.Index(fields=["participant", "-received_at", "-id"], name="consents_newest"),
        ]

    def __str__(self) -> str:
        return f"{self.stream} {self.decision} {self.pk}"


class Disclosure(models.Model):
    """One change of what of a participant's dosing sessions others are shown.

    `wanted` and `in_force` are viewer -> part -> step. They differ where something was widened in
    suggestible days: it stays as it was, and the person is asked again at `ask_again_at`.
    """

    clinic = models.ForeignKey("care.Clinic", models.PROTECT, related_name="+", db_index=False)
    participant = models.ForeignKey("care.Participant", models.PROTECT, related_name="+", db_index=False)
    wanted = models.JSONField()
    in_force = models.JSONField()
    received_at = models.DateTimeField()
    device = models.UUIDField(null=True)
    ask_again_at = models.DateTimeField(null=True)

    class Meta:
        constraints: ClassVar = [
            models.CheckConstraint(
                condition=Q(ask_again_at__isnull=True, wanted=F("in_force"))
                | (Q(ask_again_at__isnull=False) & ~Q(wanted=F("in_force"))),
                name="disclosure_waits_or_holds",
            )
        ]
        indexes: ClassVar = [models.Index(fields=["participant", "-id"], name="disclosure_newest")]

    def __str__(self) -> str:
        return f"disclosure {self.pk}"
