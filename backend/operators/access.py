"""Who is an operator in this session: by password and second factor, on our own page, not long ago."""

from time import time
from typing import TypeGuard

from django.conf import settings
from django.contrib.auth import login, logout
from django.http import HttpRequest, HttpResponseBase

from backend.accounts.models import User

IDLE = 30 * 60
LONGEST = 12 * 3600
BETWEEN_STEPS = 5 * 60
BACKEND = "allauth.account.auth_backends.AuthenticationBackend"
# What only our own sign-in writes into a session: one that an app got elsewhere opens nothing here.
_SINCE, _HALFWAY = "operator_since", "operator_halfway"


def is_operator(user: object) -> TypeGuard[User]:
    """Whether that user is one today. Nothing else makes one: there is no superuser."""
    return isinstance(user, User) and user.is_active and user.is_operator


def operator(request: HttpRequest) -> User | None:
    """The operator the request comes from, if they gave both factors within the last hours."""
    since = request.session.get(_SINCE)
    if not isinstance(since, int) or time() - since >= LONGEST:
        return None
    return request.user if is_operator(request.user) else None


def halfway(request: HttpRequest) -> User | None:
    """The operator who gave their password in this session a moment ago, and now gives the second factor."""
    key, at = request.session.get(_HALFWAY, (None, 0))
    if key is None or time() - at > BETWEEN_STEPS:
        return None
    user = User.objects.filter(pk=key).first()
    return user if is_operator(user) else None


def half(request: HttpRequest, user: User) -> None:
    """Nothing; the session remembers who gave the right password, which opens nothing yet."""
    logout(request)
    request.session[_HALFWAY] = (user.pk, int(time()))


def whole(request: HttpRequest, user: User) -> None:
    """Nothing; the user is signed in as an operator, under a new session key."""
    logout(request)
    login(request, user, backend=BACKEND)
    request.session[_SINCE] = int(time())


def out(request: HttpRequest) -> None:
    """Nothing; the session is over."""
    logout(request)


def keep(request: HttpRequest, response: HttpResponseBase) -> None:
    """Nothing; the session lives half an hour from now, under a cookie that no other site can make be sent.

    Django's own settings hold for its cookie everywhere, and `Strict` would break a welcome link clicked in a
    mail: its page redirects to itself. So here the cookie is written by hand.
    """
    session = request.session
    if session.is_empty():
        return
    session.set_expiry(IDLE)
    session.save()
    session.modified = False  # what Django's middleware would write its own cookie for
    response.set_cookie(
        settings.SESSION_COOKIE_NAME,
        session.session_key or "",
        max_age=IDLE,
        secure=settings.SESSION_COOKIE_SECURE,
        httponly=True,
        samesite="Strict",
    )
