"""The newest entries are found by their time: a few pages of an index, however long the trail."""

from django.contrib.postgres.indexes import BrinIndex
from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("audit", "0003_walls")]

    operations = [migrations.AddIndex("entry", BrinIndex(fields=["at"], name="audit_by_time"))]
