"""The two tables whose texts were sealed, written anew: a column that was dropped is still in the file."""

from django.db import migrations


class Migration(migrations.Migration):
    # VACUUM is its own transaction.
    atomic = False
    dependencies = [("scales", "0005_sealed")]

    operations = [
        migrations.RunSQL(f"VACUUM (FULL, ANALYZE) {table}", migrations.RunSQL.noop)
        for table in ("scales_correction", "scales_quarantined")
    ]
