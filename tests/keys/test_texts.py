"""Every column that can hold a text, decided: sealed where a person's words may stand, readable where not.

A new one fails here until somebody says which it is.
"""

from django.apps import apps
from django.db import models

from backend.keys.fields import SealedField, sealed_fields
from backend.operators.shown import SHOWN

CODE = "a code of ours, or a choice"
HASH = "a digest or a keyed hash"
RANDOM = "made by chance, and tells nothing"
ZONE = "the name of a time zone"
PUBLIC = "an operator's own, and everybody's to read"
ANSWERS = "item ids, numbers and why skipped: readable, to be scored and compared (decision 4)"
# Readable, and why. Whoever adds a column in which somebody can write what they like seals it instead.
READABLE = {
    "account.EmailConfirmation.key": RANDOM,
    "accounts.Address.lookup": HASH,
    "accounts.Guess.account": HASH,
    "accounts.Guess.bucket": CODE,
    "accounts.Guess.client": HASH,
    "accounts.OutgoingMail.sealed": "sealed under SECRET_KEY",
    "accounts.PasskeyName.label": RANDOM,
    "accounts.User.email": HASH,
    "accounts.User.password": HASH,
    "accounts.User.session_salt": RANDOM,
    "account.EmailAddress.email": HASH,
    "accounts.TokenFamily.session_key": RANDOM,
    "admin.LogEntry.change_message": "never written: the pages change nothing",
    "admin.LogEntry.object_id": "never written: the pages change nothing",
    "admin.LogEntry.object_repr": "never written: the pages change nothing",
    "audit.Entry.action": CODE,
    "audit.Entry.subject": "ids and codes of ours",
    "audit.Entry.why": CODE,
    "audit.History.before": "what stood in columns that are readable",
    "audit.History.change": CODE,
    "audit.History.row": "an id of ours",
    "audit.History.table": CODE,
    "audit.Seal.hash": HASH,
    "audit.Seal.previous": HASH,
    "auth.Group.name": "never written: there are no groups",
    "auth.Permission.codename": CODE,
    "auth.Permission.name": CODE,
    "backup.Run.failed": CODE,
    "backup.Run.kind": CODE,
    "backup.Run.name": CODE,
    "care.CareRelationship.ended_because": CODE,
    "care.Clinic.missing_answers": CODE,
    "care.Clinic.name": PUBLIC,
    "care.CodeGuess.client": HASH,
    "care.Consent.decision": CODE,
    "care.Consent.language": CODE,
    "care.Consent.rules": "what the clinic's rules were: numbers under names of ours",
    "care.Consent.stream": CODE,
    "care.Consent.text_hash": HASH,
    "care.Consent.timezone": ZONE,
    "care.ConsentText.language": CODE,
    "care.ConsentText.source": PUBLIC,
    "care.ConsentText.stream": CODE,
    "care.Disclosure.in_force": "choices under names of ours",
    "care.Disclosure.wanted": "choices under names of ours",
    "care.DosingSession.dose_unit": CODE,
    "care.DosingSession.route": CODE,
    "care.DosingSession.setting": CODE,
    "care.DosingSession.substance": "a choice: readable, to be shown on a time line (decision 4)",
    "care.Invitation.digest": HASH,
    "care.Invitation.kind": CODE,
    "care.Invitation.protocol": CODE,
    "care.Membership.role": CODE,
    "care.Participant.pseudonym": "words drawn by chance, which stand here instead of a name",
    "care.Participant.timezone": ZONE,
    "care.RecoveryCode.digest": HASH,
    "changes.Change.kind": CODE,
    "contenttypes.ContentType.app_label": CODE,
    "contenttypes.ContentType.model": CODE,
    "mfa.Authenticator.data": "public keys, labels for names, and seeds sealed under SECRET_KEY",
    "mfa.Authenticator.type": CODE,
    "changes.Tombstone.object": HASH,
    "rights.Erasure.receipt": "what was destroyed, by count; shown to whoever has its address",
    "rights.Erasure.signature": HASH,
    "rights.Erasure.state": CODE,
    "rights.Export.status": CODE,
    "rights.ExportPart.id": "an id and a number of ours",
    "scales.Administration.answer": ANSWERS,
    "scales.Administration.clock": CODE,
    "scales.Administration.content_hash": "a digest of what lies readable beside it",
    "scales.Administration.instrument_code": "of an instrument that was there",
    "scales.Administration.missing_answers": CODE,
    "scales.Administration.responses": ANSWERS,
    "scales.Administration.scores": ANSWERS,
    "scales.Administration.skipped": ANSWERS,
    "scales.Administration.timezone": ZONE,
    "scales.Correction.answer": ANSWERS,
    "scales.Correction.content_hash": HASH,
    "scales.Correction.responses": ANSWERS,
    "scales.Correction.scores": ANSWERS,
    "scales.Held.answer": ANSWERS,
    "scales.Held.scores": ANSWERS,
    "scales.LoadedFile.code": PUBLIC,
    "scales.LoadedFile.kind": CODE,
    "scales.LoadedFile.sha256": HASH,
    "scales.LoadedFile.text": PUBLIC,
    "scales.Quarantined.content_hash": HASH,
    # The phone's own word, but of the form of a code: small letters, digits and hyphens. It is looked up by.
    "scales.Quarantined.instrument_code": "the code of an instrument that is not there yet",
    "scales.Quarantined.kind": CODE,
    "scales.Trend.instrument_code": "of an instrument that was there",
    "scales.Trend.result": "scores over time, as JSON of ours",
    "sessions.Session.session_data": "signed in as whom, and since when",
    "sessions.Session.session_key": RANDOM,
}
SEALED = {
    "accounts.Address.sealed",
    "accounts.Device.name",
    "accounts.PasskeyName.name",
    "accounts.User.name",
    "care.EmergencyAccess.reason",
    "rights.ExportPart.content",
    "scales.Correction.reason",
    "scales.Quarantined.body",
    "scales.Quarantined.faults",
}
TEXTS = (models.CharField, models.TextField, models.JSONField, models.BinaryField, models.FileField)


def test_every_column_that_can_hold_a_text_is_decided() -> None:
    found = {
        f"{model._meta.label}.{field.attname}"
        for model in apps.get_models(include_auto_created=True)
        for field in model._meta.concrete_fields
        if isinstance(field, TEXTS) and not isinstance(field, SealedField)
    }

    assert found == set(READABLE)
    assert {f"{field.model._meta.label}.{field.attname}" for field in sealed_fields()} == SEALED


def test_what_is_a_code_is_short_or_one_of_a_few() -> None:
    """There is no room for words in it."""
    for name, why in READABLE.items():
        label, _, column = name.rpartition(".")
        field = apps.get_model(label)._meta.get_field(column)
        if why == CODE and label.split(".")[0] not in ("auth", "contenttypes"):
            assert field.choices or (field.max_length or 0) <= 64, name


def test_operators_are_never_shown_what_is_sealed() -> None:
    """Not even as ciphertext."""
    for field in sealed_fields():
        shown = SHOWN.get(field.model._meta.label)
        assert shown is None or field.attname not in shown.columns


def test_every_sealed_column_says_whose_it_is() -> None:
    for field in sealed_fields():
        assert field.holder
        rows = field.model._base_manager.values(field.holder, field.row, *filter(None, [field.clinic]))
        assert str(rows.query)
