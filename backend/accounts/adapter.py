"""What we answer the sign-in package when it asks."""

from typing import Any
from urllib.parse import urlsplit

from allauth.account.adapter import DefaultAccountAdapter
from allauth.account.models import EmailAddress
from allauth.account.stages import EmailVerificationStage
from allauth.mfa.adapter import DefaultMFAAdapter
from django.conf import settings
from django.db import transaction
from django.http import HttpRequest
from django.utils import timezone

from backend.accounts import addresses, families, mail, services, throttle
from backend.accounts.models import User
from backend.accounts.sealing import seal, unseal
from backend.accounts.validators import least_length
from backend.audit import services as audit
from backend.wake import wake

# What the package tells the person of, by the name of its template, and what the audit calls it.
HAPPENED = {
    "account/email/password_changed": "password.changed",
    "account/email/password_set": "password.changed",
    "account/email/password_reset": "password.reset",
    "account/email/email_changed": "email.changed",
    "account/email/email_confirm": "email.verified",
    "account/email/email_deleted": "email.removed",
    "mfa/email/totp_activated": "second_factor.added",
    "mfa/email/webauthn_added": "second_factor.added",
    "mfa/email/totp_deactivated": "second_factor.removed",
    "mfa/email/webauthn_removed": "second_factor.removed",
    "mfa/email/recovery_codes_generated": "recovery_codes.made",
}


class AccountAdapter(DefaultAccountAdapter):
    def is_open_for_signup(self, request: HttpRequest) -> bool:
        """False: people are invited, nobody signs up."""
        return False

    def authenticate(self, request: HttpRequest, **credentials: Any) -> User | None:
        """The user of these credentials, if they may sign in with them.

        For a suspended user the answer is that of a wrong password. And a short password counts only
        while there is a second factor beside it: without, the person resets it to a longer one.
        """
        user: User | None = super().authenticate(request, **credentials)
        if user is None or not user.is_active:
            return None
        return user if len(credentials["password"]) >= least_length(user) else None

    def get_login_stages(self) -> list[str]:
        """The steps of a sign-in, with our own for those who have no address to verify."""
        theirs = f"{EmailVerificationStage.__module__}.{EmailVerificationStage.__name__}"
        ours = f"{VerifyAnAddressThereIs.__module__}.{VerifyAnAddressThereIs.__name__}"
        return [ours if stage == theirs else stage for stage in super().get_login_stages()]

    def logout(self, request: HttpRequest) -> None:
        """Nothing; the session is over, and the audit knows."""
        user, key = request.user, request.session.session_key
        super().logout(request)
        if user.is_authenticated:
            services.session_ended(user=user, session_key=key)

    def send_confirmation_mail(self, request: HttpRequest, emailconfirmation: Any, signup: bool) -> None:
        """Nothing; a code goes to the address somebody typed just now, which is kept from here on, sealed.

        The package keeps one that is not confirmed yet in the session, and knows its lookup address alone.
        """
        wanted = emailconfirmation.email_address
        if (address := addresses.just_typed(wanted.email)) is not None:
            addresses.keep(user=wanted.user, address=address, now=timezone.now())
        super().send_confirmation_mail(request, emailconfirmation, signup)

    def send_mail(self, template_prefix: str, email: str, context: dict[str, Any]) -> None:
        """Nothing; the message waits for a task, to somebody or to nobody alike. `email` is a lookup address.

        Sent within the request, it would show in the time whether there is an account.
        """
        mail.put(template=template_prefix, to=email, code=context.get("code"), now=timezone.now())
        transaction.on_commit(lambda: wake("backend.accounts.tasks.send_mail"))

    @transaction.atomic
    def send_notification_mail(
        self,
        template_prefix: str,
        user: User,
        context: dict[str, Any] | None = None,
        email: str | None = None,
    ) -> None:
        """Nothing; what happened to the account has its consequences, is audited, and the person is told."""
        action = HAPPENED.get(template_prefix, "account.changed")
        if action == "password.changed":
            families.follow(self.request.session)
        elif action == "password.reset":
            services.end_sessions(user=user)
            throttle.recover(user=user.pk)
        elif action == "email.removed":
            addresses.forget(user=user, hidden=(context or {})["deleted_email"])
        audit.record(actor=user.pk, action=action)
        if address := email or EmailAddress.objects.get_primary_email(user):
            self.send_mail(template_prefix, address, {})


class VerifyAnAddressThereIs(EmailVerificationStage):
    def handle(self) -> tuple[Any, bool]:
        """As the package does it; somebody who has no address goes on without."""
        if self.login.user is not None and self.login.user.email is None:
            return None, True
        return super().handle()  # type: ignore[no-any-return]


class SecondFactorAdapter(DefaultMFAAdapter):
    def get_public_key_credential_rp_entity(self) -> dict[str, str]:
        """Whom a passkey is made for: the host of PUBLIC_URL, whatever name a request came under."""
        return {"id": urlsplit(settings.PUBLIC_URL).hostname or "", "name": "Selfkind"}

    def _get_user_identifier(self, user: User) -> str:
        """What an app shows beside the codes or the passkey it keeps for somebody: their address."""
        return addresses.address_of(user) or str(user)

    def encrypt(self, text: str) -> str:
        """The secret of a second factor, sealed."""
        return seal(text)

    def decrypt(self, encrypted_text: str) -> str:
        """What `encrypt` sealed."""
        return unseal(encrypted_text)
