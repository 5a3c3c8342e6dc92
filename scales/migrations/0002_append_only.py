"""Submitted answers never change; what waits in quarantine keeps its content; trends hear of sessions."""

import importlib

from django.db import migrations

append_only = importlib.import_module("backend.audit.migrations.0002_append_only").append_only

KEPT = """
CREATE TRIGGER content_kept BEFORE DELETE OR UPDATE OF participant_id, kind, administration,
    instrument_code, instrument_version, sent_by_id, device, body, content_hash, faults, received_at
    ON scales_quarantined FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER content_kept_whole BEFORE TRUNCATE ON scales_quarantined
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
ALTER TABLE scales_quarantined ENABLE ALWAYS TRIGGER content_kept;
ALTER TABLE scales_quarantined ENABLE ALWAYS TRIGGER content_kept_whole;
"""
NOT_KEPT = """
DROP TRIGGER content_kept ON scales_quarantined;
DROP TRIGGER content_kept_whole ON scales_quarantined;
"""

# A dosing session and a zone belong to a lower floor, which may not know of trends; but a baseline
# and every day count follow from them. So the upper floor listens where nothing can pass it by.
LISTEN = """
CREATE FUNCTION trend_behind_after_session() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM FROM scales_trend WHERE participant_id IN (NEW.participant_id, OLD.participant_id)
    ORDER BY id FOR UPDATE;
    UPDATE scales_trend SET requested = requested + 1
    WHERE participant_id IN (NEW.participant_id, OLD.participant_id);
    RETURN NULL;
END
$$;
CREATE TRIGGER trend_behind AFTER INSERT OR UPDATE OR DELETE ON care_dosingsession
    FOR EACH ROW EXECUTE FUNCTION trend_behind_after_session();
CREATE FUNCTION trend_behind_after_zone() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM FROM scales_trend WHERE participant_id = NEW.id ORDER BY id FOR UPDATE;
    UPDATE scales_trend SET requested = requested + 1 WHERE participant_id = NEW.id;
    RETURN NULL;
END
$$;
CREATE TRIGGER trend_behind AFTER UPDATE OF timezone ON care_participant
    FOR EACH ROW EXECUTE FUNCTION trend_behind_after_zone();
"""
DEAF = """
DROP TRIGGER trend_behind ON care_dosingsession;
DROP TRIGGER trend_behind ON care_participant;
DROP FUNCTION trend_behind_after_session();
DROP FUNCTION trend_behind_after_zone();
"""


class Migration(migrations.Migration):
    dependencies = [("scales", "0001_initial"), ("audit", "0002_append_only"), ("care", "0001_initial")]

    operations = [
        append_only("scales_administration"),
        append_only("scales_correction"),
        append_only("scales_loadedfile"),
        migrations.RunSQL(KEPT, NOT_KEPT),
        migrations.RunSQL(LISTEN, DEAF),
    ]
