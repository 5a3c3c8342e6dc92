"""`make bench` in short: that it measures something, not how fast it is."""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent


def test_the_benchmark_runs_and_every_answer_is_a_row(tmp_path: Path) -> None:
    out = tmp_path / "latest.json"

    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", "--short", "--out", str(out)],
        cwd=ROOT, capture_output=True, text=True, check=False, timeout=240,
    )  # fmt: skip

    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    found = json.loads(out.read_text())
    submitted = {run["system"]: run for run in found["runs"] if run["what"] == "submit"}
    assert set(submitted) == {"selfkind", "bare", "pgbench"}
    for run in found["runs"]:
        assert (run["errors"], run["answered"] > 0) == (0, True)
        assert run["p50_ms"] <= run["p95_ms"] <= run["p99_ms"]
    for run in submitted.values():
        assert run["rows_added"] == run["answered"]
    assert submitted["selfkind"]["audit_rows"] == submitted["selfkind"]["answered"]
    assert {run["what"] for run in found["runs"]} == {"submit", "last 50", "trend", "walls"}
    assert [body["right"] for body in found["hostile"]] == [True] * 24
    assert {"web", "worker", "beat", "postgres", "valkey"} <= set(found["memory_mib"])
    assert found["cut_off"]["idle_in_transaction"] == 0
    # 500 characters in a bucket of 1,024 bytes: some of them take two.
    assert found["sealing"]["bytes"] == 5 + 12 + 1024 + 16
    assert min(found["sealing"][each] for each in ("seal_us", "unseal_us", "fingerprint_us")) > 0
