"""The one table of actions: whatever the code writes down, somebody can be told of."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.conf import settings

from backend.accounts.adapter import HAPPENED
from backend.audit import services
from backend.audit.actions import ACTIONS
from backend.audit.models import Entry
from backend.care import roles
from backend.care.models import DosingSession
from scales.models import LoadedFile
from scales.queries import instruments

ACTION = re.compile(r"[a-z_]+\.[a-z_]+")
# Written with a name that is put together, from these.
COMPOSED = {f"{kind}.loaded" for kind in LoadedFile.Kind.values} | {"consent.given", "consent.withdrawn"}
# Whose calls name an action: `audit.record(action=...)`, and what passes one on.
RECORDERS = {"record", "record_each", "_record", "_tell_participant"}


def written() -> Iterator[str]:
    """Every action that stands in the code, in a call or in a statement that writes its own audit row."""
    for folder in ("backend", "integration", "scales"):
        for file in Path(settings.BASE_DIR, folder).rglob("*.py"):
            if "migrations" in file.parts:
                continue
            for node in ast.walk(ast.parse(file.read_text())):
                if isinstance(node, ast.Call) and _name(node.func) in RECORDERS:
                    yield from _actions(node)
                if isinstance(node, ast.JoinedStr) and "audit.INSERT" in ast.unparse(node):
                    yield from re.findall(r"'([a-z_]+\.[a-z_]+)'", _text(node))


def _name(called: ast.expr) -> str:
    return called.attr if isinstance(called, ast.Attribute) else getattr(called, "id", "")


def _actions(call: ast.Call) -> Iterator[str]:
    given = [k.value for k in call.keywords if k.arg == "action"] or call.args
    for node in (inner for value in given for inner in ast.walk(value)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and ACTION.fullmatch(node.value):
            yield node.value


def _text(joined: ast.JoinedStr) -> str:
    return "".join(str(part.value) for part in joined.values if isinstance(part, ast.Constant))


def test_every_action_in_the_code_has_words() -> None:
    found = set(written())

    assert {"administration.recorded", "administration.quarantined", "operator.viewed"} <= found, "raw SQL"
    assert {"care.started", "consent.pending", "membership.suspended", "participant.restored"} <= found
    assert (found | COMPOSED | set(HAPPENED.values()) | set(roles.TABLE)) - set(ACTIONS) == set()


def test_no_other_action_is_written(db: None) -> None:
    for write in (
        lambda: services.record(actor=None, action="answers.gossiped"),
        lambda: services.record_each(actor=None, action="answers.gossiped", participants=[(1, 1, "")]),
    ):
        with pytest.raises(ValueError, match="ACTIONS does not explain"):
            write()
    assert Entry.objects.filter(action="answers.gossiped").count() == 0


def test_words_are_sentences_and_name_no_score_substance_or_instrument(db: None) -> None:
    named = {code for code, _ in instruments()} | {i.name for i in instruments().values()}
    named |= set(DosingSession.Substance.values) - {"other", "blinded"}

    for action in ACTIONS.values():
        assert re.fullmatch(r"[A-Z][^.\d]+\.(?: [A-Z][^.\d]+\.)?", action.words), action.words
        assert [n for n in named if re.search(rf"\b{re.escape(n)}\b", action.words, re.IGNORECASE)] == []


def test_what_was_refused_says_so() -> None:
    about_data = {code for code, action in ACTIONS.items() if "saw nothing" in action.words}

    assert about_data == {
        "participant.refused",
        "participant.no_consent",
        "clinic.refused",
        "second_factor.missing",
    }
    assert all(ACTIONS[code].refused for code in about_data)
