"""One row for each change a phone may have to hear of."""

from typing import ClassVar

from django.db import models
from django.db.models import Func
from django.db.models.functions import Now


class CurrentTransaction(Func):
    """The writing transaction's id. Readers stay behind the oldest one still running, so that a
    change that commits late is never skipped: sequence numbers become visible out of order."""

    template = "pg_current_xact_id()::text::bigint"
    output_field = models.BigIntegerField()


class Change(models.Model):
    """Something of a participant's was made, changed or deleted."""

    participant = models.BigIntegerField()
    kind = models.CharField(max_length=32)
    object = models.UUIDField()
    deleted = models.BooleanField(db_default=False)
    at = models.DateTimeField(db_default=Now())
    transaction = models.BigIntegerField(db_default=CurrentTransaction())

    class Meta:
        indexes: ClassVar = [
            models.Index(fields=["participant", "transaction", "id"], name="changes_of_a_participant")
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.object}"


class Tombstone(models.Model):
    """Something that was erased: SHA-256 of the id its maker gave it, or of whose it was.

    Append-only, by trigger: what was erased is not taken in again, by whomever it is sent.
    """

    object = models.BinaryField(primary_key=True)

    def __str__(self) -> str:
        return f"tombstone {bytes(self.object).hex()}"
