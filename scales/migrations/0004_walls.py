"""Row-level security on answers, scores and trends."""

import importlib

from django.db import migrations

walls = importlib.import_module("backend.audit.migrations.0003_walls")

# An id leads to its owner, about whom `access` then decides; that it is taken is all anybody else learns.
_OWNER = walls.seeing_all(
    "SELECT p.public_id FROM scales_administration a JOIN care_participant p ON p.id = a.participant_id"
    " WHERE a.id = administration"
)
FUNCTION = f"""
CREATE FUNCTION scales_owner_of(administration uuid) RETURNS SETOF uuid
    ROWS 1 {_OWNER};
"""


class Migration(migrations.Migration):
    dependencies = [("scales", "0003_held"), ("care", "0005_walls")]

    operations = [
        migrations.RunSQL(FUNCTION, "DROP FUNCTION scales_owner_of"),
        walls.walled("scales_administration", walls.of_participant()),
        # A correction is seen by whoever sees what it corrects.
        walls.walled(
            "scales_correction",
            "EXISTS (SELECT FROM scales_administration a WHERE a.id = administration_id)",
        ),
        walls.walled("scales_quarantined", walls.of_participant()),
        walls.walled("scales_trend", walls.of_participant()),
        walls.walled("scales_held", walls.of_participant()),
        walls.walled("scales_release", walls.of_participant()),
    ]
