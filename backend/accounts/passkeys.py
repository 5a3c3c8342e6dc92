"""What people call their passkeys: theirs to read, and in no column in clear.

The sign-in package keeps a name beside each passkey. It is given a label that says nothing, and the name is
sealed under its user's data key in `accounts_passkeyname`.
"""

import json
import re
import secrets
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from django.contrib.auth import SESSION_KEY
from django.db import connection
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.utils import timezone

from backend.accounts.models import PasskeyName, User
from backend.accounts.tokens import session_of
from backend.body import read_object_or_nothing
from backend.errors import Problem, problem_response
from backend.keys.envelope import Holder
from backend.keys.fields import sealed

ROUTE = "/_allauth/app/v1/account/authenticators"
LONGEST = 100
KEPT = timedelta(days=1)
_LABEL = re.compile(r"passkey-[0-9a-f]{16}")
Handler = Callable[[HttpRequest], HttpResponseBase]


class PasskeyNameMiddleware:
    """Before the sign-in package: it is shown labels, and its answers show the person their own names."""

    def __init__(self, get_response: Handler) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        if not request.path_info.startswith(ROUTE):
            return self.get_response(request)
        try:
            if request.method in ("POST", "PUT"):
                _hide_name(request)
            response = self.get_response(request)
            _show_names(response)
        except Problem as problem:  # of the key store: an exception here is no answer of Django's
            return problem_response(problem)
        return response


def keep(*, user: User, name: str, now: datetime) -> str:
    """The label of a name that is kept for the user from now on, sealed."""
    label = f"passkey-{secrets.token_hex(8)}"
    ciphertext = sealed(PasskeyName, "name").seal(name, row=label, holder=user.holder)
    PasskeyName.objects.create(user=user, label=label, name=ciphertext, made_at=now)
    return label


def forget_unused(*, now: datetime) -> None:
    """Nothing; a name that no passkey bears since a day ago is kept no longer."""
    with connection.cursor() as cursor:
        cursor.execute(
            "DELETE FROM accounts_passkeyname n WHERE n.made_at < %s AND NOT EXISTS (SELECT"
            " FROM mfa_authenticator a WHERE a.user_id = n.user_id AND a.data->>'name' = n.label)",
            [now - KEPT],
        )


def _hide_name(request: HttpRequest) -> None:
    """Nothing; the name in a request's body is its label. One that is no name is none: what then follows is
    the package's to say. It would take anything for a text, and keep it."""
    body = read_object_or_nothing(request)
    given, session = body.get("name"), session_of(request)
    user = User.objects.filter(pk=session.get(SESSION_KEY)).first() if session is not None else None
    label = ""
    if user and isinstance(given, str) and given.strip() and len(given) <= LONGEST:
        label = keep(user=user, name=given.strip(), now=timezone.now())
    if "name" in body:
        request._body = json.dumps({**body, "name": label}).encode()


def _show_names(response: HttpResponseBase) -> None:
    if not isinstance(response, HttpResponse) or not _LABEL.search(response.content.decode()):
        return
    labels = set(_LABEL.findall(response.content.decode()))
    rows = PasskeyName.objects.filter(label__in=labels).values_list("label", "user__key", "name")
    names = {
        label: sealed(PasskeyName, "name").unseal(name, row=label, holder=Holder(key))
        for label, key, name in rows
    }
    response.content = json.dumps(_named(json.loads(response.content), names))  # spaced as the package does


def _named(value: Any, names: dict[str, str]) -> Any:
    """The value with names for labels."""
    if isinstance(value, dict):
        return {key: _named(one, names) for key, one in value.items()}
    if isinstance(value, list):
        return [_named(one, names) for one in value]
    return names.get(value, value) if isinstance(value, str) else value
