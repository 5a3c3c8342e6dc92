import pytest

from backend.stack.dsn import UnreadableDatabaseUrl, database_from_url


def test_every_part_of_an_address() -> None:
    assert database_from_url("postgresql://ana:s%40cr%2Fet%2B+@db.example:6432/self%20kind") == {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": "self kind",
        "USER": "ana",
        "PASSWORD": "s@cr/et++",
        "HOST": "db.example",
        "PORT": "6432",
        "OPTIONS": {},
    }


def test_the_short_scheme_and_what_is_left_out() -> None:
    assert database_from_url("postgres://localhost/selfkind") == {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": "selfkind",
        "USER": "",
        "PASSWORD": "",
        "HOST": "localhost",
        "PORT": "",
        "OPTIONS": {},
    }


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("postgresql:///selfkind?host=/run/postgresql", "/run/postgresql"),
        ("postgresql://%2FRun%2Fpostgresql/selfkind", "/Run/postgresql"),
        ("postgresql://[2001:db8::7]/selfkind", "2001:db8::7"),
        ("postgresql://one:5432,two:5433/selfkind", "one,two"),
    ],
)
def test_hosts_of_all_kinds(url: str, host: str) -> None:
    assert database_from_url(url)["HOST"] == host


def test_options_go_to_libpq() -> None:
    database = database_from_url(
        "postgresql://a@b/c?sslmode=verify-full&sslrootcert=/etc/ca.pem&options=-c%20lock_timeout%3D2s"
    )

    assert database["OPTIONS"] == {
        "sslmode": "verify-full",
        "sslrootcert": "/etc/ca.pem",
        "options": "-c lock_timeout=2s",
    }


@pytest.mark.parametrize(
    "url",
    [
        "",
        "sqlite:///db.sqlite3",
        "mysql://a:hunter2@b/c",
        "postgresql://a:hunter2@b/",
        "postgresql://a:hunter2@b/c?colour=red",
        "postgresql://a:hunter2%zz@b/c",
        "host=b dbname=c password=hunter2",
    ],
)
def test_anything_else_is_refused_without_repeating_it(url: str) -> None:
    with pytest.raises(UnreadableDatabaseUrl) as refusal:
        database_from_url(url)

    assert "hunter2" not in str(refusal.value)
