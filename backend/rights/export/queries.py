"""Named reads: everything that is a participant's, table by table, as it goes into a copy; and copies."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from uuid import UUID

import orjson
from django.db import models

from backend import scope
from backend.accounts.models import Device
from backend.care import roles
from backend.care.access import SeenParticipant
from backend.care.models import Clinic, Membership
from backend.errors import Problem
from backend.keys import sealing
from backend.keys.fields import SealedField, sealed
from backend.keys.sealing import Holder, Unreadable
from backend.rights import plan
from backend.rights.export import dictionary
from backend.rights.export.archive import Column, Kind, Table
from backend.rights.export.dictionary import How, LeftOut, Told
from backend.rights.export.models import OPEN, Export, ExportPart
from backend.rights.export.people import People
from backend.wire import utc, uuid

if TYPE_CHECKING:  # a parameter that only the type checker's own packages have
    Field = models.Field[Any, Any]
else:
    Field = models.Field

_AT_A_TIME = 500

_KINDS: tuple[tuple[type[Field], Kind], ...] = (
    (models.BooleanField, Kind.TRUTH),
    (models.IntegerField, Kind.NUMBER),
    (models.DecimalField, Kind.NUMBER),
    (models.FloatField, Kind.NUMBER),
    (models.DateTimeField, Kind.INSTANT),
    (models.DateField, Kind.DATE),
    (models.UUIDField, Kind.ID),
    (models.JSONField, Kind.JSON),
)
_HOW_KINDS = {
    How.PERSON: Kind.TEXT,
    How.MEMBER: Kind.TEXT,
    How.PARTICIPANT: Kind.ID,
    How.CLINIC: Kind.ID,
    How.DEVICE: Kind.ID,
    How.JSON_TEXT: Kind.JSON,
    How.UUID_TEXT: Kind.ID,
    How.OWN_PARTS: Kind.JSON,
}
# What can lack a value in a copy where the row has one.
_NOT_ALWAYS = (How.PERSON, How.CLINIC, How.DEVICE, How.UUID_TEXT, How.IF_YOU)


def somebodys() -> list[type[models.Model]]:
    """Every table whose rows are a participant's or their user's, in the dictionary's order.

    It is the plan that says which: one the dictionary does not know ends here, and is not left out.
    """
    order = list(dictionary.TABLES)
    found = [model for model in plan.tables() if not plan.whose(model).nobodys]
    return sorted(found, key=lambda model: order.index(model._meta.label))


@dataclass
class Reader:
    """Reads what is one participant's, and calls everybody else by what they are."""

    participant: SeenParticipant
    people: People
    clinics: Mapping[int, str]
    devices: Mapping[int, str]
    unreadable: list[tuple[str, str]] = field(default_factory=list)

    def table(self, model: type[models.Model]) -> Table:
        """Every row of theirs in that table, the oldest first."""
        said, name = dictionary.TABLES[model._meta.label], model._meta.db_table
        decided = dictionary.described(model._meta.label)
        left_out = {n: d.reason for n, d in decided.items() if isinstance(d, LeftOut)}
        told = [(f, d) for f in model._meta.concrete_fields if isinstance(d := decided[f.attname], Told)]
        columns = [_column(f, d) for f, d in told]
        return Table(name, said.title, said.sentence, columns, left_out, list(self._rows(model, told)))

    def _rows(
        self, model: type[models.Model], told: Sequence[tuple[Field, Told]]
    ) -> Iterator[dict[str, Any]]:
        names = {f.attname for f, _ in told} | _needed(f for f, _ in told)
        found = plan.rows(model, participant=self.participant.id, user=self.participant.user_id)
        for row in found.order_by(*_by_age(model)).values(*sorted(names)).iterator(chunk_size=_AT_A_TIME):
            yield {f.attname: self._value(row, f, d.how) for f, d in told}

    def _value(self, row: Mapping[str, Any], column: Field, how: How) -> Any:
        value = row[column.attname]
        if value is None:
            return None
        if isinstance(column, SealedField):
            return self._opened(row, column)
        return self._told(value, row, how)

    def _told(self, value: Any, row: Mapping[str, Any], how: How) -> Any:
        match how:
            case How.AS_IT_IS:
                return _plain(value)
            case How.PERSON:
                return self.people.user(value)
            case How.MEMBER:
                return self.people.member(value)
            case How.PARTICIPANT:
                return self._you(value)
            case How.CLINIC:
                return self.clinics.get(value)
            case How.DEVICE:
                return self.devices.get(value)
            case How.JSON_TEXT:
                return orjson.loads(value)
            case How.UUID_TEXT:
                return _plain(uuid(value))
            case How.OWN_PARTS:
                return {k: v for k, v in value.items() if k != "id" and not k.endswith("_id")}
            case How.IF_YOU:
                return _plain(value) if row["actor"] == self.participant.user_id else None

    def _you(self, number: int) -> str:
        if number != self.participant.id:
            raise AssertionError("a row of somebody else's")
        return str(self.participant.public_id)

    def _opened(self, row: Mapping[str, Any], column: SealedField) -> Any:
        """What is sealed there; None where it does not open, which is noted."""
        holder = Holder(row[column.holder], (row[column.clinic] if column.clinic else None) or 0)
        try:
            text = column.unseal(bytes(row[column.attname]), row=row[column.row], holder=holder)
        except Unreadable:
            self.unreadable.append((column.model._meta.db_table, column.attname))
            return None
        return orjson.loads(text) if column.kind == "json" else text


