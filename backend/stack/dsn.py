"""Django's words for the database that a DATABASE_URL names."""

from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict

SCHEMES = ("postgresql://", "postgres://")

# libpq's name for a part, and Django's.
PARTS = {"dbname": "NAME", "user": "USER", "password": "PASSWORD", "host": "HOST", "port": "PORT"}


class UnreadableDatabaseUrl(ValueError):
    """DATABASE_URL cannot be used; the message never repeats it, as it holds a password."""


def database_from_url(url: str) -> dict[str, Any]:
    """One entry of Django's DATABASES.

    libpq itself reads the address, so percent-encoding, IPv6, several hosts, a socket folder
    (`postgresql:///selfkind?host=/run/postgresql`) and every option it knows (`sslmode=verify-full`)
    mean here what they mean to psql.
    """
    if not url.startswith(SCHEMES):
        raise UnreadableDatabaseUrl("DATABASE_URL must begin with postgresql://")
    try:
        parts = {key: str(value) for key, value in conninfo_to_dict(url).items() if value is not None}
    except psycopg.Error:
        raise UnreadableDatabaseUrl("DATABASE_URL is not an address PostgreSQL understands") from None
    if not parts.get("dbname"):
        raise UnreadableDatabaseUrl("DATABASE_URL names no database")
    return {
        "ENGINE": "django.db.backends.postgresql",
        **{django: parts.pop(libpq, "") for libpq, django in PARTS.items()},
        "OPTIONS": parts,
    }
