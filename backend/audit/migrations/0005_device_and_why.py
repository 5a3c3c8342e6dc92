"""From which device, and why somebody was let through who usually is not."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("audit", "0004_by_time")]

    operations = [
        migrations.AddField("entry", "device", models.UUIDField(null=True)),
        migrations.AddField("entry", "why", models.CharField(max_length=16, default="", db_default="")),
    ]
