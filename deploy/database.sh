#!/bin/sh
# Run once by the PostgreSQL image, on an empty volume: the role that the product signs in as. It owns
# its database and is no superuser, as the append-only triggers must hold against it too.
set -eu
psql --username "${POSTGRES_USER:-postgres}" --dbname postgres --no-psqlrc --quiet --set ON_ERROR_STOP=1 <<'SQL'
\getenv password DATABASE_PASSWORD
CREATE ROLE selfkind LOGIN PASSWORD :'password';
CREATE DATABASE selfkind OWNER selfkind;
SQL
