"""Erasures, asked for and carried out: numbers and ids, nothing that names or tells."""

from typing import ClassVar
from uuid import uuid4

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q


class Erasure(models.Model):
    """One person's wish to be erased, and what came of it. It outlives them, so it refers to nothing.

    `holders` are those whose keys are destroyed: noted when it begins, and the user among them only if
    the user goes too. `receipt` is what was destroyed and kept, as it was signed.
    """

    class State(models.TextChoices):
        WAITING = "waiting"  # can be cancelled
        DUE = "due"  # somebody has taken it up
        DESTROYING = "destroying"  # it is in the ledger: there is no way back
        DONE = "done"
        CANCELLED = "cancelled"

    OPEN: ClassVar = (State.WAITING, State.DUE, State.DESTROYING)

    id = models.UUIDField(primary_key=True, default=uuid4, editable=False)
    participant = models.BigIntegerField()
    account = models.BigIntegerField(null=True)
    clinic = models.BigIntegerField(null=True)
    holders = ArrayField(models.UUIDField(), default=list)
    state = models.CharField(max_length=10, choices=State, default=State.WAITING)
    requested_at = models.DateTimeField()
    erases_at = models.DateTimeField()
    # Whoever carries it out holds it until then. Nobody has to let go.
    leased_until = models.DateTimeField(null=True)
    cancelled_at = models.DateTimeField(null=True)
    done_at = models.DateTimeField(null=True)
    receipt = models.TextField(null=True)
    signature = models.BinaryField(null=True)

    class Meta:
        constraints: ClassVar = [
            models.CheckConstraint(
                condition=Q(state__in=["waiting", "due", "destroying", "done", "cancelled"]),
                name="erasure_state_known",
            ),
            models.CheckConstraint(
                condition=Q(
                    state="done", done_at__isnull=False, receipt__isnull=False, signature__isnull=False
                )
                | (~Q(state="done") & Q(done_at__isnull=True, receipt__isnull=True)),
                name="erasure_done_has_a_receipt",
            ),
            models.CheckConstraint(
                condition=Q(state="cancelled", cancelled_at__isnull=False)
                | (~Q(state="cancelled") & Q(cancelled_at__isnull=True)),
                name="erasure_cancelled_once",
            ),
            models.UniqueConstraint(
                fields=["participant"],
                condition=Q(state__in=["waiting", "due"]),
                name="one_erasure_at_a_time",
            ),
        ]
        indexes: ClassVar = [
            models.Index(
                fields=["erases_at"],
                condition=Q(state__in=["waiting", "due", "destroying"]),
                name="erasures_to_come",
            )
        ]

    def __str__(self) -> str:
        return f"erasure {self.pk}"
