"""What must hold in a restored service before it may be opened, asked of the service itself."""

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import django
from django.apps import apps
from django.conf import settings
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from django.db.models import Model
from django.utils.module_loading import import_string

from backend import scope
from backend.backup.manifest import Failed
from backend.keys.envelope import Holder

if TYPE_CHECKING:
    from backend.keys.fields import SealedField

SAMPLE = 10_000


def main() -> None:
    """Nothing; every step was taken, and STATE/proof.json says what each of them found.

    A step is a function that takes nothing and raises what it does not like. The program then ends with the
    step's name, or a Failed's own code: words of an exception could hold what somebody wrote.
    """
    django.setup()
    found: dict[str, Any] = {}
    try:
        bring_up_to_date()
        for name in settings.RESTORE_STEPS:
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


def open_sealed() -> dict[str, int]:
    """How many sealed values were opened, and how many are of people who were erased. Raises Failed.

    Up to 10,000, chosen by chance where there are more.
    """
    from backend.keys.fields import sealed_fields  # the apps must be ready first

    with scope.everything():
        return open_each(list(sealed_fields()))


def open_each(fields: Sequence["SealedField"], most: int = SAMPLE) -> dict[str, int]:
    """Likewise of these columns, in a transaction that sees them."""
    from backend.keys.sealing import Destroyed

    counts = {"opened": 0, "erased": 0}
    for field in fields:
        for row, value, holder in _values(field, most // len(fields)):
            try:
                field.unseal(value, row=row, holder=holder)
                counts["opened"] += 1
            except Destroyed:
                counts["erased"] += 1
            except Exception as error:
                where = f"{field.model._meta.db_table}.{field.attname} {row}"
                raise Failed("unreadable", f"{where}: {type(error).__name__}") from None
    return counts


def _values(field: "SealedField", most: int) -> Iterator[tuple[Any, bytes, Holder]]:
    model: type[Model] = field.model
    columns = [field.row, field.attname, field.holder, *([field.clinic] if field.clinic else [])]
    rows = model._base_manager.exclude(**{f"{field.attname}__isnull": True}).values_list(*columns)
    for row, value, holder, *clinic in rows.order_by("?")[:most]:
        yield row, bytes(value), Holder(holder, clinic[0] if clinic else 0)
