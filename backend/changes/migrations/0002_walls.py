"""Changes are seen by those who may see the participant."""

import importlib

from django.db import migrations

walls = importlib.import_module("backend.audit.migrations.0003_walls")


class Migration(migrations.Migration):
    dependencies = [("changes", "0001_initial"), ("audit", "0003_walls")]

    operations = [walls.walled("changes_change", walls.of_participant("participant"))]
