"""Sealing in the product: for its place, noted when it does not open, and 503 while the store is away."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import pytest
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.hmac import HMAC
from django.conf import settings
from django.db import connection, transaction
from django.test import Client
from django.utils import timezone
from psycopg.pq import TransactionStatus

from backend.audit.models import Entry
from backend.care.models import Membership, Participant
from backend.errors import Problem
from backend.keys import blind, sealing, signing
from backend.keys.keyring import BLIND
from backend.keys.ring import keyring
from backend.keys.sealing import Destroyed, Holder, Place, Unreadable
from backend.stack.dsn import AS_APP, with_options
from scales.models import Administration, Correction, Quarantined
from tests.conftest import Copy, submission
from tests.scales.phone import URL, ClientFor, correct, post
from tests.scales.test_corrections import correction


def place(row: object = 1, holder: Holder | None = None) -> Place:
    return Place("scales_correction", "reason", str(row), holder or Holder(uuid4(), 7))


def noted(action: str) -> list[tuple[Any, ...]]:
    return list(Entry.objects.filter(action=action).values_list("actor", "clinic", "subject"))


def test_what_is_sealed_opens_in_its_place_and_the_key_that_was_made_is_noted(db: None) -> None:
    here = place()

    assert sealing.unseal(sealing.seal("Ich war müde.", here), here) == "Ich war müde."
    assert sealing.unseal_bytes(sealing.seal_bytes(b"\0\xff", here), here) == b"\0\xff"

    assert noted("key.made") == [(None, 7, str(here.holder.id))]
    assert noted("sealed.unreadable") == []


def test_what_does_not_open_is_noted_by_its_place_and_says_nothing_of_itself(db: None) -> None:
    here = place(row="12")
    sealed = sealing.seal("words", here)
    other = place(row="13", holder=here.holder)

    for wrong in (sealed[:-1] + bytes([sealed[-1] ^ 1]), b"", b"words", sealed[:40]):
        with pytest.raises(Unreadable) as refused:
            sealing.unseal(wrong, here)
        assert (refused.value.status, refused.value.code) == (409, "unreadable")
    with pytest.raises(Unreadable):
        sealing.unseal(sealed, other)
    with pytest.raises(Unreadable):
        sealing.unseal(sealed, place(row="12"))  # of somebody who has no key

    assert noted("sealed.unreadable") == [
        *[(None, 7, "scales_correction.reason 12")] * 4,
        (None, 7, "scales_correction.reason 13"),
        (None, 7, "scales_correction.reason 12"),
    ]


def test_with_the_key_everything_of_theirs_is_gone_for_good(db: None) -> None:
    here = place()
    sealed = sealing.seal("words", here)
    keyring().destroy(here.holder.id, at=timezone.now())

    for again in (lambda: sealing.unseal(sealed, here), lambda: sealing.seal("more", here)):
        with pytest.raises(Destroyed) as refused:
            again()
        assert (refused.value.status, refused.value.code) == (410, "erased")
    assert noted("sealed.unreadable") == []


def test_a_transaction_has_begun_before_anything_is_sealed_in_it(database_copy: Copy) -> None:
    """Whoever turns keys over waits for transactions; Django's begin with their first statement."""
    here = place()
    sealing.seal("a key is made, and noted", here)

    def status() -> TransactionStatus:
        return TransactionStatus(connection.connection.info.transaction_status)

    with transaction.atomic():
        assert status() == TransactionStatus.IDLE
        sealing.seal("words", here)
        assert status() == TransactionStatus.INTRANS
    sealing.seal("words", here)
    assert status() == TransactionStatus.IDLE


def test_fingerprints_are_the_same_for_ever_and_of_one_purpose(own_keys: Path) -> None:
    """They are looked up by: a turn-over of keys must leave them."""
    first = blind.fingerprint("content", b"words")

    assert len(first) == 32
    assert first == blind.fingerprint("content", b"words")
    others = [("content", b"word"), ("mail", b"words"), ("contentw", b"ords"), ("", b"contentwords")]
    assert len({first, *(blind.fingerprint(*other) for other in others)}) == 5
    keyring().turn_master_over()
    keyring().next_versions()
    assert blind.fingerprint("content", b"words") == first


