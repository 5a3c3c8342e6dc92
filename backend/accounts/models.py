"""Users, the devices they sign in on, and what keeps their sign-ins safe.

A person's clinical self is a `care.Participant`; a user is only who may sign in.
"""

from typing import Any, ClassVar
from uuid import uuid4

from django.contrib.auth.base_user import AbstractBaseUser, BaseUserManager
from django.db import models
from django.db.models.functions import Lower
from django.utils import timezone
from django.utils.crypto import salted_hmac


class UserManager(BaseUserManager["User"]):
    def create_user(self, *, email: str | None, password: str | None = None, **fields: Any) -> "User":
        """A new user. Without a password nobody can sign in with one."""
        user = self.model(email=self.normalize_email(email).lower() if email else None, **fields)
        user.set_password(password)
        user.save()
        return user


class User(AbstractBaseUser):
    """Somebody who may sign in: by e-mail address, or by passkey alone and without any address."""

    email = models.EmailField(max_length=254, unique=True, null=True)
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
            # Two spellings of one address must not become two people.
            models.CheckConstraint(condition=models.Q(email=Lower("email")), name="user_email_lower"),
            models.CheckConstraint(condition=~models.Q(email=""), name="user_email_not_empty"),
        ]

    def __str__(self) -> str:
        return f"user {self.pk}"

    def _get_session_auth_hash(self, secret: str | None = None) -> str:
        # As Django makes it, over one text more: `authentication` puts the same two together in SQL.
        return salted_hmac(
            "django.contrib.auth.models.AbstractBaseUser.get_session_auth_hash",
            self.password + self.session_salt,
            secret=secret,
            algorithm="sha256",
        ).hexdigest()


class Device(models.Model):
    """An installation of an app on which a user has signed in. One phone of two people is two devices."""

    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="devices")
    installation = models.UUIDField()
    name = models.CharField(max_length=100, null=True)
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
    """A message on its way, sealed: it names an address, and may hold a code."""

    sealed = models.TextField()
    created_at = models.DateTimeField()

    def __str__(self) -> str:
        return f"mail {self.pk}"
