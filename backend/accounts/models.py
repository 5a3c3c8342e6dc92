"""Users, the devices they sign in on, and what keeps their sign-ins safe.

A person's clinical self is a `care.Participant`; a user is only who may sign in.
"""

from typing import Any, ClassVar
from uuid import uuid4

from django.contrib.auth.base_user import AbstractBaseUser, BaseUserManager
from django.db import models
from django.utils import timezone
from django.utils.crypto import salted_hmac

from backend.keys.envelope import Holder
from backend.keys.fields import SealedField

# What stands in a column that the sign-in package takes for an address: see `addresses`.
LOOKUP_ADDRESS = r"^[0-9a-f]{40}@sealed\.invalid$"


class UserManager(BaseUserManager["User"]):
    def create_user(self, *, email: str | None, password: str | None = None, **fields: Any) -> "User":
        """A new user, found by that lookup address. Without a password nobody can sign in with one."""
        user = self.model(email=email, **fields)
        user.set_password(password)
        user.save()
        return user


class User(AbstractBaseUser):
    """Somebody who may sign in: by e-mail address, or by passkey alone and without any address.

    `email` is a lookup address. What somebody typed is sealed, in their `Address`.
    """

    # Whose data key it is that seals what this person is called and reached by.
    key = models.UUIDField(unique=True, default=uuid4, editable=False)
    email = models.EmailField(max_length=254, unique=True, null=True)
    # What they want to be called, where they said so.
    name = SealedField(null=True, holder="key")
    is_active = models.BooleanField(default=True)
    # Keeps the machine running: the pages under /operators/, and nothing of a clinic's.
    is_operator = models.BooleanField(default=False, db_default=False)
    joined_at = models.DateTimeField(default=timezone.now)
    # Goes into every session's fingerprint. A new one ends them all, those we keep no list of included.
    session_salt = models.CharField(max_length=32, default="", db_default="")

    USERNAME_FIELD = "email"
    EMAIL_FIELD = "email"
    objects: ClassVar[UserManager] = UserManager()

    class Meta:
        constraints: ClassVar = [
            models.CheckConstraint(condition=models.Q(email__regex=LOOKUP_ADDRESS), name="user_email_sealed")
        ]

    def __str__(self) -> str:
        return f"user {self.pk}"

    @property
    def holder(self) -> Holder:
        """Whose data key seals what is theirs."""
        return Holder(self.key)

    def _get_session_auth_hash(self, secret: str | None = None) -> str:
        # As Django makes it, over one text more: `authentication` puts the same two together in SQL.
        return salted_hmac(
            "django.contrib.auth.models.AbstractBaseUser.get_session_auth_hash",
            self.password + self.session_salt,
            secret=secret,
            algorithm="sha256",
        ).hexdigest()


class Address(models.Model):
    """An e-mail address somebody signs in by, or is about to confirm, sealed; found by its lookup address."""

    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="addresses")
    lookup = models.CharField(max_length=64)
    sealed = SealedField(holder="user__key", row="lookup")
    made_at = models.DateTimeField()

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["lookup", "user"], name="address_once_a_user"),
            models.CheckConstraint(
                condition=models.Q(lookup__regex=LOOKUP_ADDRESS), name="address_lookup_is_none"
            ),
        ]

    def __str__(self) -> str:
        return f"address {self.pk}"


class Device(models.Model):
    """An installation of an app on which a user has signed in. One phone of two people is two devices."""

    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="devices")
    installation = models.UUIDField()
    name = SealedField(null=True, holder="user__key")
    # Days, not instants: when somebody opens an app is nobody's business, and no request has to write.
    first_seen_on = models.DateField()
    last_seen_on = models.DateField()

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["user", "installation"], name="device_once_a_user")
        ]

    def __str__(self) -> str:
        return f"device {self.pk}"


class TokenFamily(models.Model):
    """The refresh tokens that follow from one sign-in, of which one at a time is good.

    Never the tokens themselves: what is kept is enough to sign the newest again, not to use it.
    """

    id = models.UUIDField(primary_key=True, default=uuid4, editable=False)
    user = models.ForeignKey(User, on_delete=models.CASCADE)
    device = models.ForeignKey(Device, on_delete=models.CASCADE, null=True)
    # No foreign key: a change of password gives the session another key, by deleting the old row.
    session_key = models.CharField(max_length=40, unique=True)
    jti = models.UUIDField()
    issued_at = models.DateTimeField()
    expires_at = models.DateTimeField()
    previous_jti = models.UUIDField(null=True)
    rotated_at = models.DateTimeField(null=True)
    rotated_by = models.UUIDField(null=True)

    def __str__(self) -> str:
        return f"token family {self.pk}"


class Guess(models.Model):
    """One try at something secret, or one that was let know of a limit. Keyed hashes; never an address."""

    bucket = models.CharField(max_length=32)
    account = models.CharField(max_length=32, default="")
    client = models.CharField(max_length=32, default="")
    at = models.DateTimeField()

    class Meta:
        indexes: ClassVar = [
            models.Index(fields=["bucket", "at"], name="guess_by_bucket"),
            models.Index(fields=["client", "at"], name="guess_by_client", condition=~models.Q(client="")),
            models.Index(fields=["account"], name="guess_by_account"),
            models.Index(fields=["at"], name="guess_by_age"),
        ]

    def __str__(self) -> str:
        return f"guess {self.pk}"


class OutgoingMail(models.Model):
    """A message on its way to a lookup address, opened when it is sent. Sealed: it may hold a code."""

    sealed = models.TextField()
    created_at = models.DateTimeField()

    def __str__(self) -> str:
        return f"mail {self.pk}"
