"""Invitations, recovery codes, and the guesses at either. Of a code there is only ever a keyed hash."""

from datetime import timedelta
from typing import ClassVar

from django.conf import settings
from django.db import models
from django.db.models import F, Q

DEFAULT_DAYS = 14
LONGEST = timedelta(days=90)


class Invitation(models.Model):
    """A one-time code: for somebody new (`join`), or for a participant's new phone (`relink`).

    Its maker's id is the key. That its people are of its clinic is a foreign key each, in the migration.
    """

    class Kind(models.TextChoices):
        JOIN = "join"
        RELINK = "relink"

    id = models.UUIDField(primary_key=True)
    clinic = models.ForeignKey("care.Clinic", models.PROTECT, related_name="+")
    kind = models.CharField(max_length=8, choices=Kind)
    digest = models.CharField(max_length=64, unique=True)
    # Who will care for somebody new.
    therapist = models.ForeignKey("care.Membership", models.PROTECT, null=True, related_name="+")
    # Whose new phone; of somebody new, who they became.
    participant = models.ForeignKey("care.Participant", models.PROTECT, null=True, related_name="+")
    protocol = models.CharField(max_length=64, null=True)
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, null=True, related_name="+")
    created_at = models.DateTimeField()
    expires_at = models.DateTimeField()
    withdrawn_at = models.DateTimeField(null=True)
    redeemed_at = models.DateTimeField(null=True)
    # A phone that did not get the answer asks again; how often it did is counted.
    redeemed_by_device = models.UUIDField(null=True)
    repeats = models.PositiveSmallIntegerField(default=0, db_default=0)

    class Meta:
        constraints: ClassVar = [
            models.CheckConstraint(
                condition=Q(kind="join", therapist__isnull=False)
                | Q(kind="relink", participant__isnull=False, therapist__isnull=True, protocol__isnull=True),
                name="invitation_kind_has_its_people",
            ),
            models.CheckConstraint(
                condition=Q(expires_at__gt=F("created_at"), expires_at__lte=F("created_at") + LONGEST),
                name="invitation_expires",
            ),
            models.CheckConstraint(
                condition=Q(withdrawn_at__isnull=True) | Q(redeemed_at__isnull=True),
                name="invitation_withdrawn_or_redeemed",
            ),
            models.CheckConstraint(
                condition=Q(redeemed_at__isnull=True, redeemed_by_device__isnull=True)
                | Q(redeemed_at__isnull=False, participant__isnull=False),
                name="invitation_redeemed_by_somebody",
            ),
            models.UniqueConstraint(
                fields=["participant"], condition=Q(kind="join"), name="participant_joins_once"
            ),
            models.UniqueConstraint(
                fields=["participant"],
                condition=Q(kind="relink", withdrawn_at__isnull=True, redeemed_at__isnull=True),
                name="one_open_relink_a_participant",
            ),
        ]

    def __str__(self) -> str:
        return f"invitation {self.pk}"


class RecoveryCode(models.Model):
    """One of the codes a participant keeps for the day they lose every other way in. It works once."""

    clinic = models.ForeignKey("care.Clinic", models.PROTECT, related_name="+")
    participant = models.ForeignKey("care.Participant", models.PROTECT, related_name="+")
    digest = models.CharField(max_length=64, unique=True)
    made_at = models.DateTimeField()
    used_at = models.DateTimeField(null=True)
    used_by_device = models.UUIDField(null=True)
    repeats = models.PositiveSmallIntegerField(default=0, db_default=0)

    class Meta:
        constraints: ClassVar = [
            models.CheckConstraint(
                condition=Q(used_at__isnull=False) | Q(used_by_device__isnull=True),
                name="recovery_code_used_by_a_device",
            )
        ]

    def __str__(self) -> str:
        return f"recovery code {self.pk}"


class CodeGuess(models.Model):
    """One try at a code that was not right, or is being looked at. Kept for an hour.

    `client` is a keyed hash: no address is kept.
    """

    client = models.CharField(max_length=64)
    at = models.DateTimeField()

    class Meta:
        indexes: ClassVar = [
            models.Index(fields=["client", "at"], name="code_guess_by_client"),
            models.Index(fields=["at"], name="code_guess_by_age"),
        ]

    def __str__(self) -> str:
        return f"guess {self.pk}"
