"""What happens to users and their sign-ins."""

from allauth.account.models import EmailAddress
from allauth.mfa.models import Authenticator
from allauth.mfa.totp.internal.auth import TOTP, generate_totp_secret
from django.conf import settings
from django.contrib.auth import SESSION_KEY
from django.contrib.auth.tokens import default_token_generator
from django.contrib.sessions.models import Session
from django.db import transaction
from django.urls import reverse
from django.utils.encoding import force_bytes
from django.utils.http import urlsafe_base64_encode

from backend.accounts.models import User
from backend.audit import services as audit


@transaction.atomic
def create_user(*, email: str, password: str | None) -> User:
    """A new user whose address is taken as verified: whoever creates it vouches for it."""
    user = User.objects.create_user(email=email, password=password)
    EmailAddress.objects.create(user=user, email=user.email, verified=True, primary=True)
    return user


def welcome_link(user: User) -> str:
    """A link under which the user chooses a password, once, within three days."""
    key = urlsafe_base64_encode(force_bytes(user.pk))
    token = default_token_generator.make_token(user)
    return settings.PUBLIC_URL.rstrip("/") + reverse("welcome", args=[key, token])


@transaction.atomic
def create_operator(*, email: str) -> User:
    """A new operator, who has neither a password nor a second factor yet."""
    user = create_user(email=email, password=None)
    user.is_operator = True
    user.save(update_fields=["is_operator"])
    audit.record(actor=None, action="operator.created", subject=user.pk)
    return user


@transaction.atomic
def end_operator(*, user: User) -> None:
    """Nothing; the user is no operator any more, from their next request on."""
    user.is_operator = False
    user.save(update_fields=["is_operator"])
    audit.record(actor=None, action="operator.ended", subject=user.pk)


@transaction.atomic
def enrol_totp(*, user: User) -> str:
    """The secret of a new second factor (TOTP) of the user's, in place of all they had before."""
    reset_second_factor(user=user, by=None)
    secret: str = generate_totp_secret()
    TOTP.activate(user, secret)
    audit.record(actor=None, action="second_factor.enrolled", subject=user.pk)
    return secret


@transaction.atomic
def reset_second_factor(*, user: User, by: int | None) -> None:
    """Nothing; the user has no second factor any more and is signed out everywhere.

    `by` is the user id of who did it, or None where it was done at the machine.
    """
    Authenticator.objects.filter(user=user).delete()
    end_sessions(user=user)
    audit.record(actor=by, action="second_factor.reset", subject=user.pk)


def end_sessions(*, user: User) -> None:
    """Nothing; every session of the user's is over. Whose a session is, only its content says."""
    theirs = [
        session.pk
        for session in Session.objects.iterator()
        if session.get_decoded().get(SESSION_KEY) == str(user.pk)
    ]
    Session.objects.filter(pk__in=theirs).delete()
