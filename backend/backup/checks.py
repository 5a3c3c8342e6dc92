"""What must hold in a restored service before it may be opened, asked of the service itself."""

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from typing import Any

from django.apps import apps
from django.conf import settings
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from django.db.models import Model
from django.utils import timezone
from django.utils.module_loading import import_string

from backend import scope
from backend.backup.manifest import Failed
from backend.keys.envelope import Holder
from backend.keys.fields import SealedField, sealed_fields
from backend.keys.sealing import Destroyed
from backend.proof.services import record_restore
from backend.proof.verify import verify

SAMPLE = 10_000
# What is done and looked at before a restored service may be opened, in this order: functions by dotted name,
# that take nothing, say what they found and raise what they do not like. The audit goes on from what the
# backup held before anything else is written.
STEPS = (
    "backend.backup.checks.anchor_restore",
    "backend.rights.erasure.tasks.replay",
    "backend.keys.rotation.take_back",
    "backend.backup.checks.verify_audit",
    "backend.backup.checks.open_sealed",
)


def main() -> None:
    """Nothing; every step was taken, and STATE/proof.json says what each of them found.

    Where one fails, the program ends with its name, or a Failed's own code: words of an exception could hold
    what somebody wrote.
    """
    found: dict[str, Any] = {}
    try:
        bring_up_to_date()
        for name in STEPS:
            found[name] = taken(name)
    except Failed as why:
        sys.exit(f"{why.code}: {why}")
    (settings.STATE / "proof.json").write_text(json.dumps(found, default=str))


def taken(name: str) -> Any:
    """What the step of that dotted name found. Raises Failed."""
    try:
        return import_string(name)()
    except Failed:
        raise
    except Exception as error:
        raise Failed(name.rpartition(".")[2], type(error).__name__) from None


def bring_up_to_date() -> None:
    """Nothing; the tables are those of this release. Raises Failed where they are of a later one."""
    executor = MigrationExecutor(connection)
    ours = {app.label for app in apps.get_app_configs()}
    known = {*executor.loader.disk_migrations, *executor.loader.replacements}
    unknown = [key for key in executor.loader.applied_migrations or {} if key[0] in ours and key not in known]
    if unknown:
        app, name = min(unknown)
        raise Failed("unknown_migrations", f"The database is of a later release than this: {app}.{name}.")
    if executor.migration_plan(executor.loader.graph.leaf_nodes()):
        connection.close()
        command = [sys.executable, "manage.py", "migrate", "--no-input", "--skip-checks", "--verbosity=0"]
        done = subprocess.run(command, cwd=settings.BASE_DIR, capture_output=True, check=False)
        if done.returncode != 0:
            raise Failed("migrate_failed", "The tables could not be brought up to date.")


def anchor_restore() -> int:
    """The number of the anchor that says where the audit goes on from."""
    return record_restore(now=timezone.now()).number


def verify_audit() -> dict[str, int]:
    """How many entries are chained, and how many wait for that. Raises Failed naming what is wrong."""
    verdict = verify()
    for finding in verdict.findings:
        raise Failed("audit_broken", f"{finding.kind}: {finding.place}")
    chains = verdict.chains.values()
    return {"chained": sum(c.entries for c in chains), "unsealed": sum(c.unsealed for c in chains)}


def open_sealed() -> dict[str, int]:
    """How many sealed values were opened, and how many are of people who were erased. Raises Failed.

    Up to 10,000, chosen by chance where there are more.
    """
    with scope.everything():
        return open_each(list(sealed_fields()))


def open_each(fields: Sequence[SealedField], most: int = SAMPLE) -> dict[str, int]:
    """Likewise of these columns, in a transaction that sees them."""
    counts = {"opened": 0, "erased": 0}
    for field in fields:
        for row, value, holder in _values(field, most // len(fields)):
            try:
                field.unseal_bytes(value, row=row, holder=holder)
                counts["opened"] += 1
            except Destroyed:
                counts["erased"] += 1
            except Exception as error:
                where = f"{field.model._meta.db_table}.{field.attname} {row}"
                raise Failed("unreadable", f"{where}: {type(error).__name__}") from None
    return counts


def _values(field: SealedField, most: int) -> Iterator[tuple[Any, bytes, Holder]]:
    model: type[Model] = field.model
    columns = [field.row, field.attname, field.holder, *([field.clinic] if field.clinic else [])]
    rows = model._base_manager.exclude(**{f"{field.attname}__isnull": True}).values_list(*columns)
    for row, value, holder, *clinic in rows.order_by("?")[:most]:
        yield row, bytes(value), Holder(holder, clinic[0] if clinic else 0)
