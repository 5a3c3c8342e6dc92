"""What a new password must be: long enough for what it has to hold alone, and not the person's address.

NIST SP 800-63B-4: 15 characters where the password stands alone, 8 beside a second factor; no rules of
composition. The list of common passwords is Django's.
"""

from typing import Any

from allauth.mfa.models import Authenticator
from django.core.exceptions import ValidationError

from backend.accounts.addresses import address_of

ALONE = 15
BESIDE_A_SECOND_FACTOR = 8
# Recovery codes come with a second factor, and are none by themselves.
FACTORS = (Authenticator.Type.TOTP, Authenticator.Type.WEBAUTHN)


def has_second_factor(user: Any) -> bool:
    """Whether the user has set up a second factor or a passkey. Which session used it is another question."""
    return bool(
        user is not None
        and user.pk is not None
        and Authenticator.objects.filter(user_id=user.pk, type__in=FACTORS).exists()
    )


def least_length(user: Any) -> int:
    """The characters a password of this user needs today."""
    return BESIDE_A_SECOND_FACTOR if has_second_factor(user) else ALONE


class Length:
    """Refuses a password that is too short for what stands beside it."""

    def validate(self, password: str, user: Any = None) -> None:
        least = least_length(user)
        if len(password) < least:
            raise ValidationError(f"At least {least} characters, please.", code="password_too_short")

    def get_help_text(self) -> str:
        return f"At least {ALONE} characters, or {BESIDE_A_SECOND_FACTOR} beside a second factor."


class NotTheAddress:
    """Refuses a password made of the user's own e-mail address, or holding it."""

    def validate(self, password: str, user: Any = None) -> None:
        known = user is not None and user.pk is not None and user.email
        address = ((address_of(user) if known else None) or "").casefold()
        given = password.casefold()
        if address and (address in given or given in address):
            raise ValidationError("Not your e-mail address, please.", code="password_is_the_address")

    def get_help_text(self) -> str:
        return "Not your e-mail address."
