"""An e-mail address is no longer needed to be a user."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("accounts", "0001_initial")]

    operations = [
        migrations.AlterField("user", "email", models.EmailField(max_length=254, unique=True, null=True)),
    ]
