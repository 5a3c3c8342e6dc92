"""A participant's data opened in an emergency. Append-only by trigger, and one at a time by constraint."""

import uuid
from datetime import timedelta
from typing import ClassVar

from django.contrib.postgres.constraints import ExclusionConstraint
from django.contrib.postgres.fields import RangeOperators
from django.db import models
from django.db.models import F, Func, Q, Value

from backend.keys.fields import SealedField

LASTS = timedelta(hours=4)


def _only(column: str) -> Func:
    return Func(column, column, Value("[]"), function="int8range")


class EmergencyAccess(models.Model):
    """A participant is to a member of their clinic's staff as if in their care, from one instant to another.

    That the clinic is both people's is a foreign key each, in the migration. Why they asked for it is free
    text, sealed under the participant's key.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    clinic = models.ForeignKey("care.Clinic", models.PROTECT, related_name="+", db_index=False)
    participant = models.ForeignKey("care.Participant", models.PROTECT, related_name="+", db_index=False)
    membership = models.ForeignKey("care.Membership", models.PROTECT, related_name="+", db_index=False)
    opened_at = models.DateTimeField()
    until = models.DateTimeField()
    reason = SealedField(holder="participant__public_id", clinic="clinic_id")

    class Meta:
        constraints: ClassVar = [
            models.CheckConstraint(
                condition=Q(until=F("opened_at") + Value(LASTS)), name="emergency_lasts_four_hours"
            ),
            # One at a time for the two of them. Ranges of one key each, since GiST knows no equality of
            # numbers without an extension.
            ExclusionConstraint(
                name="one_emergency_at_a_time",
                expressions=[
                    (_only("participant_id"), RangeOperators.OVERLAPS),
                    (_only("membership_id"), RangeOperators.OVERLAPS),
                    (Func("opened_at", "until", function="tstzrange"), RangeOperators.OVERLAPS),
                ],
            ),
        ]
        indexes: ClassVar = [
            models.Index(fields=["participant", "-until"], name="emergencies_of_a_participant"),
            models.Index(fields=["clinic", "-opened_at", "-id"], name="emergencies_newest"),
        ]

    def __str__(self) -> str:
        return f"emergency access {self.pk}"
