"""What must hold in a restored service before it may be opened, asked of the service itself."""

import json
import sys
from collections.abc import Iterator
from typing import Any

import django
from django.conf import settings
from django.db.models import Model
from django.utils.module_loading import import_string

from backend.backup.manifest import Failed

SAMPLE = 10_000


def refuse_unknown_migrations() -> None:
    """Nothing. Ends the program where the database is of a later release than this one."""
    django.setup()
    from django.db import connection
    from django.db.migrations.loader import MigrationLoader

    loader = MigrationLoader(connection)
    ours = {app.label for app in django.apps.apps.get_app_configs()}
    unknown = sorted(
        f"{app}.{name}"
        for app, name in (loader.applied_migrations or {})
        if app in ours and (app, name) not in loader.disk_migrations and not _replaced(loader, app, name)
    )
    if unknown:
        sys.exit(f"unknown_migrations: of a later release than this: {unknown[0]}")


def _replaced(loader: Any, app: str, name: str) -> bool:
    return any((app, name) in migration.replaces for migration in loader.replacements.values())


def main() -> None:
    """Nothing; every step was taken, and STATE/proof.json says what each of them found.

    A step is a function that takes nothing and raises what it does not like. The program then ends with the
    step's name, or a Failed's own code: words of an exception could hold what somebody wrote.
    """
    django.setup()
    found: dict[str, Any] = {}
    for name in settings.RESTORE_STEPS:
        try:
            found[name] = import_string(name)()
        except Failed as why:
            sys.exit(f"{why.code}: {why}")
        except Exception as error:
            sys.exit(f"{name.rpartition('.')[2]}: {type(error).__name__}")
    (settings.STATE / "proof.json").write_text(json.dumps(found, default=str))


def open_sealed() -> dict[str, int]:
    """How many sealed values were opened, and how many are of people who were erased. Raises Failed.

    Up to 10,000, chosen by chance where there are more.
    """
    from backend import scope
    from backend.keys.fields import sealed_fields
    from backend.keys.sealing import Destroyed

    counts = {"opened": 0, "erased": 0}
    with scope.everything():
        fields = list(sealed_fields())
        for field in fields:
            for row, value, holder in _values(field, SAMPLE // len(fields)):
                try:
                    field.unseal(value, row=row, holder=holder)
                    counts["opened"] += 1
                except Destroyed:
                    counts["erased"] += 1
                except Exception as error:
                    raise Failed(
                        "unreadable",
                        f"{field.model._meta.db_table}.{field.attname} {row}: {type(error).__name__}",
                    ) from None
    return counts


def _values(field: Any, most: int) -> Iterator[tuple[Any, bytes, Any]]:
    from backend.keys.envelope import Holder

    model: type[Model] = field.model
    columns = [field.row, field.attname, field.holder, *([field.clinic] if field.clinic else [])]
    rows = model._base_manager.exclude(**{field.attname: None}).values_list(*columns)
    for row, value, holder, *clinic in rows.order_by("?")[:most]:
        yield row, bytes(value), Holder(holder, clinic[0] if clinic else 0)
