"""What happens to copies that people ask for. `now` is given; a copy being made is a leased row."""

from collections.abc import Callable
from datetime import datetime, timedelta
from uuid import UUID

import structlog
from django.conf import settings
from django.db import models, transaction
from django.db.models import Q

from backend import scope
from backend.audit import services as audit
from backend.care import access
from backend.care.access import SeenParticipant
from backend.keys.fields import sealed
from backend.keys.sealing import Holder, seal_bytes
from backend.rights.export import queries
from backend.rights.export.archive import About, Table, files, pack
from backend.rights.export.models import OPEN, Export, ExportPart
from backend.rights.export.page import index
from backend.rights.export.queries import Reader
from scales.queries import instruments

log = structlog.get_logger()

KEPT = timedelta(days=7)
# Longer than any task may take (`task_time_limit`): nobody is taken over while still at work.
LEASE = timedelta(minutes=3)
PAUSE = timedelta(seconds=30)
MOST_ATTEMPTS = 3
# With its length before it, a piece of this size is sealed without padding.
PART_BYTES = 1024 * 1024 - 4
_READ = 80  # of 100, once every table has been read; the rest is putting the files together


class TakenOverError(Exception):
    """Somebody else is making this copy by now, or nobody is to make it any more."""


@transaction.atomic
def request_export(*, participant: SeenParticipant, actor: int, now: datetime) -> Export:
    """The participant's copy that waits or is being made; a new one where there is none."""
    # Two at once: the database keeps one, and both are told of it.
    made = Export(participant_id=participant.id, requested_at=now)
    Export.objects.bulk_create([made], ignore_conflicts=True)
    found = queries.open_export(participant.id)
    if found is None:  # the one there was has been finished between our two looks
        return Export.objects.filter(participant_id=participant.id).latest("requested_at")
    if found.pk == made.pk:
        audit.record(
            actor=actor,
            action="export.requested",
            participant=participant.id,
            clinic=participant.clinic_id,
            subject=made.pk,
        )
    return found


def make_waiting(*, now: Callable[[], datetime], enough: Callable[[], bool] = lambda: False) -> int:
    """How many copies were made: those that wait, and those whose maker died, the longest waiting first."""
    made = 0
    while not enough():
        export = _claim(now())
        if export is None:
            break
        try:
            _make(export, now)
            made += 1
        except TakenOverError:
            log.warning("export_taken_over", export=str(export.pk))
        except Exception:
            # One person's copy must not keep everybody else's waiting.
            log.exception("export_failed", export=str(export.pk), attempt=export.attempts)
            _put_back(export, now())
    return made


def delete_expired(*, now: datetime) -> int:
    """How many copies are over, and their pieces gone."""
    with scope.everything():
        over = Export.objects.select_for_update(skip_locked=True, of=("self",)).select_related("participant")
        found = list(over.filter(status=Export.Status.READY, expires_at__lte=now).order_by("pk"))
        ExportPart.objects.filter(export__in=found).delete()
        Export.objects.filter(pk__in=[export.pk for export in found]).update(status=Export.Status.EXPIRED)
        for export in found:
            _note(export, "export.expired", clinic=export.participant.clinic_id)
    return len(found)


def _claim(now: datetime) -> Export | None:
    """The next copy to be made, leased; None where none waits. One that was tried too often has failed."""
    with scope.everything():
        waiting = (
            Export.objects.select_for_update(skip_locked=True, of=("self",))
            .select_related("participant")
            .filter(Q(leased_until__isnull=True) | Q(leased_until__lte=now), status__in=OPEN)
            .order_by("requested_at", "pk")
        )
        for export in waiting:
            if export.attempts >= MOST_ATTEMPTS:
                _fail(export)
                continue
            export.status, export.progress = Export.Status.RUNNING, 0
            export.attempts, export.leased_until = export.attempts + 1, now + LEASE
            export.save(update_fields=["status", "progress", "attempts", "leased_until"])
            return export
    return None


