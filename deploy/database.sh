#!/bin/sh
# Run once by the PostgreSQL image, on an empty volume. `selfkind` owns the database and brings its tables
# up to date; `selfkind_app` is what the product signs in as. Neither is a superuser, as the append-only
# triggers must hold against both, and the second owns nothing, as row-level security must hold it.
set -eu
psql --username "${POSTGRES_USER:-postgres}" --dbname postgres --no-psqlrc --quiet --set ON_ERROR_STOP=1 <<'SQL'
\getenv password DATABASE_PASSWORD
\getenv app_password DATABASE_APP_PASSWORD
CREATE ROLE selfkind LOGIN PASSWORD :'password';
CREATE ROLE selfkind_app LOGIN PASSWORD :'app_password';
CREATE DATABASE selfkind OWNER selfkind;
SQL
