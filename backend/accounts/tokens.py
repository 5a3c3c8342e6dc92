"""The tokens an app is given: access tokens as the sign-in package makes them, refresh tokens of families."""

from typing import Any

from allauth.core import context
from allauth.core.internal.httpkit import authenticated_user
from allauth.headless.internal.sessionkit import lookup_session
from allauth.headless.tokens.strategies.jwt import JWTTokenStrategy, internal
from django.http import HttpRequest
from django.utils import timezone

from backend.accounts import families
from backend.api import device


def session_of(request: HttpRequest) -> Any:
    """The session a request speaks of, found as the package finds it; None where there is none."""
    key = TokenStrategy().get_session_token(request)
    return lookup_session(key) if key else None


class TokenStrategy(JWTTokenStrategy):
    """Rotates refresh tokens in a table, under a row lock: in session data, a race forks them."""

    def create_access_token_payload(self, request: HttpRequest) -> dict[str, Any]:
        """Both tokens of a sign-in that has just been completed."""
        family = families.start_family(
            user=authenticated_user(request),
            session=request.session,
            installation=device(request),
            now=timezone.now(),
        )
        return {
            "access_token": self.create_access_token(request),
            "refresh_token": families.signed(family),
        }

    def refresh_token(self, refresh_token: str) -> tuple[str, str] | None:
        """The next access token and refresh token; None where this one is not, or no longer, good."""
        token = internal.decode_token(refresh_token, "refresh")
        if token is None:
            return None
        renewed = families.renew(token=token, installation=device(context.request), now=timezone.now())
        if renewed is None:
            return None
        access = internal.create_access_token(renewed.user, renewed.session, self.get_claims(renewed.user))
        return access, families.signed(renewed.family)