def _put_back(export: Export, now: datetime) -> None:
    """Nothing; it is tried again in a while, or has failed for good."""
    with scope.everything():
        held = (
            Export.objects.select_for_update(of=("self",))
            .select_related("participant")
            .filter(pk=export.pk, status=Export.Status.RUNNING, attempts=export.attempts)
            .first()
        )
        if held is None:
            return
        if held.attempts >= MOST_ATTEMPTS:
            _fail(held)
            return
        held.status, held.leased_until = Export.Status.QUEUED, now + PAUSE
        held.save(update_fields=["status", "leased_until"])


def _fail(export: Export) -> None:
    export.status, export.leased_until = Export.Status.FAILED, None
    export.save(update_fields=["status", "leased_until"])
    _note(export, "export.failed", clinic=export.participant.clinic_id)


def _make(export: Export, now: Callable[[], datetime]) -> None:
    """Nothing; the copy is ready, whole, or nothing of it is there.

    Each table is read in a transaction of its own, so that how far it is can be seen meanwhile, and no
    reading of ten years holds up what tidies the database.
    """
    begun_at, tables = now(), []
    with access.participants_of_a_job([export.participant_id]) as found:
        participant = found[export.participant_id]
        reader = queries.reader(participant)
    wanted = queries.somebodys()
    for number, model in enumerate(wanted, 1):
        with access.participants_of_a_job([participant.id]):
            tables.append(reader.table(model))
        _progress(export, number * _READ // len(wanted))
    archive = _archive(participant, reader, tables, begun_at, now())
    _progress(export, 95)
    _store(export, participant, archive, now())


def _archive(
    participant: SeenParticipant, reader: Reader, tables: list[Table], begun_at: datetime, made_at: datetime
) -> bytes:
    """The archive, in memory: in clear it lies nowhere."""
    about = About(
        participant=str(participant.public_id),
        pseudonym=participant.pseudonym,
        timezone=participant.timezone,
        begun_at=begun_at,
        made_at=made_at,
        software=f"Selfkind {settings.SPECTACULAR_SETTINGS['VERSION']}",
        unreadable=reader.unreadable,
    )
    return pack(files(about, tables, index(about, tables, instruments())), at=made_at)


def _progress(export: Export, percent: int) -> None:
    """Nothing; how far it is can be seen. Raises TakenOverError where it is no longer ours to make."""
    with scope.participants([export.participant_id]):
        if not _ours(export).update(progress=percent):
            raise TakenOverError


def _store(export: Export, participant: SeenParticipant, archive: bytes, now: datetime) -> None:
    """Nothing; its pieces lie sealed and it is ready, in one transaction. Raises TakenOverError."""
    content, holder = sealed(ExportPart, "content"), Holder(participant.public_id, participant.clinic_id)
    with scope.participants([participant.id]):
        held = _ours(export).select_for_update().first()
        if held is None:
            raise TakenOverError
        for number, start in enumerate(range(0, len(archive), PART_BYTES), 1):
            id_ = part_id(export.pk, number)
            piece = seal_bytes(archive[start : start + PART_BYTES], content.place(id_, holder))
            ExportPart.objects.create(id=id_, export=held, number=number, content=piece)
        held.status, held.progress, held.leased_until = Export.Status.READY, 100, None
        held.ready_at, held.expires_at, held.size = now, now + KEPT, len(archive)
        held.save()
        _note(held, "export.made", clinic=participant.clinic_id)


def _ours(export: Export) -> "models.QuerySet[Export]":
    """The row, while it is still this attempt's."""
    return Export.objects.filter(pk=export.pk, status=Export.Status.RUNNING, attempts=export.attempts)


def part_id(export: UUID, number: int) -> str:
    """The id of a piece, which is its place in the associated data as well."""
    return f"{export}/{number}"


def _note(export: Export, action: str, *, clinic: int, actor: int | None = None) -> None:
    audit.record(
        actor=actor, action=action, participant=export.participant_id, clinic=clinic, subject=export.pk
    )


def note_download(*, export: Export, participant: SeenParticipant, actor: int) -> None:
    """Nothing; one audit row says that the copy was fetched."""
    _note(export, "export.downloaded", clinic=participant.clinic_id, actor=actor)
