"""Data keys turn over while others write and read, killed at any moment; nothing is lost or left behind."""

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from django.db import connection, connections, transaction
from django.utils import timezone

from backend.audit.models import Entry
from backend.care.models import Participant
from backend.care.services import create_clinic
from backend.keys import rotation, sealing
from backend.keys.fields import sealed_fields
from backend.keys.keyring import NoSuchKey
from backend.keys.ring import keyring
from backend.keys.sealing import Holder, Place, Unreadable
from scales.models import Correction, Quarantined
from tests.conftest import Copy, as_owner, enrol, submission
from tests.running import eventually
from tests.scales.phone import ClientFor, correct, opened, post
from tests.scales.test_corrections import correction

REASON = "I read it backwards."


class Killed(BaseException):
    """As a kill -9 at that moment: nothing after it is done."""


def rotate() -> int:
    return rotation.rotate_data_keys(say=lambda _: None, now=timezone.now(), pause=0)


def holder(person: Participant) -> Holder:
    return Holder(person.public_id, person.clinic_id)


def versions() -> set[tuple[str, int]]:
    """Of what people wrote: each value's column and the version of its key, by the tables themselves."""
    found = set()
    for field in sealed_fields():
        if field.model not in (Correction, Quarantined):
            continue
        with connection.cursor() as cursor:
            cursor.execute(
                f'SELECT "{field.column}" FROM "{field.model._meta.db_table}"'
                f' WHERE "{field.column}" IS NOT NULL'
            )
            found |= {(field.attname, int.from_bytes(bytes(value)[1:5])) for (value,) in cursor.fetchall()}
    return found


def reasons() -> list[str]:
    """Every reason there is, opened."""
    place = next(field for field in sealed_fields() if field.model is Correction)
    return [
        place.unseal(c.reason, row=c.pk, holder=holder(c.administration.participant))
        for c in Correction.objects.select_related("administration__participant")
    ]


@pytest.fixture
def words(ana: Participant, ben: Participant, client_for: ClientFor, own_keys: Path) -> list[dict[str, Any]]:
    """Reasons of two corrections and a misfit each, of two people."""
    misfits = []
    for person in (ana, ben):
        client, sent = client_for(person), submission()
        assert post(client, sent).status_code == 201
        for _ in range(2):
            assert correct(client, sent["id"], correction()).status_code == 201
        misfits.append(submission(answer=9))
        assert post(client, misfits[-1]).status_code == 422
    return misfits


def test_everything_is_under_the_next_key_and_the_one_before_is_gone(
    ana: Participant, ben: Participant, words: list[dict[str, Any]]
) -> None:
    stolen = keyring().key(ana.public_id, 1)
    assert versions() == {("reason", 1), ("body", 1), ("faults", 1)}

    assert rotate() == 0

    assert versions() == {("reason", 2), ("body", 2), ("faults", 2)}
    assert reasons() == [REASON] * 4
    assert [opened(q) for q in Quarantined.objects.order_by("id")] == words
    assert keyring().turning() == {}
    assert keyring().key(ana.public_id, 2) != stolen
    with pytest.raises(NoSuchKey):
        keyring().key(ana.public_id, 1)
    noted = Entry.objects.filter(action__startswith="key").exclude(action="key.made").order_by("id")
    assert list(noted.values_list("action", flat=True)) == [
        "keys.rotation_began",
        "keys.rotation_turned",
        "key.rotated",
        "key.rotated",
        "keys.rotation_ended",
    ]
    assert set(noted.filter(action="key.rotated").values_list("clinic", "subject")) == {
        (person.clinic_id, str(person.public_id)) for person in (ana, ben)
    }
    assert rotate() == 0
    assert versions() == {("reason", 3), ("body", 3), ("faults", 3)}
    assert reasons() == [REASON] * 4


def test_what_was_kept_once_is_kept_once_after_it_too(
    ana: Participant, client_for: ClientFor, words: list[dict[str, Any]]
) -> None:
    rotate()

    assert post(client_for(ana), words[0]).status_code == 422
    assert Quarantined.objects.count() == 2


def test_an_old_value_put_back_does_not_open_any_more(ana: Participant, words: list[dict[str, Any]]) -> None:
    old = Correction.objects.filter(administration__participant=ana).first()
    assert old is not None
    rotate()

    with pytest.raises(Unreadable):
        next(f for f in sealed_fields() if f.model is Correction).unseal(
            old.reason, row=old.pk, holder=holder(ana)
        )


