"""People for the canary hunt, as JSON: `python -m tests.moving_in PEOPLE SIGNING_IN PREFIX`."""

import json
import secrets
import sys

import django

if __name__ == "__main__":
    django.setup()

    from backend import scope
    from backend.accounts.services import create_user
    from benchmarks.people import move_in

    people, signing_in, prefix = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    with scope.everything():
        made = move_in(people, name=f"{prefix}person")
        passwords = [secrets.token_urlsafe(18) for _ in range(signing_in)]
        for number, password in enumerate(passwords):
            create_user(email=f"{prefix}self{number}@canary.example", password=password)
    theirs = [
        {"email": f"{prefix}self{number}@canary.example", "password": password}
        for number, password in enumerate(passwords)
    ]
    sys.stdout.write(json.dumps({"people": made, "signing_in": theirs}))
