"""What stands before the sign-in package: it is shown no address, and no guess that was not counted.

Guesses are counted here and not by the package's own limits: those live in a cache that can be flushed, and
leave a gap between looking and counting.
"""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from allauth.account.internal.flows.email_verification_by_code import EMAIL_VERIFICATION_CODE_SESSION_KEY
from allauth.account.internal.flows.password_reset_by_code import PASSWORD_RESET_VERIFICATION_SESSION_KEY
from allauth.account.internal.stagekit import LOGIN_SESSION_KEY
from allauth.account.utils import url_str_to_user_pk
from allauth.headless.internal.sessionkit import lookup_session
from django import forms
from django.contrib.auth import SESSION_KEY
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse, HttpResponseBase, JsonResponse
from django.utils import timezone

from backend.accounts import addresses, throttle
from backend.accounts.models import LOOKUP_ADDRESS, User
from backend.accounts.throttle import Account, Throttled
from backend.accounts.tokens import TokenStrategy
from backend.api import device
from backend.body import read_object_or_nothing
from backend.errors import Problem, problem_response

SIGN_IN = "/_allauth/app/v1/"
Handler = Callable[[HttpRequest], HttpResponseBase]

_EMAIL = forms.EmailField()
_LOOKUP = re.compile(LOOKUP_ADDRESS.strip("^$"))


class AddressMiddleware:
    """Goes before whatever reads a sign-in body: from here on in, an address is its lookup address.

    On the way out it is the person's own again: the package shows nobody another's.
    """

    def __init__(self, get_response: Handler) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        if not request.path_info.startswith(SIGN_IN):
            return self.get_response(request)
        try:
            known = _hide_address(request)
            with addresses.typed(next(iter(known.values()), None)):
                response = self.get_response(request)
            _show_addresses(response, known)
        except Problem as problem:  # of the key store: an exception here is no answer of Django's
            return problem_response(problem)
        return response


def _hide_address(request: HttpRequest) -> dict[str, str]:
    """The address in a request's body by its lookup address, which stands in the body now.

    What is no address stays as it is, for the package to refuse in its own words.
    """
    if request.method in ("GET", "HEAD", "OPTIONS"):
        return {}
    body = read_object_or_nothing(request)
    try:
        address = _EMAIL.clean(body.get("email"))
    except ValidationError:
        return {}
    hidden = addresses.lookup(address)
    request._body = json.dumps({**body, "email": hidden}).encode()
    return {hidden: addresses.normal(address)}


def _show_addresses(response: HttpResponseBase, known: Mapping[str, str]) -> None:
    """Nothing; where the answer had a lookup address there is the address, or nothing where there is none."""
    if not isinstance(response, HttpResponse) or addresses.SEALED.encode() not in response.content:
        return
    hidden = set(_LOOKUP.findall(response.content.decode()))
    opened = {**addresses.whose_are(hidden - known.keys()), **known} if hidden - known.keys() else known
    response.content = json.dumps(_opened(json.loads(response.content), opened))  # spaced as the package does


def _opened(value: Any, known: Mapping[str, str]) -> Any:
    """The value with addresses for lookup addresses; without those that are nobody's any more."""
    if isinstance(value, dict):
        return {
            name: _opened(one, known)
            for name, one in value.items()
            if not (isinstance(one, str) and _LOOKUP.fullmatch(one) and one not in known)
        }
    if isinstance(value, list):
        return [_opened(one, known) for one in value]
    return _LOOKUP.sub(lambda found: known.get(found[0], ""), value) if isinstance(value, str) else value


@dataclass(frozen=True, slots=True)
class Subject:
    """Whose secret a request guesses at; and which code, where it is one that was sent."""

    account: Account
    code: str = ""


@dataclass(frozen=True, slots=True)
class Route:
    """A route where something secret is guessed: what kind, whose, and the field that says it was wrong."""

    kind: str
    subject: Callable[[Mapping[str, Any], Any], Subject | None]
    field: str
    settles: tuple[str, ...] = ()  # the kinds that a right one here clears
    counted: tuple[str, ...] = ("POST",)
    uncounted: tuple[str, ...] = ()  # methods that guess nothing


class GuessMiddleware:
    """Goes last, before the sign-in routes."""

    def __init__(self, get_response: Handler) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        if not request.path_info.startswith(SIGN_IN):
            return self.get_response(request)
        route = ROUTES.get(request.path_info.removeprefix(SIGN_IN))
        token = request.headers.get("x-session-token")
        if not token or (route is None and request.method in ("GET", "HEAD", "OPTIONS")):
            return self._answer(request, route)
        # Two at once on one half-finished sign-in could have a guess counted for the account that was
        # there before, and made at the next.
        with throttle.one_at_a_time(token) as alone:
            return self._answer(request, route) if alone else _throttled(1)

    def _answer(self, request: HttpRequest, route: Route | None) -> HttpResponseBase:
        if route is None or request.method in route.uncounted:
            return self.get_response(request)
        if request.method not in route.counted:
            # The package reads the body of any method before it finds that it does not take it.
            allowed = ", ".join((*route.counted, *route.uncounted))
            return JsonResponse({"status": 405}, status=405, headers={"Allow": allowed})
        subject = route.subject(read_object_or_nothing(request), _session(request))
        if subject is None:
            return self.get_response(request)
        try:
            admitted = throttle.admit(
                kind=route.kind,
                account=subject.account,
                client=request.META["REMOTE_ADDR"],
                installation=device(request),
                now=timezone.now(),
                code=subject.code,
            )
        except Throttled as throttled:
            return _throttled(throttled.retry_after)
        response = self.get_response(request)
        if route.kind == "mail":
            return response
        if response.status_code == 200:
            throttle.settle(admitted, *route.settles)
        elif response.status_code == 400 and isinstance(response, HttpResponse):
            return _answer_to_a_wrong_one(response, route, admitted)
        elif response.status_code in NOT_WRONG:
            throttle.forgive(admitted)
        return response


