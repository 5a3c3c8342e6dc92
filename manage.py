#!/usr/bin/env python
"""Runs Selfkind's commands; `manage.py stack` starts the whole product."""

import os
import sys
from pathlib import Path

from backend.stack.dsn import SEES_ALL, with_options
from backend.stack.state import running_environment
from backend.stack.supervisor import main

if __name__ == "__main__":
    if sys.argv[1:] == ["stack"]:
        # Before Django: the settings want a database and a secret, and this is what provides them.
        sys.exit(main())

    if sys.argv[1:2] == ["restore"]:
        # Likewise: it brings them back.
        from backend.backup.restoring import main as restore

        sys.exit(restore(sys.argv[2:]))

    from django.core.management import execute_from_command_line

    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "backend.settings")
    # Beside a running stack, a command finds its servers.
    state = Path(os.environ.get("STATE") or Path(__file__).resolve().parent / ".state")
    for name, value in running_environment(state).items():
        os.environ.setdefault(name, value)
    if sys.argv[1:2] == ["migrate"] and os.environ.get("DATABASE_OWNER_URL"):
        # The one command that is the owner's: everything else works as a role that owns nothing.
        os.environ["DATABASE_URL"] = with_options(os.environ["DATABASE_OWNER_URL"], SEES_ALL)
    execute_from_command_line(sys.argv)
