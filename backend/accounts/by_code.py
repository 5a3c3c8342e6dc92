"""Signing somebody in who showed a one-time code of ours.

Which code, and whose, is for the floors above to know.
"""

from allauth.account.adapter import get_adapter
from allauth.account.internal.flows.email_verification_by_code import EmailVerificationProcess
from allauth.account.internal.flows.login import record_authentication
from allauth.account.models import EmailAddress
from allauth.headless import app_settings
from allauth.headless.internal import sessionkit
from allauth.headless.internal.authkit import purge_request_user_cache
from django.http import HttpRequest
from django.utils import timezone

from backend.accounts import addresses
from backend.accounts.models import User

METHOD = "code"  # what the session says it was signed in by


def sign_in(request: HttpRequest, *, user: User, email: str | None = None) -> dict[str, str]:
    """The access and refresh token of a new session of the user's, as the sign-in package makes them.

    It stands for a sign-in just made: a passkey can be added at once. With `email`, a code to confirm
    that address is on its way to it, to be sent to `auth/email/verify` of this session; until then it is
    nobody's. Is it somebody's already, they are told instead, and nothing here looks different.
    """
    before = request.user, request.session
    try:
        # Whatever session the request came with is not this user's.
        request.session = sessionkit.new_session()
        purge_request_user_cache(request)
        get_adapter().login(request, user)
        record_authentication(request, user, METHOD, reauthenticated=True)
        if email is not None:
            _ask_to_confirm(request, user, email)
        tokens = app_settings.TOKEN_STRATEGY.create_access_token_payload(request)
        request.session.save()
        return {name: str(tokens[name]) for name in ("access_token", "refresh_token")}
    finally:
        request.user, request.session = before
        request.META["CSRF_COOKIE_NEEDS_UPDATE"] = False


def tell_of_new_phone(*, user: User) -> None:
    """Nothing; once this is committed, the user's confirmed address, if they have one, is told of it."""
    address = EmailAddress.objects.filter(user=user, verified=True).order_by("-primary", "pk").first()
    if address is not None:
        get_adapter().send_mail("joining/new_phone", address.email, {})


def _ask_to_confirm(request: HttpRequest, user: User, email: str) -> None:
    hidden = addresses.keep(user=user, address=email, now=timezone.now())
    process = EmailVerificationProcess(request, EmailVerificationProcess.initial_state(user, hidden), user)
    process.generate_code()
    # Both are asked either way: which was enough would show in the time.
    taken = [
        EmailAddress.objects.filter(email=hidden, verified=True).exists(),
        User.objects.filter(email=hidden).exists(),
    ]
    if any(taken):
        # The process goes on as if nothing were: what it says of itself must not tell either. Its code
        # is sent to nobody, and the package lets nobody confirm an address that is confirmed already.
        get_adapter().send_mail("joining/address_in_use", hidden, {})
    else:
        get_adapter().send_mail("account/email/email_confirmation", hidden, {"code": process.code})
    process.persist()
