"""Starts the product with what `make run` installs and nothing else, and looks at it once from outside.

Run by `make smoke` in an environment of its own: the tests' environment holds packages that the
product might lean on without having asked for them. Standard library only.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
PATIENCE = 120.0


def main() -> str:
    """What went wrong, or nothing."""
    with tempfile.TemporaryDirectory(prefix="selfkind-smoke-") as folder:
        Path(folder).chmod(0o711)
        state, output = Path(folder) / "state", Path(folder) / "output"
        own = {k: v for k, v in os.environ.items() if k not in ("DATABASE_URL", "REDIS_URL", "SECRET_KEY")}
        with output.open("w") as out:
            stack = subprocess.Popen(
                [sys.executable, "manage.py", "stack"],
                cwd=ROOT,
                env={**own, "STATE": str(state), "PORT": "8799"},
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            return look(stack, state, output)
        finally:
            stack.send_signal(signal.SIGTERM)
            stack.wait(30)


def look(stack: subprocess.Popen[bytes], state: Path, output: Path) -> str:
    deadline = time.monotonic() + PATIENCE
    while "Selfkind is at" not in output.read_text():
        if stack.poll() is not None or time.monotonic() > deadline:
            return f"did not start:\n{output.read_text()}"
        time.sleep(0.2)
    demo = json.loads((state / "demo.json").read_text())
    ana = demo["people"]["ana"]
    signed_in = post(
        f"{demo['base_url']}/_allauth/app/v1/auth/login",
        {"email": ana["email"], "password": ana["password"]},
    )
    token = signed_in["meta"]["access_token"]
    post(f"{demo['base_url']}/api/v1/administrations", submission(), token)
    trend: dict[str, Any] = {}
    while not trend.get("up_to_date"):
        if time.monotonic() > deadline:
            return f"no worker computes trends:\n{output.read_text()}"
        time.sleep(0.2)
        trend = get(f"{demo['base_url']}/api/v1/me/trends?instrument=scs-26", token)
    said = output.read_text()
    return said if "ended with" in said else ""


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
