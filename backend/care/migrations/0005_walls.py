"""Row-level security on people and their dosing sessions, and the facts that `access.py` decides by.

These functions are the only way to facts about people whom a transaction may not see yet. They tell
who somebody is, and what ties them to a participant; whether that is enough stands in `roles.py`.
"""

import importlib

from django.db import migrations

walls = importlib.import_module("backend.audit.migrations.0003_walls")

FIELDS = """id bigint, public_id uuid, clinic_id bigint, missing_answers varchar, clinic_hold_hours smallint,
    hold_hours integer, pseudonym varchar, timezone varchar, enrolled_at timestamptz, user_id bigint"""
_SELECT = """SELECT p.id, p.public_id, p.clinic_id, c.missing_answers, c.hold_hours,
        care_hold_hours(p.id, c.hold_hours), p.pseudonym, p.timezone, p.enrolled_at, p.user_id"""
_FROM = "FROM care_participant p JOIN care_clinic c ON c.id = p.clinic_id"

_PERSON = walls.seeing_all(
    f"""SELECT work.clinics > 0, work.strict > 0, own.*
        FROM (SELECT count(*) AS clinics, count(*) FILTER (WHERE c.second_factor) AS strict
            FROM care_membership m JOIN care_clinic c ON c.id = m.clinic_id
            WHERE m.user_id = who AND m.suspended_at IS NULL
                AND care_is_now(m.started_at, m.ended_at)) work
        LEFT JOIN ({_SELECT} {_FROM} WHERE p.user_id = who) own ON true"""
)
_DOOR = walls.seeing_all(
    f"""{_SELECT}, p.user_id IS NOT DISTINCT FROM who, care_roles_in(who, p.clinic_id),
            care_is_in_care_of(p.id, who), needs IS NULL OR care_agreed_to(p.id, needs)
        {_FROM} WHERE p.public_id = wanted"""
)
_TIES = walls.seeing_all(
    """SELECT care_roles_in(who, p.clinic_id), care_is_in_care_of(p.id, who)
        FROM care_participant p JOIN accounts_user u ON u.id = who AND u.is_active WHERE p.id = participant"""
)
_ELSEWHERE = walls.seeing_all(
    """SELECT EXISTS (SELECT FROM care_membership m WHERE m.user_id = who AND m.clinic_id <> ALL (clinics)
            AND (m.ended_at IS NULL OR m.ended_at > now()))"""
)
_CASELOAD = walls.seeing_all(
    f"""{_SELECT} {_FROM}
        WHERE p.id > after
            AND p.clinic_id IN (SELECT m.clinic_id FROM care_membership m WHERE m.user_id = who)
            AND (care_is_in_care_of(p.id, who) OR care_roles_in(who, p.clinic_id) && oversee)
        ORDER BY p.id LIMIT most"""
)

