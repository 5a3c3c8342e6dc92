"""The mark of a database that was ever made with `DEMO=1`: it stays for good."""

from typing import ClassVar

from django.db import models
from django.db.models.functions import Now


class Mark(models.Model):
    """One row, where the demo cast ever moved in. Passwords of a demo lie in a file."""

    id = models.PositiveSmallIntegerField(primary_key=True, default=1)
    made_at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints: ClassVar = [models.CheckConstraint(condition=models.Q(id=1), name="one_mark")]

    def __str__(self) -> str:
        return f"demo since {self.made_at}"
