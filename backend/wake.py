"""A task by name, started soon: a wake-up, whose loss costs time only.

What is to be done is a row that beat has looked for anyway; this shortens the wait. So it may be
dropped, and must never fail or hold up the request that has just stored an answer.
"""

import threading
from time import monotonic

import structlog
from celery import Celery

log = structlog.get_logger()

AT_MOST_EVERY = 0.25  # seconds, for each task and process
REST_AFTER_FAILURE = 5.0  # seconds without another try, for all tasks
SOCKET_TIMEOUT = 0.2  # seconds
STALE_AFTER = 10.0  # seconds: a worker that was away finds one wake-up, not an hour of them

failures = 0
"""Wake-ups that did not reach the broker since this process started; those left out meanwhile not counted."""

# Sends, and runs nothing: the app of the workers stands above this floor. Queue and names are the same,
# since both read the same settings.
_sender = Celery("selfkind.wake", set_as_current=False)
_sender.config_from_object("django.conf:settings", namespace="CELERY")
_sender.conf.update(
    broker_connection_retry=False,
    broker_connection_timeout=SOCKET_TIMEOUT,
    broker_pool_limit=1,
    broker_transport_options={
        "socket_connect_timeout": SOCKET_TIMEOUT,
        "socket_timeout": SOCKET_TIMEOUT,
        "retry_on_timeout": False,
        "max_retries": 0,
    },
    task_ignore_result=True,
)
# Loads the transport now, which takes half a second, rather than within the request that sends first.
# Connects to nothing yet.
_sender.connection_for_write()

_turn = threading.Lock()
_sent: dict[str, float] = {}
_rest_until = float("-inf")


def wake(task_name: str) -> None:
    """Nothing. The task is sent, or was within the last quarter of a second, or beat will find its row."""
    global failures, _rest_until
    now = monotonic()
    if now < _rest_until or now - _sent.get(task_name, float("-inf")) < AT_MOST_EVERY:
        return
    if not _turn.acquire(blocking=False):
        return
    try:
        _sent[task_name] = now
        _sender.send_task(task_name, retry=False, expires=STALE_AFTER)
    except Exception:
        failures += 1
        _rest_until = monotonic() + REST_AFTER_FAILURE
        log.warning("wake_failed", task=task_name, exc_info=True)
    finally:
        _turn.release()
