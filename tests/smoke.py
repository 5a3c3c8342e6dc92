"""Starts the product with what `make run` installs and nothing else, and looks at it once from outside.

Run by `make smoke` in an environment of its own: the tests' environment holds packages that the
product might lean on without having asked for them. Standard library only.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
PORT = 8799
BASE = f"http://127.0.0.1:{PORT}"
PATIENCE = 120.0


def main() -> str:
    """What went wrong, or nothing."""
    with tempfile.TemporaryDirectory(prefix="selfkind-smoke-") as folder:
        Path(folder).chmod(0o711)
        state = Path(folder) / "state"
        with stack(state, Path(folder) / "first") as said:
            if wrong := wait(said, "first") or walk(state):
                return f"{wrong}\n{said.read_text()}"
        with stack(state, Path(folder) / "second") as said:
            return wait(said, "second")


@contextlib.contextmanager
def stack(state: Path, output: Path) -> Iterator[Path]:
    """What a running `manage.py stack` says."""
    own = {k: v for k, v in os.environ.items() if k not in ("DATABASE_URL", "REDIS_URL", "SECRET_KEY")}
    with output.open("w") as out:
        running = subprocess.Popen(
            [sys.executable, "manage.py", "stack"],
            cwd=ROOT,
            env={**own, "STATE": str(state), "PORT": str(PORT)},
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield output
    finally:
        running.send_signal(signal.SIGTERM)
        running.wait(30)


def wait(said: Path, which: str) -> str:
    """Nothing once /healthz answers 200, and how long that took is printed; else what went wrong."""
    began = time.monotonic()
    while time.monotonic() - began < PATIENCE:
        with contextlib.suppress(OSError), urllib.request.urlopen(f"{BASE}/healthz", timeout=5):
            print(f"{which} start: {time.monotonic() - began:.1f} s to the first 200")
            return ""
        time.sleep(0.02)
    return f"the {which} start came to nothing"


def walk(state: Path) -> str:
    """Nothing once Ana's answer is in her trend, and nothing died meanwhile; else what went wrong."""
    demo = state / "demo.json"
    ana = json.loads(demo.read_text())["people"]["ana"]
    signed_in = post(
        f"{BASE}/_allauth/app/v1/auth/login", {"email": ana["email"], "password": ana["password"]}
    )
    token = signed_in["meta"]["access_token"]
    post(f"{BASE}/api/v1/administrations", submission(), token)
    began = time.monotonic()
    while time.monotonic() - began < PATIENCE:
        if get(f"{BASE}/api/v1/me/trends?instrument=scs-26", token)["up_to_date"]:
            said = (state.parent / "first").read_text()
            return "something died" if "ended with" in said else ""
        time.sleep(0.2)
    return "no worker computes trends"


def submission() -> dict[str, Any]:
    answers = {f"scs{n:02}": 3 for n in range(1, 27)}
    return {
        "id": "0199f2c4-6d1e-7a63-9c1a-5b8f1f0e2d3c",
        "instrument": "scs-26",
        "version": 1,
        "completed_at": "2026-01-10T10:00:00+01:00",
        "responses": answers,
    }


def post(url: str, body: object, token: str = "") -> dict[str, Any]:
    return ask(urllib.request.Request(url, json.dumps(body).encode()), token)


def get(url: str, token: str) -> dict[str, Any]:
    return ask(urllib.request.Request(url), token)


def ask(request: urllib.request.Request, token: str) -> dict[str, Any]:
    request.add_header("Content-Type", "application/json")
    if token:
        request.add_header("Authorization", f"Bearer {token}")
    with urllib.request.urlopen(request, timeout=30) as answer:
        found: dict[str, Any] = json.load(answer)
    return found


if __name__ == "__main__":
    wrong = main()
    print(wrong or "The product runs on what `make run` installs.")
    sys.exit(bool(wrong))