def test_a_fingerprint_is_hmac_sha_256_with_the_length_of_its_purpose(own_keys: Path) -> None:
    mac = HMAC(keyring().key(BLIND, 1), SHA256())
    mac.update(b"\0\0\0\x07contentwords")
    assert blind.fingerprint("content", b"words") == mac.finalize()


def test_signatures_hold_for_what_was_signed_by_this_installation(own_keys: Path) -> None:
    signature, key = signing.sign(b"receipt"), signing.public_key()

    assert (len(signature), len(key)) == (64, 32)
    assert signing.verifies(b"receipt", signature, key)
    for data, signed, by in (
        (b"receipts", signature, key),
        (b"receipt", signature[:-1] + bytes([signature[-1] ^ 1]), key),
        (b"receipt", b"", key),
        (b"receipt", signature, bytes(31)),
        (b"receipt", signature, bytes(range(32))),
    ):
        assert not signing.verifies(data, signed, by)
    keyring().turn_master_over()
    keyring().next_versions()
    assert signing.public_key() == key


def test_while_the_store_is_away_nothing_is_stored_and_it_says_come_back(
    ana: Participant, thea: Membership, client_for: ClientFor, own_keys: Path
) -> None:
    client, sent = client_for(ana), submission()
    assert post(client, sent).status_code == 201
    assert correct(client, sent["id"], correction()).status_code == 201
    store, away = own_keys / "keys", own_keys / "away"
    store.rename(away)

    refused = [
        post(client, submission()),
        post(client, submission(answer=9)),
        correct(client, sent["id"], correction()),
        client.get(f"{URL}/{sent['id']}"),
        client_for(thea).get(f"{URL}/{sent['id']}"),
    ]

    assert [(a.status_code, a.json()["code"], a["Retry-After"]) for a in refused] == [
        (503, "unavailable", "2")
    ] * 5
    assert (Administration.objects.count(), Correction.objects.count(), Quarantined.objects.count()) == (
        1,
        1,
        0,
    )
    assert client.get(URL).status_code == 200, "what is not sealed is read as ever"
    away.rename(store)
    assert post(client, submission()).status_code == 201
    assert client.get(f"{URL}/{sent['id']}").status_code == 200


def test_a_master_key_that_is_away_is_the_same_to_those_outside(own_keys: Path, db: None) -> None:
    (own_keys / "master-key").unlink()

    with pytest.raises(Problem) as refused:
        sealing.seal("words", place())
    assert (refused.value.status, refused.value.code) == (503, "unavailable")


@pytest.mark.parametrize(
    "program", ["import backend.wsgi", "from backend.celery import app, refuse_unsafe; refuse_unsafe()"]
)
@pytest.mark.parametrize("missing", ["KEY_STORE", "MASTER_KEY_FILE"])
def test_without_keys_neither_web_nor_worker_starts(
    migrated: str, tmp_path: Path, program: str, missing: str
) -> None:
    url = urlsplit(os.environ["DATABASE_URL"])._replace(path=f"/{migrated}", query="").geturl()
    started = subprocess.run(
        [sys.executable, "-c", program],
        cwd=settings.BASE_DIR, capture_output=True, text=True, check=False,
        env={
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "backend.settings",
            "DATABASE_URL": with_options(url, AS_APP),
            missing: str(tmp_path / "nothing"),
        },
    )  # fmt: skip

    assert started.returncode != 0
    what = "there is no key store at" if missing == "KEY_STORE" else "the master key cannot be read:"
    assert (
        "KEY_STORE and MASTER_KEY_FILE must be there, as `manage.py keys init` makes them: " + what
        in started.stderr.splitlines()[-1]
    ), started.stderr


def test_readyz_names_the_keys_where_they_are_away(db: None, own_keys: Path) -> None:
    there = Client().get("/readyz")
    (own_keys / "master-key").rename(own_keys / "aside")
    away = Client().get("/readyz")
    (own_keys / "aside").rename(own_keys / "master-key")

    assert (there.status_code, there.json()["parts"]["keys"]) == (200, "ok")
    assert (away.status_code, away.json()["status"]) == (503, "not ready")
    assert (away.json()["parts"]["keys"], away["Retry-After"]) == ("unreachable", "2")
    assert Client().get("/readyz").status_code == 200
