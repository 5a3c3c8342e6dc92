import os
import subprocess
import sys
from pathlib import Path

import pytest

from backend.stack.state import CannotStart, held, prepare, running_environment, secret


def test_one_process_at_a_time_holds_a_state(tmp_path: Path) -> None:
    state = prepare(tmp_path / "state")
    with held(state), pytest.raises(CannotStart, match=f"already runs .*{os.getpid()}"), held(state):
        pass
    with held(state):
        pass


def test_a_state_that_is_being_left_is_waited_for(tmp_path: Path) -> None:
    state = prepare(tmp_path / "state")
    program = (
        "import sys, time, pathlib; from backend.stack.state import held\n"
        "with held(pathlib.Path(sys.argv[1])) as hold:\n"
        "    hold.say('1 stopping'); print('held', flush=True); time.sleep(0.5)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, state],
        cwd=Path(__file__).parents[2],
        stdout=subprocess.PIPE,
        text=True,
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        with held(state):
            assert other.wait(timeout=5) == 0


def test_a_secret_is_made_once_and_closed(tmp_path: Path) -> None:
    first = secret(tmp_path / "secret-key")

    assert len(first) >= 43
    assert secret(tmp_path / "secret-key") == first
    assert secret(tmp_path / "another") != first
    assert (tmp_path / "secret-key").stat().st_mode & 0o777 == 0o600


def test_commands_find_the_servers_of_a_running_stack(tmp_path: Path) -> None:
    assert running_environment(tmp_path) == {}
    (tmp_path / "environment").write_text("DATABASE_URL=postgresql://a:b=c@d/e\nREDIS_URL=redis://f\n")

    assert running_environment(tmp_path) == {
        "DATABASE_URL": "postgresql://a:b=c@d/e",
        "REDIS_URL": "redis://f",
    }


def test_a_file_where_state_should_be_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("")
    with pytest.raises(CannotStart, match="cannot be used"):
        prepare(tmp_path / "state")
