"""Operators: those who may see the pages under `/operators/`."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("accounts", "0002_sign_in")]

    operations = [
        migrations.AddField("user", "is_operator", models.BooleanField(default=False, db_default=False)),
    ]
