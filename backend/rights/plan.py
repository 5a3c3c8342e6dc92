"""Whose the rows of every table are. A table that is not here fails a test, so none is forgotten.

An export takes, and an erasure deletes, what is a participant's or their user's. What a row of somebody
else's says about them by number only (an audit entry, who recorded a session) is neither.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from django.apps import apps
from django.db import models


@dataclass(frozen=True, slots=True)
class Whose:
    """How the rows of a table lead to a participant's number, or to a user's; or why they are nobody's.

    `kept` says why erasure leaves rows that are somebody's.
    """

    participant: str | None = None
    user: str | None = None
    nobodys: str = ""
    kept: str = ""


DEFINITION = "a definition, the same for everybody"
DJANGO = "Django's own, without rows of people"
CLINICS = "a clinic's own"
STAFFS = "of the staff, about their work"

WHOSE: Mapping[str, Whose] = MappingProxyType(
    {
        "contenttypes.ContentType": Whose(nobodys=DJANGO),
        "auth.Permission": Whose(nobodys=DJANGO),
        "auth.Group": Whose(nobodys=DJANGO),
        "auth.Group_permissions": Whose(nobodys=DJANGO),
        "admin.LogEntry": Whose(nobodys="never written: the operators' pages change nothing"),
        "sessions.Session": Whose(nobodys="found through the token families, deleted with them"),
        "account.EmailAddress": Whose(user="user_id"),
        "account.EmailConfirmation": Whose(user="email_address__user_id"),
        "mfa.Authenticator": Whose(user="user_id"),
        "accounts.User": Whose(user="id"),
        "accounts.Address": Whose(user="user_id"),
        "accounts.Device": Whose(user="user_id"),
        "accounts.PasskeyName": Whose(user="user_id"),
        "accounts.TokenFamily": Whose(user="user_id"),
        "accounts.Guess": Whose(nobodys="keyed hashes, gone after 90 days"),
        "accounts.OutgoingMail": Whose(nobodys="sealed, gone once sent, or after ten minutes"),
        "audit.Entry": Whose(
            participant="participant", kept="numbers only; that somebody looked is not theirs to undo"
        ),
        "audit.History": Whose(participant="participant"),
        "audit.Pending": Whose(nobodys="which entries wait for the sealer"),
        "audit.Seal": Whose(nobodys="hashes over entries"),
        "changes.Change": Whose(participant="participant"),
        "changes.Tombstone": Whose(nobodys="hashes of ids, of what was erased"),
        "care.Clinic": Whose(nobodys=CLINICS),
        "care.Membership": Whose(nobodys=STAFFS),
        "care.Cover": Whose(nobodys=STAFFS),
        "care.ConsentText": Whose(nobodys=DEFINITION),
        "care.CodeGuess": Whose(nobodys="keyed hashes, gone after a day"),
        "care.Participant": Whose(participant="id"),
        "care.CareRelationship": Whose(participant="participant_id"),
        "care.DosingSession": Whose(participant="participant_id"),
        "care.Consent": Whose(participant="participant_id"),
        "care.Disclosure": Whose(participant="participant_id"),
        "care.EmergencyAccess": Whose(participant="participant_id"),
        "care.Invitation": Whose(participant="participant_id"),
        "care.RecoveryCode": Whose(participant="participant_id"),
        "scales.LoadedFile": Whose(nobodys=DEFINITION),
        "scales.Administration": Whose(participant="participant_id"),
        "scales.Correction": Whose(participant="administration__participant_id"),
        "scales.Held": Whose(participant="participant_id"),
        "scales.Release": Whose(participant="participant_id"),
        "scales.Quarantined": Whose(participant="participant_id"),
        "scales.Trend": Whose(participant="participant_id"),
        "backup.Run": Whose(nobodys="that a backup was made"),
        "rights.Export": Whose(participant="participant_id"),
        "rights.ExportPart": Whose(participant="export__participant_id"),
        "rights.Erasure": Whose(
            participant="participant", kept="numbers and ids only; that somebody was erased must outlast it"
        ),
        "demo.Mark": Whose(nobodys="that this is a demo"),
    }
)


def tables() -> Iterator[type[models.Model]]:
    """Every table there is: of each model, and of what links two."""
    yield from apps.get_models(include_auto_created=True)


def whose(model: type[models.Model]) -> Whose:
    """Whose the rows of that table are."""
    return WHOSE[model._meta.label]


def rows(model: type[models.Model], *, participant: int, user: int | None) -> "models.QuerySet[Any]":
    """The rows of that table that are the participant's, or their user's."""
    found = whose(model)
    if found.participant:
        return model._default_manager.filter(**{found.participant: participant})
    if found.user and user is not None:
        return model._default_manager.filter(**{found.user: user})
    return model._default_manager.none()
