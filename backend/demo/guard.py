"""A demo's passwords lie in a file, so a demo is served to its own machine only."""

from ipaddress import ip_address
from urllib.parse import urlsplit

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.db import connection

from backend.demo import cast


def refuse_demo_off_loopback() -> None:
    """Nothing. Raises ImproperlyConfigured where a demo database would be served beyond this machine."""
    if _is_loopback(settings.PUBLIC_URL) and not settings.TRUSTED_PROXY:
        return
    try:
        if cast.is_demo():
            raise ImproperlyConfigured(
                "This database was made with DEMO=1. It is served on loopback only: use a fresh database."
            )
    finally:
        connection.close()


def _is_loopback(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