def test_one_value_that_does_not_open_stops_nobody_else_and_keeps_its_persons_older_key(
    ana: Participant, ben: Participant, words: list[dict[str, Any]]
) -> None:
    broken = Correction.objects.filter(administration__participant=ana).order_by("revision").first()
    assert broken is not None
    with as_owner(), connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        cursor.execute("ALTER TABLE scales_correction DISABLE TRIGGER append_only")
        cursor.execute(
            "UPDATE scales_correction SET reason = set_byte(reason, 40, 255 - get_byte(reason, 40))"
            " WHERE id = %s",
            [broken.pk],
        )
        cursor.execute("ALTER TABLE scales_correction ENABLE ALWAYS TRIGGER append_only")

    assert rotate() == 1

    assert set(keyring().turning()) == {ana.public_id}
    assert versions() == {("reason", 1), ("reason", 2), ("body", 2), ("faults", 2)}
    assert list(Entry.objects.filter(action="sealed.unreadable").values_list("subject", flat=True)) == [
        f"scales_correction.reason {broken.pk}"
    ]
    assert list(Entry.objects.filter(action="key.rotated").values_list("subject", flat=True)) == [
        str(ben.public_id)
    ]


def test_people_who_were_erased_are_left_alone(
    ana: Participant, ben: Participant, words: list[dict[str, Any]]
) -> None:
    keyring().destroy(ana.public_id, at=timezone.now())

    assert rotate() == 0

    assert keyring().turning() == {}
    assert versions() == {(c, v) for c in ("reason", "body", "faults") for v in (1, 2)}
    assert Entry.objects.filter(action="sealed.unreadable").count() == 0


