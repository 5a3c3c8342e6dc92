"""Named reads of the audit."""

from backend.audit.models import History


def history(table: str, row: str) -> list[History]:
    """What that row of that table was before each of its changes, first to last; nothing out of scope."""
    return list(History.objects.filter(table=table, row=row).order_by("id"))
