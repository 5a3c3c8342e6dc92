"""Administrations and what was made of them. Submitted answers are append-only, by trigger."""

from typing import ClassVar

from django.conf import settings
from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now

from backend.care.models import Clinic, Participant
from backend.keys.fields import SealedField


class LoadedFile(models.Model):
    """An operator's own instrument, or the wording of one whose wording may not ship."""

    class Kind(models.TextChoices):
        INSTRUMENT = "instrument"
        WORDING = "wording"

    kind = models.CharField(max_length=10, choices=Kind)
    code = models.CharField(max_length=64)
    version = models.PositiveIntegerField()
    text = models.TextField()
    sha256 = models.CharField(max_length=64)
    loaded_at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["kind", "code", "version"], name="file_loaded_once")
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.code} v{self.version}"


class Administration(models.Model):
    """One participant's one filling of one instrument, as it was submitted.

    The primary key is the id the phone gave it. `responses` is item id -> answer, unanswered items
    left out; `scores` is score id -> [unrounded value, answered]. `answer` is what its sender was
    answered, as JSON: it is passed on unread, so it stays the same. `completed_at` is the phone's
    word, with its `utc_offset` in minutes, `received_at` ours; `clock` says what is doubted about the
    phone's.
    """

    id = models.UUIDField(primary_key=True)
    # Its two indexes begin with the participant: a third would only be kept up to date.
    participant = models.ForeignKey(
        Participant, models.PROTECT, related_name="administrations", db_index=False
    )
    instrument_code = models.CharField(max_length=64)
    instrument_version = models.PositiveIntegerField()
    started_at = models.DateTimeField(null=True)
    completed_at = models.DateTimeField()
    utc_offset = models.SmallIntegerField()
    timezone = models.CharField(max_length=64, null=True)
    received_at = models.DateTimeField()
    clock = models.CharField(max_length=32, null=True)
    assessment = models.UUIDField(null=True)
    device = models.UUIDField(null=True)
    responses = models.JSONField()
    skipped = models.JSONField()
    scores = models.JSONField()
    answer = models.TextField()
    missing_answers = models.CharField(max_length=8)
    content_hash = models.BinaryField()

    class Meta:
        indexes: ClassVar = [
            models.Index(fields=["participant", "-completed_at", "-id"], name="administration_newest"),
            models.Index(
                fields=["participant", "instrument_code", "-completed_at", "-id"],
                name="administration_of_instrument",
            ),
        ]

    def __str__(self) -> str:
        return f"administration {self.pk}"


class Correction(models.Model):
    """A later version of an administration's answers, with its reason, sealed. All versions stay."""

    id = models.UUIDField(primary_key=True)
    administration = models.ForeignKey(
        Administration, models.PROTECT, related_name="corrections", db_index=False
    )
    revision = models.PositiveIntegerField()
    responses = models.JSONField()
    scores = models.JSONField()
    answer = models.TextField()
    reason = SealedField(
        holder="administration__participant__public_id", clinic="administration__participant__clinic_id"
    )
    corrected_by = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, related_name="+")
    received_at = models.DateTimeField()
    # A keyed fingerprint: nobody can try reasons out on it.
    content_hash = models.BinaryField()

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["administration", "revision"], name="revision_once"),
            models.CheckConstraint(condition=Q(revision__gte=2), name="revision_follows_the_first"),
        ]

    def __str__(self) -> str:
        return f"revision {self.revision} of {self.administration_id}"


class Held(models.Model):
    """Scores of one revision that the participant sees later: when released, or from `release_at` on.

    `scores` are their ids. `answer` is what the participant is shown until then: the revision's answer
    without them, as JSON. Only participants are shown it, never those who care for them, nor an export.
    """

    clinic = models.ForeignKey(Clinic, models.PROTECT, related_name="+", db_index=False)
    participant = models.ForeignKey(Participant, models.PROTECT, related_name="+", db_index=False)
    administration = models.ForeignKey(Administration, models.PROTECT, related_name="+", db_index=False)
    revision = models.PositiveIntegerField()
    scores = models.JSONField()
    answer = models.TextField()
    release_at = models.DateTimeField()

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["administration", "revision"], name="held_once")
        ]
        indexes: ClassVar = [models.Index(fields=["participant", "release_at"], name="held_of_a_participant")]

    def __str__(self) -> str:
        return f"held of {self.administration_id}"


