"""Columns that hold sealed values, and where in the database each of them belongs.

What is sealed is listed nowhere else: keys are turned over, exports made and proofs run over the columns
that the models declare.
"""

from collections.abc import Iterator
from typing import Any, Literal

from django.apps import apps
from django.db import models

from backend.keys import sealing
from backend.keys.envelope import Holder, Place

Kind = Literal["text", "json", "bytes"]


class SealedField(models.BinaryField):
    """Ciphertext. `holder` and `clinic` lead from the row to whose key it is; `row` is the column that tells
    this row from all others, in the associated data."""

    def __init__(
        self,
        *args: Any,
        holder: str = "",
        clinic: str | None = None,
        row: str = "pk",
        kind: Kind = "text",
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self.holder, self.clinic, self.row, self.kind = holder, clinic, row, kind

    def deconstruct(self) -> tuple[str, str, Any, Any]:
        """As the plain column it is to the database."""
        name, _, args, kwargs = super().deconstruct()
        return name, "django.db.models.BinaryField", args, kwargs

    def place(self, row: object, holder: Holder) -> Place:
        """Where a value of this column in that row belongs."""
        return Place(self.model._meta.db_table, self.get_attname(), str(row), holder)

    def seal(self, text: str, *, row: object, holder: Holder) -> bytes:
        """The text, sealed for this column of that row. Raises sealing.Destroyed."""
        return sealing.seal(text, self.place(row, holder))

    def unseal(self, sealed: bytes | memoryview, *, row: object, holder: Holder) -> str:
        """The text of this column in that row. Raises sealing.Destroyed and sealing.Unreadable."""
        return self.unseal_bytes(sealed, row=row, holder=holder).decode()

    def unseal_bytes(self, sealed: bytes | memoryview, *, row: object, holder: Holder) -> bytes:
        """The same, of whatever kind it is."""
        return sealing.unseal_bytes(bytes(sealed), self.place(row, holder))


def sealed(model: type[models.Model], name: str) -> SealedField:
    """The model's sealed column of that name."""
    field = model._meta.get_field(name)
    if not isinstance(field, SealedField):
        raise TypeError(f"{name} of {model.__name__} is not sealed")
    return field


def sealed_fields() -> Iterator[SealedField]:
    """Every sealed column there is."""
    for model in apps.get_models():
        for field in model._meta.concrete_fields:
            if isinstance(field, SealedField):
                yield field
