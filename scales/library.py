"""What an operator adds to the instruments that ship: instruments of their own, and wordings."""

import hashlib
from typing import Any

from django.db import transaction

from backend.audit import services as audit
from scales import queries
from scales.instrument import Instrument, MalformedInstrument, parse, with_wording
from scales.models import LoadedFile
from scales.tables import Table


def check_instrument(text: str, file: str) -> Instrument:
    """The instrument in a file's text. Raises MalformedInstrument, also for a version that is taken."""
    instrument = parse(text, file)
    known = queries.instrument(instrument.code, instrument.version)
    if known is not None and known.sha256 != instrument.sha256:
        raise MalformedInstrument(
            file, "version", "this version is taken, and never changes: a correction is the next version"
        )
    return instrument


def check_wording(text: str, file: str) -> Instrument:
    """The instrument that a wording file completes. Raises MalformedInstrument."""
    top = Table.of_text(text, file)
    code, version = top.text("code"), top.whole("version", least=1)
    instrument = queries.instrument(code, version)
    if instrument is None:
        raise MalformedInstrument(file, "code", f"there is no {code} version {version} here")
    if instrument.ready:
        raise MalformedInstrument(file, "items", "the instrument has all its words already")
    return with_wording(instrument, text, file)


@transaction.atomic
def load_instrument(text: str, file: str) -> Instrument:
    """The instrument, loaded for good. Answers that waited for it are recorded by the next sweep."""
    instrument = check_instrument(text, file)
    if (instrument.code, instrument.version) not in queries.released():
        _load(LoadedFile.Kind.INSTRUMENT, instrument, text)
    return instrument


@transaction.atomic
def load_wording(text: str, file: str) -> Instrument:
    """The instrument with its words, loaded for good: they are part of what people were asked."""
    instrument = check_wording(text, file)
    loaded = _load(LoadedFile.Kind.WORDING, instrument, text)
    if loaded.text != text:
        raise MalformedInstrument(
            file, "items", "another wording of this version is loaded, and never changes"
        )
    return instrument


def _load(kind: Any, instrument: Instrument, text: str) -> LoadedFile:
    loaded, new = LoadedFile.objects.get_or_create(
        kind=kind,
        code=instrument.code,
        version=instrument.version,
        defaults={"text": text, "sha256": hashlib.sha256(text.encode()).hexdigest()},
    )
    if new:
        audit.record(actor=None, action=f"{kind}.loaded", subject=f"{instrument.code}.v{instrument.version}")
    return loaded
