"""Nobody is told anything: what the product would need to tell somebody is not there, and would be seen.

`make battery` uses the whole product on a machine that has nothing but itself.
"""

import re
import sys
import warnings
from pathlib import Path

import pytest

from tests.running import ROOT
from tests.silence import elsewhere, may_be_alone, watched

# Packages that send home what people do: usage, advertising, crashes, traces. By name, or its beginning.
TELLTALES = (
    "airbrake", "amplitude", "analytics-python", "apptentive", "appsignal", "azure-monitor", "bugsnag",
    "countly", "datadog", "ddtrace", "elastic-apm", "facebook", "firebase", "google-",
    "heap-api", "honeybadger", "honeycomb", "instana", "intercom", "keen", "libhoney", "logfire", "logtail",
    "mixpanel", "newrelic", "opentelemetry-exporter", "pendo", "plausible", "posthog", "pyroscope", "raven",
    "raygun", "rollbar", "rudder", "scout-apm", "segment", "sentry", "snowplow", "splunk", "statsig",
    "umami", "woopra",
)  # fmt: skip


def packages(lock: str) -> list[str]:
    return re.findall(r"^([A-Za-z0-9._-]+)==", lock, re.MULTILINE)


def telltales(lock: str) -> list[str]:
    return [name for name in packages(lock) if name.lower().replace("_", "-").startswith(TELLTALES)]


@pytest.mark.parametrize("name", ["base", "run", "dev"])
def test_nothing_is_installed_that_tells_somebody(name: str) -> None:
    lock = (ROOT / "requirements" / f"{name}.txt").read_text()

    assert len(packages(lock)) > 30
    assert telltales(lock) == []
    assert telltales(lock + "sentry-sdk==2.0.0 \\\nPostHog==3.0\n") == ["sentry-sdk", "PostHog"]


def test_addresses_at_others_are_found_in_a_page() -> None:
    page = (
        "<link href='/static/a.css'><script src=\"//cdn.example/x.js\"></script><a href=http://127.0.0.1:80/x>"
        "<img src='https://t.example/p.gif'><style>a { background: url(https://f.example/f.woff) }</style>"
    )

    assert elsewhere(page, 80) == [
        "//cdn.example/x.js",
        "https://t.example/p.gif",
        "https://f.example/f.woff",
    ]


TELLING = """
import socket
for where in (("tracker.example", 443), ("203.0.113.9", 80), ("127.0.0.1", 4318)):
    try:
        socket.create_connection(where, timeout=1)
    except OSError:
        pass
socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"x", ("127.0.0.1", 8125))
"""
LOADING = "import backend.celery, backend.wsgi"


def test_whoever_tells_is_seen_and_loading_the_product_tells_nobody(tmp_path: Path) -> None:
    if why := may_be_alone():
        warnings.warn(f"Silence was not proved: no namespaces here ({why}).", stacklevel=1)
        return
    told = watched(tmp_path / "told", [sys.executable, "-c", TELLING])
    silent = watched(
        tmp_path / "silent",
        [sys.executable, "-c", LOADING],
        DATABASE_URL="postgresql://selfkind_app@127.0.0.1:5/selfkind",
        REDIS_URL="redis://127.0.0.1:6/0",
        DJANGO_SETTINGS_MODULE="backend.settings",
    )

    assert set(told["queries"]) == {"tracker.example"}
    assert set(told["begun"]) - {"udp 127.0.0.1 53"} == {
        "tcp 198.51.100.7 443",
        "tcp 203.0.113.9 80",
        "tcp 127.0.0.1 4318",
        "udp 127.0.0.1 8125",
    }
    assert told["served"] == []
    assert silent["queries"] == []
    assert set(silent["begun"]) <= {"tcp 127.0.0.1 5"}
