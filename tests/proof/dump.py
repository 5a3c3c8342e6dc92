"""A database dumped and restored, as pg_dump and pg_restore do it, and looked at in its new place."""

import os
import subprocess
import time
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
from django.db import connection

from backend.proof.verify import Finding, verify
from backend.stack.postgres import wheel_folder
from tests.proof.tampering import run

# What a database of another clinic's server may be: none of it may change a hash.
LOCALES = (
    "LOCALE_PROVIDER libc LOCALE 'C'",
    "LOCALE_PROVIDER builtin BUILTIN_LOCALE 'C.UTF-8' LOCALE 'C'",
    "LOCALE_PROVIDER builtin BUILTIN_LOCALE 'PG_UNICODE_FAST' LOCALE 'C'",
)
SESSIONS = (
    ("Asia/Kathmandu", "German, DMY"),
    ("America/St_Johns", "SQL, MDY"),
    ("Pacific/Kiritimati", "Postgres, DMY"),
    ("UTC", "ISO, YMD"),
)


def back_and_forth(name: str, folder: Path, *, number: int) -> list[Finding]:
    """What is found in a copy of the database, made by way of a dump, in another locale, zone and style."""
    copy, file = f"{name}_restored", folder / "dump"
    # The owner sees all rows, as the address says.
    _program(
        "pg_dump", "--format=custom", "--enable-row-security", f"--file={file}", f"--dbname={address(name)}"
    )
    _drop(copy)
    with psycopg.connect(address("postgres"), autocommit=True) as owner:
        owner.execute(f'CREATE DATABASE "{copy}" TEMPLATE template0 {LOCALES[number % len(LOCALES)]}')
    _program("pg_restore", "--exit-on-error", f"--dbname={address(copy)}", str(file))
    connection.close()
    connection.settings_dict["NAME"] = copy
    try:
        zone, style = SESSIONS[number % len(SESSIONS)]
        run(f"SET TIME ZONE '{zone}'")
        run(f"SET DateStyle = '{style}'")
        return verify().findings
    finally:
        connection.close()
        connection.settings_dict["NAME"] = name
        _drop(copy)


def address(name: str) -> str:
    """The owner's, of that database."""
    return urlsplit(os.environ["DATABASE_URL"])._replace(path=f"/{name}").geturl()


def _drop(name: str, tries: int = 50) -> None:
    """Nothing; there is no such database. The server's own vacuuming may be in it, and is not ours to end."""
    with psycopg.connect(address("postgres"), autocommit=True) as owner:
        for left in reversed(range(tries)):
            try:
                owner.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
                return
            except psycopg.errors.InsufficientPrivilege:
                if not left:
                    raise
                time.sleep(0.2)


def _program(name: str, *options: str) -> None:
    done = subprocess.run(
        [wheel_folder() / "bin" / name, *options], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
