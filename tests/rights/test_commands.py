"""What an operator does: list erasures, read a receipt, erase again; and what refuses to start before."""

import os
import subprocess
import sys
from datetime import timedelta
from io import StringIO
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from django.conf import settings
from django.core.management import CommandError, call_command
from django.db import connection, transaction

from backend.care.models import Participant
from backend.rights.erasure import ledger, services
from backend.rights.erasure.models import Erasure
from backend.rights.erasure.tasks import erase_due
from backend.stack.dsn import AS_APP, with_options
from tests.conftest import Copy
from tests.rights.conftest import Ask
from tests.rights.test_erasing import LATER, NOW


def run(*arguments: str) -> str:
    out = StringIO()
    call_command("rights", *arguments, stdout=out)
    return out.getvalue()


def test_erasures_are_listed_and_their_receipts_told(ana: Participant, ask: Ask) -> None:
    erasure = ask(ana, now=NOW)
    with pytest.raises(CommandError, match="no receipt"):
        run("receipt", str(erasure.pk))
    erase_due()

    assert run("list") == (
        f"{erasure.pk} participant {ana.pk} done, asked for 2026-05-01, not before 2026-05-08\n"
    )
    assert '"keys_destroyed": 2' in run("receipt", str(erasure.pk))
    assert run("replay") == "Nobody was to be erased again.\n"


def test_a_ledger_that_was_changed_is_told_in_one_line(ana: Participant, ledger_file: Path) -> None:
    ledger.note(ledger.Line(ana.public_id, NOW, ana.pk, None, (ana.public_id,)))
    ledger_file.write_text(ledger_file.read_text().replace(f'"participant":{ana.pk}', '"participant":0'))

    with pytest.raises(CommandError, match="line 1 of the erasure ledger is not signed by this installation"):
        run("replay")


def test_web_and_worker_start_once_the_ledger_is_done(database_copy: Copy, ledger_file: Path) -> None:
    url = with_options(os.environ["DATABASE_URL"], AS_APP)
    environ = {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "backend.settings",
        "DATABASE_URL": urlsplit(url)._replace(path=f"/{database_copy.name}").geturl(),
        "ERASURE_LEDGER": str(ledger_file),
    }
    someone = Erasure(participant=7, requested_at=NOW, erases_at=NOW)
    ledger.note(ledger.Line(someone.pk, NOW, 7, None, (someone.pk,)))
    worker = "import backend.celery as c, django; django.setup(); c.refuse_unsafe(); print('up')"

    def started(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, *arguments], cwd=settings.BASE_DIR, env=environ, capture_output=True, text=True,
            check=False,
        )  # fmt: skip

    why = (
        "1 erasures that were done are not done in this database, which must be from an older copy: run"
        " `manage.py rights replay`."
    )
    for refused in (started("-c", "import backend.wsgi"), started("-c", worker)):
        assert refused.returncode != 0
        assert refused.stderr.splitlines()[-1].endswith(why)
    assert started("manage.py", "rights", "replay").stdout == "1 erasures were done again.\n"
    assert started("-c", worker).stdout.endswith("up\n")


def test_whoever_broke_off_is_followed_when_their_time_is_over(ana: Participant, ask: Ask) -> None:
    erasure = ask(ana, now=NOW)
    Erasure.objects.filter(pk=erasure.pk).update(state="due", leased_until=LATER + services.LEASE)

    assert services.erase_due(now=LATER) == 0
    assert services.erase_due(now=LATER + services.LEASE + timedelta(seconds=1)) == 1


def test_two_at_once_carry_it_out_once(ana: Participant, ask: Ask) -> None:
    erasure = ask(ana, now=NOW)
    assert services.erase_due(now=LATER) == 1
    erasure.refresh_from_db()
    before = (erasure.done_at, erasure.receipt)

    services._carry_out(erasure.pk, LATER + timedelta(days=1))

    erasure.refresh_from_db()
    assert (erasure.done_at, erasure.receipt) == before
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM audit_entry WHERE action = 'erasure.done'")
        assert cursor.fetchone() == (1,)
