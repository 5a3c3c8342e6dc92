"""One JSON object a line, holding ids and codes only.

Logs are copied, shipped and kept longer than anything else, so they count as patient data that nobody
guards. Three rules, applied to every line whoever wrote it:

- An exception is its type and the places in the code it passed. Its message is left out: a database's
  repeats the row, a parser's the body.
- A line of a library is its template without the values (`"%s: %s"` rather than a path or an address).
- A value of ours is an id, a code or a number. Text with a space, an `@` or a quote in it is withheld.
"""

import logging
import os
import re
import sys
import threading
import types
from collections.abc import Mapping, MutableMapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import orjson
import structlog

from backend.origin import request_id

WITHHELD = "withheld"
_CODE = re.compile(r"[A-Za-z0-9_.,:;/<>()+=*\[\]-]{0,200}", re.ASCII)
_FRAMES = 40
_CHAIN = 5
_EVENT = 200
# Lines of these are about processes, ports and tasks; without values to fill in they are constants.
_CONSTANT = ("celery", "granian", "_granian")
_REDIRECTED = "celery.redirected"  # whatever a task printed

Event = MutableMapping[str, Any]


def logging_config(level: str) -> dict[str, object]:
    """Django's LOGGING for this level; structlog is set up alongside, with the same rules."""
    level = level.upper()
    structlog.configure(
        processors=[_ours],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level]),
        logger_factory=lambda *_: _Stderr(),
        cache_logger_on_first_use=True,
    )
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"lines": {"()": "backend.logs.Lines"}},
        "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "lines"}},
        "root": {"handlers": ["stderr"], "level": level},
        "loggers": {
            # Ours says the same per request, with the route in place of the path.
            "django.request": {"level": "CRITICAL"},
            "django.server": {"level": "CRITICAL"},
            "django": {"handlers": [], "level": level, "propagate": True},
        },
    }


def guard() -> None:
    """Nothing; from now on what nobody caught is a line too. For the services, which have no reader of
    tracebacks: a command on a terminal keeps Python's own words."""
    sys.excepthook = _last_words
    threading.excepthook = _last_words_of_thread


class Lines(logging.Formatter):
    """The standard library's records, Django's and Celery's among them, as the same JSON lines."""

    def format(self, record: logging.LogRecord) -> str:
        event: Event = {"event": _template(record), "logger": record.name}
        if isinstance(record.args, Mapping):
            # Celery names its task and the task's id so.
            event.update({key: record.args[key] for key in ("name", "id") if key in record.args})
        if record.exc_info:
            event["exc_info"] = record.exc_info
        return _line(record.levelname.lower(), event).decode()


class _Stderr:
    """The error output, by its number: it outlives whatever is put in place of `sys.stderr`."""

    def msg(self, line: bytes) -> None:
        with suppress(OSError):  # nobody reads any more; an answer must not fail for that
            os.write(2, line + b"\n")

    debug = info = warning = error = critical = exception = msg


def _ours(_logger: object, method: str, event: Event) -> bytes:
    """A line of ours: what happened is a code as well, so that nothing can be worked into it."""
    event["event"] = _harmless(event.get("event"))
    return _line("error" if method == "exception" else method, event)


def _line(level: str, event: Event) -> bytes:
    """Time, level, event, the request's id, and the rest as far as it is ids and codes."""
    line: dict[str, Any] = {
        "at": datetime.now(UTC),
        "level": level,
        "event": str(event.pop("event"))[:_EVENT],
    }
    if current := request_id.get():
        line["request_id"] = current
    error = _exception(event.pop("exc_info", None))
    for key, value in event.items():
        line[key] = _harmless(value)
    if error is not None:
        line["errors"] = _described(error)
    return orjson.dumps(line)


def _harmless(value: object) -> object:
    """The value where it is an id, a code or a number (or several); else the word `withheld`."""
    if value is None or isinstance(value, bool | float | UUID):
        return value
    if isinstance(value, int):
        return value if -(2**63) <= value < 2**63 else WITHHELD
    if isinstance(value, str):
        return value if _CODE.fullmatch(value) else WITHHELD
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, list | tuple) and len(value) <= _FRAMES:
        return [_harmless(part) for part in value]
    return WITHHELD


def _template(record: logging.LogRecord) -> str:
    """A library's message before its values are filled in, where we can be sure that it is that."""
    constant = record.name.startswith(_CONSTANT) and record.name != _REDIRECTED
    if isinstance(record.msg, str) and (record.args or constant):
        return record.msg
    return f"{WITHHELD}: {record.module}:{record.funcName}:{record.lineno}"


def _exception(info: object) -> BaseException | None:
    if isinstance(info, BaseException):
        return info
    if isinstance(info, tuple):
        return info[1] if isinstance(info[1], BaseException) else None
    return sys.exc_info()[1] if info else None


def _described(error: BaseException) -> list[dict[str, object]]:
    """The exception and those behind it, newest first: type, the database's code, places in the code."""
    chain: list[dict[str, object]] = []
    current: BaseException | None = error
    while current is not None and len(chain) < _CHAIN:
        kind = type(current)
        entry: dict[str, object] = {"type": f"{kind.__module__}.{kind.__qualname__}"}
        sqlstate = getattr(current, "sqlstate", None)
        if isinstance(sqlstate, str):
            entry["sqlstate"] = _harmless(sqlstate)
        entry["at"] = _places(current.__traceback__)
        chain.append(entry)
        current = current.__cause__ or (None if current.__suppress_context__ else current.__context__)
    return chain


def _places(traceback: types.TracebackType | None) -> list[str]:
    """module:function:line of each frame, innermost last; the outermost are left out beyond 40."""
    places: list[str] = []
    while traceback is not None:
        frame = traceback.tb_frame
        module = frame.f_globals.get("__name__", "?")
        places.append(f"{module}:{frame.f_code.co_name}:{traceback.tb_lineno}")
        traceback = traceback.tb_next
    return places[-_FRAMES:]


def _last_words(
    kind: type[BaseException], error: BaseException, traceback: types.TracebackType | None
) -> None:
    """An exception that nobody caught: Python would print its message."""
    if issubclass(kind, KeyboardInterrupt):
        return
    _Stderr().msg(_line("critical", {"event": "uncaught", "exc_info": (kind, error, traceback)}))


def _last_words_of_thread(caught: threading.ExceptHookArgs) -> None:
    if caught.exc_value is not None and not issubclass(caught.exc_type, SystemExit):
        _last_words(caught.exc_type, caught.exc_value, caught.exc_traceback)