def reader(participant: SeenParticipant) -> Reader:
    """A reader of what is that participant's. Within the participant's own scope."""
    clinics = Clinic.objects.filter(pk=participant.clinic_id).values_list("pk", "public_id")
    devices = Device.objects.filter(user_id=participant.user_id or 0).values_list("pk", "installation")
    staff = _staff(participant.clinic_id)
    order = {role.value: place for place, role in enumerate(roles.STAFF)}
    # Somebody in two roles is called by the one that is nearer to the participant.
    by_role = sorted(staff, key=lambda member: order[member[2]], reverse=True)
    people = People(
        own=participant.user_id,
        roles={user: role for _, user, role in by_role},
        members={membership: user for membership, user, _ in staff},
    )
    return Reader(
        participant, people, {key: str(id_) for key, id_ in clinics}, {key: str(id_) for key, id_ in devices}
    )


def _staff(clinic: int) -> list[tuple[int, int, str]]:
    """(membership, user, role) of everybody who is or was of a clinic's staff.

    In a scope of its own, which shows the clinic; what is read for the copy sees the participant alone.
    """
    with scope.participants([]):
        scope.grant_clinics([clinic])
        members = Membership.objects.filter(clinic_id=clinic).order_by("pk")
        return list(members.values_list("pk", "user_id", "role"))


def _needed(columns: Iterator[Field]) -> set[str]:
    """What else of a row is asked for, to tell these columns: whose key opens them."""
    found: set[str] = set()
    for column in columns:
        if isinstance(column, SealedField):
            found |= {column.holder, column.row, *([column.clinic] if column.clinic else [])}
    return found


def _by_age(model: type[models.Model]) -> list[str]:
    """What puts rows in order, the oldest first: the first instant that each of them has."""
    always = (
        f.attname for f in model._meta.concrete_fields if isinstance(f, models.DateTimeField) and not f.null
    )
    return [*list(always)[:1], "pk"]


def _column(column: Field, told: Told) -> Column:
    kind = _HOW_KINDS.get(told.how) or _kind(column)
    optional = column.null or told.how in _NOT_ALWAYS or isinstance(column, SealedField)
    return Column(column.attname, kind, optional, told.sentence)


def _kind(column: Field) -> Kind:
    if isinstance(column, models.ForeignKey):
        return _kind(column.target_field)
    if isinstance(column, SealedField):
        return Kind.JSON if column.kind == "json" else Kind.TEXT
    return next((kind for type_, kind in _KINDS if isinstance(column, type_)), Kind.TEXT)


def _plain(value: Any) -> Any:
    """The value as JSON has it."""
    if isinstance(value, datetime):
        return utc(value)
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, UUID):
        return str(value)
    return float(value) if isinstance(value, Decimal) else value


def exports(participant: int, *, before: tuple[datetime, UUID] | None, limit: int) -> list[Export]:
    """A participant's copies, newest first; `before` is where a page ended."""
    found = Export.objects.filter(participant_id=participant)
    if before is not None:
        at, id_ = before
        found = found.filter(models.Q(requested_at__lt=at) | models.Q(requested_at=at, id__lt=id_))
    return list(found.order_by("-requested_at", "-id")[:limit])


def export(participant: int, id: str) -> Export:
    """A participant's own copy of that id. Problem 404 for another's as for one that never was."""
    wanted = uuid(id)
    found = wanted and Export.objects.filter(participant_id=participant, id=wanted).first()
    if not found:
        raise Problem(404, "not_found")
    return found


def open_export(participant: int) -> Export | None:
    """The participant's copy that waits or is being made."""
    return Export.objects.filter(participant_id=participant, status__in=OPEN).first()


def status(export: Export, *, now: datetime) -> Export.Status:
    """How far a copy is. It is over on time, whether or not its pieces have been deleted yet."""
    if export.status == Export.Status.READY and export.expires_at is not None and export.expires_at <= now:
        return Export.Status.EXPIRED
    return Export.Status(export.status)


def part(export: Export, number: int, holder: Holder) -> bytes:
    """That piece of a copy, opened. Raises ExportPart.DoesNotExist, sealing.Destroyed, sealing.Unreadable."""
    found = ExportPart.objects.get(export_id=export.pk, number=number)
    place = sealed(ExportPart, "content").place(found.pk, holder)
    return sealing.unseal_bytes(bytes(found.content), place)
