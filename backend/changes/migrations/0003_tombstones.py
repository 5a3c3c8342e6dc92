"""What was erased leaves a hash of its id, so that nobody sends it anew."""

import importlib

from django.db import migrations, models

append_only = importlib.import_module("backend.audit.migrations.0002_append_only").append_only


class Migration(migrations.Migration):
    dependencies = [("changes", "0002_walls"), ("audit", "0003_walls")]

    operations = [
        migrations.CreateModel(
            name="Tombstone",
            fields=[("object", models.BinaryField(primary_key=True, serialize=False))],
        ),
        append_only("changes_tombstone"),
    ]
