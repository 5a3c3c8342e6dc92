"""What people called their passkeys, sealed: the sign-in package keeps a label in its place."""

import secrets
from typing import Any

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models
from django.utils import timezone

from backend.keys import envelope
from backend.keys.envelope import Holder, Place
from backend.keys.ring import keyring


def seal(apps: Any, schema_editor: Any) -> None:
    """Nothing; every passkey bears a label, and its name is sealed under its user's key."""
    names, now = apps.get_model("accounts", "PasskeyName"), timezone.now()
    for passkey in apps.get_model("mfa", "Authenticator").objects.filter(type="webauthn"):
        label, holder = f"passkey-{secrets.token_hex(8)}", Holder(passkey.user.key)
        version, key = keyring().current(holder)
        name = str(passkey.data.get("name", "")).encode()
        place = Place("accounts_passkeyname", "name", label, holder)
        ciphertext = envelope.seal(name, key=key, version=version, place=place)
        names.objects.create(user_id=passkey.user_id, label=label, name=ciphertext, made_at=now)
        passkey.data["name"] = label
        passkey.save(update_fields=["data"])
    schema_editor.execute("SET CONSTRAINTS ALL IMMEDIATE")


class Migration(migrations.Migration):
    dependencies = [("accounts", "0004_sealed"), ("mfa", "0003_authenticator_type_uniq")]

    operations = [
        migrations.CreateModel(
            name="PasskeyName",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("label", models.CharField(max_length=32, unique=True)),
                ("name", models.BinaryField()),
                ("made_at", models.DateTimeField()),
                (
                    "user",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
        ),
        migrations.RunPython(seal),
    ]
