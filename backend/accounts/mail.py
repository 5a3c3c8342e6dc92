"""Messages about signing in: put down as rows, sent by a task, and gone."""

from collections.abc import Callable
from datetime import datetime, timedelta

import orjson
import structlog
from cryptography.fernet import InvalidToken
from django.core.mail import send_mail
from django.db import transaction

from backend.accounts import addresses
from backend.accounts.models import OutgoingMail
from backend.accounts.sealing import seal, unseal

log = structlog.get_logger()

GOOD_FOR = timedelta(minutes=10)  # a code is not good for longer, so its message is not either
GIVEN_UP_AFTER = 3  # messages in a row that the server did not take: it is the server

_CODE = (
    "Hello,\n\n{why}:\n\n    {code}\n\nIt is good for ten minutes, once. If it was not you who asked, "
    "you need do nothing: without this code nobody gets in.\n"
)
_NOTICE = (
    "Hello,\n\n{what}. If that was you, all is well.\n\nIf it was not, please tell whoever runs this "
    "server today: they can close every way in and help you back to your account.\n"
)
_NEW_PHONE = (
    "Hello,\n\na phone was connected to your account just now, with a one-time code.\n\nWas it you? Then all "
    "is well. If it was not, please tell the people who gave you your first code, as soon as you can: they "
    "can end it, and give you a new one.\n"
)
_IN_USE = (
    "Hello,\n\nsomebody gave this address just now, and it is already yours here. Nothing has changed.\n\n"
    "Was it you? Then sign in as you did before. If it was not you, you can leave this message be.\n"
)
# Subject and text by template. What is not here is sent to nobody: the address of no account is one.
_TEXTS: dict[str, tuple[str, str]] = {
    "account/email/login_code": (
        "Your code to sign in",
        _CODE.replace("{why}", "this is your code to sign in"),
    ),
    "account/email/password_reset_code": (
        "Your code for a new password",
        _CODE.replace("{why}", "with this code you can choose a new password"),
    ),
    "account/email/email_confirmation": (
        "Your code to confirm this address",
        _CODE.replace("{why}", "with this code you confirm that this address is yours"),
    ),
    "joining/new_phone": ("A new sign-in", _NEW_PHONE),
    "joining/address_in_use": ("Your address", _IN_USE),
    **{
        template: ("Something changed in your account", _NOTICE.replace("{what}", what))
        for template, what in {
            "account/email/password_changed": "your password was changed",
            "account/email/password_set": "a password was set for your account",
            "account/email/password_reset": "your password was set anew, with a code sent to you",
            "account/email/email_changed": "the address of your account was changed",
            "account/email/email_confirm": "an address was added to your account",
            "account/email/email_deleted": "an address was taken from your account",
            "mfa/email/totp_activated": "an authenticator app was added to your account",
            "mfa/email/totp_deactivated": "the authenticator app was taken from your account",
            "mfa/email/webauthn_added": "a passkey was added to your account",
            "mfa/email/webauthn_removed": "a passkey was taken from your account",
            "mfa/email/recovery_codes_generated": "new recovery codes were made for your account",
        }.items()
    },
}


def put(*, template: str, to: str, code: str | None, now: datetime) -> None:
    """Nothing; a row says what is to be sent, to the lookup address of an account's and of nobody's alike.

    Whoever is erased meanwhile is sent nothing, and what waited for them tells nothing.
    """
    message = {"template": template, "to": to, "code": code or ""}
    OutgoingMail.objects.create(sealed=seal(orjson.dumps(message).decode()), created_at=now)


def send_waiting(*, now: Callable[[], datetime]) -> int:
    """How many were sent. One that the server does not take waits for the next time, while it is good."""
    OutgoingMail.objects.filter(created_at__lt=now() - GOOD_FOR).delete()
    sent, failed, after = 0, 0, 0
    while failed < GIVEN_UP_AFTER:
        with transaction.atomic():
            row = (
                OutgoingMail.objects.select_for_update(skip_locked=True)
                .filter(pk__gt=after)
                .order_by("pk")
                .first()
            )
            if row is None:
                break
            after = row.pk
            try:
                sent += _send(row.sealed)
            except OSError:  # SMTP's errors are, as are a connection's
                failed += 1
                log.warning("mail_not_taken", exc_info=True)
            else:
                row.delete()
    return sent


def _send(sealed: str) -> int:
    """1 where it was sent, 0 where it is for nobody or cannot be read."""
    try:
        message = orjson.loads(unseal(sealed))
    except InvalidToken:
        return 0
    if message["template"] not in _TEXTS:
        return 0
    address = addresses.whose_are([message["to"]]).get(message["to"])
    if address is None:
        return 0
    subject, text = _TEXTS[message["template"]]
    return send_mail(subject, text.replace("{code}", message["code"]), None, [address])
