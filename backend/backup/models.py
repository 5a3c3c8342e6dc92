"""One row for each backup of the database, and what became of trying it out."""

from django.db import models


class Run(models.Model):
    """A backup that was made, or one that failed. `holds_until`: what came in before is in it.

    The backups themselves lie elsewhere; this is how the service knows of them. A restored database knows
    nothing of the backup it came from.
    """

    class Kind(models.TextChoices):
        DUMP = "dump"
        BASE = "base"

    name = models.CharField(max_length=64, unique=True)
    kind = models.CharField(max_length=8, choices=Kind)
    taken_at = models.DateTimeField()
    holds_until = models.DateTimeField(null=True)
    size = models.BigIntegerField(default=0)
    seconds = models.FloatField(default=0)
    verified_at = models.DateTimeField(null=True)
    verify_seconds = models.FloatField(null=True)
    ok = models.BooleanField(null=True)
    # Why it was not made, or why restoring it did not hold: a code of ours.
    failed = models.CharField(max_length=64, default="")

    class Meta:
        db_table = "backup_run"

    def __str__(self) -> str:
        return self.name
