"""One row for each thing that was seen or done, and what rows that staff can change were before.

Append-only by trigger, to the owner too.
"""

from typing import ClassVar

from django.contrib.postgres.fields import ArrayField
from django.contrib.postgres.indexes import BrinIndex
from django.db import models
from django.db.models.functions import Now


class Entry(models.Model):
    """Who (actor) did what (action) to whose data (participant), when, in which request, from which
    device.

    Ids are bare numbers, no foreign keys: an entry outlives what it speaks of, and the ground
    floor knows nothing of the floors above. Rows are written unchained, in the transaction of
    what they record.
    """

    at = models.DateTimeField(db_default=Now())
    actor = models.BigIntegerField(null=True)
    action = models.CharField(max_length=64)
    participant = models.BigIntegerField(null=True)
    clinic = models.BigIntegerField(null=True)
    subject = models.CharField(max_length=64, default="")
    request = models.UUIDField(null=True)
    # The installation that sent the request; and why somebody was let through who usually is not.
    device = models.UUIDField(null=True)
    why = models.CharField(max_length=16, default="", db_default="")

    class Meta:
        indexes: ClassVar = [
            models.Index(fields=["participant", "-at"], name="audit_of_a_participant"),
            BrinIndex(fields=["at"], name="audit_by_time"),
            models.Index(fields=["actor", "at"], name="audit_of_an_actor"),
        ]

    def __str__(self) -> str:
        return f"{self.action} at {self.at}"


class Pending(models.Model):
    """An entry that no seal holds yet. A trigger puts it here as it is written."""

    entry = models.BigIntegerField(primary_key=True)

    def __str__(self) -> str:
        return f"entry {self.entry} waits"


class Seal(models.Model):
    """One link of a chain: these entries, in this order, after the link before.

    A clinic's entries are a chain, and those of no clinic are chain 0. `hash` is over what
    `canonical.seal_hash` says, under that layout of bytes; `total` counts the chain's entries up to here.
    """

    chain = models.BigIntegerField()
    number = models.BigIntegerField()
    layout = models.SmallIntegerField()
    entries = ArrayField(models.BigIntegerField())
    total = models.BigIntegerField()
    sealed_at = models.DateTimeField()
    previous = models.BinaryField()
    hash = models.BinaryField()

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["chain", "number"], name="audit_seal_never_forks")
        ]

    def __str__(self) -> str:
        return f"seal {self.number} of chain {self.chain}"


class History(models.Model):
    """What a row was (before) until somebody (actor) changed or deleted it, in which request.

    Written by a trigger on each table of which staff or a command may change rows, so nothing passes it by;
    the product's own role cannot write one. `migrations.0007_history` says what such a trigger keeps.
    """

    class Change(models.TextChoices):
        UPDATE = "update"
        DELETE = "delete"

    at = models.DateTimeField()
    actor = models.BigIntegerField(null=True)
    request = models.UUIDField(null=True)
    change = models.CharField(max_length=6, choices=Change)
    table = models.CharField(max_length=63)
    row = models.CharField(max_length=36)
    participant = models.BigIntegerField(null=True)
    clinic = models.BigIntegerField(null=True)
    before = models.JSONField()

    class Meta:
        indexes: ClassVar = [
            models.Index(fields=["table", "row", "id"], name="history_of_a_row"),
            models.Index(fields=["participant", "id"], name="history_of_a_participant"),
        ]

    def __str__(self) -> str:
        return f"{self.table} {self.row} before {self.at}"
