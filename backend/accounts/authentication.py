"""Who sends this request: one look-up for each, so that signing out works at once."""

import time
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, ClassVar

from allauth.headless.tokens.strategies.jwt.internal import decode_token, session_key_from_sid
from django.contrib.auth import HASH_SESSION_KEY, SESSION_KEY
from django.contrib.sessions.backends.db import SessionStore
from django.db import InterfaceError, OperationalError, connection
from django.utils.crypto import constant_time_compare
from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.permissions import BasePermission
from rest_framework.request import Request

from backend.accounts.models import User

if TYPE_CHECKING:  # REST framework imports this module while it makes that class
    from rest_framework.views import APIView


@dataclass(frozen=True, slots=True)
class SignedInUser:
    """The person behind a valid access token. What they may see is `backend.care.access`'s to say."""

    id: int
    email: str | None

    is_authenticated: ClassVar[bool] = True


class AccessToken(BaseAuthentication):
    """`Authorization: Bearer <access token>`, as allauth issued it.

    The signature says which session and user; the database says, in one statement, that the
    session has not been ended, the user not suspended, the password not changed since. A floor
    above may ask for more in that same statement: what `columns` and `joins` add, `user` is given.
    """

    columns: ClassVar[str] = ""
    joins: ClassVar[str] = ""

    def user(self, id: int, email: str | None, *more: Any) -> SignedInUser:
        """The user a row of the statement tells of."""
        return SignedInUser(id, email)

    def authenticate(self, request: Request) -> tuple[SignedInUser, str] | None:
        scheme, _, token = request.META.get("HTTP_AUTHORIZATION", "").partition(" ")
        if scheme.lower() != "bearer":
            return None
        claims = _claims(token.strip())
        if claims is None or claims.expires_at <= time.time():
            raise AuthenticationFailed
        row = _first_statement(
            f"SELECT s.session_data, u.password, u.id, u.email{self.columns}"
            f" FROM django_session s JOIN accounts_user u ON u.id = %s {self.joins}"
            " WHERE s.session_key = %s AND s.expire_date > now() AND u.is_active",
            [int(claims.subject), claims.session_key],
        )
        if row is None or not _is_of(claims.subject, *row[:2]):
            raise AuthenticationFailed
        return self.user(*row[2:]), token

    def authenticate_header(self, request: Request) -> str:
        return "Bearer"


class SignedIn(BasePermission):
    """Anybody signed in."""

    def has_permission(self, request: Request, view: "APIView") -> bool:
        return request.user is not None


@dataclass(frozen=True, slots=True)
class _Claims:
    """What a token of ours says: whose, of which session, until when (Unix seconds)."""

    subject: str
    session_key: str
    expires_at: float


@lru_cache(maxsize=4096)
def _claims(token: str) -> _Claims | None:
    """The claims of a token with a valid signature. Kept, because they depend on the token alone."""
    payload = decode_token(token, "access")
    key = session_key_from_sid(payload["sid"]) if payload else None
    if not payload or not key or not payload["sub"].isdecimal():
        return None
    return _Claims(payload["sub"], key, float(payload["exp"]))


def _first_statement(statement: str, values: list[Any]) -> Any:
    """The row of a request's first statement, which reads only.

    So where it meets a connection that died since the last request, it is asked once more over a new
    one: cheaper than a check before each.
    """
    try:
        return _row(statement, values)
    except (OperationalError, InterfaceError):
        if connection.in_atomic_block:
            raise
        connection.close()
        return _row(statement, values)


def _row(statement: str, values: list[Any]) -> Any:
    with connection.cursor() as cursor:
        cursor.execute(statement, values)
        return cursor.fetchone()


def _is_of(subject: str, session_data: str, password: str) -> bool:
    """Whether a session is that user's, and was made under that password."""
    owner, auth_hash = _owner_of_session(session_data)
    return owner == subject and constant_time_compare(auth_hash, _password_fingerprint(password))


@lru_cache(maxsize=4096)
def _password_fingerprint(password: str) -> str:
    """What a session must hold to outlive a change of password."""
    return User(password=password).get_session_auth_hash()


@lru_cache(maxsize=4096)
def _owner_of_session(data: str) -> tuple[str, str]:
    """User id and password fingerprint in a session's signed data; depends on that text alone."""
    session: dict[str, Any] = SessionStore().decode(data)
    return str(session.get(SESSION_KEY, "")), str(session.get(HASH_SESSION_KEY, ""))