class Release(models.Model):
    """Somebody who cares for the participant let them see all scores of an administration."""

    administration = models.OneToOneField(Administration, models.PROTECT, related_name="+", primary_key=True)
    clinic = models.ForeignKey(Clinic, models.PROTECT, related_name="+", db_index=False)
    participant = models.ForeignKey(Participant, models.PROTECT, related_name="+", db_index=False)
    released_by = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, related_name="+")
    released_at = models.DateTimeField()

    def __str__(self) -> str:
        return f"release of {self.administration_id}"


class Quarantined(models.Model):
    """A submission that was readable but could not be recorded. Kept whole, never dropped.

    `rejected` does not fit the version it names; `conflict` has an id that is taken by other
    content; `unknown_version` waits for its instrument version and is recorded when that arrives;
    `withdrawn` was sent by somebody who takes no part at the time, and is not scored.
    What was sent and what is wrong with it, which may repeat names out of it, are sealed as JSON;
    `content_hash` is a keyed fingerprint.
    """

    class Kind(models.TextChoices):
        REJECTED = "rejected"
        CONFLICT = "conflict"
        UNKNOWN_VERSION = "unknown_version"
        WITHDRAWN = "withdrawn"

    participant = models.ForeignKey(Participant, models.PROTECT, related_name="+", db_index=False)
    kind = models.CharField(max_length=16, choices=Kind)
    administration = models.UUIDField(null=True)
    instrument_code = models.CharField(max_length=64, null=True)
    instrument_version = models.PositiveIntegerField(null=True)
    sent_by = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, related_name="+")
    device = models.UUIDField(null=True)
    body = SealedField(holder="participant__public_id", clinic="participant__clinic_id", kind="json")
    content_hash = models.BinaryField()
    faults = SealedField(holder="participant__public_id", clinic="participant__clinic_id", kind="json")
    received_at = models.DateTimeField()
    resolved_at = models.DateTimeField(null=True)

    class Meta:
        constraints: ClassVar = [
            # A body too odd to have an id is kept once too.
            models.UniqueConstraint(
                fields=["participant", "kind", "administration", "content_hash"],
                nulls_distinct=False,
                name="quarantined_once",
            )
        ]
        indexes: ClassVar = [
            models.Index(
                fields=["instrument_code", "instrument_version"],
                condition=Q(kind="unknown_version", resolved_at__isnull=True),
                name="quarantine_waiting",
            ),
            models.Index(fields=["participant", "administration"], name="quarantine_of_an_id"),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.pk}"


class Trend(models.Model):
    """One participant's trend in one instrument, and whether it is up to date.

    `requested` is counted up with every administration, in its transaction; the worker sets
    `computed` to the count it has seen. Behind means work to do: losing a message loses nothing.
    `result` is JSON as the wire shows it, and passed on unread.
    """

    participant = models.ForeignKey(Participant, models.PROTECT, related_name="trends", db_index=False)
    instrument_code = models.CharField(max_length=64)
    requested = models.BigIntegerField(db_default=1)
    computed = models.BigIntegerField(db_default=0)
    computed_at = models.DateTimeField(null=True)
    result = models.TextField(null=True)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["participant", "instrument_code"], name="trend_once")
        ]
        indexes: ClassVar = [
            models.Index(fields=["id"], condition=Q(requested__gt=F("computed")), name="trend_behind")
        ]

    def __str__(self) -> str:
        return f"trend {self.instrument_code} of {self.participant_id}"