def _answer_to_a_wrong_one(
    response: HttpResponse, route: Route, admitted: throttle.Admitted
) -> HttpResponseBase:
    """The package's 400; where the guess was wrong it says that and nothing else.

    It would also say whether the new password is good enough, which it can only ask of somebody there is.
    """
    answer = json.loads(response.content)
    wrong = [error for error in answer.get("errors", []) if error.get("param") == route.field]
    if not wrong:
        throttle.forgive(admitted)
    elif len(wrong) < len(answer["errors"]):
        response.content = json.dumps({**answer, "errors": wrong})  # spaced as the package's own answers are
    return response


def _throttled(retry_after: int) -> HttpResponse:
    return JsonResponse({"status": 429}, status=429, headers={"Retry-After": str(retry_after)})


def _session(request: HttpRequest) -> Any:
    """The session a request speaks of, found as the package finds it; None where there is none."""
    key = TokenStrategy().get_session_token(request)
    return lookup_session(key) if key else None


def _by_address(body: Mapping[str, Any], session: Any) -> Subject | None:
    return _of_address(body, once=lambda active: True)


def _by_address_for_a_code(body: Mapping[str, Any], session: Any) -> Subject | None:
    return _of_address(body, once=lambda active: not active)


def _signed_in(body: Mapping[str, Any], session: Any) -> Subject | None:
    user = session.get(SESSION_KEY) if session is not None else None
    return Subject(Account(int(user))) if user else None


def _signing_in(body: Mapping[str, Any], session: Any) -> Subject | None:
    """Who has shown the first factor and is asked for the second."""
    pending = session.get(LOGIN_SESSION_KEY) if session is not None else None
    if not isinstance(pending, dict) or not pending.get("user_pk"):
        return None
    return Subject(Account(int(url_str_to_user_pk(pending["user_pk"]))))


def _sent_a_login_code(body: Mapping[str, Any], session: Any) -> Subject | None:
    pending = session.get(LOGIN_SESSION_KEY) if session is not None else None
    stages = pending.get("state", {}).get("stages", {}) if isinstance(pending, dict) else {}
    return _sent("login", session, stages.get("login_by_code", {}).get("data"))


def _sent_a_reset_code(body: Mapping[str, Any], session: Any) -> Subject | None:
    return _sent("reset", session, session and session.get(PASSWORD_RESET_VERIFICATION_SESSION_KEY))


def _sent_a_verification_code(body: Mapping[str, Any], session: Any) -> Subject | None:
    return _sent("verify", session, session and session.get(EMAIL_VERIFICATION_CODE_SESSION_KEY))


def _sent(what: str, session: Any, state: Any) -> Subject | None:
    if not isinstance(state, dict) or "at" not in state:
        return None
    user = state.get("user_id")
    account = Account(int(user)) if user else Account(None, str(state.get("email", "")))
    return Subject(account, f"{what} {session.session_key} {state['at']}")


def _of_address(body: Mapping[str, Any], *, once: Callable[[bool], bool]) -> Subject | None:
    """Whose address the body holds, so that a person's several count as one.

    `once` tells of whom, by whether they are active, the package reads one row less than of somebody
    there is not. That read is made up for here: it shows in the time.
    """
    email = body.get("email")
    if not isinstance(email, str) or not email.strip():
        return None
    account, active = throttle.account_of(email)
    if active is not None and once(active):
        User.objects.filter(email=email).first()
    return Subject(account)


# Half signed in, in the wrong state, or with a session that is over: right, or not looked at.
NOT_WRONG = (401, 409, 410)
ROUTES = {
    "auth/login": Route("password", _by_address, "password", ("password",)),
    "auth/reauthenticate": Route("password", _signed_in, "password", ("password",)),
    "account/password/change": Route("password", _signed_in, "current_password", ("password",)),
    "auth/2fa/authenticate": Route("factor", _signing_in, "code", ("factor", "password", "mailed", "mail")),
    "auth/2fa/reauthenticate": Route("factor", _signed_in, "code", ("factor",)),
    "auth/code/confirm": Route("mailed", _sent_a_login_code, "code", ("mailed", "mail")),
    "auth/password/reset": Route("mailed", _sent_a_reset_code, "key", ("mailed", "mail")),
    "auth/email/verify": Route("mailed", _sent_a_verification_code, "key", ("mailed", "mail")),
    "auth/code/request": Route("mail", _by_address_for_a_code, "email"),
    "auth/password/request": Route("mail", _by_address, "email"),
    "account/email": Route(
        "mail", _signed_in, "email", counted=("POST", "PUT"), uncounted=("GET", "PATCH", "DELETE")
    ),
}
