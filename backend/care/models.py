"""Clinics, their people, who cares for whom and since when, and dosing sessions."""

import uuid
from typing import ClassVar

from django.conf import settings
from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now
from django.utils.timezone import now

from backend.care import roles
from backend.care.consent.models import Consent, ConsentText, Disclosure
from backend.care.consent.text import LONGEST_HOLD
from backend.care.joining.models import CodeGuess, Invitation, RecoveryCode
from backend.care.opened.models import EmergencyAccess

# Django looks for an app's tables here.
__all__ = [
    "CareRelationship",
    "Clinic",
    "CodeGuess",
    "Consent",
    "ConsentText",
    "Cover",
    "Disclosure",
    "DosingSession",
    "EmergencyAccess",
    "Invitation",
    "Membership",
    "Participant",
    "RecoveryCode",
]


class Clinic(models.Model):
    """One clinic, trial site or practice. Nothing of it is visible to another.

    With `hold_hours`, a score that points the worse way waits for the therapist, at most so long, for
    participants who were told so when they agreed.
    """

    class MissingAnswers(models.TextChoices):
        STRICT = "strict"
        PRORATE = "prorate"

    public_id = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    name = models.CharField(max_length=200)
    missing_answers = models.CharField(
        max_length=8, choices=MissingAnswers, default=MissingAnswers.STRICT, db_default="strict"
    )
    # Staff see nobody's data without one. False in the demo alone, where passwords lie in a file anyway.
    second_factor = models.BooleanField(default=True, db_default=True)
    hold_hours = models.PositiveSmallIntegerField(null=True, blank=True)
    created_at = models.DateTimeField(default=now)

    class Meta:
        constraints: ClassVar = [
            models.CheckConstraint(
                condition=Q(missing_answers__in=["strict", "prorate"]), name="clinic_missing_answers_known"
            ),
            models.CheckConstraint(
                condition=Q(hold_hours__isnull=True) | Q(hold_hours__range=(1, LONGEST_HOLD)),
                name="clinic_holds_72_hours_at_most",
            ),
        ]

    def __str__(self) -> str:
        return self.name


class Membership(models.Model):
    """A member of a clinic's staff, in one role, from one instant to another."""

    public_id = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    clinic = models.ForeignKey(Clinic, models.PROTECT, related_name="memberships")
    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, related_name="memberships")
    role = models.CharField(max_length=16, choices=[(role.value, role.value) for role in roles.STAFF])
    started_at = models.DateTimeField(default=now)
    ended_at = models.DateTimeField(null=True, blank=True)
    # Gives no right while it is set. Care that others give in a suspended therapist's place goes on.
    suspended_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["clinic", "user", "role"],
                condition=Q(ended_at__isnull=True),
                name="membership_once_at_a_time",
            ),
            models.CheckConstraint(
                condition=Q(ended_at__isnull=True) | Q(ended_at__gte=F("started_at")),
                name="membership_ends_after_start",
            ),
            models.CheckConstraint(
                condition=Q(role__in=[role.value for role in roles.STAFF]), name="membership_role_known"
            ),
            models.UniqueConstraint(fields=["id", "clinic"], name="membership_of_a_clinic"),
        ]

    def __str__(self) -> str:
        return f"{self.role} {self.pk}"


class Participant(models.Model):
    """A person in therapy, under a pseudonym. `public_id` is all the outside ever sees of the key."""

    public_id = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    clinic = models.ForeignKey(Clinic, models.PROTECT, related_name="participants")
    user = models.OneToOneField(
        settings.AUTH_USER_MODEL, models.PROTECT, related_name="participant", null=True, blank=True
    )
    pseudonym = models.CharField(max_length=64)
    timezone = models.CharField(max_length=64, default="UTC")
    enrolled_at = models.DateTimeField(default=now)
    # Since when they take no part. Null: they do. What there is of theirs stays.
    withdrawn_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["clinic", "pseudonym"], name="pseudonym_once_a_clinic"),
            models.UniqueConstraint(fields=["id", "clinic"], name="participant_of_a_clinic"),
        ]

    def __str__(self) -> str:
        return f"participant {self.pk}"


