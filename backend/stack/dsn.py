"""Django's words for the database that a DATABASE_URL names."""

from typing import Any
from urllib.parse import quote, urlsplit

import psycopg
from psycopg.conninfo import conninfo_to_dict

SCHEMES = ("postgresql://", "postgres://")

# libpq's name for a part, and Django's.
PARTS = {"dbname": "NAME", "user": "USER", "password": "PASSWORD", "host": "HOST", "port": "PORT"}


class UnreadableDatabaseUrl(ValueError):
    """DATABASE_URL cannot be used; the message never repeats it, as it holds a password."""


# The product's own role, where it is not one's own to sign in as.
AS_APP = "-c role=selfkind_app"
# Row-level security holds owners too: whoever brings tables up to date says that they mean all rows.
SEES_ALL = "-c selfkind.everything=on"


def with_options(url: str, options: str) -> str:
    """The address, with these command-line options for the session (libpq's `options`) beside its own."""
    own = str(conninfo_to_dict(url).get("options") or "")
    joined = "options=" + quote(f"{own} {options}".strip(), safe="")
    kept = [part for part in urlsplit(url).query.split("&") if part and not part.startswith("options=")]
    return urlsplit(url)._replace(query="&".join([*kept, joined])).geturl()


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
