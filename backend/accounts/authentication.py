"""Who sends this request: one look-up for each, so that signing out works at once."""

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from allauth.headless.tokens.strategies.jwt.internal import decode_token, session_key_from_sid
from django.contrib.auth import HASH_SESSION_KEY, SESSION_KEY
from django.contrib.sessions.backends.db import SessionStore
from django.db import connection
from django.utils.crypto import constant_time_compare
from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import AuthenticationFailed, NotAuthenticated
from rest_framework.permissions import BasePermission
from rest_framework.request import Request

from backend.accounts.models import User

if TYPE_CHECKING:  # REST framework imports this module while it makes that class
    from rest_framework.views import APIView


@dataclass(frozen=True, slots=True)
class SignedInUser:
    """The person behind a valid access token. What they may see is `backend.care.access`'s to say."""

    id: int
    email: str
    is_authenticated: bool = True


class AccessToken(BaseAuthentication):
    """`Authorization: Bearer <access token>`, as allauth issued it.

    The signature says which session and user; the database says, in one statement, that the
    session has not been ended, the user not suspended, the password not changed since.
    """

    def authenticate(self, request: Request) -> tuple[SignedInUser, str] | None:
        scheme, _, token = request.META.get("HTTP_AUTHORIZATION", "").partition(" ")
        if scheme.lower() != "bearer":
            return None
        payload = decode_token(token.strip(), "access")
        key = session_key_from_sid(payload["sid"]) if payload else None
        user = _living_user(key, payload["sub"]) if payload and key else None
        if user is None:
            raise AuthenticationFailed
        return user, token

    def authenticate_header(self, request: Request) -> str:
        return "Bearer"


class SignedIn(BasePermission):
    """Anybody signed in."""

    def has_permission(self, request: Request, view: "APIView") -> bool:
        return request.user is not None


def _living_user(session_key: str, subject: str) -> SignedInUser | None:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT u.id, u.email, u.password, s.session_data FROM django_session s, accounts_user u"
            " WHERE s.session_key = %s AND s.expire_date > now() AND u.id = %s AND u.is_active",
            [session_key, int(subject)],
        )
        row = cursor.fetchone()
    if row is None:
        return None
    user_id, email, password, data = row
    owner, auth_hash = _owner_of_session(data)
    expected = User(password=password).get_session_auth_hash()
    if owner != subject or not constant_time_compare(auth_hash, expected):
        return None
    return SignedInUser(id=user_id, email=email)


@lru_cache(maxsize=4096)
def _owner_of_session(data: str) -> tuple[str, str]:
    """User id and password fingerprint in a session's signed data; depends on that text alone."""
    session: dict[str, Any] = SessionStore().decode(data)
    return str(session.get(SESSION_KEY, "")), str(session.get(HASH_SESSION_KEY, ""))


def who(request: Request) -> SignedInUser:
    """Who is signed in: by then `SignedIn` has let them pass."""
    user = request.user
    if not isinstance(user, SignedInUser):
        raise NotAuthenticated
    return user
