"""What happens to users and their sign-ins."""

from allauth.account.models import EmailAddress
from django.conf import settings
from django.contrib.auth.tokens import default_token_generator
from django.db import transaction
from django.urls import reverse
from django.utils.encoding import force_bytes
from django.utils.http import urlsafe_base64_encode

from backend.accounts.models import User


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
