import os
import stat
from pathlib import Path

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from backend.stack import process
from backend.stack.valkey import Valkey


def test_what_was_acknowledged_outlives_kill_9(state: Path) -> None:
    first = Valkey(state)
    first.start()
    client = redis.Redis.from_url(first.url)
    for number in range(1000):
        client.rpush("kept", number)
    assert first.child is not None
    first.child.kill()
    first.child.wait()

    second = Valkey(state)
    second.start()
    try:
        assert redis.Redis.from_url(second.url).llen("kept") == 1000
    finally:
        second.stop()


def test_nobody_without_the_password_and_no_password_on_the_command_line(state: Path) -> None:
    valkey = Valkey(state)
    valkey.start()
    try:
        assert valkey.child is not None
        with pytest.raises(redis.AuthenticationError):
            redis.Redis(port=valkey.port, retry=Retry(NoBackoff(), 0)).ping()
        assert valkey.password.encode() not in Path(f"/proc/{valkey.child.pid}/cmdline").read_bytes()
        assert redis.Redis.from_url(valkey.url).config_get("bind") == {"bind": "127.0.0.1"}
        kept = [path for path in state.rglob("*") if stat.S_IMODE(path.stat().st_mode) & 0o077]
        assert kept == []
    finally:
        valkey.stop()


def test_an_orphan_is_stopped_before_the_next_server(state: Path) -> None:
    orphan = Valkey(state)
    orphan.start()
    assert orphan.child is not None
    redis.Redis.from_url(orphan.url).set("kept", 42)

    valkey = Valkey(state)
    valkey.start()
    try:
        assert process.exited(orphan.child)
        assert redis.Redis.from_url(valkey.url).get("kept") == b"42"
    finally:
        valkey.stop()


def test_another_process_that_got_the_number_is_left_alone(state: Path) -> None:
    valkey = Valkey(state)
    valkey.pid_note.write_text(f"{os.getpid()} 1")

    valkey.prepare()

    assert process.started(os.getpid()) is not None
