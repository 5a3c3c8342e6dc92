"""What happens to users and their sign-ins."""

from uuid import UUID

from allauth.mfa.models import Authenticator
from allauth.mfa.totp.internal.auth import TOTP, generate_totp_secret
from django.conf import settings
from django.contrib.auth.tokens import default_token_generator
from django.db import transaction
from django.urls import reverse
from django.utils.crypto import get_random_string
from django.utils.encoding import force_bytes
from django.utils.http import urlsafe_base64_encode

from backend.accounts import addresses, families, throttle
from backend.accounts.models import Device, TokenFamily, User
from backend.audit import services as audit
from backend.errors import Problem
from backend.keys.fields import sealed


@transaction.atomic
def create_user(*, email: str | None, password: str | None) -> User:
    """A new user whose address, if any, is taken as verified: whoever creates it vouches for it."""
    user = User.objects.create_user(email=None, password=password)
    if email:
        addresses.set_address(user=user, address=email)
    return user


@transaction.atomic
def name_user(*, user: int, name: str | None) -> None:
    """Nothing; that is what the user is called from now on. None: as if they had never said."""
    named = User.objects.select_for_update(no_key=True).get(pk=user)
    named.name = name and sealed(User, "name").seal(name, row=user, holder=named.holder)
    named.save(update_fields=["name"])
    audit.record(actor=user, action="user.named" if name else "user.name_removed", subject=user)


def welcome_link(user: User) -> str:
    """A link under which the user chooses a password, once, within three days."""
    key = urlsafe_base64_encode(force_bytes(user.pk))
    token = default_token_generator.make_token(user)
    return settings.PUBLIC_URL.rstrip("/") + reverse("welcome", args=[key, token])


@transaction.atomic
def end_sessions(*, user: User) -> None:
    """Nothing; every session of the user is over at the next request, and no token of theirs renews one."""
    user.session_salt = get_random_string(32)
    user.save(update_fields=["session_salt"])
    families.end_families(TokenFamily.objects.filter(user=user))


def session_ended(*, user: User, session_key: str | None) -> None:
    """Nothing; the family of a session that the person ended is gone with it."""
    with transaction.atomic():
        TokenFamily.objects.filter(user_id=user.pk, session_key=session_key).delete()
        audit.record(actor=user.pk, action="session.ended")


@transaction.atomic
def suspend_user(*, user: User, by: User | None) -> None:
    """Nothing; from the next request on the user is out, and cannot come in until restored."""
    user.is_active = False
    user.save(update_fields=["is_active"])
    end_sessions(user=user)
    audit.record(actor=by.pk if by else None, action="user.suspended", subject=user.pk)


@transaction.atomic
def restore_user(*, user: User, by: User | None) -> None:
    """Nothing; a suspended user may sign in again. Sessions from before stay over."""
    user.is_active = True
    user.save(update_fields=["is_active"])
    audit.record(actor=by.pk if by else None, action="user.restored", subject=user.pk)


@transaction.atomic
def reset_password_link(*, user: User, by: User | None) -> str:
    """A link under which the user chooses a new password, once, within three days.

    The old password and every session are over at once. Whether `by` may, the caller has checked;
    that it is somebody else is checked here: raises Problem 403 `not_allowed`. `by` is None where it is
    done at the machine.
    """
    _require_a_second_person(user, by)
    user.set_unusable_password()
    user.save(update_fields=["password"])
    end_sessions(user=user)
    throttle.recover(user=user.pk)
    audit.record(actor=by.pk if by else None, action="password.reset_by_staff", subject=user.pk)
    return welcome_link(user)


@transaction.atomic
def reset_second_factor(*, user: User, by: User | None) -> None:
    """Nothing; authenticator app, passkeys and recovery codes are gone, and every session is over.

    The user signs in with the first factor and sets up a new second one. A password of less than 15
    characters no longer counts then: give them `reset_password_link` as well. Whether `by` may, the
    caller has checked; that it is somebody else is checked here: raises Problem 403 `not_allowed`.
    `by` is None where it is done at the machine.
    """
    _require_a_second_person(user, by)
    Authenticator.objects.filter(user=user).delete()
    end_sessions(user=user)
    throttle.recover(user=user.pk)
    audit.record(actor=by.pk if by else None, action="second_factor.reset_by_staff", subject=user.pk)


@transaction.atomic
def name_device(*, user: int, installation: UUID, name: str) -> Device:
    """The user's device, by that name now. Raises Problem 404 for one that is not theirs."""
    mine = Device.objects.select_for_update(of=("self",)).select_related("user")
    device = mine.filter(user_id=user, installation=installation).first()
    if device is None:
        raise Problem(404, "not_found")
    column, holder = sealed(Device, "name"), device.user.holder
    if device.name is None or column.unseal(device.name, row=device.pk, holder=holder) != name:
        device.name = column.seal(name, row=device.pk, holder=holder)
        device.save(update_fields=["name"])
        audit.record(actor=user, action="device.named", subject=installation)
    return device


@transaction.atomic
def revoke_device(*, user: int, installation: UUID) -> None:
    """Nothing; what is signed in on that device is out at the next request, and the device is forgotten.

    Raises Problem 404 for one that is not the user's.
    """
    device = Device.objects.filter(user_id=user, installation=installation).first()
    if device is None:
        raise Problem(404, "not_found")
    families.end_families(TokenFamily.objects.filter(device=device))
    device.delete()
    audit.record(actor=user, action="device.revoked", subject=installation)


def _require_a_second_person(user: User, by: User | None) -> None:
    if by is not None and user.pk == by.pk:
        raise Problem(403, "not_allowed", "Another member of staff has to do this for you.")


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
