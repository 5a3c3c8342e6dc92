"""Who sends this request: one look-up for each, so that signing out works at once."""

import time
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, ClassVar

from allauth.headless.tokens.strategies.jwt.internal import decode_token, session_key_from_sid
from django.contrib.auth import HASH_SESSION_KEY, SESSION_KEY
from django.contrib.sessions.backends.db import SessionStore
from django.utils.crypto import constant_time_compare
from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.permissions import BasePermission
from rest_framework.request import Request

from backend import scope
from backend.accounts.models import User
from backend.changes import tombstones
from backend.errors import Problem
from backend.origin import request_id

if TYPE_CHECKING:  # REST framework imports this module while it makes that class
    from rest_framework.views import APIView


@dataclass(frozen=True, slots=True)
class SignedInUser:
    """The person behind a valid access token. What they may see is `backend.care.access`'s to say."""

    id: int
    second_factor: bool
    """Whether this session was signed in to, or since confirmed, with a second factor or a passkey."""

    is_authenticated: ClassVar[bool] = True


class AccessToken(BaseAuthentication):
    """`Authorization: Bearer <access token>`, as allauth issued it.

    The signature says which session and user; the database says, in one statement, that the
    session has not been ended, the user not suspended, the password not changed since. A floor
    above may ask for more in that same statement: what `columns` and `joins` add, `user` is given.
    """

    columns: ClassVar[str] = ""
    joins: ClassVar[str] = ""

    def user(self, id: int, second_factor: bool, *more: Any) -> SignedInUser:
        """The user a row of the statement tells of."""
        return SignedInUser(id, second_factor)

    def authenticate(self, request: Request) -> tuple[SignedInUser, str] | None:
        scheme, _, token = request.META.get("HTTP_AUTHORIZATION", "").partition(" ")
        if scheme.lower() != "bearer":
            return None
        claims = _claims(token.strip())
        if claims is None or claims.expires_at <= time.time():
            raise AuthenticationFailed
        row = scope.this_request().first_row(
            f"SELECT {scope.ONLY_USER}, s.session_data, u.password || u.session_salt, u.id"
            f"{self.columns} FROM django_session s JOIN accounts_user u ON u.id = %s {self.joins}"
            " WHERE s.session_key = %s AND s.expire_date > now() AND u.is_active",
            [claims.subject, request_id.get() or "", int(claims.subject), claims.session_key],
        )
        if row is None:
            # They may have been erased meanwhile: an app that is told so stops asking.
            tombstones.refuse_erased(tombstones.of_user(int(claims.subject)))
        if row is None or not _is_of(claims.subject, *row[1:3]):
            raise AuthenticationFailed
        _, data, _, id_, *more = row
        return self.user(id_, _session(data).second_factor, *more), token

    def authenticate_header(self, request: Request) -> str:
        return "Bearer"


class SignedIn(BasePermission):
    """Anybody signed in."""

    def has_permission(self, request: Request, view: "APIView") -> bool:
        return request.user is not None


def require_second_factor(user: SignedInUser) -> None:
    """Nothing, where this session has a second factor behind it. Raises Problem 403 `second_factor_required`.

    For who may see other people's data. It asks of the session, not of the account: one signed in by
    password alone does not pass because the user has an authenticator app since. It passes once the
    second factor is given, at `auth/2fa/authenticate` when signing in or `auth/2fa/reauthenticate` later;
    a passkey is both factors at once. A code sent by mail is a first factor. Costs no statement.
    """
    if not user.second_factor:
        raise Problem(403, "second_factor_required")


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


def _is_of(subject: str, session_data: str, password: str) -> bool:
    """Whether a session is that user's, and was made under that password."""
    session = _session(session_data)
    return session.owner == subject and constant_time_compare(
        session.auth_hash, _password_fingerprint(password)
    )


@lru_cache(maxsize=4096)
def _password_fingerprint(password: str) -> str:
    """What a session must hold to outlive a change of password, or of the salt that follows it."""
    return User(password=password).get_session_auth_hash()


@dataclass(frozen=True, slots=True)
class _Session:
    """What a session's data say: whose, under which password, and whether with a second factor."""

    owner: str
    auth_hash: str
    second_factor: bool


@lru_cache(maxsize=4096)
def _session(data: str) -> _Session:
    """What a session's signed data say; depends on that text alone."""
    session: dict[str, Any] = SessionStore().decode(data)
    owner = str(session.get(SESSION_KEY, ""))
    steps = session.get("account_authentication_methods")
    by_this_user = owner and session.get("account_authentication_methods_user") == owner
    factor = isinstance(steps, list) and any(step.get("method") == "mfa" for step in steps)
    return _Session(owner, str(session.get(HASH_SESSION_KEY, "")), bool(by_this_user and factor))
