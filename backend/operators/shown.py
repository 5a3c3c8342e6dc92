"""What operators may see: the one list, of models and their columns.

A model that is not in it has no page, and a column that is not in it is not even read. An operator needs to
know that things are there, whose by number, since when, and how many; never what somebody wrote or answered,
which substance they took, or how to reach them. So a column stands here if it is an id, a pseudonym, a
state, an instant, a count, or something the operator loaded. Not a phone's own words: a quarantined body may
name its instrument as it likes.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any


@dataclass(frozen=True, slots=True)
class Shown:
    """The columns of a model, which of them narrow its list, whose a row is for the audit, and its heading
    where the model's own would be odd."""

    columns: tuple[str, ...]
    filters: tuple[str, ...] = ()
    participant: str | None = None
    clinic: str | None = None
    heading: str = ""


OF_A_PARTICIPANT: Any = {"participant": "participant_id", "clinic": "participant__clinic_id"}

SHOWN: Mapping[str, Shown] = MappingProxyType(
    {
        "accounts.User": Shown(
            ("id", "is_active", "is_operator", "joined_at", "last_login"), ("is_active", "is_operator")
        ),
        "mfa.Authenticator": Shown(("id", "user_id", "type", "created_at", "last_used_at"), ("type",)),
        "care.Clinic": Shown(
            ("id", "public_id", "name", "missing_answers", "second_factor", "hold_hours", "created_at"),
            clinic="id",
        ),
        "care.Membership": Shown(
            (
                "id",
                "public_id",
                "clinic_id",
                "user_id",
                "role",
                "started_at",
                "ended_at",
                "suspended_at",
            ),
            ("role",),
            clinic="clinic_id",
        ),
        "care.Participant": Shown(
            ("id", "public_id", "clinic_id", "pseudonym", "enrolled_at"),
            participant="id",
            clinic="clinic_id",
        ),
        "care.CareRelationship": Shown(
            (
                "id",
                "public_id",
                "clinic_id",
                "participant_id",
                "therapist_id",
                "started_at",
                "ended_at",
                "ended_because",
            ),
            participant="participant_id",
            clinic="clinic_id",
        ),
        "care.Cover": Shown(
            ("id", "public_id", "clinic_id", "therapist_id", "covered_by_id", "started_at", "ended_at"),
            clinic="clinic_id",
        ),
        "care.Consent": Shown(
            (
                "id",
                "clinic_id",
                "participant_id",
                "stream",
                "decision",
                "version",
                "language",
                "received_at",
                "ask_again_at",
            ),
            ("stream", "decision"),
            participant="participant_id",
            clinic="clinic_id",
        ),
        "care.ConsentText": Shown(("id", "stream", "version", "language", "loaded_at")),
        "care.Invitation": Shown(
            (
                "id",
                "kind",
                "clinic_id",
                "therapist_id",
                "participant_id",
                "created_at",
                "expires_at",
                "withdrawn_at",
                "redeemed_at",
            ),
            ("kind",),
            participant="participant_id",
            clinic="clinic_id",
        ),
        "care.EmergencyAccess": Shown(
            ("id", "clinic_id", "participant_id", "membership_id", "opened_at", "until"),
            participant="participant_id",
            clinic="clinic_id",
            heading="Emergency accesses",
        ),
        "care.DosingSession": Shown(
            ("id", "participant_id", "started_at", "recorded_at", "recorded_by_id"), **OF_A_PARTICIPANT
        ),
        "scales.Administration": Shown(
            (
                "id",
                "participant_id",
                "instrument_code",
                "instrument_version",
                "completed_at",
                "received_at",
                "clock",
                "missing_answers",
                "device",
            ),
            ("clock",),
            **OF_A_PARTICIPANT,
        ),
        "scales.Correction": Shown(
            ("id", "administration_id", "revision", "received_at", "corrected_by_id"),
            participant="administration__participant_id",
            clinic="administration__participant__clinic_id",
        ),
        "scales.Quarantined": Shown(
            (
                "id",
                "participant_id",
                "kind",
                "administration",
                "device",
                "sent_by_id",
                "received_at",
                "resolved_at",
            ),
            ("kind",),
            heading="Quarantine",
            **OF_A_PARTICIPANT,
        ),
        "scales.Trend": Shown(
            ("id", "participant_id", "instrument_code", "requested", "computed", "computed_at"),
            **OF_A_PARTICIPANT,
        ),
        "scales.LoadedFile": Shown(("id", "kind", "code", "version", "sha256", "loaded_at"), ("kind",)),
        "changes.Change": Shown(
            ("id", "participant", "kind", "object", "deleted", "at", "transaction"),
            participant="participant",
        ),
        "audit.Entry": Shown(
            ("id", "at", "actor", "action", "participant", "clinic", "subject", "request", "device", "why"),
            participant="participant",
            clinic="clinic",
            heading="Audit entries",
        ),
        "audit.History": Shown(
            ("id", "at", "actor", "request", "change", "table", "row", "participant", "clinic"),
            ("change",),
            participant="participant",
            clinic="clinic",
            heading="Histories",
        ),
        "backup.Run": Shown(
            (
                "id",
                "name",
                "kind",
                "taken_at",
                "holds_until",
                "size",
                "seconds",
                "verified_at",
                "verify_seconds",
                "ok",
                "failed",
            ),
            ("kind", "ok"),
            heading="Backups",
        ),
        "rights.Erasure": Shown(
            (
                "id",
                "participant",
                "account",
                "clinic",
                "state",
                "requested_at",
                "erases_at",
                "leased_until",
                "cancelled_at",
                "done_at",
            ),
            ("state",),
            participant="participant",
            clinic="clinic",
        ),
        "demo.Mark": Shown(("id", "made_at")),
    }
)