# In whose care a participant is: a therapist's, and that of whoever covers for one, of the participant's
# own clinic, while none of it has ended: neither care, nor cover, nor either's membership. Whoever is
# suspended cares for nobody, but those who cover for a suspended therapist do.
FUNCTIONS = f"""
CREATE FUNCTION care_is_now(started timestamptz, ended timestamptz) RETURNS boolean
    LANGUAGE sql STABLE PARALLEL SAFE AS
    $$ SELECT started <= now() AND (ended IS NULL OR ended > now()) $$;

-- The decision in force is the newest that took effect: whether it is a yes,
CREATE FUNCTION care_agreed_to(participant bigint, wanted text) RETURNS boolean
    LANGUAGE sql STABLE PARALLEL SAFE AS
    $$ SELECT coalesce((SELECT n.decision = 'given' FROM care_consent n
        WHERE n.participant_id = participant AND n.stream = wanted AND n.ask_again_at IS NULL
        ORDER BY n.received_at DESC, n.decision DESC LIMIT 1), false) $$;

-- and how long a worse score waits for the therapist: no longer than the clinic says today, nor than the
-- participant was told when they agreed; not at all without both.
CREATE FUNCTION care_hold_hours(participant bigint, most smallint) RETURNS integer
    LANGUAGE sql STABLE PARALLEL SAFE AS
    $$ SELECT CASE WHEN most IS NOT NULL THEN (
        SELECT CASE WHEN n.decision = 'given' AND n.rules->>'hold_hours' IS NOT NULL
            THEN least(most, (n.rules->>'hold_hours')::int) END
        FROM care_consent n
        WHERE n.participant_id = participant AND n.stream = 'care' AND n.ask_again_at IS NULL
        ORDER BY n.received_at DESC, n.decision DESC LIMIT 1) END $$;

CREATE FUNCTION care_roles_in(who bigint, clinic bigint) RETURNS varchar[]
    LANGUAGE sql STABLE PARALLEL SAFE AS
    $$ SELECT ARRAY(SELECT m.role FROM care_membership m
        WHERE m.user_id = who AND m.clinic_id = clinic AND m.suspended_at IS NULL
            AND care_is_now(m.started_at, m.ended_at)) $$;

CREATE FUNCTION care_is_in_care_of(participant bigint, who bigint) RETURNS boolean
    LANGUAGE sql STABLE PARALLEL SAFE AS
    $$ SELECT EXISTS (
        SELECT FROM care_carerelationship r
        JOIN care_membership t ON t.id = r.therapist_id AND t.role = 'therapist'
        LEFT JOIN care_cover v ON v.therapist_id = t.id AND care_is_now(v.started_at, v.ended_at)
        JOIN care_membership m ON m.id IN (t.id, v.covered_by_id) AND m.role IN ('therapist', 'supervisor')
            AND m.suspended_at IS NULL
        WHERE r.participant_id = participant AND m.user_id = who
            AND t.clinic_id = r.clinic_id AND m.clinic_id = r.clinic_id
            AND care_is_now(r.started_at, r.ended_at)
            AND care_is_now(t.started_at, t.ended_at) AND care_is_now(m.started_at, m.ended_at)) $$;

-- Who a user is: the participant they are, if any, whether they are on any clinic's staff today, and whether
-- one of those clinics wants a second factor of them.
CREATE FUNCTION care_person(who bigint) RETURNS TABLE (staff boolean, second_factor boolean, {FIELDS})
    ROWS 1 {_PERSON};

-- A participant by public id, what ties that user to them, and whether they agreed to that stream, if any.
CREATE FUNCTION care_door(who bigint, wanted uuid, needs text)
    RETURNS TABLE ({FIELDS}, own boolean, held varchar[], in_care boolean, consented boolean)
    ROWS 1 {_DOOR};

-- What ties a user who is not suspended to a participant, for what they did before.
CREATE FUNCTION care_ties(who bigint, participant bigint) RETURNS TABLE (held varchar[], in_care boolean)
    ROWS 1 {_TIES};

-- Whether a user is on the staff of another clinic than these.
CREATE FUNCTION care_works_elsewhere(who bigint, clinics bigint[]) RETURNS SETOF boolean
    ROWS 1 {_ELSEWHERE};

-- The participants in that user's care, or of clinics where they have a role that oversees.
CREATE FUNCTION care_caseload(who bigint, oversee varchar[], after bigint, most integer)
    RETURNS TABLE ({FIELDS})
    {_CASELOAD};
"""
NO_FUNCTIONS = """
DROP FUNCTION care_caseload; DROP FUNCTION care_works_elsewhere; DROP FUNCTION care_ties; DROP FUNCTION care_door; DROP FUNCTION care_person;
DROP FUNCTION care_is_in_care_of; DROP FUNCTION care_roles_in;
DROP FUNCTION care_hold_hours; DROP FUNCTION care_agreed_to; DROP FUNCTION care_is_now;
"""

OF_CLINIC = "clinic_id = ANY ((SELECT scope_clinics())::bigint[])"


class Migration(migrations.Migration):
    dependencies = [("care", "0004_consent"), ("audit", "0003_walls")]

    operations = [
        migrations.RunSQL(FUNCTIONS, NO_FUNCTIONS),
        walls.walled("care_participant", f"{walls.of_participant('id')} OR {OF_CLINIC}"),
        walls.walled("care_membership", f"user_id = (SELECT scope_user()) OR {OF_CLINIC}"),
        # The clinics one works for, and those of whoever one may see.
        walls.walled(
            "care_clinic",
            "id = ANY ((SELECT scope_clinics())::bigint[])"
            " OR id IN (SELECT clinic_id FROM care_membership WHERE user_id = (SELECT scope_user()))"
            " OR id IN (SELECT clinic_id FROM care_participant)",
        ),
        walls.walled("care_carerelationship", f"{walls.of_participant()} OR {OF_CLINIC}"),
        walls.walled("care_cover", OF_CLINIC),
        walls.walled("care_dosingsession", walls.of_participant()),
        walls.walled("care_consent", walls.of_participant()),
        walls.walled("care_disclosure", walls.of_participant()),
    ]
