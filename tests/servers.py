"""The PostgreSQL and Valkey that one test run shares: a pytest plugin, loaded with `-p tests.servers`.

A conftest would be too late: pytest-django reads the settings before any conftest is imported, and
they want DATABASE_URL. Where DATABASE_URL or REDIS_URL is set, that server is used instead. Under
xdist the controller starts the servers; its workers inherit the addresses and start nothing.
"""

import contextlib
import os
import secrets
import shutil
import tempfile
from collections.abc import Callable, Generator
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import pytest

from backend.keys.setup import set_up
from backend.stack.dsn import SEES_ALL, with_options
from backend.stack.postgres import Postgres
from backend.stack.state import prepare
from backend.stack.valkey import Valkey


def start_servers() -> Callable[[], None]:
    """A function that stops what was started; the environment now says where everything is."""
    if worker := os.environ.get("PYTEST_XDIST_WORKER"):
        # A numbered database of the broker for each: no worker takes another's messages.
        address = urlsplit(os.environ["REDIS_URL"])
        number = int(worker.removeprefix("gw")) + 1
        os.environ["REDIS_URL"] = urlunsplit(address._replace(path=f"/{number}"))
        return lambda: None
    with contextlib.ExitStack() as started:
        # Never the caller's own STATE: these servers do not fsync, and their data are thrown away.
        state = Path(tempfile.mkdtemp(prefix="selfkind-tests-"))
        started.callback(shutil.rmtree, state, ignore_errors=True)
        # Root's PostgreSQL runs as another account, which must be able to pass through.
        state.chmod(0o711 if os.geteuid() == 0 else 0o700)
        os.environ["STATE"] = os.fspath(prepare(state))
        os.environ["SECRET_KEY"] = secrets.token_urlsafe(32)
        os.environ["KEY_STORE"] = _key_store(state, started)
        if not os.environ.get("DATABASE_URL"):
            postgres = Postgres(state, durable=False)
            started.callback(shutil.rmtree, postgres.place, ignore_errors=True)
            started.callback(postgres.stop)
            postgres.start()
            os.environ["DATABASE_URL"] = postgres.url
        # pytest-django makes the database as its owner; `tests.conftest` goes on in it as the product.
        os.environ["DATABASE_URL"] = with_options(os.environ["DATABASE_URL"], SEES_ALL)
        if not os.environ.get("REDIS_URL"):
            valkey = Valkey(state)
            started.callback(valkey.stop)
            valkey.start()
            os.environ["REDIS_URL"] = valkey.url
        return started.pop_all().close


def _key_store(state: Path, started: contextlib.ExitStack) -> str:
    """Where wrapped keys lie: in memory where there is a folder for that, as tests make thousands."""
    shared = Path("/dev/shm")  # noqa: S108
    place = Path(tempfile.mkdtemp(prefix="selfkind-keys-", dir=shared if shared.is_dir() else state))
    started.callback(shutil.rmtree, place, ignore_errors=True)
    set_up(store=place, master=state / "master-key", recovery=state / "recovery-key")
    return str(place)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> Generator[None, None, None]:
    """Nothing: the servers run before pytest-django reads the settings, until pytest ends."""
    early_config.add_cleanup(start_servers())
    return (yield)
