"""What somebody sends who takes no part is kept, and not scored."""

from django.db import migrations, models

KINDS = ["rejected", "conflict", "unknown_version", "withdrawn"]


class Migration(migrations.Migration):
    dependencies = [("scales", "0006_rewritten"), ("care", "0008_withdrawal"), ("changes", "0003_tombstones")]

    operations = [
        migrations.AlterField(
            "quarantined",
            "kind",
            models.CharField(
                max_length=16, choices=[(kind, kind.replace("_", " ").title()) for kind in KINDS]
            ),
        )
    ]
