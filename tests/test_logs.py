import json
import logging
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import psycopg
import pytest
import structlog

from backend.logs import Lines
from backend.origin import request_id

CANARY = "canary-91d3be04"
log = structlog.get_logger()


def lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def raise_with_canary() -> None:
    answers = {"note": CANARY}
    try:
        int(answers["note"])
    except ValueError as error:
        raise RuntimeError(f"could not store {answers}") from error


@pytest.mark.parametrize("how", [lambda: log.exception("failed"), lambda: log.error("failed", exc_info=True)])
def test_an_exception_is_its_types_and_places_without_its_words(
    how: Callable[[], None], capfd: pytest.CaptureFixture[str]
) -> None:
    try:
        raise_with_canary()
    except RuntimeError:
        how()

    logged = capfd.readouterr().err
    assert CANARY not in logged
    (line,) = lines(logged)
    assert (line["level"], line["event"]) == ("error", "failed")
    assert [error["type"] for error in line["errors"]] == ["builtins.RuntimeError", "builtins.ValueError"]
    assert line["errors"][0]["at"][-1].startswith("tests.test_logs:raise_with_canary:")


def test_the_standard_librarys_records_keep_the_rules() -> None:
    try:
        raise_with_canary()
    except RuntimeError:
        record = logging.LogRecord(
            "django.request", logging.ERROR, __file__, 1, "%s: %s", ("Not Found", CANARY), sys.exc_info()
        )

    written = Lines().format(record)

    assert CANARY not in written
    (line,) = lines(written)
    assert (line["event"], line["logger"], line["level"]) == ("%s: %s", "django.request", "error")
    assert len(line["errors"]) == 2


def test_a_librarys_finished_sentence_is_withheld() -> None:
    record = logging.LogRecord(
        "some.library", logging.WARNING, "/x/some.py", 7, f"bad {CANARY}", (), None, "do"
    )

    (line,) = lines(Lines().format(record))

    assert line["event"] == "withheld: some:do:7"


def test_celerys_task_is_named_and_what_it_said_is_not() -> None:
    words = {
        "name": "scales.tasks.sweep",
        "id": "0b6e",
        "return_value": CANARY,
        "exc": CANARY,
        "args": [CANARY],
    }
    message = "Task %(name)s[%(id)s] raised unexpected: %(exc)s"
    record = logging.LogRecord("celery.app.trace", logging.ERROR, __file__, 1, message, (words,), None)

    written = Lines().format(record)

    assert CANARY not in written
    assert {"name": "scales.tasks.sweep", "id": "0b6e"}.items() <= lines(written)[0].items()


def test_what_a_task_printed_is_withheld() -> None:
    record = logging.LogRecord("celery.redirected", logging.WARNING, __file__, 1, CANARY, (), None)

    assert CANARY not in Lines().format(record)


@pytest.mark.parametrize(
    "value",
    ["a name", "ana@clinic.example", 'say "x"', "Grüße", "a\nb", "x" * 201, {"a": 1}, b"bytes", object(),
     Exception("x"), 2**63, ["fine", "not fine"]],
)  # fmt: skip
def test_a_value_that_could_be_somebodys_words_is_withheld(
    value: object, capfd: pytest.CaptureFixture[str]
) -> None:
    log.info("checked", value=value)

    (line,) = lines(capfd.readouterr().err)
    assert line["value"] in ("withheld", ["fine", "withheld"])


@pytest.mark.parametrize(
    ("value", "written"),
    [(5, 5), (1.5, 1.5), (None, None), (True, True), ("scs-26", "scs-26"), ("a/<uuid:id>/b", "a/<uuid:id>/b"),
     (UUID(int=5), str(UUID(int=5))), (datetime(2026, 4, 3, tzinfo=UTC), "2026-04-03T00:00:00+00:00"),
     (["a", 1], ["a", 1])],
)  # fmt: skip
def test_ids_codes_and_numbers_are_written(
    value: object, written: object, capfd: pytest.CaptureFixture[str]
) -> None:
    log.info("checked", value=value)

    assert lines(capfd.readouterr().err)[0]["value"] == written


def test_nothing_can_be_worked_into_the_event(capfd: pytest.CaptureFixture[str]) -> None:
    log.info("stored %s", CANARY)
    log.info(f"stored for {CANARY}")

    assert CANARY not in capfd.readouterr().err


def test_lines_written_during_a_request_bear_its_id(capfd: pytest.CaptureFixture[str]) -> None:
    token = request_id.set("11111111-2222-4333-8444-555555555555")
    log.info("during")
    request_id.reset(token)
    log.info("after")

    during, after = lines(capfd.readouterr().err)
    assert during["request_id"] == "11111111-2222-4333-8444-555555555555"
    assert "request_id" not in after


def test_the_databases_code_is_written_and_its_detail_is_not(capfd: pytest.CaptureFixture[str]) -> None:
    log.error("failed", exc_info=psycopg.errors.UniqueViolation(f"Key (email)=({CANARY}) already exists."))

    logged = capfd.readouterr().err
    assert CANARY not in logged
    assert lines(logged)[0]["errors"][0] == {
        "type": "psycopg.errors.UniqueViolation", "sqlstate": "23505", "at": []
    }  # fmt: skip


PROGRAM = """
import logging.config, threading, sys
from backend.logs import guard, logging_config
logging.config.dictConfig(logging_config("warning"))
guard()
import structlog
words = " ".join(sys.argv[1:])
logging.getLogger("django.db").error("broke: %s", words)
logging.getLogger("anything").info("too quiet to be heard")
structlog.get_logger().info("too_quiet")
structlog.get_logger().warning("loud_enough")
thread = threading.Thread(target=lambda: int(words))
thread.start()
thread.join()
raise SystemError(words)
"""


def test_a_whole_process_leaves_no_canary() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, CANARY], capture_output=True, text=True, check=False
    )

    assert done.returncode == 1
    assert CANARY not in done.stdout + done.stderr
    assert [line["event"] for line in lines(done.stderr)] == [
        "broke: %s",
        "loud_enough",
        "uncaught",
        "uncaught",
    ]
    assert lines(done.stderr)[3]["errors"][0]["type"] == "builtins.SystemError"
