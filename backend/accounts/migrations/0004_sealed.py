"""Addresses, names and what devices are called, sealed. Nothing is left in clear, and there is no way back.

Sign-ins whose session holds an address are over, and messages that wait are not sent: both live by what was
in clear. Passkeys and second factors stay as they are. The key store must be there if anybody is.
"""

import uuid
from typing import Any

import django.db.models.deletion
from django.conf import settings
from django.contrib.sessions.backends.db import SessionStore
from django.db import migrations, models
from django.utils import timezone

from backend.accounts.addresses import lookup, normal
from backend.accounts.models import LOOKUP_ADDRESS
from backend.keys import envelope
from backend.keys.envelope import Holder, Place
from backend.keys.ring import keyring


def _sealed(text: str, place: Place) -> bytes:
    """As `keys.sealing` seals, without an audit row: its table may be of another time than the code."""
    version, key = keyring().current(place.holder)
    ciphertext = envelope.seal(text.encode(), key=key, version=version, place=place)
    if envelope.unseal(ciphertext, key=key, place=place) != text.encode():
        raise AssertionError("what was sealed does not open to what it was")
    return ciphertext


def seal(apps: Any, schema_editor: Any) -> None:
    """Nothing; what named somebody is sealed under their own key, and the text is gone."""
    user_model, address_model = apps.get_model("accounts", "User"), apps.get_model("accounts", "Address")
    package, device_model = apps.get_model("account", "EmailAddress"), apps.get_model("accounts", "Device")
    now = timezone.now()
    for user in user_model.objects.all():
        user.key = uuid.uuid4()
        kept = {row.email for row in package.objects.filter(user=user)} | {user.email} - {None}
        for address in sorted(kept):
            hidden = lookup(address)
            place = Place("accounts_address", "sealed", hidden, Holder(user.key))
            address_model.objects.get_or_create(
                user=user,
                lookup=hidden,
                defaults={
                    "sealed": _sealed(normal(address), place),
                    "made_at": now,
                },
            )
            package.objects.filter(user=user, email=address).update(email=hidden)
        if user.email is not None:
            user.email = lookup(user.email)
        user.save(update_fields=["key", "email"])
        for device in device_model.objects.filter(user=user, name__isnull=False):
            place = Place("accounts_device", "name", str(device.pk), Holder(user.key))
            device.sealed = _sealed(device.name, place)
            device.save(update_fields=["sealed"])
    apps.get_model("accounts", "OutgoingMail").objects.all().delete()
    session_model = apps.get_model("sessions", "Session")
    over = [
        s.pk for s in session_model.objects.iterator() if "@" in str(SessionStore().decode(s.session_data))
    ]
    apps.get_model("accounts", "TokenFamily").objects.filter(session_key__in=over).delete()
    session_model.objects.filter(pk__in=over).delete()
    # PostgreSQL alters no table that still has checks of this transaction before it.
    schema_editor.execute("SET CONSTRAINTS ALL IMMEDIATE")


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0003_operators"),
        ("account", "0009_emailaddress_unique_primary_email"),
        ("sessions", "0001_initial"),
    ]

    operations = [
        migrations.RemoveConstraint("user", "user_email_lower"),
        migrations.RemoveConstraint("user", "user_email_not_empty"),
        migrations.AddField("user", "key", models.UUIDField(null=True)),
        migrations.AddField("user", "name", models.BinaryField(null=True)),
        migrations.AddField("device", "sealed", models.BinaryField(null=True)),
        migrations.CreateModel(
            name="Address",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("lookup", models.CharField(max_length=64)),
                ("sealed", models.BinaryField()),
                ("made_at", models.DateTimeField()),
                (
                    "user",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="addresses",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(fields=["lookup", "user"], name="address_once_a_user"),
                    models.CheckConstraint(
                        condition=models.Q(lookup__regex=LOOKUP_ADDRESS), name="address_lookup_is_none"
                    ),
                ]
            },
        ),
        migrations.RunPython(seal),
        migrations.AlterField(
            "user", "key", models.UUIDField(default=uuid.uuid4, editable=False, unique=True)
        ),
        migrations.AddConstraint(
            "user",
            models.CheckConstraint(condition=models.Q(email__regex=LOOKUP_ADDRESS), name="user_email_sealed"),
        ),
        migrations.RemoveField("device", "name"),
        migrations.RenameField("device", "sealed", "name"),
        # The package's own table: no version of it can come to hold an address.
        migrations.RunSQL(
            "ALTER TABLE account_emailaddress ADD CONSTRAINT account_emailaddress_sealed"
            f" CHECK (email ~ '{LOOKUP_ADDRESS}')",
            "ALTER TABLE account_emailaddress DROP CONSTRAINT account_emailaddress_sealed",
        ),
    ]
