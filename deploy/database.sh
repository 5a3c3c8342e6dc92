#!/bin/sh
# Run once by the PostgreSQL image, on an empty volume. `selfkind` owns the database and brings its tables
# up to date; `selfkind_app` is what the product signs in as. Neither is a superuser, as the append-only
# triggers must hold against both, and the second owns nothing, as row-level security must hold it.
# `selfkind_backup` reads everything and writes nothing, and receives the log.
set -eu
psql --username "${POSTGRES_USER:-postgres}" --dbname postgres --no-psqlrc --quiet --set ON_ERROR_STOP=1 <<'SQL'
\getenv password DATABASE_PASSWORD
\getenv app_password DATABASE_APP_PASSWORD
\getenv backup_password DATABASE_BACKUP_PASSWORD
CREATE ROLE selfkind LOGIN PASSWORD :'password';
CREATE ROLE selfkind_app LOGIN PASSWORD :'app_password';
CREATE ROLE selfkind_backup LOGIN BYPASSRLS REPLICATION PASSWORD :'backup_password';
ALTER ROLE selfkind_backup SET default_transaction_read_only = on;
GRANT pg_read_all_data, pg_monitor TO selfkind_backup;
CREATE DATABASE selfkind OWNER selfkind;
SQL
# The image lets nobody replicate over the network; the archive must.
if [ -n "${PGDATA:-}" ]; then
    echo 'host replication selfkind_backup all scram-sha-256' >> "$PGDATA/pg_hba.conf"
fi
