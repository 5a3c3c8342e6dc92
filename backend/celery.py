"""The Celery app and the whole beat timetable.

Beat and the broker only wake: what is to be done is a row in PostgreSQL. Losing every message costs
time, never work; a task that runs twice does nothing twice.
"""

import os

from celery import Celery
from celery.signals import worker_init
from django.core.exceptions import ImproperlyConfigured

from backend import scope
from backend.keys.ring import refuse_without_keys
from backend.logs import guard
from backend.rights.erasure.guard import refuse_undone

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "backend.settings")

guard()


@worker_init.connect
def refuse_unsafe(**_: object) -> None:
    """Nothing; a worker that would see through row-level security, or has no keys, ends here."""
    try:
        scope.refuse_without_wall()
        refuse_without_keys()
        refuse_undone()
    except ImproperlyConfigured as why:
        # Celery swallows every other exception of a signal's receiver, and would go on.
        raise SystemExit(str(why)) from None


app = Celery("selfkind")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks(
    [
        "scales",
        "backend.accounts",
        "backend.care",
        "backend.keys",
        "backend.proof",
        "backend.rights.erasure",
        "backend.rights.export",
    ]
)
app.conf.update(
    task_ignore_result=True,
    task_acks_late=True,
    task_reject_on_worker_lost=True,
    worker_prefetch_multiplier=1,
    worker_hijack_root_logger=False,
    worker_send_task_events=False,
    task_time_limit=120,
    broker_connection_retry_on_startup=True,
    broker_transport_options={"socket_keepalive": True, "health_check_interval": 10},
    beat_schedule={
        # `expires`: a wake-up that waited for a worker longer than its interval is of no use.
        "trends": {"task": "scales.tasks.compute_trends", "schedule": 2.0, "options": {"expires": 2.0}},
        "quarantine": {
            "task": "scales.tasks.record_waiting",
            "schedule": 60.0,
            "options": {"expires": 60.0},
        },
        "reads": {
            "task": "backend.care.tasks.watch_reads",
            "schedule": 30.0,
            "options": {"expires": 30.0},
        },
        "proof": {
            "task": "backend.proof.tasks.seal_and_anchor",
            "schedule": 1.0,
            "options": {"expires": 1.0},
        },
        "erasures": {
            "task": "backend.rights.erasure.tasks.erase_due",
            "schedule": 15.0,
            "options": {"expires": 15.0},
        },
        "sessions": {
            "task": "backend.accounts.tasks.clear_expired_sessions",
            "schedule": 3600.0,
            "options": {"expires": 600.0},
        },
        "keys": {
            "task": "backend.keys.tasks.forget_retired",
            "schedule": 3600.0,
            "options": {"expires": 600.0},
        },
        "exports": {
            "task": "backend.rights.export.tasks.make_exports",
            "schedule": 5.0,
            "options": {"expires": 5.0},
        },
        "mail": {
            "task": "backend.accounts.tasks.send_mail",
            "schedule": 5.0,
            "options": {"expires": 5.0},
        },
    },
)