def test_it_goes_on_from_wherever_it_was_killed(words: list[dict[str, Any]]) -> None:
    """Broken off after every single statement and every write of the store, each time a little later."""
    kills = done = 0
    before = {h: r.current for h, r in keyring().store.records()}
    while not done:
        left = kills * 7

        def die_later(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
            nonlocal left
            left -= 1
            if left < 0:
                raise Killed
            return execute(sql, params, many, context)

        try:
            with connection.execute_wrapper(die_later):
                rotate()
            done = 1
        except Killed:
            kills += 1
        assert reasons() == [REASON] * 4
    assert kills > 3
    assert keyring().turning() == {}
    assert {h: r.current - before[h] for h, r in keyring().store.records() if h.int > 1} == dict.fromkeys(
        (h for h in before if h.int > 1), 1
    )


@pytest.fixture
def person(database_copy: Copy, own_keys: Path) -> Participant:
    """Somebody in a database where commits stay, whose key there is."""
    with transaction.atomic():
        ana = enrol("ana", create_clinic(name="Linden"))
        sealing.seal("a first word", Place("scales_correction", "reason", "0", holder(ana)))
    return ana


def beside(work: Callable[[], None]) -> Future[None]:
    """That work, begun on a connection of its own."""

    def alone() -> None:
        try:
            work()
        finally:
            connections.close_all()

    pool = ThreadPoolExecutor(1)
    try:
        return pool.submit(alone)
    finally:
        pool.shutdown(wait=False)


def keep(person: Participant, id: UUID, sealed_first: threading.Event, go_on: threading.Event) -> None:
    """Nothing; a submission's misfit was sealed, and stored when it was time."""
    with transaction.atomic():
        field = {f.attname: f for f in sealed_fields() if f.model is Quarantined}
        values = {name: field[name].seal('"words"', row=id.int, holder=holder(person)) for name in field}
        sealed_first.set()
        assert go_on.wait(30)
        Quarantined.objects.create(
            id=id.int,
            participant=person,
            kind="rejected",
            sent_by_id=person.user_id or 0,
            received_at=timezone.now(),
            content_hash=b"",
            **values,
        )


def test_what_was_sealed_before_the_turn_and_is_stored_long_after_it_opens(person: Participant) -> None:
    """A transaction seals under the old key, sleeps through the whole turn-over, and commits."""
    sealed_first, go_on = threading.Event(), threading.Event()
    said: list[str] = []
    late = beside(lambda: keep(person, UUID(int=1), sealed_first, go_on))
    assert sealed_first.wait(30)

    turning = beside(lambda: _turn(said))
    assert eventually(lambda: any(line.startswith("Waiting for 1 transactions") for line in said), 30)
    assert keyring().current(holder(person))[0] == 2
    assert keyring().key(person.public_id, 1), "forgotten while something could still come in under it"
    assert versions() == set()
    go_on.set()
    late.result(30)
    turning.result(30)

    assert versions() == {("body", 2), ("faults", 2)}
    assert [opened(q) for q in Quarantined.objects.all()] == ["words"]
    assert keyring().turning() == {}


def _turn(said: list[str]) -> None:
    rotation.rotate_data_keys(say=said.append, now=timezone.now(), pause=0)


def test_what_was_read_before_it_was_sealed_anew_can_still_be_opened(person: Participant) -> None:
    """A reader has the old value in hand while its key would go."""
    at_once = threading.Event()
    at_once.set()
    keep(person, UUID(int=1), threading.Event(), at_once)
    read, go_on = threading.Event(), threading.Event()

    def look() -> None:
        with transaction.atomic():
            found = Quarantined.objects.get()
            read.set()
            assert go_on.wait(30)
            assert opened(found) == "words"

    said: list[str] = []
    reader = beside(look)
    assert read.wait(30)
    turning = beside(lambda: _turn(said))
    assert eventually(lambda: any(line.startswith("Waiting for 1 transactions") for line in said), 30)
    go_on.set()
    reader.result(30)
    turning.result(30)

    assert [opened(q) for q in Quarantined.objects.all()] == ["words"]
    assert keyring().turning() == {}


def test_a_reader_who_came_after_the_turn_is_waited_for_too(person: Participant) -> None:
    """Begun after everybody had a next key, with a value from before it was sealed anew."""
    at_once = threading.Event()
    at_once.set()
    keep(person, UUID(int=1), threading.Event(), at_once)
    read, go_on = threading.Event(), threading.Event()
    readers: list[Future[None]] = []

    def look() -> None:
        with transaction.atomic():
            found = Quarantined.objects.get()
            read.set()
            assert go_on.wait(30)
            assert opened(found) == "words"

    said: list[str] = []

    def turn() -> None:
        def say(line: str) -> None:
            said.append(line)
            if "have a next data key" in line:
                readers.append(beside(look))
                assert read.wait(30)
                threading.Timer(1.0, go_on.set).start()

        rotation.rotate_data_keys(say=say, now=timezone.now(), pause=0)

    beside(turn).result(60)
    for reader in readers:
        reader.result(30)

    assert versions() == {("body", 2), ("faults", 2)}
    assert keyring().turning() == {}


def test_a_copy_from_before_opens_with_the_keys_of_today_once_it_is_brought_back(person: Participant) -> None:
    at_once = threading.Event()
    at_once.set()
    keep(person, UUID(int=1), threading.Event(), at_once)
    old = [(bytes(q.body), bytes(q.faults)) for q in Quarantined.objects.all()]
    now = timezone.now()
    assert rotation.rotate_data_keys(say=lambda _: None, now=now, pause=0) == 0
    assert rotation.take_back() == 0, "nothing here is under a retired key"
    with as_owner(), connection.cursor() as cursor:
        cursor.execute("ALTER TABLE scales_quarantined DISABLE TRIGGER content_kept")
        cursor.executemany("UPDATE scales_quarantined SET body = %s, faults = %s", old)
        cursor.execute("ALTER TABLE scales_quarantined ENABLE ALWAYS TRIGGER content_kept")
    brought_back = Quarantined.objects.get()
    with pytest.raises(Unreadable):
        opened(brought_back)

    assert rotation.take_back() == 1

    assert opened(brought_back) == "words"
    assert rotation.rotate_data_keys(say=lambda _: None, now=now, pause=0) == 0
    assert (versions(), opened(Quarantined.objects.get())) == ({("body", 2), ("faults", 2)}, "words")
    days = [rotation.forget_retired(now=now + timedelta(days=n)) for n in (35, 36, 37)]
    assert days == [0, 2, 0], "theirs, and that of their address"


def test_a_value_that_changed_meanwhile_is_left_as_it_is_now(person: Participant) -> None:
    at_once = threading.Event()
    at_once.set()
    keep(person, UUID(int=1), threading.Event(), at_once)
    field = next(f for f in sealed_fields() if f.model is Quarantined and f.attname == "body")
    keyring().next_versions()
    newest = field.seal('"words"', row=1, holder=holder(person))

    def change_first(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        if many and "body" in sql:
            with connection.cursor() as cursor:
                cursor.execute("UPDATE scales_quarantined SET body = %s", [newest])
        return execute(sql, params, many, context)

    with connection.execute_wrapper(change_first):
        rotate()

    assert bytes(Quarantined.objects.get().body) == newest


def test_two_do_not_turn_keys_over_at_once(person: Participant) -> None:
    held, over = threading.Event(), threading.Event()

    def hold() -> None:
        with rotation.alone():
            held.set()
            assert over.wait(30)

    other = beside(hold)
    assert held.wait(30)
    with pytest.raises(rotation.AlreadyRunning), rotation.alone(patience=0.3):
        pass
    over.set()
    other.result(30)
    with rotation.alone(patience=5):
        pass
