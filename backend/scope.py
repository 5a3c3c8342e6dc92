"""The second wall: whose rows the database shows to this transaction.

Every table that holds a participant's or a clinic's data is under row-level security, and the product's
own role owns none of them. What a transaction has not named in these settings does not exist for it:
with nothing set there are no rows. `care.access` decides who may; this only passes its word on.

Settings are local to the transaction, so nothing of one request is left for the next on the same
connection. They guard against our own mistakes, not against somebody who can run statements of theirs.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.db import DatabaseError, InterfaceError, OperationalError, connection, transaction

_SETTINGS = ("everything", "user", "participants", "clinics")
# For statements that do their own work and set the scope in one.
SET_PARTICIPANTS = "set_config('selfkind.participants', %s, true)"
# An expression that leaves nothing in sight but what is that user's own, and names the request: what a
# trigger writes down of a change says in which it was made.
ONLY_USER = (
    "concat(set_config('selfkind.everything', '', true), set_config('selfkind.clinics', '', true),"
    " set_config('selfkind.participants', '', true), set_config('selfkind.user', %s, true),"
    " set_config('selfkind.request', %s, true))"
)


class RequestTransaction:
    """The transaction of one request: begun by its first statement, ended before it is answered."""

    failed = False
    """Whether what was written so far is to be undone."""

    def __init__(self) -> None:
        self._atomic: transaction.Atomic | None = None

    def first_row(self, statement: str, values: list[Any]) -> Any:
        """The row of the request's first statement, which only reads.

        So where it meets a connection that died since the last request, it is asked once more over a
        new one: cheaper than a check before each.
        """
        try:
            return self._begin_with(statement, values)
        except (OperationalError, InterfaceError):
            if connection.in_atomic_block:
                raise
            connection.close()
            return self._begin_with(statement, values)

    def end(self) -> None:
        """Nothing; what the request wrote is there for good, or was never written."""
        if self._atomic is not None:
            if self.failed:
                transaction.set_rollback(True)
            atomic, self._atomic = self._atomic, None
            atomic.__exit__(None, None, None)

    def _begin_with(self, statement: str, values: list[Any]) -> Any:
        atomic = transaction.atomic()
        atomic.__enter__()
        try:
            with connection.cursor() as cursor:
                cursor.execute(statement, values)
                row = cursor.fetchone()
        except BaseException as error:
            atomic.__exit__(type(error), error, error.__traceback__)
            raise
        self._atomic = atomic
        return row


_current: ContextVar[RequestTransaction | None] = ContextVar("request_transaction", default=None)


@contextmanager
def request_transaction() -> Iterator[RequestTransaction]:
    """The transaction of the request answered within, for whoever makes its first statement."""
    own = RequestTransaction()
    token = _current.set(own)
    try:
        yield own
    except BaseException:
        own.failed = True
        raise
    finally:
        _current.reset(token)
        own.end()


def this_request() -> RequestTransaction:
    """The transaction of the request at hand. RuntimeError where there is none."""
    own = _current.get()
    if own is None:
        raise RuntimeError("this is part of a request, and there is none")
    return own


def listed(keys: Iterable[int]) -> str:
    """These keys as a setting's text."""
    return "{" + ",".join(map(str, keys)) + "}"


def grant_clinics(keys: Iterable[int]) -> None:
    """Nothing; until the transaction ends, these clinics' people are there, and who cares for whom."""
    _set(clinics=listed(keys))


@contextmanager
def participants(keys: Iterable[int]) -> Iterator[None]:
    """A transaction that sees these participants and nothing else."""
    with _scoped(participants=listed(keys)):
        yield


@contextmanager
def everything() -> Iterator[None]:
    """A transaction that sees all there is: for an operator's commands, and jobs that look for work.

    `tests/test_walls.py` lists who may use it.
    """
    with _scoped(everything="on"):
        yield


@contextmanager
def _scoped(**settings: str) -> Iterator[None]:
    within = connection.in_atomic_block
    before = _settings() if within else {}
    with transaction.atomic():
        _set(**{**dict.fromkeys(_SETTINGS, ""), **settings})
        yield
    if within:
        # A transaction around ours goes on under its own.
        _set(**before)


def _set(**settings: str) -> None:
    if not connection.in_atomic_block:
        raise RuntimeError("a scope is a transaction's: outside of one it would end at once")
    calls = ", ".join(f"set_config('selfkind.{name}', %s, true)" for name in settings)
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {calls}", list(settings.values()))


def _settings() -> dict[str, str]:
    reads = ", ".join(f"coalesce(current_setting('selfkind.{name}', true), '')" for name in _SETTINGS)
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {reads}")
        return dict(zip(_SETTINGS, cursor.fetchone(), strict=True))


# A role the wall does not hold back, and tables whose owner it does not.
_UNWALLED = """
SELECT r.rolsuper OR r.rolbypassrls,
    EXISTS (SELECT FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relrowsecurity
        AND pg_has_role(r.oid, relowner, 'USAGE')),
    EXISTS (SELECT FROM pg_class WHERE relnamespace = 'public'::regnamespace
        AND relrowsecurity AND NOT relforcerowsecurity)
FROM pg_roles r WHERE r.rolname = current_user
"""
_WHY = (
    "the role is a superuser or bypasses row-level security",
    "the role owns the tables it should be kept from",
    "a table's owner is not held to its row-level security",
)


def gaps() -> list[str]:
    """Why row-level security does not hold whoever asks; nothing where it does."""
    with connection.cursor() as cursor:
        cursor.execute(_UNWALLED)
        return [why for why, so in zip(_WHY, cursor.fetchone(), strict=True) if so]


def refuse_without_wall() -> None:
    """Nothing. Raises ImproperlyConfigured where this process would see through the second wall.

    A database that does not answer yet is no reason to refuse: every request finds that out by itself.
    """
    try:
        reasons = gaps()
    except DatabaseError:
        return
    finally:
        connection.close()
    if reasons:
        raise ImproperlyConfigured(
            f"DATABASE_URL must sign in as the role selfkind_app: {'; '.join(reasons)}."
        )
