"""How often somebody may guess: counted in PostgreSQL, each guess before it is looked at.

A guess is a row, written and committed before the password or code is compared, under a lock of what it
is counted for: a thousand at once are a thousand turns. One that was right takes its rows away again,
and its predecessors in that bucket with them. Windows slide: there is no edge at which the count begins
anew.

A bucket is a kind of secret, of one account, from one place: a device the account has signed in on
before, or anywhere else. So nobody can lock a person out of their own phone. Whoever has no account is
counted like who has one, and nothing here says which.

What is kept are keyed hashes: no e-mail address, no client address.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from ipaddress import ip_address, ip_network
from math import ceil
from uuid import UUID

from django.db import connection, transaction
from django.db.models import Q
from django.utils.crypto import salted_hmac

from backend.accounts.models import Device, Guess
from backend.audit import services as audit

QUARTER = timedelta(minutes=15)
# Failures in a row. Without any success for so long they are forgotten, an account's like nobody's.
STREAK = timedelta(days=90)
CODE_LIVES = timedelta(minutes=10)

MOST_ACCOUNTS = 50  # that one client address may fail at, or have mail sent to, from unknown devices
SPRAY = timedelta(days=1)
FORGOTTEN_AFTER = STREAK


@dataclass(frozen=True, slots=True)
class Limit:
    """So many within so long."""

    most: int
    within: timedelta


# Password; code of an authenticator app or recovery code; code sent by mail (and see PER_CODE); having
# mail sent.
KINDS: dict[str, tuple[Limit, ...]] = {
    "password": (Limit(10, QUARTER), Limit(100, STREAK)),
    "factor": (Limit(5, QUARTER), Limit(100, STREAK)),
    "mailed": (Limit(10, QUARTER),),
    "mail": (Limit(5, QUARTER),),
}
PER_CODE = Limit(5, CODE_LIVES)


@dataclass(frozen=True, slots=True)
class Account:
    """Whose secret is guessed at: a user, or a text that stands for nobody we know."""

    user: int | None
    text: str = ""

    @property
    def name(self) -> str:
        return f"user {self.user}" if self.user is not None else f"nobody {self.text.strip().lower()}"


@dataclass(frozen=True, slots=True)
class Admitted:
    """A guess that was counted: hand it to `forgive` when it was none, to `settle` when it was right."""

    rows: tuple[int, ...]
    account: Account
    place: str


def account_of(hidden: str) -> tuple[Account, bool | None]:
    """Whose lookup address it is, so that a person's several count as one, and whether they are active.

    One statement, found or not; None for nobody.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT u.id, u.is_active FROM (SELECT user_id, verified::int FROM account_emailaddress"
            " WHERE email = %s UNION ALL SELECT id, 0 FROM accounts_user WHERE email = %s)"
            " AS whose (id, verified) JOIN accounts_user u USING (id) ORDER BY verified DESC, id LIMIT 1",
            [hidden, hidden],
        )
        row = cursor.fetchone()
    return (Account(row[0]), row[1]) if row else (Account(None, hidden), None)


class Throttled(Exception):
    """Too many. `retry_after` seconds say when there is room again."""

    def __init__(self, retry_after: int) -> None:
        super().__init__("throttled")
        self.retry_after = retry_after


def admit(
    *,
    kind: str,
    account: Account,
    client: str,
    installation: UUID | None,
    now: datetime,
    code: str = "",
) -> Admitted:
    """The guess, counted and committed. Raises Throttled where a limit is reached; then it is not made.

    `client` is the address it comes from; `code` names the one code that is guessed at, where there is
    one. Call it outside a transaction: a count that is rolled back with a refusal counts nothing.
    """
    known = _is_known(account, installation)
    place = str(installation) if known else "anywhere"
    bucket = _bucket(kind, account, place)
    limits = [(bucket, limit) for limit in KINDS[kind]]
    if code:
        limits.append((_key("code", code), PER_CODE))
    buckets = tuple(dict.fromkeys(key for key, _ in limits))
    name = _key("account", account.name)
    # A known device is not held back by what others do at its address.
    origin = "" if known else _key("client", _network(client))
    with transaction.atomic(durable=True):
        _lock(*buckets, *([origin] if origin else []))
        wait = max(_wait(key, limit, now=now) for key, limit in limits)
        spray_wait = _spray_wait(origin, name, now=now) if origin else 0.0
        if not wait and not spray_wait:
            rows = Guess.objects.bulk_create(
                Guess(bucket=key, account=name, client=origin if key == bucket else "", at=now)
                for key in buckets
            )
            return Admitted(tuple(row.pk for row in rows), account, place)
        if wait:
            _note(bucket, actor=account.user, subject=kind, now=now)
        else:  # one row for whoever tries everybody, not one for everybody they try
            _note(origin, actor=None, subject="client", now=now)
    raise Throttled(ceil(max(wait, spray_wait)))


