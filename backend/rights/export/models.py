"""Copies that people asked for of what is theirs, and the sealed pieces of those that are ready."""

from typing import ClassVar
from uuid import uuid4

from django.db import models
from django.db.models import Q

from backend.keys.fields import SealedField

OPEN = ("queued", "running")


class Export(models.Model):
    """One copy of everything of a participant's, from the asking to its end.

    A running one is leased: after `leased_until` whoever looks takes it over, and `attempts` tells the two
    apart, so that only the last to take it can finish it.
    """

    class Status(models.TextChoices):
        QUEUED = "queued"
        RUNNING = "running"
        READY = "ready"
        FAILED = "failed"
        EXPIRED = "expired"

    id = models.UUIDField(primary_key=True, default=uuid4, editable=False)
    participant = models.ForeignKey("care.Participant", models.PROTECT, related_name="+")
    status = models.CharField(max_length=8, choices=Status, default=Status.QUEUED)
    progress = models.PositiveSmallIntegerField(default=0)
    attempts = models.PositiveSmallIntegerField(default=0)
    leased_until = models.DateTimeField(null=True)
    requested_at = models.DateTimeField()
    ready_at = models.DateTimeField(null=True)
    expires_at = models.DateTimeField(null=True)
    size = models.PositiveIntegerField(null=True)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["participant"], condition=Q(status__in=OPEN), name="one_open_export_a_participant"
            ),
            models.CheckConstraint(
                condition=Q(status__in=["queued", "running", "ready", "failed", "expired"]),
                name="export_status_known",
            ),
            models.CheckConstraint(condition=Q(progress__lte=100), name="export_progress_to_100"),
            models.CheckConstraint(
                condition=Q(
                    status__in=["ready", "expired"],
                    ready_at__isnull=False,
                    expires_at__isnull=False,
                    size__isnull=False,
                )
                | Q(status__in=["queued", "running", "failed"], ready_at__isnull=True),
                name="export_ready_has_its_times",
            ),
        ]
        indexes: ClassVar = [
            models.Index(
                fields=["requested_at"], condition=Q(status__in=["queued", "running"]), name="exports_waiting"
            ),
            models.Index(fields=["expires_at"], condition=Q(status="ready"), name="exports_to_expire"),
        ]

    def __str__(self) -> str:
        return f"export {self.pk}"


class ExportPart(models.Model):
    """A piece of an archive, sealed under the participant's key. Its id is `<export id>/<number>`, from 1."""

    id = models.CharField(primary_key=True, max_length=48)
    export = models.ForeignKey(Export, models.CASCADE, related_name="parts")
    number = models.PositiveIntegerField()
    content = SealedField(
        holder="export__participant__public_id", clinic="export__participant__clinic_id", row="pk"
    )

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["export", "number"], name="export_part_once")
        ]

    def __str__(self) -> str:
        return f"part {self.pk}"
