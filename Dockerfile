# Three images: `app` (web, worker, beat, migrations), `proxy` (TLS), and `backup`. The embedded PostgreSQL and
# Valkey of `make run` are in the last alone, whose programs make copies and try them out: only
# requirements/base.txt is installed for the others.

FROM python:3.11-slim AS build
COPY requirements/base.txt /tmp/base.txt
RUN python -m venv /opt/venv \
 && /opt/venv/bin/pip install --no-cache-dir --require-hashes --only-binary :all: -r /tmp/base.txt

FROM python:3.11-slim AS app
RUN groupadd --gid 10001 selfkind \
 && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin selfkind
ENV PATH=/opt/venv/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
COPY --from=build /opt/venv /opt/venv
WORKDIR /srv/selfkind
COPY manage.py ./
COPY backend ./backend
COPY integration ./integration
COPY scales ./scales
RUN python -m compileall -q backend integration scales
# A volume mounted here is the account's own from its first start on.
RUN install --directory --owner=10001 --group=10001 --mode=700 \
    /var/lib/selfkind/keys /var/lib/selfkind/master /var/lib/selfkind/anchors \
    /var/lib/selfkind/erasures \
    /var/lib/selfkind/backups /var/lib/selfkind/backup-keys /var/lib/selfkind/scratch
USER 10001:10001
EXPOSE 8000

FROM build AS build-backup
COPY requirements/run.txt /tmp/run.txt
RUN /opt/venv/bin/pip install --no-cache-dir --require-hashes --only-binary :all: -r /tmp/run.txt

FROM app AS backup
COPY --from=build-backup /opt/venv /opt/venv

FROM caddy:2 AS proxy
COPY deploy/Caddyfile /etc/caddy/Caddyfile
# It listens above 1024, so the program needs no capability; its two volumes are its own.
RUN setcap -r /usr/bin/caddy && chown -R 10002:10002 /data /config
USER 10002:10002
EXPOSE 8080 8443