def forgive(admitted: Admitted) -> None:
    """Nothing; it was not a guess, or not a wrong one, and counts no longer."""
    Guess.objects.filter(pk__in=admitted.rows).delete()


def settle(admitted: Admitted, *kinds: str) -> None:
    """Nothing; it was right, so what was guessed before at these kinds, from there, is forgotten."""
    buckets = [_bucket(kind, admitted.account, admitted.place) for kind in kinds]
    Guess.objects.filter(Q(pk__in=admitted.rows) | Q(bucket__in=buckets)).delete()


def recover(*, user: int) -> None:
    """Nothing; the user has proved themselves another way, or staff has: all their counts begin anew."""
    Guess.objects.filter(account=_key("account", Account(user).name)).delete()


def forget(*, now: datetime) -> None:
    """Nothing; what no limit looks back at any more is gone."""
    Guess.objects.filter(at__lt=now - FORGOTTEN_AFTER).delete()


def _is_known(account: Account, installation: UUID | None) -> bool:
    # Asked for nobody as well: it takes as long.
    return Device.objects.filter(user_id=account.user or 0, installation=installation or UUID(int=0)).exists()


def _bucket(kind: str, account: Account, place: str) -> str:
    return _key("bucket", kind, account.name, place)


def _key(*parts: str) -> str:
    return salted_hmac("selfkind.throttle", "\0".join(parts), algorithm="sha256").hexdigest()[:32]


def _network(client: str) -> str:
    """What one client can change its address within: itself, or its /64."""
    try:
        address = ip_address(client)
    except ValueError:
        return client
    if address.version == 6:
        if address.ipv4_mapped:
            return str(address.ipv4_mapped)
        return str(ip_network((address, 64), strict=False))
    return str(address)


@contextmanager
def one_at_a_time(what: str) -> Iterator[bool]:
    """Whether nobody else is within this for the same text, in any process; never waits."""
    number = _lock_number(_key("alone", what))
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_lock(%s)", [number])
        (alone,) = cursor.fetchone()
    try:
        yield alone
    finally:
        if alone:
            with connection.cursor() as cursor:
                cursor.execute("SELECT pg_advisory_unlock(%s)", [number])


def _lock(*keys: str) -> None:
    """Nothing; until the transaction ends, others wait who count for one of these."""
    with connection.cursor() as cursor:
        for number in sorted(map(_lock_number, keys)):
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", [number])


def _lock_number(key: str) -> int:
    return int.from_bytes(bytes.fromhex(key)[:8], signed=True)


def _wait(bucket: str, limit: Limit, *, now: datetime) -> float:
    """Seconds until the bucket has room under that limit; 0 where it has."""
    newest = Guess.objects.filter(bucket=bucket, at__gt=now - limit.within).order_by("-at")
    last = list(newest.values_list("at", flat=True)[limit.most - 1 : limit.most])
    return max(1.0, (last[0] + limit.within - now).total_seconds()) if last else 0.0


def _spray_wait(origin: str, account: str, *, now: datetime) -> float:
    """Seconds until that origin may try one account more; 0 where it may."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT max(at) FROM accounts_guess WHERE client = %s AND at > %s AND account <> %s"
            " GROUP BY account ORDER BY 1 DESC OFFSET %s LIMIT 1",
            [origin, now - SPRAY, account, MOST_ACCOUNTS - 1],
        )
        row = cursor.fetchone()
    return max(1.0, (row[0] + SPRAY - now).total_seconds()) if row else 0.0


def _note(held_back: str, *, actor: int | None, subject: str, now: datetime) -> None:
    """Nothing; the audit knows, once in a window, that somebody is being held back there."""
    noted = _key("noted", held_back)
    if not Guess.objects.filter(bucket=noted, at__gt=now - QUARTER).exists():
        Guess.objects.create(bucket=noted, at=now)
        audit.record(actor=actor, action="sign_in.throttled", subject=subject)
