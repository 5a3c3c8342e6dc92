"""Looking for words wherever the database may hold them, in clear or in a coat that anybody can take off."""

import base64
import binascii
import contextlib
from collections.abc import Iterator, Sequence

from django.contrib.sessions.backends.db import SessionStore
from django.contrib.sessions.models import Session
from django.db import connection

from backend.accounts.models import OutgoingMail
from backend.accounts.sealing import unseal


def tables() -> list[str]:
    with connection.cursor() as cursor:
        return [info.name for info in connection.introspection.get_table_list(cursor)]


def everything_kept() -> Iterator[tuple[str, str]]:
    """Every row as text with its table; sessions, cached values and waiting mail once more as they open."""
    for table in tables():
        with connection.cursor() as cursor:
            cursor.execute(f'SELECT kept::text FROM "{table}" AS kept')
            yield from ((table, text) for (text,) in cursor.fetchall())
    for session in Session.objects.all():
        yield "django_session, decoded", str(SessionStore().decode(session.session_data))
    for message in OutgoingMail.objects.all():
        yield "accounts_outgoingmail, opened", unseal(message.sealed)
    with connection.cursor() as cursor:
        cursor.execute("SELECT value FROM accounts_cache")
        for (value,) in cursor.fetchall():
            with contextlib.suppress(binascii.Error):
                yield "accounts_cache, decoded", base64.b64decode(value).decode("latin-1")


def coats(word: str) -> set[str]:
    """The word in small letters as it is, in hex as PostgreSQL shows bytes, and in Base64 at any offset."""
    found = {word.lower()}
    for spelling in (word.lower(), word.upper(), word.title()):
        raw = spelling.encode()
        found.add(raw.hex())
        for offset in range(3):
            # What stands before the word reaches into its first character, what follows into its last.
            text = base64.b64encode(bytes(offset) + raw).decode().rstrip("=")
            found.add(text[-(-offset * 4 // 3) : len(text) - 1].lower())
    return found


def found_in_clear(words: Sequence[str]) -> set[tuple[str, str]]:
    """In which tables which of these words stand."""
    looked_for = [(word, coat) for word in words for coat in coats(word)]
    kept = [(table, text.lower()) for table, text in everything_kept()]
    return {(table, word) for table, text in kept for word, coat in looked_for if coat in text}