class CareRelationship(models.Model):
    """A therapist cares for a participant of the same clinic, from one instant to another.

    That the clinic is both people's is a foreign key each, in the migration.
    """

    class Because(models.TextChoices):
        """Why a caseload, or one participant, went on to another therapist."""

        AWAY = "away"
        LEFT = "left"
        WORKLOAD = "workload"
        ASKED = "asked"  # by the participant
        OTHER = "other"

    public_id = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    clinic = models.ForeignKey(Clinic, models.PROTECT, related_name="+")
    participant = models.ForeignKey(Participant, models.PROTECT, related_name="care_relationships")
    therapist = models.ForeignKey(Membership, models.PROTECT, related_name="care_relationships")
    started_at = models.DateTimeField(default=now)
    ended_at = models.DateTimeField(null=True, blank=True)
    ended_because = models.CharField(max_length=16, choices=Because, null=True, blank=True)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["participant", "therapist"],
                condition=Q(ended_at__isnull=True),
                name="care_once_at_a_time",
            ),
            models.CheckConstraint(
                condition=Q(ended_at__isnull=True) | Q(ended_at__gte=F("started_at")),
                name="care_ends_after_start",
            ),
            models.CheckConstraint(
                condition=Q(ended_because__isnull=True)
                | Q(ended_because__in=["away", "left", "workload", "asked", "other"], ended_at__isnull=False),
                name="care_ended_because_known",
            ),
        ]

    def __str__(self) -> str:
        return f"care relationship {self.pk}"


class Cover(models.Model):
    """A named person cares for everybody in a therapist's care while that therapist is away.

    Both are members of one clinic's staff; that is a foreign key each, in the migration.
    """

    public_id = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    clinic = models.ForeignKey(Clinic, models.PROTECT, related_name="+")
    therapist = models.ForeignKey(Membership, models.PROTECT, related_name="covers")
    covered_by = models.ForeignKey(Membership, models.PROTECT, related_name="covering")
    started_at = models.DateTimeField(default=now)
    ended_at = models.DateTimeField()

    class Meta:
        constraints: ClassVar = [
            models.CheckConstraint(condition=Q(ended_at__gte=F("started_at")), name="cover_ends_after_start"),
            models.CheckConstraint(condition=~Q(therapist=F("covered_by")), name="cover_is_by_somebody_else"),
            models.UniqueConstraint(fields=["therapist", "covered_by", "started_at"], name="cover_once"),
        ]

    def __str__(self) -> str:
        return f"cover {self.pk}"


class DosingSession(models.Model):
    """One dosing session. Its ordinal is its place in time among the person's sessions, so it is
    counted when read and never stored: a session recorded late cannot leave two "session 2"s."""

    class Substance(models.TextChoices):
        PSILOCYBIN = "psilocybin"
        MDMA = "mdma"
        LSD = "lsd"
        AYAHUASCA = "ayahuasca"
        DMT = "dmt"
        FIVE_MEO_DMT = "5-meo-dmt"
        MESCALINE = "mescaline"
        KETAMINE = "ketamine"
        IBOGAINE = "ibogaine"
        PLACEBO = "placebo"
        BLINDED = "blinded"
        OTHER = "other"

    class DoseUnit(models.TextChoices):
        MILLIGRAM = "mg"
        MICROGRAM = "ug"
        MILLIGRAM_PER_KILOGRAM = "mg/kg"
        GRAM = "g"
        MILLILITRE = "ml"

    class Route(models.TextChoices):
        ORAL = "oral"
        SUBLINGUAL = "sublingual"
        INTRANASAL = "intranasal"
        INHALED = "inhaled"
        INTRAMUSCULAR = "intramuscular"
        INTRAVENOUS = "intravenous"
        OTHER = "other"

    class Setting(models.TextChoices):
        CLINIC = "clinic"
        TRIAL = "trial"
        RETREAT = "retreat"
        CEREMONY = "ceremony"
        HOME = "home"
        OTHER = "other"

    id = models.UUIDField(primary_key=True)
    participant = models.ForeignKey(Participant, models.PROTECT, related_name="dosing_sessions")
    started_at = models.DateTimeField()
    substance = models.CharField(max_length=16, choices=Substance, null=True)
    dose = models.DecimalField(max_digits=9, decimal_places=3, null=True)
    dose_unit = models.CharField(max_length=8, choices=DoseUnit, null=True)
    route = models.CharField(max_length=16, choices=Route, null=True)
    setting = models.CharField(max_length=16, choices=Setting, null=True)
    supervised = models.BooleanField(null=True)
    recorded_by = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, related_name="+")
    recorded_at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["participant", "started_at"], name="one_session_at_a_time"),
            models.CheckConstraint(
                condition=Q(dose__isnull=True, dose_unit__isnull=True)
                | Q(dose__gte=0, dose_unit__isnull=False),
                name="dose_has_a_unit",
            ),
        ]

    def __str__(self) -> str:
        return f"dosing session {self.pk}"
